"""The processor's amounts, where they differ from ISO 4217.

The books count in the minor unit of ISO 4217. Stripe takes most currencies the same way, but ISK and UGX,
which have no minor unit, as if they had two decimals, and MGA, which has one on paper, as if it had none.
https://docs.stripe.com/currencies#special-cases and #zero-decimal
"""

from fractions import Fraction

_PER_MINOR_UNIT = {"ISK": Fraction(100), "UGX": Fraction(100), "MGA": Fraction(1, 100)}


def processor_amount(amount_minor: int, currency: str) -> Fraction:
    """What the processor has to show for so many minor units; a fraction can match no amount of its."""
    return amount_minor * _PER_MINOR_UNIT.get(currency, Fraction(1))
