"""What the adapter needs to know to talk to Stripe, or to the sandbox in its place."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

STRIPE_VERSION = "2026-08-26.dahlia"
"""Pinned, whatever the SDK's own default: what we send and parse was checked against this version."""

STRIPE_API_BASE = "https://api.stripe.com"

_LIVE_PREFIXES = ("sk_live_", "rk_live_")
_TEST_PREFIXES = ("sk_test_", "rk_test_")


class StripeConfigError(ValueError):
    """A setting with which no call must ever be made; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class StripeConfig:
    """`api_base` empty is Stripe itself. The key is never printed."""

    api_key: str = field(repr=False)
    api_base: str = ""
    call_timeout_s: float = 10.0  # of one call from connecting to the last byte
    connect_timeout_s: float = 3.0
    concurrency: int = 64  # connections, and calls at once
    max_waiting: int = 10_000  # callers that wait for a connection
    idle_connection_s: float = 30.0  # kept open without use for so long

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        if self.api_base:
            base = urlsplit(self.api_base)
            if base.scheme not in ("http", "https") or not base.hostname:
                raise StripeConfigError(
                    f"the Stripe API base reads like http://127.0.0.1:12111, got {self.api_base!r}"
                )
        for name in (
            "call_timeout_s",
            "connect_timeout_s",
            "concurrency",
            "max_waiting",
            "idle_connection_s",
        ):
            value = getattr(self, name)
            if not value > 0:
                raise StripeConfigError(f"{name} must be above zero, got {value}")

    @property
    def base_url(self) -> str:
        return (self.api_base or STRIPE_API_BASE).rstrip("/")


def _check_key(key: str) -> None:
    if not key:
        raise StripeConfigError("STRIPE_API_KEY is empty: set a test key, sk_test_…")
    if key.startswith(_LIVE_PREFIXES):
        raise StripeConfigError(
            "STRIPE_API_KEY is a live key and is refused: this runs in test mode only, set a key sk_test_…"
        )
    if not key.startswith(_TEST_PREFIXES) or not key.isascii() or not key.isprintable() or " " in key:
        raise StripeConfigError(
            "STRIPE_API_KEY is no Stripe test key: it must start with sk_test_ or rk_test_"
        )
