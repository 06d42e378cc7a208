"""What an operation is, and the faults that may speak inside one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from stripe_sandbox.cards import Decline
from stripe_sandbox.params import Params, Spec
from stripe_sandbox.storage import Storage
from stripe_sandbox.world import World

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Linger:
    """The confirmed intent stays in `status` for `for_s` seconds of the sandbox's clock, and ends as `then` says:
    `succeed`, `decline` or `cancel`."""

    status: str
    for_s: float
    then: str


class DeclineRule(Protocol):
    """Asked before each charge whether a fault wants it declined."""

    def __call__(self, operation: str, customer: str | None, payment_method: str) -> Decline | None: ...


class LingerRule(Protocol):
    """Asked before each success whether a fault wants the outcome later."""

    def __call__(self, operation: str, customer: str | None, payment_method: str) -> Linger | None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What operations work with. `committed` reads what has been committed; `operation` is the running one's name."""

    world: World
    committed: Storage
    decline_rule: DeclineRule
    linger_rule: LingerRule
    operation: str = ""


class Later:
    """An answer that is read from the database, after everything before it has been committed."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], Json]) -> None:
        self.read = read


Run: TypeAlias = Callable[[Context, str, Params], Json | Later]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path. Fault rules and statistics call it by `name` (`resource.verb`); `run` gets the `{id}`."""

    name: str
    method: str
    path: str
    spec: Spec
    run: Run
