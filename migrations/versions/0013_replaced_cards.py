"""Which customers have replaced their payment method: the leader plans the next attempts for them."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0013_replaced_cards" / "replaced_cards.sql"


def upgrade() -> None:
    sql = _SQL.read_text()
    # A prepared statement holds one command, and the file holds many: hand it to the driver as it is.
    driver = op.get_bind().connection.dbapi_connection
    assert driver is not None, "migrations run on an open connection"
    driver.run_async(lambda session: session.execute(sql))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
