"""Old events may be pruned by the owner, so that the log of a long-lived database does not grow without end."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0012_prune_events" / "prune_events.sql"


def upgrade() -> None:
    sql = _SQL.read_text()
    # A prepared statement holds one command, and the file holds many: hand it to the driver as it is.
    driver = op.get_bind().connection.dbapi_connection
    assert driver is not None, "migrations run on an open connection"
    driver.run_async(lambda session: session.execute(sql))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
