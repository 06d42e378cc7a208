"""Fields say no to near misses, and why."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from middleman.entrypoints.api.fields import Anchor, Email, Instant, Metadata, PaymentMethodField, TimeZone
from middleman.entrypoints.api.models import CustomerIn, Interval


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T09:00:00Z", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:00:00.25+01:00", datetime(2026, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_as_utc(text: str, expected: datetime) -> None:
    assert TypeAdapter(Instant).validate_python(text) == expected


@pytest.mark.parametrize(
    "value", ["2026-01-31T09:00:00", "2026-01-31", "now", "1769850000", 1769850000, None]
)
def test_what_is_no_instant_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        TypeAdapter(Instant).validate_python(value)


def test_an_anchor_is_an_instant_or_a_local_time() -> None:
    read = TypeAdapter(Anchor).validate_python
    assert read("2026-01-31T09:00Z") == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert read("2026-01-31T09:00") == datetime(2026, 1, 31, 9)  # noqa: DTZ001  # a local time is naive
    assert read(None) is None


@pytest.mark.parametrize("email", ["a@b", "ada.l+x@example.co.uk"])
def test_addresses_that_exist_are_accepted(email: str) -> None:
    assert TypeAdapter(Email).validate_python(email) == email


@pytest.mark.parametrize(
    "email", ["", "a", "@b", "a@", "a b@c", "a@b\n", "a@b@c", "a@b..c", "a" * 250 + "@b.cd"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(email)


@pytest.mark.parametrize("name", ["utc", "GMT+25", "CET-1CEST", "../etc/passwd", ""])
def test_a_time_zone_is_an_iana_name(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TimeZone).validate_python(name)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("CET", "Europe/Brussels"),
        ("EET", "Europe/Athens"),
        ("MET", "Europe/Brussels"),
        ("WET", "Europe/Lisbon"),
    ],
)
def test_an_abbreviation_is_refused_and_a_place_is_named_instead(name: str, place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        TypeAdapter(TimeZone).validate_python(name)
    assert TypeAdapter(TimeZone).validate_python(place) == place


@pytest.mark.parametrize("token", ["pm_card_visa", "pm_1Nabc", "tok_visa"])
def test_payment_methods_look_like_the_processors(token: str) -> None:
    assert TypeAdapter(PaymentMethodField).validate_python(token) == token


@pytest.mark.parametrize("token", ["visa", "pm_", "pm_a b", "4242424242424242", "pm_x/../y"])
def test_a_card_number_is_no_payment_method(token: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PaymentMethodField).validate_python(token)


@pytest.mark.parametrize(
    "metadata",
    [
        {str(n): "" for n in range(51)},
        {"": "x"},
        {"k" * 41: "x"},
        {"k": "x" * 501},
        {"k\0": "x"},
        {"k": None},
    ],
)
def test_metadata_is_bounded(metadata: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Metadata).validate_python(metadata)


def test_metadata_up_to_its_bounds_is_accepted() -> None:
    full = {f"{n:040}": "ü" * 500 for n in range(50)}
    assert TypeAdapter(Metadata).validate_python(full) == full


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        CustomerIn.model_validate({"email": "a@b", "payment_method": "pm_card_visa", "emial": "x"})


@pytest.mark.parametrize(("unit", "count"), [("day", 366), ("week", 156), ("month", 36), ("year", 3)])
def test_an_interval_ends_at_about_three_years(unit: Any, count: int) -> None:
    assert Interval(unit=unit, count=count).count == count
    with pytest.raises(ValidationError):
        Interval(unit=unit, count=count + 1)
