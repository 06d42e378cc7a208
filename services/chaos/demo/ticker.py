"""The ticker: a few lines of what just happened, out of thousands of events."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chaos.demo.figures import Tick

if TYPE_CHECKING:
    import asyncpg

RARE_LIMIT = 6
MONEY_LIMIT = 2
_DECIMALS = {"JPY": 0, "ISK": 0, "KWD": 3}

_RARE = """
    SELECT seq, at, kind, term, subject, data->>'reason' AS reason FROM events
    WHERE seq > $1 AND kind = ANY($2) ORDER BY seq DESC LIMIT $3
"""
_MONEY = """
    SELECT e.seq, e.at, e.data->>'outcome' AS outcome, a.amount_minor, a.currency, a.invoice_id, a.decline_code
    FROM (SELECT * FROM events WHERE seq > $1 AND kind = 'attempt.settled' ORDER BY seq DESC LIMIT $2) e
    LEFT JOIN payment_attempts a ON a.id = e.subject ORDER BY e.seq DESC
"""
_RARE_KINDS = ("term.started", "term.ended", "attempt.unknown", "subscription.ended")


async def read_ticks(connection: "asyncpg.Connection[Any]", *, after: int) -> list[Tick]:
    """The newest few events past number `after`, oldest first."""
    rare = [_rare(row) for row in await connection.fetch(_RARE, after, list(_RARE_KINDS), RARE_LIMIT)]
    money = [_money(row) for row in await connection.fetch(_MONEY, after, MONEY_LIMIT)]
    return sorted(rare + money, key=lambda tick: tick.seq)


def _rare(row: Any) -> Tick:
    subject, term = row["subject"].partition("#")[0], row["term"]
    match row["kind"]:
        case "term.started":
            text, mood = f"{subject} takes office: term {term}", "term"
        case "term.ended":
            text, mood = f"{subject} ends term {term}: {row['reason']}", "term"
        case "attempt.unknown":
            text, mood = f"{subject}: outcome unknown, will be read from the processor", "bad"
        case _:
            text, mood = f"…{subject[-6:]}: {row['kind'].replace('.', ' ')}", "plain"
    return Tick(row["seq"], row["at"], text, mood)


def _money(row: Any) -> Tick:
    good = row["outcome"] == "succeeded"
    what = "paid" if good else str(row["decline_code"] or row["outcome"]).replace("_", " ")
    amount = f"{money(row['amount_minor'], row['currency'])} " if row["amount_minor"] is not None else ""
    subscription, _, period_no = (row["invoice_id"] or "").rpartition("_")
    return Tick(
        row["seq"],
        row["at"],
        f"{amount}{what}, period {period_no} of …{subscription[-6:]}",
        "money" if good else "bad",
    )


def money(amount_minor: int, currency: str) -> str:
    """`12.99 EUR`."""
    return f"{Decimal(amount_minor).scaleb(-_DECIMALS.get(currency, 2))} {currency}"
