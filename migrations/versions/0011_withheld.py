"""What cannot be billed is set aside in the table, and what is overdue beyond belief is held."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0011_withheld" / "withheld.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
