"""Books and ledger that were tampered with, by somebody who may: the database's owner, the processor itself."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from chaos.judge.verdict import Verdict, broken
from chaos.prove.control import Control
from chaos.prove.sight import NotProvokedError
from chaos.prove.world import World

DUE = 6
SQLITE_TIMEOUT_S = 5.0

ResultT = TypeVar("ResultT")
Doctoring = Callable[[World], AbstractAsyncContextManager[None]]

_KEEP_INVOICE = "CREATE TABLE removed_invoice AS SELECT * FROM invoices ORDER BY id LIMIT 1"
_REMOVE_INVOICE = "DELETE FROM invoices i USING removed_invoice r WHERE i.id = r.id"
_RETURN_INVOICE = "INSERT INTO invoices SELECT * FROM removed_invoice"
_FORGET_INVOICE = "DROP TABLE removed_invoice"
_CHANGE_ENTRY = """
    UPDATE ledger_entries SET amount_minor = amount_minor + $1
    WHERE account = 'processor_balance' AND attempt_id = (SELECT min(attempt_id) FROM ledger_entries)
"""
# Somebody is let off: a subscription like another one, whose invoice was given up after a decline that nobody heard of.
_LET_OFF = """
    INSERT INTO subscriptions
    SELECT (jsonb_populate_record(s, '{"id": "sub_letoff"}')).* FROM subscriptions s ORDER BY s.id LIMIT 1;
    INSERT INTO invoices
    SELECT (jsonb_populate_record(i, '{"id": "in_letoff_0", "subscription_id": "sub_letoff", "period_no": 0,
                "status": "uncollectible", "payment_intent_id": null, "bound_term": null}')).*
    FROM invoices i WHERE i.period_no = 0 ORDER BY i.id LIMIT 1;
    INSERT INTO payment_attempts
    SELECT (jsonb_populate_record(a, '{"id": "at_letoff_0_1", "invoice_id": "in_letoff_0", "status": "declined",
                "charge_id": null, "code": "card_declined"}')).*
    FROM payment_attempts a WHERE a.attempt_no = 1 ORDER BY a.id LIMIT 1;
"""
_FORGET_LET_OFF = """
    DELETE FROM payment_attempts WHERE id = 'at_letoff_0_1';
    DELETE FROM invoices WHERE id = 'in_letoff_0';
    DELETE FROM subscriptions WHERE id = 'sub_letoff';
"""
_TURN_DOWN = """
    UPDATE payment_attempts SET status = 'declined', code = 'card_declined'
    WHERE invoice_id = (SELECT min(id) FROM invoices);
    UPDATE invoices SET status = 'uncollectible' WHERE id = (SELECT min(id) FROM invoices);
"""
_ACCEPT = """
    UPDATE payment_attempts SET status = 'succeeded', code = NULL
    WHERE invoice_id = (SELECT min(id) FROM invoices);
    UPDATE invoices SET status = 'paid' WHERE id = (SELECT min(id) FROM invoices);
"""
_RAISE_PRICE = """
    UPDATE subscriptions SET amount_minor = amount_minor + 1 WHERE id = (SELECT min(id) FROM subscriptions)
"""
_LOWER_PRICE = """
    UPDATE subscriptions SET amount_minor = amount_minor - 1 WHERE id = (SELECT min(id) FROM subscriptions)
"""
_CHANGE_PAYER = """
    UPDATE invoices SET processor_customer_id = processor_customer_id || '_other' WHERE id = (SELECT min(id) FROM invoices)
"""
_RETURN_PAYER = """
    UPDATE invoices SET processor_customer_id = regexp_replace(processor_customer_id, '_other$', '')
    WHERE id = (SELECT min(id) FROM invoices)
"""
# Each booking balances, and together they are what the processor received: only the two invoices are booked wrong.
_SHIFT = """
    UPDATE ledger_entries e SET amount_minor = amount_minor + shift.by_minor * sign(amount_minor)::bigint
    FROM (SELECT min(attempt_id) AS attempt_id, ({by}) AS by_minor FROM ledger_entries
          UNION ALL SELECT max(attempt_id), -({by}) FROM ledger_entries) shift
    WHERE e.attempt_id = shift.attempt_id
"""


def _statements(do: str, undo: str) -> Doctoring:
    """Statements of the database's owner, and those that take them back."""

    @asynccontextmanager
    async def doctored(world: World) -> AsyncIterator[None]:
        await world.tamper(do)
        try:
            yield
        finally:
            await world.tamper(undo)

    return doctored


@asynccontextmanager
async def _invoice_removed(world: World) -> AsyncIterator[None]:
    await world.execute(_KEEP_INVOICE)
    await world.tamper(_REMOVE_INVOICE)
    try:
        yield
    finally:
        await world.tamper(_RETURN_INVOICE)
        await world.execute(_FORGET_INVOICE)


@asynccontextmanager
async def _entry_changed(world: World) -> AsyncIterator[None]:
    await world.tamper(_CHANGE_ENTRY, 1)
    try:
        yield
    finally:
        await world.tamper(_CHANGE_ENTRY, -1)


@asynccontextmanager
async def _refunded_beyond_the_charge(world: World) -> AsyncIterator[None]:
    """The processor itself refuses such a refund, so its own file says that it was made."""
    file = world.sandbox_data / "ledger.sqlite3"
    charge = await _with_sandbox_down(world, lambda: _refund_one_more(file))
    try:
        yield
    finally:
        await _with_sandbox_down(world, lambda: _put_back(file, charge))


@dataclass(frozen=True, slots=True)
class _Stored:
    """One object as the processor's file had it."""

    seq: int
    state: bytes


def _refund_one_more(file: Path) -> _Stored:
    with closing(sqlite3.connect(file, timeout=SQLITE_TIMEOUT_S)) as database, database:
        rows = database.execute("SELECT seq, state FROM objects WHERE kind = 'charge' ORDER BY seq")
        for seq, state in rows:
            charge = json.loads(state)
            if charge["decline"] is None:
                refunded = json.dumps(charge | {"amount_refunded": charge["amount"] + 1}).encode()
                database.execute("UPDATE objects SET state = ? WHERE seq = ?", (refunded, seq))
                return _Stored(seq, state)
    raise NotProvokedError(f"no charge in {file}: there is nothing to refund")


def _put_back(file: Path, stored: _Stored) -> None:
    with closing(sqlite3.connect(file, timeout=SQLITE_TIMEOUT_S)) as database, database:
        database.execute("UPDATE objects SET state = ? WHERE seq = ?", (stored.state, stored.seq))


async def _with_sandbox_down(world: World, change: Callable[[], ResultT]) -> ResultT:
    await world.cluster.sandbox.stop()
    try:
        return await asyncio.to_thread(change)
    finally:
        await world.cluster.sandbox.start()


async def _untouched(world: World) -> Verdict:
    await world.subscribe(DUE)
    await world.play("replica-1")
    await world.until_paid(DUE)
    return await world.verdict()


async def _touched(world: World, doctoring: Doctoring) -> Verdict:
    async with doctoring(world):
        verdict = await world.verdict()
    if not (undone := await world.verdict()).holds:
        raise NotProvokedError(f"the books are not what they were before: {', '.join(broken(undone))}")
    return verdict


def _control(name: str, what: str, breaks: str, doctoring: Doctoring) -> Control:
    return Control(
        name=name,
        what=what,
        breaks=frozenset({breaks}),
        right=_untouched,
        wrong=lambda world: _touched(world, doctoring),
        keeps_books=True,
    )


DOCTORED: tuple[Control, ...] = (
    _control("lost_invoice", "an invoice is removed from the books", "I3", _invoice_removed),
    _control(
        "let_off",
        "an invoice is given up as declined, and its card was never tried",
        "I3",
        _statements(_LET_OFF, _FORGET_LET_OFF),
    ),
    _control(
        "turned_down",
        "a card that paid is settled as declined",
        "I3",
        _statements(_TURN_DOWN, _ACCEPT),
    ),
    _control("doctored_entry", "one side of a booking is changed by a cent", "I9", _entry_changed),
    _control(
        "wrong_price",
        "a subscription costs a cent more than was charged and booked",
        "I2",
        _statements(_RAISE_PRICE, _LOWER_PRICE),
    ),
    _control(
        "wrong_payer",
        "an invoice is owed by another customer than the one who paid",
        "I2",
        _statements(_CHANGE_PAYER, _RETURN_PAYER),
    ),
    _control(
        "swapped_bookings",
        "a cent moves from one booking to another, on both of their sides",
        "I9",
        _statements(_SHIFT.format(by=1), _SHIFT.format(by=-1)),
    ),
    _control("refund_beyond", "a charge is refunded by more than it took", "I7", _refunded_beyond_the_charge),
)
