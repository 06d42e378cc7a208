"""Who subscribes to what: a seeded crowd with the cards, currencies and time zones that hurt."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

CancelAt = Literal["now", "period_end"]

# Prices in ISO 4217 minor units: no decimals (JPY), three (KWD), and one that Stripe counts its own way (ISK).
_PRICES = {"EUR": 1299, "USD": 1499, "GBP": 999, "JPY": 1490, "KWD": 4500, "ISK": 1890}
_INTERVALS = {"daily": ("day", 1), "weekly": ("week", 1), "monthly": ("month", 1)}
_INTERVAL_WEIGHTS = {"daily": 4, "weekly": 3, "monthly": 3}
_CURRENCY_WEIGHTS = {"EUR": 6, "USD": 6, "GBP": 3, "JPY": 2, "KWD": 1, "ISK": 1}
_TIME_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
)
_FAILING_SHARE = 0.03
_GOOD, _DECLINING = "pm_card_visa", "pm_card_chargeCustomerFail"
_CANCELING_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """A plan to offer."""

    name: str
    amount_minor: int
    currency: str
    interval_unit: str
    interval_count: int


@dataclass(frozen=True, slots=True)
class SubscriberDraft:
    """A customer to be, with one subscription. `plan` counts within `plans()`."""

    number: int
    email: str
    payment_method: str
    plan: int
    time_zone: str
    cancels: CancelAt | None

    @property
    def declines(self) -> bool:
        """Whether the card attaches and then declines every charge."""
        return self.payment_method == _DECLINING


def plans() -> tuple[PlanDraft, ...]:
    """Every interval in every currency."""
    return tuple(
        PlanDraft(f"{interval} {currency}", _PRICES[currency], currency, *_INTERVALS[interval])
        for interval in _INTERVALS
        for currency in _PRICES
    )


def subscribers(count: int, seed: int) -> Iterator[SubscriberDraft]:
    """The same crowd for the same seed."""
    dice = random.Random(seed)  # noqa: S311  # repeatable on purpose; no secret depends on it
    offered = plans()
    weights = [_INTERVAL_WEIGHTS[plan.name.split()[0]] * _CURRENCY_WEIGHTS[plan.currency] for plan in offered]
    for number in range(1, count + 1):
        fails = dice.random() < _FAILING_SHARE
        cancels = dice.random() < _CANCELING_SHARE
        yield SubscriberDraft(
            number=number,
            email=f"subscriber-{number}@example.com",
            payment_method=_DECLINING if fails else _GOOD,
            plan=dice.choices(range(len(offered)), weights)[0],
            time_zone=dice.choice(_TIME_ZONES),
            cancels=dice.choice(("now", "period_end")) if cancels else None,
        )
