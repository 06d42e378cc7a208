"""`expand[]=latest_charge.customer`: which references a caller may have as objects instead of ids, and the check of it.

Source: https://docs.stripe.com/api/expanding_objects. The objects are put in by `resources.expanded`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stripe_sandbox.errors import StripeError, invalid
from stripe_sandbox.forms import FormValue
from stripe_sandbox.params import Check, array, text

MAX_DEPTH = 4
MAX_PATHS = 20

ALWAYS_NULL = ""
"""The kind of a reference that Stripe would expand and that nothing ever sets here."""

NOT_PLAYED = "?"
"""The kind of what Stripe would put in and the sandbox does not have."""

REFERENCES: Mapping[str, Mapping[str, str]] = {
    "payment_intent": {
        "customer": "customer",
        "latest_charge": "charge",
        "payment_method": "payment_method",
        **dict.fromkeys(("application", "on_behalf_of", "review"), ALWAYS_NULL),
    },
    "charge": {
        "customer": "customer",
        "payment_intent": "payment_intent",
        **dict.fromkeys(
            (
                *("application", "application_fee", "balance_transaction", "failure_balance_transaction"),
                *("on_behalf_of", "review", "source_transfer"),
            ),
            ALWAYS_NULL,
        ),
        **dict.fromkeys(("refunds", "transfer"), NOT_PLAYED),
    },
    "customer": {
        "invoice_settings.default_payment_method": "payment_method",
        **dict.fromkeys(("default_source", "test_clock"), ALWAYS_NULL),
        **dict.fromkeys(("cash_balance", "sources", "subscriptions", "tax", "tax_ids"), NOT_PLAYED),
    },
    "payment_method": {"customer": "customer"},
    "setup_intent": {
        "customer": "customer",
        "payment_method": "payment_method",
        **dict.fromkeys(("application", "latest_attempt", "mandate", "single_use_mandate"), ALWAYS_NULL),
        "on_behalf_of": ALWAYS_NULL,
    },
    "refund": {
        "charge": "charge",
        "payment_intent": "payment_intent",
        **dict.fromkeys(
            ("balance_transaction", "source_transfer_reversal", "transfer_reversal"), ALWAYS_NULL
        ),
        **dict.fromkeys(("customer", "failure_balance_transaction", "payment_method"), NOT_PLAYED),
    },
    "event": {},
}
"""By kind of object: its references and the kinds that these name. A dot leads into an object inside."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one object to the next: the names down to the reference, and the kind of what it names."""

    names: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Path:
    """One expansion; in a list, of each of its objects."""

    steps: tuple[Step, ...]
    in_list: bool


def expandable(kind: str, *, in_list: bool = False) -> dict[str, Check]:
    """The parameter `expand` of an operation that answers with an object of `kind`, or with a list of them."""

    plain = text()

    def check(name: str, value: FormValue) -> Path:
        return _checked(kind, plain(name, value), in_list=in_list)

    return {"expand": array(check, most=MAX_PATHS)}


def _checked(kind: str, asked: str, *, in_list: bool) -> Path:
    names = asked.split(".")
    if len(names) > MAX_DEPTH:
        raise invalid(
            f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {asked[:200]}",
            param=None,
        )
    rest = names
    if in_list:
        if names[0] != "data" or len(names) == 1:
            hint = f" You may want to try expanding 'data.{asked}' instead." if _leads(kind, asked) else ""
            raise _cannot(asked, hint)
        rest = names[1:]
    steps: list[Step] = []
    while rest and kind != ALWAYS_NULL:
        step = _step(kind, rest)
        done = len(names) - len(rest)
        if step is None:
            raise _cannot(".".join(names[: done + 1]))
        if step.kind == NOT_PLAYED:
            raise invalid(
                f"Stripe expands {asked}, but this sandbox does not play it: leave it out.", param=None
            )
        steps.append(step)
        kind, rest = step.kind, rest[len(step.names) :]
    return Path(tuple(steps), in_list)


def _step(kind: str, names: list[str]) -> Step | None:
    for length in (1, 2):
        target = REFERENCES[kind].get(".".join(names[:length]))
        if target is not None:
            return Step(tuple(names[:length]), target)
    return None


def _leads(kind: str, asked: str) -> bool:
    return _step(kind, asked.split(".")) is not None


def _cannot(shown: str, hint: str = "") -> StripeError:
    return invalid(f"This property cannot be expanded ({shown[:200]}).{hint}", param=None)
