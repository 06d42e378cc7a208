"""The test clock waits for claims under way, so that nothing is billed that never fell due."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0003_test_clock" / "test_clock.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
