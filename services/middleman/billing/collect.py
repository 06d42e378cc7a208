"""Carry one open attempt, from wherever it is, to its settled outcome (DESIGN §2.4 and §2.5).

    create (unconfirmed) ─▶ bind (fenced) ─▶ confirm that intent ─▶ settle (fenced)
                                                │        ▲
                                        unknown │        │ not executed: same key again
                                                ▼        │
                                            read the intent

The order for one invoice is sacred, and it stands in `Collector.collect`. Nothing here knows of
batches: `bind` and `settle` return once the transaction that carries them has committed.

An attempt that gets no definite answer for some tries is parked: the database keeps when it is due for the next one
(billing/parking.py). Where the processor stored a failure under a key and shows that nothing was executed, the next
try uses the next key; its number is in the database before the request leaves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import structlog

from middleman.billing.calls import NoAnswer, NotListed, Pauses, ProcessorCalls, is_stored
from middleman.billing.names import RequestNames
from middleman.domain.attempts import (
    Declined,
    DefiniteOutcome,
    RequiresAction,
    Succeeded,
    Unknown,
)
from middleman.domain.ids import AttemptId, PaymentIntentId
from middleman.domain.intents import IntentSnapshot, NotExecuted, resolve
from middleman.ports.failpoints import Failpoints
from middleman.ports.processor import (
    AMOUNT_DIFFERS,
    REMEMBERED_FAILURE,
    ConfirmIntent,
    Created,
    CreateIntent,
    Missing,
    NotSent,
    OperatorFault,
    Refused,
)
from middleman.ports.store import OpenAttempt
from middleman.ports.term import Term

log = structlog.get_logger(__name__)


class Ledger(Protocol):
    """The fenced writes of one attempt, each done when it has committed."""

    async def bind(self, attempt: OpenAttempt, intent_id: PaymentIntentId) -> PaymentIntentId:
        """Record the intent on the invoice; returns the one that is recorded, which may be an earlier one."""
        ...

    async def mark_unknown(self, attempt: OpenAttempt, reason: str) -> None:
        """Note that the outcome is unknown; the attempt stays open."""
        ...

    async def park(self, attempt: OpenAttempt, reason: str, *, times: int) -> None:
        """Keep when the attempt is due for its next try; it is parked for the `times`-th time (from 1)."""
        ...

    async def use_next_keys(self, attempt: OpenAttempt) -> None:
        """Record the numbers of the keys that `attempt` names."""
        ...

    async def settle(self, attempt: OpenAttempt, outcome: DefiniteOutcome) -> None:
        """Record the outcome, and what follows from it."""
        ...


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects attempts for one term."""

    term: Term
    calls: ProcessorCalls
    ledger: Ledger
    names: RequestNames
    failpoints: Failpoints
    defer: Callable[[AttemptId], None]

    async def collect(self, attempt: OpenAttempt, *, found: bool) -> None:
        """Settle `attempt`, park it, or leave it open when the replica drains.

        `found` says that a predecessor may have confirmed it already: then the processor is asked first.

        Raises:
            TrustLost, StaleTerm: this replica must stand down; the attempt is left to its successor.
            Draining: no call may start any more; the attempt is left to the successor.
        """
        try:
            await self._collect(attempt, found=found)
        except NoAnswer as silence:
            # Trouble that everybody has does not make the next try of this one any rarer.
            times = max(1, attempt.parked_count + silence.is_its_own)
            await self.ledger.park(attempt, silence.reason, times=times)

    async def _collect(self, attempt: OpenAttempt, *, found: bool) -> None:
        intent_id = attempt.payment_intent_id
        if intent_id is None:
            created = await self._create(attempt, repeat=found or attempt.attempt_no > 1)
            if isinstance(created, Refused):
                await self._settle(attempt, _declined(created))
                return
            await self.failpoints.hit("after_create")
            intent_id = await self.ledger.bind(attempt, created.intent_id)
            await self.failpoints.hit("after_bind")
            # Only a bound intent is ever confirmed. If it is another one than ours, it may have been.
            found = intent_id != created.intent_id
        outcome = await self._outcome(attempt, intent_id, read_first=found)
        await self._settle(attempt, outcome)

    async def _settle(self, attempt: OpenAttempt, outcome: DefiniteOutcome) -> None:
        await self.failpoints.hit("before_settle")
        await self.ledger.settle(attempt, outcome)

    async def _create(self, attempt: OpenAttempt, *, repeat: bool) -> Created | Refused:
        """Create the invoice's payment intent, unconfirmed: repeating it moves no money."""
        request = CreateIntent(
            idempotency_key=self.names.create_key(attempt, self.term),
            amount=attempt.amount,
            customer_id=attempt.processor_customer_id,
            metadata={
                "invoice_id": attempt.invoice_id,
                "subscription_id": attempt.subscription_id,
                "period_no": str(attempt.period_no),
            },
        )
        pauses = self._pauses(attempt)
        while True:
            answer = await self.calls.create(request, repeat=repeat)
            if is_stored(answer):
                # The key answers no better for a day, so look whether the intent was made all the same.
                match await self.calls.find_created(request, "invoice_id"):
                    case NotListed():
                        attempt = replace(attempt, create_key_no=attempt.create_key_no + 1)
                        await self.ledger.use_next_keys(attempt)
                        key = self.names.create_key(attempt, self.term)
                        request, repeat = replace(request, idempotency_key=key), True
                        if isinstance(answer, Refused):
                            continue  # what was refused a day ago may be cured: the next answer is a fresh one
                    case None:
                        if isinstance(answer, Refused):
                            answer = Unknown(REMEMBERED_FAILURE, answer.code)
                    case made:
                        return Created(made)
            match answer:
                case (Created() | Refused()) as definite:
                    return definite
                case Unknown() as unknown:
                    log.info("intent.create_unknown", invoice=attempt.invoice_id, reason=unknown.reason)
                    repeat = True
                    await pauses.wait("create", unknown)
                case OperatorFault() as fault:
                    # It concerns us and not the payer: the attempt stays open.
                    log.info("intent.create_unknown", invoice=attempt.invoice_id, reason=fault.code)
                    repeat = True
                    await pauses.wait("create", fault)
                case NotSent() as unsent:
                    await pauses.wait("create", unsent)
                case other:
                    assert_never(other)

    async def _outcome(
        self, attempt: OpenAttempt, intent_id: PaymentIntentId, *, read_first: bool
    ) -> DefiniteOutcome:
        """Confirm, and where that leaves doubt, read; never a new attempt."""
        pauses = self._pauses(attempt)
        repeat = read_first
        refused: Refused | None = None
        is_key_spent = is_renewed = False
        while True:
            if read_first:
                match await self._read(attempt, intent_id):
                    case NotExecuted():
                        if refused is not None:
                            return _declined(refused)
                        if is_key_spent:
                            attempt = replace(attempt, confirm_key_no=attempt.confirm_key_no + 1)
                            await self.ledger.use_next_keys(attempt)
                            is_key_spent, is_renewed = False, True
                    case (Unknown() | NotSent()) as unanswered:
                        await pauses.wait("read", unanswered)
                        continue
                    case definite:
                        return definite
            request = ConfirmIntent(
                intent_id=intent_id,
                idempotency_key=self.names.confirm_key(attempt, self.term),
                payment_method=attempt.payment_method_id,
                amount=attempt.amount,
            )
            match await self.calls.confirm(request, repeat=repeat):
                case (Succeeded() | Declined() | RequiresAction()) as outcome:
                    return outcome
                case Refused() as refused:
                    # Definite for this call, not for the debt: the intent tells how it stands.
                    log.info("attempt.confirm_refused", attempt=attempt.attempt_id, code=refused.code)
                case Unknown() as unknown:
                    await self.ledger.mark_unknown(attempt, unknown.reason)
                    is_key_spent = is_stored(unknown)
                    if is_renewed or not is_key_spent:
                        await pauses.wait("confirm", unknown)
                case OperatorFault() as fault:
                    # It concerns us and not the payer: the attempt stays open, and is read before the next confirm.
                    await self.ledger.mark_unknown(attempt, fault.code)
                    is_key_spent = is_stored(fault)
                    if is_renewed or not is_key_spent:
                        await pauses.wait("confirm", fault)
                case NotSent() as unsent:
                    await pauses.wait("confirm", unsent)
                    continue  # nothing was executed, so there is nothing to read
                case other:
                    assert_never(other)
            # A spent key is seen to before any pause: a parked attempt has one try, and would find the same key spent
            # at each of them. It happens once, since what the next key answers is fresh.
            read_first = repeat = True

    def _pauses(self, attempt: OpenAttempt) -> Pauses:
        was_parked = attempt.parked_count > 0
        return self.calls.pauses(lambda: self.defer(attempt.attempt_id), was_parked=was_parked)

    async def _read(
        self, attempt: OpenAttempt, intent_id: PaymentIntentId
    ) -> DefiniteOutcome | NotExecuted | Unknown | NotSent:
        match await self.calls.read(intent_id):
            case IntentSnapshot() as snapshot if snapshot.amount != attempt.amount:
                # Nothing may be booked that the processor did not charge, and nothing confirmed that is not owed.
                log.error(
                    "intent.amount_differs",
                    intent=intent_id,
                    attempt=attempt.attempt_id,
                    asks=str(snapshot.amount),
                    owed=str(attempt.amount),
                )
                return Unknown(AMOUNT_DIFFERS, f"{intent_id} asks {snapshot.amount}, owed {attempt.amount}")
            case IntentSnapshot() as snapshot:
                return resolve(snapshot, attempt.settled_charge_ids)
            case Missing():
                # A bound intent cannot vanish. Nobody may guess here: keep asking, and be loud about it.
                log.error("intent.missing", intent=intent_id, attempt=attempt.attempt_id)
                return Unknown("intent_missing", f"{intent_id} is not known to the processor")
            case OperatorFault() as fault:
                return Unknown("read_refused", fault.code)
            case (Unknown() | NotSent()) as unanswered:
                return unanswered
            case other:
                assert_never(other)


def _declined(refused: Refused) -> Declined:
    """A request that the processor refuses for good counts as a decline: dunning may find it cured."""
    return Declined(code=refused.code, message=refused.message)
