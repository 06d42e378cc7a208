"""I1 to I9 of the design, each a function `(Ledger, Books) -> InvariantResult`."""

from collections.abc import Callable
from functools import partial

from chaos.judge.books import Books
from chaos.judge.invariants.entries import entries_balance_and_equal_the_processor
from chaos.judge.invariants.keys import one_key_is_one_request
from chaos.judge.invariants.money import (
    ledger_and_books_agree,
    one_payment_per_period,
    refunds_never_exceed_the_charge,
    unknown_intents_are_unpaid,
)
from chaos.judge.invariants.periods import every_due_period_is_billed
from chaos.judge.invariants.prompt import every_period_is_prompt
from chaos.judge.invariants.terms import terms_never_go_back
from chaos.judge.ledger import Ledger
from chaos.judge.promptness import Promptness
from chaos.judge.verdict import InvariantResult

Invariant = Callable[[Ledger, Books], InvariantResult]


def invariants(promptness: Promptness | None = None) -> tuple[Invariant, ...]:
    """All of them, in the order of their numbers. Without `promptness` I8 says that it was not checked."""
    return (
        one_payment_per_period,
        ledger_and_books_agree,
        every_due_period_is_billed,
        terms_never_go_back,
        unknown_intents_are_unpaid,
        one_key_is_one_request,
        refunds_never_exceed_the_charge,
        partial(every_period_is_prompt, promptness=promptness),
        entries_balance_and_equal_the_processor,
    )
