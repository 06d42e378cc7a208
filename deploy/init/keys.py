"""The stack's passwords and keys: each made once, at random, and kept with the authorities."""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.init.files import put


class CannotInit(Exception):
    """The stack cannot be set up as asked; the message says what to do."""


def _hex(prefix: str = "") -> Callable[[], str]:
    return lambda: prefix + secrets.token_hex(24)


_MADE: Mapping[str, Callable[[], str]] = {
    "db-password-superuser": _hex(),
    "db-password-api": _hex(),
    "db-password-replica": _hex(),
    "db-password-judge": _hex(),
    "api-key": _hex("mk_test_"),
    "sandbox-api-key": _hex("sk_test_"),
    "sandbox-admin-key": _hex("admin_"),
    "ops-token": _hex("ops_"),
    "stripe-webhook-secret": _hex("whsec_"),
    "grafana-password": _hex(),
}


def keys(authority: Path) -> dict[str, str]:
    """Every key by name; missing ones are made and kept below `authority`."""
    found = {}
    for name, make in _MADE.items():
        kept = authority / name
        if not kept.exists():
            put(kept, make().encode())
        found[name] = kept.read_text()
    return found


def stripe(authority: Path, given: str, sandbox_key: str, sandbox_url: str) -> tuple[str, str]:
    """(API key, base URL) of the processor: Stripe's test mode with a `given` key, else the sandbox.

    Books that one processor's ids stand in make no sense to the other, so the first start decides for good.

    Raises:
        CannotInit: the key is none of test mode, or the stack began with the other processor.
    """
    if given and not given.startswith(("sk_test_", "rk_test_")):
        raise CannotInit("STRIPE_API_KEY must be a key of Stripe's test mode (sk_test_…): correct it in .env")
    chosen, kept = ("stripe" if given else "sandbox"), authority / "processor"
    if kept.exists() and (began := kept.read_text()) != chosen:
        raise CannotInit(
            f"this stack began with the processor {began!r} and its books name that one's ids, but STRIPE_API_KEY is "
            f"{'set' if given else 'not set'} now: change it back, or start anew after `docker compose down -v`"
        )
    put(kept, chosen.encode())
    return (given, "") if given else (sandbox_key, sandbox_url)


def webhook(given: str, made: str, *, at_stripe: bool) -> tuple[str, str]:
    """(secrets that the API takes webhooks with, secret that the sandbox signs with); empty: none.

    Stripe signs with the secret of its own endpoint, so without a `given` one the API takes none from there.

    Raises:
        CannotInit: a given one is no endpoint's secret.
    """
    secrets = [part.strip() for part in given.split(",") if part.strip()]
    if not all(secret.startswith("whsec_") for secret in secrets):
        raise CannotInit(
            "STRIPE_WEBHOOK_SECRET must be an endpoint's secret (whsec_…), as `stripe listen` prints it: correct it in .env"
        )
    if at_stripe:
        return ",".join(secrets), made
    chosen = secrets or [made]
    return ",".join(chosen), chosen[0]
