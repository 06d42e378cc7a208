"""What the adapter needs to know to talk to Stripe, or to the sandbox in its place."""

import ipaddress
from collections.abc import Mapping
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
    """`api_base` empty is Stripe itself. `proxy` is `http://[user:password@]host:port`, empty for none.

    Neither the key nor the proxy, which may hold a password, is ever printed.
    """

    api_key: str = field(repr=False)
    api_base: str = ""
    proxy: str = field(default="", repr=False)
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
        if self.proxy:
            _check_proxy(self.proxy, self.base_url)
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

    @property
    def proxy_address(self) -> str:
        """`host:port` of the proxy, without its user and password; empty for none."""
        return urlsplit(self.proxy).netloc.rpartition("@")[2]


NO_PROXY = "none"


def chosen_proxy(setting: str, api_base: str, environment: Mapping[str, str]) -> str:
    """The proxy to use for `api_base`: the setting, or else what HTTPS_PROXY and NO_PROXY say; empty for none.

    `setting` is a proxy's URL, or `none`. The environment counts for https only: through a proxy, plain http could
    not be told from the proxy's own answers. A processor on this machine is never asked through a proxy.
    """
    base = urlsplit(api_base or STRIPE_API_BASE)
    if setting == NO_PROXY or _is_this_machine(base.hostname or ""):
        return ""
    if setting:
        return setting
    proxy = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or ""
    if not proxy or base.scheme != "https":
        return ""
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if _is_excepted(base.hostname or "", excepted):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(host: str, excepted: str) -> bool:
    """Whether NO_PROXY names `host`: itself, a domain that it is in, with or without a dot before it, or `*`."""
    names = (name.strip().lower().lstrip(".").partition(":")[0] for name in excepted.split(","))
    return any(name == "*" or host == name or host.endswith(f".{name}") for name in names if name)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_proxy(proxy: str, base_url: str) -> None:
    """The URL is not quoted: it may hold a password."""
    try:
        url = urlsplit(proxy)
        complete = url.scheme == "http" and bool(url.hostname) and url.port is not None
    except ValueError:  # a port that is none
        complete = False
    if not complete:
        raise StripeConfigError(
            "the proxy for the processor (MIDDLEMAN_STRIPE_PROXY, else HTTPS_PROXY) must read "
            "http://host:port or http://user:password@host:port"
        )
    base = urlsplit(base_url)
    if base.scheme != "https":
        raise StripeConfigError(
            "MIDDLEMAN_STRIPE_PROXY is for a processor at an https address: through a proxy, plain http cannot be "
            "told from the proxy's own answers; unset it, or correct MIDDLEMAN_STRIPE_API_BASE"
        )


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
