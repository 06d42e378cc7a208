"""The kinds of fields that requests are made of: bounded, strict, and free of what a database refuses."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from middleman.domain.currencies import EXPONENTS, ISO_EXPONENTS

# No control characters: among them NUL, which PostgreSQL cannot store.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_STEM = "[0-9a-z]{1,40}"

CustomerIdField = Annotated[str, StringConstraints(strict=True, pattern=f"^cu_{_STEM}$")]
PlanIdField = Annotated[str, StringConstraints(strict=True, pattern=f"^pl_{_STEM}$")]
SubscriptionIdField = Annotated[str, StringConstraints(strict=True, pattern=f"^sub_{_STEM}$")]
InvoiceIdField = Annotated[str, StringConstraints(strict=True, pattern="^in_[0-9a-z]{1,40}_[0-9]{1,9}$")]
AttemptIdField = Annotated[
    str, StringConstraints(strict=True, pattern="^at_[0-9a-z]{1,40}_[0-9]{1,9}_[0-9]{1,9}$")
]


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank: leave it out, or give a name")
    return value


# Of the processor's 256 characters. It refuses text that is only space, and so does every reader of an invoice.
Name = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=200, pattern=_PRINTABLE),
    AfterValidator(_not_blank),
]

# The processor takes no address without a domain below a top-level one (a@localhost), and ASCII only. Labels and the
# top-level domain are as in RFC 1123, section 2.1, and RFC 3696, section 2; the local part as in HTML's input field, up to
# the 64 characters of RFC 5321.
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL_PATTERN = (
    rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@({_LABEL}\.)+[A-Za-z]([A-Za-z0-9-]{{0,61}}[A-Za-z0-9])$"
)
_EMAIL = re.compile(_EMAIL_PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)


def _address(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError(
            "must be an address such as ada@example.com: ASCII, and with a domain that is more than one name"
        )
    return value


Email = Annotated[
    str,
    StringConstraints(strict=True, min_length=3, max_length=254),
    AfterValidator(_address),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 3,
            "maxLength": 254,
            "pattern": _EMAIL_PATTERN,
            "examples": ["ada@example.com"],
        }
    ),
]
PaymentMethodField = Annotated[
    str,
    StringConstraints(strict=True, pattern="^(pm|tok|card|src)_[A-Za-z0-9_]{1,100}$"),
    Field(
        description="A payment method of the processor's, or one of its test tokens.",
        examples=["pm_card_visa"],
    ),
]
AmountMinor = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=99_999_999,
        description="In the minor unit of the currency: 1999 is 19.99 EUR, or 1999 JPY.",
        examples=[1999],
    ),
]


def _known_currency(value: str) -> str:
    if value not in ISO_EXPONENTS:
        raise ValueError("must be an active ISO 4217 code in upper case, such as EUR")
    if value not in EXPONENTS:
        raise ValueError("is a currency that the payment processor does not take")
    return value


Currency = Annotated[
    str,
    StringConstraints(strict=True, pattern="^[A-Z]{3}$"),
    AfterValidator(_known_currency),
    WithJsonSchema(
        {
            "type": "string",
            "enum": sorted(EXPONENTS),
            "description": "ISO 4217, as far as the processor takes it.",
        }
    ),
]


def _bounded_metadata(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if not 1 <= len(key) <= 40 or len(text) > 500:
            raise ValueError("keys have 1 to 40 characters, values at most 500")
        if "\0" in key or "\0" in text:
            raise ValueError("must not contain the NUL character")
        if not (_is_utf8(key) and _is_utf8(text)):
            raise ValueError("must be Unicode text: it contains half of a surrogate pair")
    return value


def _is_utf8(text: str) -> bool:
    """False for a lone surrogate, which JSON can escape and nothing after us can write down."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Metadata = Annotated[
    dict[Annotated[str, Field(strict=True)], Annotated[str, Field(strict=True)]],
    Field(max_length=50),
    AfterValidator(_bounded_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 50,
            "propertyNames": {"minLength": 1, "maxLength": 40, "pattern": "^[^\\u0000]*$"},
            "additionalProperties": {"type": "string", "maxLength": 500, "pattern": "^[^\\u0000]*$"},
            "description": "Up to 50 pairs of your own; keys to 40 characters, values to 500.",
            "examples": [{"order": "6735"}],
        }
    ),
]

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_ANCHOR_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_ANCHOR = re.compile(_ANCHOR_PATTERN, re.ASCII)


