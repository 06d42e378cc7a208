"""Every filter of the REST API's lists on an index, however much there is."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0006_list_filters" / "list_filters.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
