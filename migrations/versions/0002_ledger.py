"""The double-entry ledger: what was taken, booked twice in the transaction that settles it."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0002_ledger" / "ledger.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
