"""Object ids in Stripe's shape: a prefix that names the type and a random rest."""

import secrets

RANDOM_BYTES = 12


def new_id(prefix: str) -> str:
    """A fresh id such as `pi_` + 24 characters. Random, so that ids of two ledgers never meet."""
    return f"{prefix}_{secrets.token_hex(RANDOM_BYTES)}"


def client_secret(object_id: str) -> str:
    """What a browser would present for an intent. Derived from the id: nothing here is secret."""
    return f"{object_id}_secret_{object_id.partition('_')[2]}"
