"""The environment that members get: ours, without what would silently configure them otherwise."""

import os

_KEPT = frozenset({"ETCD_UNSUPPORTED_ARCH"})  # etcd refuses some architectures without it
_PREFIXES = ("PG", "ETCD", "MIDDLEMAN_", "STRIPE_", "UVICORN_")


def clean_environment() -> dict[str, str]:
    """A copy of the environment without variables that a server or a replica would take for its settings."""
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_PREFIXES)
    }
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
