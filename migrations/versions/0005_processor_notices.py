"""What the processor told of by webhook, kept until the leader has looked for itself."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0005_processor_notices" / "processor_notices.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
