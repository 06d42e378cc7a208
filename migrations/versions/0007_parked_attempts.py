"""Attempts that get no answer wait in the database, and a request may use a second idempotency key."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0007_parked_attempts" / "parked_attempts.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
