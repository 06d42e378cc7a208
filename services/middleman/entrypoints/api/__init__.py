"""The REST API process."""
