"""The judge's database URL, read as libpq reads it: asyncpg hands what it does not know to the server as a setting."""

import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

# Without a meaning for a session that reads once and ends, or with the value that asks for nothing.
_DROPPED = frozenset(
    (
        *("connect_timeout", "application_name", "fallback_application_name", "client_encoding"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("sslsni", "sslcompression", "sslcertmode"),
    )
)
_WEAKEST = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "load_balance_hosts": ("disable",),
}
_DRIVERS = frozenset(
    (
        *("host", "port", "user", "password", "dbname", "passfile", "options", "target_session_attrs"),
        *("krbsrvname", "gsslib", "sslmode", "sslnegotiation", "sslcert", "sslkey", "sslpassword"),
        *("sslrootcert", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    )
)


def connect_arguments(url: str) -> dict[str, Any]:
    """`dsn`, and `ssl` where that is needed, for `asyncpg.connect`. Raises `ValueError`, without the password."""
    base, _, query = url.partition("?")
    try:
        parameters = dict(parse_qsl(query.replace("+", "%2B"), strict_parsing=True)) if query else {}
        urlsplit(base)
    except ValueError:
        raise ValueError(
            "the database URL cannot be read: write postgresql://user:password@host:port/database"
        ) from None
    if parameters.pop("ssl", None) == "true":
        parameters.setdefault("sslmode", "require")
    kept: dict[str, str] = {}
    for name, value in parameters.items():
        if name in _DROPPED or value in _WEAKEST.get(name, ()):
            continue
        if name not in _DRIVERS:
            raise ValueError(
                f"parameter {name[:40]!r} of the database URL is unknown or not supported: leave it out"
            )
        kept[name] = value
    arguments: dict[str, Any] = {}
    if kept.get("sslrootcert") == "system":
        if kept.pop("sslmode", "verify-full") != "verify-full":
            raise ValueError("sslrootcert=system needs sslmode=verify-full")
        del kept["sslrootcert"]
        arguments["ssl"] = ssl.create_default_context()
    return {"dsn": base + ("?" + urlencode(kept, quote_via=quote) if kept else ""), **arguments}
