"""The scenarios: each hurts the system in one way, and says what has to be seen besides the verdict."""
