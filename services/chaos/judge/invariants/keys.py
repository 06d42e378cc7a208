"""I6: an idempotency key names one request, and a request is executed under one key."""

from collections import defaultdict

from chaos.judge.books import Books
from chaos.judge.ledger import KeyUse, Ledger
from chaos.judge.verdict import Findings, InvariantResult

CREATE_INTENT = ("POST", "/v1/payment_intents")


def one_key_is_one_request(ledger: Ledger, books: Books) -> InvariantResult:
    """I6. Two keys with one body would be two debts for one period: the body names the invoice.

    A key that was never executed made nothing: the processor stored a failure under it, and the next key took over.
    """
    found = Findings("I6", "one idempotency key, one request body, executed at most once")
    created: dict[str, list[KeyUse]] = defaultdict(list)
    for use in ledger.keys:
        found.checked += 1
        if use.mismatches:
            found.violation(use.key, f"came {use.mismatches} times with another request")
        if use.executions > 1:
            found.violation(use.key, f"was executed {use.executions} times")
        if (use.method, use.path) == CREATE_INTENT and use.executions:
            created[use.body_sha256].append(use)
    for uses in created.values():
        if len(uses) > 1:
            keys = ", ".join(use.key for use in uses)
            found.violation(uses[0].key, f"{len(uses)} keys created the same intent: {keys}")
    return found.result()
