"""I8: charged in time, as far as a run that hurt the system may ask for."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chaos.judge.books import Books, Invoice, Subscription
from chaos.judge.calendar import boundary, periods_due
from chaos.judge.invariants.periods import owes
from chaos.judge.ledger import Ledger
from chaos.judge.promptness import Promptness
from chaos.judge.verdict import NOT_CHECKED, Findings, InvariantResult

_NONE = timedelta(0)
CLOCK_TOLERANCE = timedelta(seconds=1)  # real time between the two readings that are compared


@dataclass(slots=True)
class _Waits:
    """How many periods waited for their first outcome, and for how long at most: without a fault, and through one."""

    alone: int = 0
    slowest: timedelta = _NONE
    through_faults: int = 0
    longest: timedelta = _NONE

    def add(self, waited: timedelta, *, disturbed: bool) -> None:
        if disturbed:
            self.through_faults += 1
            self.longest = max(self.longest, waited)
        else:
            self.alone += 1
            self.slowest = max(self.slowest, waited)

    def told(self, allowance: timedelta) -> str:
        """So that nobody takes what faults excuse for what was quick."""
        allowed_s = allowance.total_seconds()
        text = f"{self.alone} met no fault, slowest {self.slowest.total_seconds():.2f} s of {allowed_s:.2f} s"
        if not self.through_faults:
            return text
        return (
            f"{text}; {self.through_faults} waited through faults, whose time is not counted: "
            f"longest {self.longest.total_seconds():.2f} s in all"
        )


def every_period_is_prompt(
    ledger: Ledger, books: Books, *, promptness: Promptness | None = None
) -> InvariantResult:
    """I8. `checked` is the number of due periods; 0 without `promptness`, since the books know of no fault.

    A period without an outcome is pending until its deadline, and a violation from there on. A period behind an unpaid
    one falls due when that one is settled.
    """
    found = Findings("I8", "every due period has its first outcome within lease TTL + retry budget")
    if promptness is None:
        found.note = f"{NOT_CHECKED}: only a run knows its faults and its clock"
        return found.result()
    if _clock_is_told_wrong(found, books, promptness):
        return found.result()
    invoices = {(invoice.subscription_id, invoice.period_no): invoice for invoice in books.invoices}
    owing = {invoice.subscription_id for invoice in books.invoices if owes([invoice])}
    waits = _Waits()
    for subscription in books.subscriptions.values():
        for number in range(periods_due(subscription, books.business_now)):
            found.checked += 1
            if subscription.id in owing and (subscription.id, number) not in invoices:
                continue  # postponed behind a period that is not settled yet
            before = invoices.get((subscription.id, number - 1))
            due = _fell_due(subscription, number, books, promptness)
            if before is not None and before.settled_at is not None:
                due = max(due, before.settled_at)
            until = _check(
                found, subscription, number, invoices.get((subscription.id, number)), due, books, promptness
            )
            # An outcome before its due instant is one by the tolerance between the two clocks.
            waits.add(max(until - due, _NONE), disturbed=until > due and promptness.disturbed(due, until))
    found.note = waits.told(promptness.allowance)
    return found.result()


def _clock_is_told_wrong(found: Findings, books: Books, promptness: Promptness) -> bool:
    told = promptness.business_time(books.taken_at)
    rate = promptness.clock[-1].rate
    if rate == books.clock_rate and abs(books.business_now - told) <= CLOCK_TOLERANCE * max(1.0, rate):
        return False
    found.violation(
        "test clock",
        f"shows {books.business_now} at rate {books.clock_rate:g}; by the pieces it was to show {told} at rate "
        f"{rate:g}: tell the judge every setting of the clock",
    )
    return True


def _fell_due(subscription: Subscription, number: int, books: Books, promptness: Promptness) -> datetime:
    """In real time; never before the subscription was there to be billed."""
    due = promptness.fell_due(boundary(subscription, number))
    # Due by the database's clock and not yet by the pieces, which the tolerance allows: due only now.
    return max(subscription.created_at, books.taken_at if due is None else due)


def _check(
    found: Findings,
    subscription: Subscription,
    number: int,
    invoice: Invoice | None,
    due: datetime,
    books: Books,
    promptness: Promptness,
) -> datetime:
    """When it had its first outcome; now, if it has none."""
    deadline = promptness.deadline(due)
    outcome = None if invoice is None else invoice.first_outcome_at
    until = books.taken_at if outcome is None else outcome
    told = f"period {number} fell due at {due.isoformat()}"
    if outcome is not None and outcome > deadline:
        found.violation(
            subscription.id, f"{told}, first outcome {_seconds(outcome, deadline)} s after its deadline"
        )
    elif outcome is None and until > deadline:
        found.violation(
            subscription.id, f"{told}, no outcome {_seconds(until, deadline)} s after its deadline"
        )
    elif outcome is None:
        found.in_flight(subscription.id, f"{told}, and has no outcome yet")
    return until


def _seconds(late: datetime, deadline: datetime) -> str:
    return f"{(late - deadline).total_seconds():.2f}"
