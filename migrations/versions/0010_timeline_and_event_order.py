"""The fence knows the timeline of its term, and events have an order that can be followed."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0010_timeline_and_event_order" / "timeline_and_event_order.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
