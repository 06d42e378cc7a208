"""Which customers have replaced their payment method: the leader plans the next attempts for them."""

from pathlib import Path

from middleman.adapters.postgres.migrate import run_sql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parent / "0013_replaced_cards" / "replaced_cards.sql"


def upgrade() -> None:
    run_sql(_SQL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: money tables are never downgraded in place.")
