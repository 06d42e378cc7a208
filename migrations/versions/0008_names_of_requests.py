"""What a request makes is named after its Idempotency-Key: lists by creation, and what a ticket keeps for it."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0008_names_of_requests" / "names_of_requests.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
