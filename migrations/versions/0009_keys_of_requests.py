"""Number the keys of a request at the processor from 1, as those of invoices and attempts are."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0009_keys_of_requests" / "keys_of_requests.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
