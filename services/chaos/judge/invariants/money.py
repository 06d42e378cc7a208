"""I1, I2, I5, I7: the money that moved is the money that was owed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from chaos.judge.amounts import processor_amount
from chaos.judge.books import Books, Invoice, Subscription
from chaos.judge.ledger import Intent, Ledger
from chaos.judge.verdict import Findings, InvariantResult


def one_payment_per_period(ledger: Ledger, books: Books) -> InvariantResult:
    """I1: never twice."""
    found = Findings("I1", "per billing period at most one succeeded payment intent in the ledger")
    paid: dict[tuple[str, str], list[Intent]] = defaultdict(list)
    for intent in ledger.intents.values():
        if intent.period is not None and intent.took_money:
            paid[intent.period].append(intent)
        succeeded = sum(charge.status == "succeeded" for charge in intent.charges)
        if succeeded > 1:
            found.violation(intent.id, f"one intent, {succeeded} succeeded charges")
    found.checked = len(paid)
    for (subscription_id, period_no), intents in paid.items():
        if len(intents) > 1:
            ids = ", ".join(intent.id for intent in intents)
            found.violation(subscription_id, f"period {period_no} was charged {len(intents)} times: {ids}")
    return found.result()


def ledger_and_books_agree(ledger: Ledger, books: Books) -> InvariantResult:
    """I2: a succeeded intent there, exactly one paid invoice here, and the other way round.

    Every invoice, paid or not, asks for what its subscription costs (a price is copied there once, and never changes),
    and asks it of the subscription's own customer: both sides could agree on the wrong sum, or on the wrong payer.
    """
    found = Findings(
        "I2", "a succeeded intent there is exactly one paid invoice here, of the right price and payer"
    )
    by_intent = _invoices_by_intent(books.invoices)
    for intent in ledger.intents.values():
        if intent.status == "succeeded":
            found.checked += 1
            _check_paid_there(found, intent, by_intent.get(intent.id, []))
    for invoice in books.invoices:
        _check_price(found, invoice, books.subscriptions.get(invoice.subscription_id))
        _check_payer(found, invoice, ledger.intents.get(invoice.payment_intent_id or ""))
        if invoice.status == "paid":
            found.checked += 1
            _check_paid_here(found, invoice, ledger, books)
    return found.result()


def _invoices_by_intent(invoices: Iterable[Invoice]) -> Mapping[str, list[Invoice]]:
    by_intent: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in invoices:
        if invoice.payment_intent_id is not None:
            by_intent[invoice.payment_intent_id].append(invoice)
    return by_intent


def _check_price(found: Findings, invoice: Invoice, subscription: Subscription | None) -> None:
    if subscription is None:
        return  # I3 says so
    price = subscription.amount_minor, subscription.currency
    if (invoice.amount_minor, invoice.currency) != price:
        found.violation(
            invoice.id,
            f"asks for {invoice.amount_minor} {invoice.currency}; {subscription.id} costs {price[0]} {price[1]}",
        )


def _check_payer(found: Findings, invoice: Invoice, intent: Intent | None) -> None:
    if intent is not None and intent.customer != invoice.processor_customer_id:
        found.violation(
            invoice.id, f"is owed by {invoice.processor_customer_id}, {intent.id} asks {intent.customer}"
        )


def _check_paid_there(found: Findings, intent: Intent, invoices: list[Invoice]) -> None:
    if len(invoices) != 1:
        found.violation(intent.id, f"took money, and {len(invoices)} invoices name it")
        return
    invoice = invoices[0]
    if invoice.status == "open" and invoice.attempt_open:
        found.in_flight(intent.id, f"took money; the attempt of {invoice.id} is not settled yet")
    elif invoice.status != "paid":
        found.violation(intent.id, f"took money, but {invoice.id} is {invoice.status}")
    if intent.period != (invoice.subscription_id, str(invoice.period_no)):
        found.violation(intent.id, f"names the period {intent.period}, {invoice.id} another")


def _check_paid_here(found: Findings, invoice: Invoice, ledger: Ledger, books: Books) -> None:
    intent = ledger.intents.get(invoice.payment_intent_id or "")
    if intent is None or intent.status != "succeeded":
        told = "is not in the ledger" if intent is None else f"is {intent.status} there"
        report = found.violation if _settled_before_the_ledger_was_read(invoice, books) else found.in_flight
        report(invoice.id, f"is paid here, but {invoice.payment_intent_id} {told}")
        return
    owed = processor_amount(invoice.amount_minor, invoice.currency)
    if not (owed == intent.amount == intent.amount_received and invoice.currency == intent.currency):
        found.violation(
            invoice.id,
            f"owes {owed} {invoice.currency}, {intent.id} took {intent.amount_received} of "
            f"{intent.amount} {intent.currency}",
        )
    if invoice.charge_id not in {charge.id for charge in intent.charges if charge.status == "succeeded"}:
        found.violation(
            invoice.id, f"was settled with {invoice.charge_id}, which is no paid charge of {intent.id}"
        )


def _settled_before_the_ledger_was_read(invoice: Invoice, books: Books) -> bool:
    return invoice.settled_at is None or invoice.settled_at < books.ledger_read_began


def unknown_intents_are_unpaid(ledger: Ledger, books: Books) -> InvariantResult:
    """I5: what our database does not know has cost nobody anything.

    Strict on a running system too: binding precedes money, and the books were read after the ledger.
    """
    found = Findings("I5", "an intent that no invoice here names is unpaid")
    known = {invoice.payment_intent_id for invoice in books.invoices}
    for intent in ledger.intents.values():
        if intent.id in known:
            continue
        found.checked += 1
        if intent.took_money:
            found.violation(
                intent.id,
                f"is {intent.status}, received {intent.amount_received} {intent.currency}, and is not ours",
            )
    return found.result()


def refunds_never_exceed_the_charge(ledger: Ledger, books: Books) -> InvariantResult:
    """I7: nobody gets back more than they paid."""
    found = Findings("I7", "refunds never exceed the charge")
    for intent in ledger.intents.values():
        for charge in intent.charges:
            found.checked += 1
            paid = charge.amount if charge.status == "succeeded" else 0
            if charge.amount_refunded > paid:
                found.violation(
                    charge.id, f"refunded {charge.amount_refunded} of {paid} {charge.currency} paid"
                )
    return found.result()
