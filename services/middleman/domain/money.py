"""Money: an integer of minor units with its currency. No floats, no mixing of currencies.

Stripe's amounts (https://docs.stripe.com/currencies) are ISO 4217 minor units, with these exceptions:

* ISK and UGX have no minor unit but are sent as if they had two decimals: 500 ISK is 50000.
* Three-decimal currencies (BHD, JOD, KWD, OMR, TND, …) are sent in thousandths, whose last digit must be 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from middleman.domain.currencies import EXPONENTS, ISO_EXPONENTS, MINIMUM_MINOR

SENT_AS_TWO_DECIMAL: Final = frozenset({"ISK", "UGX"})
"""No minor unit in ISO 4217, two decimals (always 00) on the wire."""

SENT_WITHOUT_DECIMALS: Final = frozenset({"MGA"})
"""Two decimals in ISO 4217 (in fact fifths), none at Stripe."""

MAX_PROCESSOR_AMOUNT: Final = 99_999_999
"""Stripe's largest amount: eight digits (https://docs.stripe.com/api/payment_intents/create)."""

_FACTOR: Final[Mapping[str, int]] = dict.fromkeys(SENT_AS_TWO_DECIMAL, 100)


_CURRENCY: Final = re.compile("[A-Z]{3}")


class MoneyError(ValueError):
    """An amount or currency that cannot be charged; the message says what to change."""


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """`amount_minor` in the ISO 4217 minor unit of `currency` (upper case): Money(1999, "EUR") is €19.99.

    Any code of three capitals is money: what was agreed on in a currency that is no longer listed stays readable.
    Whether it can be charged is a question for `to_processor_amount`.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise MoneyError(f"an amount is an integer of minor units, got {self.amount_minor!r}")
        if not _CURRENCY.fullmatch(self.currency):
            raise MoneyError(f"no currency: {self.currency!r}: use an ISO 4217 code in upper case, like EUR")

    def __add__(self, other: "Money") -> "Money":
        self._require_same_currency(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._require_same_currency(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def __mul__(self, factor: int) -> "Money":
        if type(factor) is not int:
            raise MoneyError(f"money is multiplied by whole numbers only, got {factor!r}")
        return Money(self.amount_minor * factor, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        self._require_same_currency(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: "Money") -> bool:
        self._require_same_currency(other)
        return self.amount_minor <= other.amount_minor

    def __str__(self) -> str:
        """ "19.99 EUR", "1200 JPY", "1.230 KWD", "-0.05 USD"."""
        exponent = ISO_EXPONENTS.get(self.currency)
        if exponent is None:
            return f"{self.amount_minor} minor units of {self.currency}"
        sign = "-" if self.amount_minor < 0 else ""
        if exponent == 0:
            return f"{sign}{abs(self.amount_minor)} {self.currency}"
        whole, fraction = divmod(abs(self.amount_minor), 10**exponent)
        return f"{sign}{whole}.{fraction:0{exponent}d} {self.currency}"

    def _require_same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise MoneyError(f"{self} and {other} are of different currencies: convert one first")


def to_processor_amount(money: Money) -> int:
    """The integer that Stripe expects for `money`. Raises MoneyError where Stripe would refuse the amount."""
    if money.amount_minor <= 0:
        raise MoneyError(f"{money} cannot be charged: an amount must be above zero")
    if money.currency not in EXPONENTS:
        raise MoneyError(f"{money} cannot be charged: the processor does not take {money.currency}")
    if EXPONENTS[money.currency] == 3 and money.amount_minor % 10:
        raise MoneyError(f"{money} cannot be charged: in {money.currency} the last digit must be 0")
    if money.currency in SENT_WITHOUT_DECIMALS:
        amount, rest = divmod(money.amount_minor, 100)
        if rest:
            raise MoneyError(f"{money} cannot be charged: in {money.currency} only whole units are")
    else:
        amount = money.amount_minor * _FACTOR.get(money.currency, 1)
    if amount > MAX_PROCESSOR_AMOUNT:
        raise MoneyError(f"{money} cannot be charged: the processor's limit is eight digits")
    return amount


def require_price(money: Money) -> None:
    """Refuse what the processor would refuse, or find too little, whenever it fell due.

    Apart from `to_processor_amount`, because the processor may lower its minimum, and what is owed already is asked for.

    Raises:
        MoneyError: the message says what to change.
    """
    to_processor_amount(money)
    minimum = Money(MINIMUM_MINOR.get(money.currency, 1), money.currency)
    if money < minimum:
        raise MoneyError(f"{money} cannot be charged: the processor's minimum is {minimum}")


def from_processor_amount(amount: int, currency: str) -> Money:
    """The money that Stripe's `amount` in `currency` (either case) means, or MoneyError if it means none."""
    code = currency.upper()
    if code in SENT_WITHOUT_DECIMALS:
        return Money(amount * 100, code)
    minor, rest = divmod(amount, _FACTOR.get(code, 1))
    if rest:
        raise MoneyError(f"the processor's amount {amount} {code} is not a whole number of units")
    return Money(minor, code)
