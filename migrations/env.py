"""Alembic's environment: runs the migrations on the connection it is handed.

`middleman.entrypoints.migrate` (and the tests) put an open connection into
`config.attributes["connection"]`; there is no other way in, so that one place decides the URL.
"""

from alembic import context

from middleman.adapters.postgres.schema import METADATA

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through `middleman migrate`, which supplies the database connection")

context.configure(connection=connection, target_metadata=METADATA, compare_server_default=True)
with context.begin_transaction():
    context.run_migrations()
