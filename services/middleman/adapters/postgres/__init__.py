"""The Store on PostgreSQL."""
