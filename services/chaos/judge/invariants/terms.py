"""I4: what a new leader has begun, no old one touches again."""

from chaos.judge.books import Books, Invoice, Term
from chaos.judge.ledger import Ledger
from chaos.judge.verdict import NOT_CHECKED, Findings, InvariantResult


def terms_never_go_back(ledger: Ledger, books: Books) -> InvariantResult:
    """I4: term numbers strictly grow, the fence stands at the last, and writes commit in their order.

    The order is that of the database's commit timestamps. A fenced transaction holds the fence row until
    it has committed, and the next term waits for that row, so the instants of two terms never overlap
    as long as the server's clock does not step back.

    The database keeps those instants for its younger transactions only, and forgets them when it is started without
    them. Where it knows none, nobody has looked at the order: that is said, and counts as nothing checked.
    """
    found = Findings("I4", "term numbers never go back in commit order, and the fence stands at the last")
    _check_terms(found, books)
    _check_commit_order(found, books)
    for invoice in books.invoices:
        _check_terms_of(found, invoice)
    if _order_unknown(books):
        found.checked = 0
    return found.result()


def _order_unknown(books: Books) -> bool:
    return bool(books.untracked_writes) and not books.write_runs


def _check_terms(found: Findings, books: Books) -> None:
    last: dict[int, Term] = {}
    for term in sorted(books.terms, key=lambda each: (each.scope, each.started_at)):
        found.checked += 1
        before = last.get(term.scope)
        if before is not None and term.number <= before.number:
            found.violation(f"term {term.number}", f"began after term {before.number} of scope {term.scope}")
        last[term.scope] = term
    fenced = [fence.scope for fence in books.fences]
    for scope in sorted(set(last) | set(fenced)):
        if fenced.count(scope) != 1:
            found.violation(f"scope {scope}", f"has {fenced.count(scope)} fences")
    for fence in books.fences:
        newest = last.get(fence.scope)
        if newest is None or (newest.number, newest.uid) != (fence.term, fence.uid):
            told = "no term" if newest is None else f"term {newest.number}"
            found.violation(f"scope {fence.scope}", f"the fence stands at {fence.term}, the last is {told}")


def _check_commit_order(found: Findings, books: Books) -> None:
    if books.write_runs is None:
        found.violation("database", "cannot check the commit order: set track_commit_timestamp = on")
        return
    untracked = books.untracked_writes
    if _order_unknown(books):
        found.note = f"{NOT_CHECKED}: none of {untracked} writes has a commit timestamp any more"
    elif untracked:
        writes = untracked + sum(run.writes for run in books.write_runs)
        found.note = (
            f"{untracked} of {writes} writes have no commit timestamp any more: their order was not checked"
        )
    highest = 0
    for run in books.write_runs:
        found.checked += run.writes
        if run.term < highest:
            found.violation(
                run.first_subject,
                f"{run.first_kind} and {run.writes - 1} more of term {run.term} were committed "
                f"after writes of term {highest} (from {run.first_committed_at.isoformat()})",
            )
        highest = max(highest, run.term)


def _check_terms_of(found: Findings, invoice: Invoice) -> None:
    steps = [
        term for term in (invoice.created_term, invoice.bound_term, invoice.settled_term) if term is not None
    ]
    if steps != sorted(steps):
        found.violation(invoice.id, f"created, bound and paid in the terms {steps}")
