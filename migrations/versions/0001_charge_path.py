"""The charge path: who is billed, what is owed, what was tried, and who may write it."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Plain SQL, one file per concern: constraints and triggers carry the guarantees, so they stand in full.
_SQL = Path(__file__).parent / "0001_charge_path"


def upgrade() -> None:
    for script in ("tables.sql", "clock.sql", "fence.sql", "guards.sql", "roles.sql"):
        run_sql(_SQL / script)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
