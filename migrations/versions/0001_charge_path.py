"""The charge path: who is billed, what is owed, what was tried, and who may write it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Plain SQL, one file per concern: constraints and triggers carry the guarantees, so they stand in full.
_SQL = Path(__file__).parent / "0001_charge_path"


def upgrade() -> None:
    for script in ("tables.sql", "clock.sql", "fence.sql", "guards.sql", "roles.sql"):
        sql = (_SQL / script).read_text()
        # A prepared statement holds one command, and the files hold many: hand them to the driver as they are.
        driver = op.get_bind().connection.dbapi_connection
        assert driver is not None, "migrations run on an open connection"
        driver.run_async(lambda session, sql=sql: session.execute(sql))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
