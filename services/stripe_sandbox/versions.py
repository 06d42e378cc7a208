"""Which values of the header `Stripe-Version` are an API version.

Stripe names a version by its date and, since autumn 2024, by its release. The sandbox answers in one version only
(`resources.events.API_VERSION`), but refuses what Stripe would refuse: a date that is none, a release that does not
exist, a version of the future. Within a release it takes any date, while Stripe has about one a month.
Source: https://docs.stripe.com/api/versioning.
"""

import re
from datetime import date

from stripe_sandbox.errors import StripeError, invalid

_FORM = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:\.([a-z]+))?")
_FIRST = date(2011, 1, 1)
_RELEASES = {
    None: (_FIRST, date(2024, 9, 30)),
    "acacia": (date(2024, 9, 30), date(2025, 3, 31)),
    "basil": (date(2025, 3, 31), date(2025, 9, 30)),
    "clover": (date(2025, 9, 30), date(2026, 3, 25)),
    "dahlia": (date(2026, 3, 25), date(2026, 9, 30)),
    "endive": (date(2026, 9, 30), date(2027, 3, 31)),
}
"""By name: the first day, and the first day of the next one."""


def check_version(version: str | None) -> None:
    """Raises Stripe's 400 for an unknown version; without the header the account's own is meant."""
    if version is not None and not _is_known(version):
        raise unknown_version(version)


def unknown_version(version: str) -> StripeError:
    """400: no such version."""
    return invalid(f"Invalid Stripe API version: {version[:100]}", param=None)


def _is_known(version: str) -> bool:
    match = _FORM.fullmatch(version)
    if match is None:
        return False
    release = _RELEASES.get(match[4])
    try:
        day = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return release is not None and release[0] <= day < release[1]
