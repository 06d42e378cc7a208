"""Money, and the integers that the processor takes for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.domain.currencies import EXPONENTS, ISO_EXPONENTS, MINIMUM_MINOR
from middleman.domain.money import (
    Money,
    MoneyError,
    from_processor_amount,
    require_price,
    to_processor_amount,
)
from stripe_sandbox.currencies import CURRENCIES

THREE_DECIMAL = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (1999, "EUR", "19.99 EUR"),
        (5, "USD", "0.05 USD"),
        (-5, "USD", "-0.05 USD"),
        (-1999, "EUR", "-19.99 EUR"),
        (1200, "JPY", "1200 JPY"),
        (-7, "JPY", "-7 JPY"),
        (1230, "KWD", "1.230 KWD"),
        (500, "ISK", "500 ISK"),
        (0, "EUR", "0.00 EUR"),
    ],
)
def test_money_is_shown_with_the_digits_of_its_currency(amount_minor: int, currency: str, shown: str) -> None:
    assert str(Money(amount_minor, currency)) == shown


@pytest.mark.parametrize(
    ("money", "amount"),
    [
        (Money(1999, "EUR"), 1999),
        (Money(500, "JPY"), 500),
        (Money(5120, "KWD"), 5120),
        (Money(500, "ISK"), 50000),
        (Money(500, "UGX"), 50000),
        (Money(50000, "MGA"), 500),
        (Money(99_999_999, "USD"), 99_999_999),
    ],
)
def test_the_processor_gets_its_own_idea_of_the_minor_unit(money: Money, amount: int) -> None:
    assert to_processor_amount(money) == amount
    assert from_processor_amount(amount, money.currency.lower()) == money


@pytest.mark.parametrize(
    ("money", "why"),
    [
        (Money(0, "EUR"), "above zero"),
        (Money(-1, "EUR"), "above zero"),
        (Money(5124, "KWD"), "last digit must be 0"),
        (Money(50050, "MGA"), "whole units"),
        (Money(100_000_000, "USD"), "eight digits"),
        (Money(1_000_000, "ISK"), "eight digits"),
        (Money(999, "IRR"), "does not take IRR"),
        (Money(1000, "IQD"), "does not take IQD"),
    ],
)
def test_an_amount_that_the_processor_would_refuse_is_refused_here(money: Money, why: str) -> None:
    with pytest.raises(MoneyError, match=why):
        to_processor_amount(money)


@pytest.mark.parametrize(
    ("least", "less"),
    [
        (Money(50, "EUR"), "0.50 EUR"),
        (Money(30, "GBP"), "0.30 GBP"),
        (Money(17_500, "HUF"), "175.00 HUF"),
        (Money(50, "JPY"), "50 JPY"),
    ],
)
def test_a_price_below_the_processors_minimum_is_refused_and_the_minimum_is_told(
    least: Money, less: str
) -> None:
    require_price(least)
    with pytest.raises(MoneyError, match=f"the processor's minimum is {less}"):
        require_price(Money(least.amount_minor - 1, least.currency))


def test_what_is_owed_already_is_asked_for_even_below_the_minimum() -> None:
    assert to_processor_amount(Money(1, "EUR")) == 1


def test_a_price_in_a_currency_without_a_known_minimum_is_anything_above_zero() -> None:
    require_price(Money(1, "KRW"))
    with pytest.raises(MoneyError, match="above zero"):
        require_price(Money(0, "KRW"))


def test_what_we_charge_in_is_what_the_processor_takes() -> None:
    taken = {code.upper() for code in CURRENCIES}
    assert set(EXPONENTS) == set(ISO_EXPONENTS) & taken
    assert set(MINIMUM_MINOR) <= set(EXPONENTS)


@given(st.sampled_from(sorted(EXPONENTS)), st.integers(1, 10_000))
def test_what_can_be_charged_comes_back_as_the_same_money(currency: str, units: int) -> None:
    money = Money(units * 10 ** EXPONENTS[currency], currency)

    assert from_processor_amount(to_processor_amount(money), currency) == money


def test_a_fractional_krona_from_the_processor_is_no_money() -> None:
    with pytest.raises(MoneyError, match="whole number"):
        from_processor_amount(50050, "isk")


@given(st.integers(), st.integers(), st.integers(-1000, 1000))
def test_arithmetic_is_that_of_integers(one: int, other: int, factor: int) -> None:
    a, b = Money(one, "EUR"), Money(other, "EUR")

    assert (a + b).amount_minor == one + other
    assert (a - b).amount_minor == one - other
    assert (a * factor).amount_minor == one * factor
    assert -a == Money(-one, "EUR")
    assert (a < b, a <= b) == (one < other, one <= other)


def test_currencies_do_not_mix() -> None:
    euro, dollar = Money(1, "EUR"), Money(1, "USD")
    with pytest.raises(MoneyError, match="different currencies"):
        euro + dollar
    with pytest.raises(MoneyError, match="different currencies"):
        euro - dollar
    with pytest.raises(MoneyError, match="different currencies"):
        assert euro < dollar
    with pytest.raises(MoneyError, match="different currencies"):
        assert euro <= dollar
    assert euro != dollar


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "E1R", "EUR\n"])
def test_a_currency_is_three_capitals(currency: str) -> None:
    with pytest.raises(MoneyError, match="no currency"):
        Money(1, currency)


@pytest.mark.parametrize("amount", [1.0, "1", True, None])
def test_an_amount_is_an_integer_and_nothing_like_it(amount: object) -> None:
    with pytest.raises(MoneyError, match="integer"):
        Money(amount, "EUR")  # type: ignore[arg-type]  # the wrong type is the point


def test_money_is_not_multiplied_by_floats() -> None:
    with pytest.raises(MoneyError, match="whole numbers"):
        Money(100, "EUR") * 0.5  # type: ignore[operator]  # the wrong type is the point


def test_the_table_has_the_known_exponents_and_no_duplicates() -> None:
    assert {EXPONENTS[code] for code in ("JPY", "KRW", "ISK", "UGX", "XOF")} == {0}
    assert {code for code, exponent in ISO_EXPONENTS.items() if exponent == 3} == THREE_DECIMAL
    assert all(len(code) == 3 and code.isupper() for code in ISO_EXPONENTS)
    assert len(ISO_EXPONENTS) > 140


@pytest.mark.parametrize("currency", ["XAU", "XXX", "DEM", "HRK"])
def test_money_in_a_currency_that_is_not_listed_is_readable_and_cannot_be_charged(currency: str) -> None:
    money = Money(1999, currency)
    assert str(money) == f"1999 minor units of {currency}"
    with pytest.raises(MoneyError, match=f"does not take {currency}"):
        to_processor_amount(money)
    with pytest.raises(MoneyError, match=f"does not take {currency}"):
        require_price(money)
