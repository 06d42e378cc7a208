"""The protocols that the core needs from the outside."""
