"""A negative control: something that is wrong on purpose, and the same thing done right."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.judge.verdict import Verdict
from chaos.prove.world import World

Play = Callable[[World], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`right` is played first, on empty books, and has to stay green; then `wrong`, which has to break `breaks`.

    `wrong` begins on empty books too, or on those that its twin left (`keeps_books`). Then it also undoes what it did,
    and sees that the verdict holds again: the next such control finds the same books.
    """

    name: str
    what: str
    breaks: frozenset[str]
    right: Play
    wrong: Play
    keeps_books: bool = False
