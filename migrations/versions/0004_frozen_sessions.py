"""A transaction ends in time whatever state its session is in, so that a frozen process holds no row for long."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0004_frozen_sessions" / "frozen_sessions.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
