"""Old events may be pruned by the owner, so that the log of a long-lived database does not grow without end."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0012_prune_events" / "prune_events.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
