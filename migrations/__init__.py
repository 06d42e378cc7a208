"""The database schema's history, run by `python -m middleman.entrypoints.migrate`."""
