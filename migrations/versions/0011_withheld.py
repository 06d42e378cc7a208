"""What cannot be billed is set aside in the table, and what is overdue beyond belief is held."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0011_withheld" / "withheld.sql"


def upgrade() -> None:
    sql = _SQL.read_text()
    # A prepared statement holds one command, and the file holds many: hand it to the driver as it is.
    driver = op.get_bind().connection.dbapi_connection
    assert driver is not None, "migrations run on an open connection"
    driver.run_async(lambda session: session.execute(sql))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
