"""Who may ask: the account's secret key, as a bearer token or as the user of basic authentication."""

import base64
import hmac

from stripe_sandbox.errors import unauthorized


def presented_key(authorization: str | None) -> str | None:
    """The key in an Authorization header, or None."""
    scheme, _, value = (authorization or "").strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0] or None
        except ValueError:
            # All that can be wrong with it: no base64, no UTF-8 inside, or characters beyond ASCII.
            return None
    return None


def same_key(presented: str, expected: str) -> bool:
    """Compares without telling by its duration how much was right."""
    return hmac.compare_digest(presented.encode(), expected.encode())


def check_secret_key(authorization: str | None, expected: str) -> None:
    """Raises Stripe's 401 for a missing or wrong key."""
    key = presented_key(authorization)
    if key is None:
        raise unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer "
            "auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for "
            "details, or we can help at https://support.stripe.com/."
        )
    if not same_key(key, expected):
        shown = f"{key[:8]}{'*' * 8}{key[-4:]}" if len(key) > 16 else "*" * len(key)
        raise unauthorized(f"Invalid API Key provided: {shown}")
