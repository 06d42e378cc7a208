"""I1 to I7 of the design, each a function `(Ledger, Books) -> InvariantResult`."""

from collections.abc import Callable

from chaos.judge.books import Books
from chaos.judge.invariants.keys import one_key_is_one_request
from chaos.judge.invariants.money import (
    ledger_and_books_agree,
    one_payment_per_period,
    refunds_never_exceed_the_charge,
    unknown_intents_are_unpaid,
)
from chaos.judge.invariants.periods import every_due_period_is_billed
from chaos.judge.invariants.terms import terms_never_go_back
from chaos.judge.ledger import Ledger
from chaos.judge.verdict import InvariantResult

Invariant = Callable[[Ledger, Books], InvariantResult]

INVARIANTS: tuple[Invariant, ...] = (
    one_payment_per_period,
    ledger_and_books_agree,
    every_due_period_is_billed,
    terms_never_go_back,
    unknown_intents_are_unpaid,
    one_key_is_one_request,
    refunds_never_exceed_the_charge,
)
