"""The processes and the command line."""
