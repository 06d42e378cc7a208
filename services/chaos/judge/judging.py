"""Read both sides, judge every invariant, pronounce the verdict."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from chaos.judge.books import Books
from chaos.judge.database_url import connect_arguments
from chaos.judge.invariants import invariants
from chaos.judge.invariants.periods import count_postponed
from chaos.judge.ledger import Ledger, LedgerUnreadableError, read_ledger
from chaos.judge.promptness import Promptness
from chaos.judge.read_books import database_clock, read_books
from chaos.judge.verdict import InvariantResult, Verdict

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_MS = 120_000


class CannotJudgeError(Exception):
    """A side cannot be read: the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the two sides are. `database_url` should name the role that can only read."""

    database_url: str
    ledger_url: str
    admin_key: str


async def judge(
    sources: Sources, *, require_rest: bool = False, promptness: Promptness | None = None
) -> Verdict:
    """The verdict over the system as it is now. Raises `CannotJudgeError`.

    `require_rest`: the system was brought to rest, so that whatever is still in flight is a violation.
    `promptness`: what the run that was judged knows of faults and clock; I8 is not checked without.
    """
    ledger, books = await read_sides(sources)
    # Minutes of arithmetic must not block the caller's loop, which may be drawing.
    return await asyncio.to_thread(
        judge_snapshot, ledger, books, require_rest=require_rest, promptness=promptness
    )


async def read_sides(sources: Sources) -> tuple[Ledger, Books]:
    """The processor's ledger, and then the books. Raises `CannotJudgeError`."""
    connection = await connect(sources.database_url)
    try:
        began = await database_clock(connection)
        ledger = await read_ledger(sources.ledger_url, sources.admin_key)
        return ledger, await read_books(connection, ledger_read_began=began)
    except LedgerUnreadableError as error:
        raise CannotJudgeError(str(error)) from error
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise CannotJudgeError(f"cannot read the books: {error}; has the schema been migrated?") from error
    finally:
        connection.terminate()


async def connect(database_url: str) -> "asyncpg.Connection[Any]":
    """A connection of the judge's own. Raises `CannotJudgeError`."""
    try:
        arguments = connect_arguments(database_url)
    except ValueError as error:
        raise CannotJudgeError(str(error)) from error
    settings = {"application_name": "middleman-judge", "statement_timeout": str(STATEMENT_TIMEOUT_MS)}
    try:
        return await asyncpg.connect(**arguments, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        reason = (str(error) or "no answer in time").splitlines()[0]
        raise CannotJudgeError(
            f"cannot reach the database ({type(error).__name__}: {reason}): is it running, and is the URL right?"
        ) from error


def judge_snapshot(
    ledger: Ledger, books: Books, *, require_rest: bool = False, promptness: Promptness | None = None
) -> Verdict:
    """The verdict over two sides already read."""
    results = tuple(invariant(ledger, books) for invariant in invariants(promptness))
    at_rest = not any(result.total_pending for result in results)
    if require_rest:
        results = tuple(result.strictly() for result in results)
    return Verdict(
        holds=all(result.holds for result in results),
        at_rest=at_rest,
        judged_at=datetime.now(UTC),
        business_now=books.business_now,
        counts=_counts(ledger, books, periods_due=_checked(results, "I3")),
        invariants=results,
    )


def _checked(results: tuple[InvariantResult, ...], name: str) -> int:
    return next(result.checked for result in results if result.name == name)


def _counts(ledger: Ledger, books: Books, *, periods_due: int) -> dict[str, Any]:
    succeeded = [intent for intent in ledger.intents.values() if intent.status == "succeeded"]
    totals: Counter[str] = Counter()
    for intent in succeeded:
        totals[intent.currency] += intent.amount_received
    charges = Counter(charge.status for intent in ledger.intents.values() for charge in intent.charges)
    return {
        "subscriptions": len(books.subscriptions),
        "periods_due": periods_due,
        "periods_postponed": count_postponed(books),
        "invoices": dict(sorted(Counter(invoice.status for invoice in books.invoices).items())),
        "intents": len(ledger.intents),
        "charges_succeeded": charges["succeeded"],
        "charges_failed": charges["failed"],
        "received_in_processor_units": dict(sorted(totals.items())),
        "declined_without_charge": sum(
            attempt.status == "declined" and attempt.charge_id is None for attempt in books.unpaid_attempts
        ),
        "idempotency_keys": len(ledger.keys),
        "terms": len(books.terms),
        "leaders": len({term.holder for term in books.terms}),
    }