def _instant(value: Any) -> datetime:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("must be an instant such as 2026-01-31T09:00:00Z (RFC 3339)")
    return _moment(value)


def _anchor(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _ANCHOR.fullmatch(value):
        raise ValueError(
            "must be an instant such as 2026-01-31T09:00:00Z, or a local time such as 2026-01-31T09:00"
        )
    return _moment(value).replace(microsecond=0)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no date that exists, or lies outside the years 1 to 9999") from None


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T09:00:00Z"]}),
]
Anchor = Annotated[
    datetime | None,
    BeforeValidator(_anchor),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": f"^{_ANCHOR_PATTERN}$"}, {"type": "null"}],
            "description": "When the first billing period begins: an instant, or a local time in `time_zone`, of"
            " which whole seconds are kept. Its first period must still run now, and begin within ten years. Periods"
            " are counted on the wall clock: a local time that the clock shows twice is the later of the two, one that"
            " it leaves out is read with the offset before the change, and an instant that the clock shows again later"
            " is refused. Left out: now, in whole seconds; within an hour that the clock repeats, the later showing.",
            "examples": ["2026-01-31T09:00:00Z", "2026-01-31T09:00"],
        }
    ),
]


# PostgreSQL looks into its table of abbreviations before it looks for a zone, and an abbreviation has no summer
# time: periods in these would begin an hour off for half of the year. Each with a place that keeps the same time.
_ABBREVIATIONS: Mapping[str, str] = {
    "CET": "Europe/Brussels",
    "EET": "Europe/Athens",
    "MET": "Europe/Brussels",
    "WET": "Europe/Lisbon",
}


@cache
def time_zones() -> frozenset[str]:
    """The IANA time zones of the installed tzdata, without those that PostgreSQL takes for abbreviations."""
    return frozenset((resources.files("tzdata") / "zones").read_text().split()) - _ABBREVIATIONS.keys()


# tzdb counts some old names as another country's zone, because the two have kept the same time since 1970. Here they stay
# in their country, as the comments (`#=`) of its file `backward` say: the rules of two countries may part one day.
_OF_ITS_COUNTRY: Mapping[str, str] = {
    "Africa/Asmera": "Africa/Asmara",
    "Africa/Timbuktu": "Africa/Bamako",
    "America/Coral_Harbour": "America/Atikokan",
    "America/Virgin": "America/St_Thomas",
    "Antarctica/South_Pole": "Antarctica/McMurdo",
    "Iceland": "Atlantic/Reykjavik",
    "Pacific/Ponape": "Pacific/Pohnpei",
    "Pacific/Truk": "Pacific/Chuuk",
    "Pacific/Yap": "Pacific/Chuuk",
}


@cache
def _renamed_zones() -> Mapping[str, str]:
    """Each old name of the installed tzdata with the name of today. A server may lack the old ones.

    `L` lines of `tzdata.zi` are links. Those that `zone.tab` lists are places of today (Europe/Oslo), and no old names.
    """
    data = resources.files("tzdata") / "zoneinfo"
    places = {line.split("\t")[2] for line in (data / "zone.tab").read_text().splitlines() if line[:1] != "#"}
    lines = [line.split() for line in (data / "tzdata.zi").read_text().splitlines()]
    links = {words[2]: words[1] for words in lines if words[:1] == ["L"] and words[2] not in places}
    utc = {name: "UTC" for name, zone in links.items() if zone in ("Etc/UTC", "Etc/GMT")}
    return {**links, **_OF_ITS_COUNTRY, **utc, "Etc/UTC": "UTC", "Etc/GMT": "UTC"}


def canonical_zone(name: str) -> str:
    """The name of today of a time zone: America/Los_Angeles for US/Pacific, UTC for Zulu."""
    return _renamed_zones().get(name, name)


def _known_zone(value: str) -> str:
    if value in _ABBREVIATIONS:
        raise ValueError(
            f"is an abbreviation without summer time: use a place, such as {_ABBREVIATIONS[value]}"
        )
    if value not in time_zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return canonical_zone(value)


TimeZone = Annotated[
    str,
    StringConstraints(strict=True, pattern="^[A-Za-z0-9_+/-]{1,64}$"),
    AfterValidator(_known_zone),
    Field(
        description="IANA time zone in which the billing periods are counted. An old name is kept, and shown, under its"
        " name of today: `US/Pacific` as `America/Los_Angeles`.",
        examples=["Europe/Berlin"],
    ),
]
