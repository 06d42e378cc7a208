"""A database URL, read as libpq reads it, and sessions opened by it.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS lists the parameters. asyncpg hands every
parameter that it does not know to the server, which refuses the login, and it gives all hosts one bound together, which
a host that does not answer uses up. So the URL is parsed here, and each host has its share of the time.
"""

import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncpg

_EXAMPLE = "write postgresql://user:password@host:port/database"
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+asyncpg)?)://"
    r"(?:(?P<user>[^:/@?]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<v6>[^]]+)\]|(?P<name>[^:@\[\]]*))(?::(?P<port>\d+))?")
_DEFAULT_PORT = 5432

# What libpq has and this process does, or has no need of.
_READ = frozenset(
    (
        *("host", "port", "user", "password", "dbname", "passfile", "krbsrvname", "gsslib"),
        *(
            "application_name",
            "fallback_application_name",
            "connect_timeout",
            "options",
            "target_session_attrs",
        ),
        *("ssl", "sslmode", "sslnegotiation", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
    )
)
# What libpq has and asyncpg has not: only the values that ask for nothing.
_INDIFFERENT: Mapping[str, frozenset[str]] = {
    "channel_binding": frozenset(("prefer", "disable")),
    "client_encoding": frozenset(("utf8", "UTF8", "utf-8", "UTF-8", "auto")),
    "gssencmode": frozenset(("prefer", "disable")),
    "gssdelegation": frozenset("0"),
    "keepalives": frozenset("1"),
    "load_balance_hosts": frozenset(("disable",)),
    "sslcertmode": frozenset(("allow",)),
    "sslcompression": frozenset("0"),
    "sslsni": frozenset("1"),
}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRS = ("read-write", "primary", "any")
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
# libpq's own variables, each in the place of a parameter that the URL does not name.
_VARIABLES: Mapping[str, str] = {
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


class BadDatabaseUrl(ValueError):
    """The database URL cannot be used; the message says why without showing its password."""


class TakesNoWrites(ConnectionError):
    """The server accepts the session and takes no writes: a standby, or default_transaction_read_only is on."""


class LoginRefused(ConnectionError):
    """The database does not let this user in: a person has to correct the URL or the database."""


class TlsRefused(LoginRefused):
    """The server has no TLS, or a certificate that the URL does not trust: a person has to correct one of them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is, and how to log in. `hosts` are tried in their order; a name that begins with / is a socket's."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    database: str
    arguments: Mapping[str, Any] = field(repr=False)  # of asyncpg.connect, the same for each host
    options: Mapping[str, str]  # startup parameters of the session

    async def connect(
        self,
        *,
        timeout_s: float,
        server_settings: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
        **more: Any,
    ) -> "asyncpg.Connection[asyncpg.Record]":
        """A session on the first host that takes it and takes writes. `timeout_s` is for all hosts together.

        Every process writes. A standby would accept the session, and would keep it when the address moves.

        Raises:
            TakesNoWrites: no host takes writes.
            LoginRefused: the user may not connect, or a host has not the TLS that the URL asks for (TlsRefused).
            OSError, TimeoutError, asyncpg.PostgresError: as the last host failed.
        """
        deadline = monotonic() + timeout_s
        failure: Exception = ConnectionError("no host is named")
        for number, (host, port) in enumerate(self.hosts, start=1):
            share_s = (deadline - monotonic()) / (len(self.hosts) - number + 1)
            try:
                return await asyncpg.connect(
                    host=host,
                    port=port,
                    user=self.user,
                    database=self.database,
                    timeout=max(share_s, 0.01),
                    target_session_attrs="read-write",
                    server_settings={**self.options, **server_settings},
                    **self.arguments,
                    **more,
                )
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresConnectionError,
                asyncpg.CannotConnectNowError,
            ) as error:
                failure = _explained(error)
            except asyncpg.TargetServerAttributeNotMatched:
                failure = TakesNoWrites(
                    f"{host}:{port} takes no writes: it is a standby, or default_transaction_read_only is on"
                )
            except asyncpg.InsufficientPrivilegeError as error:
                raise LoginRefused(
                    f"{error.args[0]}: user {self.user} is no role of it. Roles carry the name of their database, such as "
                    f"{self.database}_api, unless MIDDLEMAN_DB_ROLE_PREFIX gave migrate another"
                ) from error
            # Any other answer is the server's own: a wrong password is wrong everywhere.
        raise failure


def _explained(error: Exception) -> Exception:
    """`TlsRefused` where that is what happened; any other failure as it is."""
    # asyncpg has no class for a server that answers no to the request for TLS.
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsRefused(f"the server's certificate is not trusted: {error.verify_message}")
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return TlsRefused("the server offers no TLS, and sslmode asks for it")
    return error


def address(url: str) -> Address:
    """`postgresql://user:password@host:port/database?parameter=value`, checked with the files that it names.

    Raises:
        BadDatabaseUrl: it is not such a URL, or asks for what this process cannot do.
    """
    found = _URL.fullmatch(url)
    if found is None:
        scheme = url.partition(":")[0]
        if "://" in url and not scheme.startswith("postgres"):
            raise BadDatabaseUrl(f"scheme {scheme[:40]!r} is not PostgreSQL; write postgresql://…")
        raise BadDatabaseUrl(f"not a database URL; {_EXAMPLE}")
    parameters = _parameters(found["query"] or "")
    user = parameters.get("user") or unquote(found["user"] or "")
    database = parameters.get("dbname") or unquote(found["database"] or "")
    if not user or not database:
        raise BadDatabaseUrl(f"user or database name is missing; {_EXAMPLE}")
    password = parameters.get("password") or (unquote(found["password"]) if found["password"] else None)
    _is_one_of("target_session_attrs", parameters.get("target_session_attrs", "read-write"), _SESSION_ATTRS)
    if not parameters.get("connect_timeout", "0").lstrip("-").isdigit():
        raise BadDatabaseUrl("connect_timeout is not a number of seconds")
    arguments = {"password": password, **_tls(parameters)}
    arguments |= {
        name: parameters[name] for name in ("passfile", "krbsrvname", "gsslib") if name in parameters
    }
    return Address(
        hosts=_hosts(found["hosts"], parameters),
        user=user,
        database=database,
        arguments=arguments,
        options={"options": parameters["options"]} if "options" in parameters else {},
    )


def _parameters(query: str) -> dict[str, str]:
    """The URL's parameters, and for those that it does not name libpq's variables of the environment."""
    given: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        name, value = unquote(name), unquote(value)
        if not equals or not value:
            raise BadDatabaseUrl(f"parameter {name[:40]!r} has no value; write ?{name[:40]}=…")
        if name in _INDIFFERENT:
            if value not in _INDIFFERENT[name]:
                raise BadDatabaseUrl(
                    f"parameter {name}={value[:40]} is not supported by the driver, asyncpg; leave it out"
                )
        elif name not in _READ:
            raise BadDatabaseUrl(
                f"parameter {name[:40]!r} is unknown or not supported; docs/operations.md lists those that are"
            )
        given[name] = value
    if given.pop("ssl", None) not in (None, "true"):  # libpq takes JDBC's word
        raise BadDatabaseUrl("parameter ssl is true or absent; write sslmode=… instead")
    if "ssl=true" in query.split("&"):
        given.setdefault("sslmode", "require")
    variables = {name: os.environ.get(variable, "") for name, variable in _VARIABLES.items()}
    return {name: value for name, value in variables.items() if value} | given


def _hosts(authority: str, parameters: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    if not authority.strip(":") and "host" in parameters:
        names = parameters["host"].split(",")
        ports = parameters.get("port", str(_DEFAULT_PORT)).split(",")
        if len(ports) not in (1, len(names)) or not all(port.isdigit() for port in ports):
            raise BadDatabaseUrl("parameter port names one port, or one for each host")
        hosts = [(name, int(ports[index % len(ports)])) for index, name in enumerate(names)]
    else:
        hosts = [_host(part, parameters) for part in authority.split(",")]
    for name, port in hosts:
        if not name or not 1 <= port <= 65535:
            raise BadDatabaseUrl(f"a host is missing, or its port is none; {_EXAMPLE}")
    return tuple(hosts)


def _host(part: str, parameters: Mapping[str, str]) -> tuple[str, int]:
    found = _HOST.fullmatch(part)
    if found is None:
        raise BadDatabaseUrl(
            "not a database URL: host or port cannot be read. Percent-encode @ : / ? # % in a password, "
            "write an IPv6 address in brackets, and separate hosts by commas"
        )
    port = found["port"] or parameters.get("port", str(_DEFAULT_PORT))
    if not port.isdigit():
        raise BadDatabaseUrl("not a database URL: the port is not a number")
    return unquote(found["v6"] or found["name"]), int(port)


def _is_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadDatabaseUrl(f"parameter {name}={value[:40]} is none of {', '.join(known)}")


def _tls(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The arguments `ssl` and `direct_tls` of asyncpg."""
    root = parameters.get("sslrootcert")
    mode = parameters.get("sslmode", "verify-full" if root == "system" else "prefer")
    negotiation = parameters.get("sslnegotiation", "postgres")
    _is_one_of("sslmode", mode, _SSL_MODES)
    _is_one_of("sslnegotiation", negotiation, ("postgres", "direct"))
    if root == "system" and mode != "verify-full":
        raise BadDatabaseUrl(f"sslrootcert=system needs sslmode=verify-full, not {mode}")  # as libpq says
    if mode in ("disable", "allow", "prefer"):
        if negotiation == "direct":
            raise BadDatabaseUrl("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
        if "sslcert" in parameters and mode != "disable":
            raise BadDatabaseUrl(f"sslcert needs sslmode=require, verify-ca or verify-full, not {mode}")
        return {"ssl": mode}
    return {"ssl": _context(mode, parameters), "direct_tls": negotiation == "direct"}


def _context(mode: str, parameters: Mapping[str, str]) -> ssl.SSLContext:
    """What libpq does with the same files. They are read once: a process starts again to use renewed ones."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    context.set_alpn_protocols(["postgresql"])
    root = parameters.get("sslrootcert") or _usual("root.crt")
    if root == "system":
        context.load_default_certs()
    elif root:
        _load("sslrootcert", root, lambda: context.load_verify_locations(cafile=root))
    elif mode == "require":  # encrypted, and with whom is not checked
        context.verify_mode = ssl.CERT_NONE
    else:
        raise BadDatabaseUrl(
            f"sslmode={mode} needs the authority's certificate; add sslrootcert=/path/to/ca.pem, or sslrootcert=system"
        )
    revoked = parameters.get("sslcrl") or _usual("root.crl")
    if revoked and root:
        _load("sslcrl", revoked, lambda: context.load_verify_locations(cafile=revoked))
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    certificate = parameters.get("sslcert") or _usual("postgresql.crt")
    if certificate:
        key = parameters.get("sslkey") or _usual("postgresql.key")
        password = parameters.get("sslpassword", "")
        _load("sslcert", certificate, lambda: context.load_cert_chain(certificate, key, lambda: password))
    for name, default in (("ssl_min_protocol_version", "TLSv1.2"), ("ssl_max_protocol_version", "")):
        version = parameters.get(name, default)
        if version:
            _is_one_of(name, version, _TLS_VERSIONS)
            number = ssl.TLSVersion[version.replace(".", "_")]
            if name == "ssl_min_protocol_version":
                context.minimum_version = number
            else:
                context.maximum_version = number
    return context


def _usual(name: str) -> str | None:
    """libpq's place for such a file, where there is one."""
    try:
        place = Path.home() / ".postgresql" / name
        return str(place) if place.exists() else None
    except (OSError, RuntimeError):
        return None


def _load(name: str, path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = (
            error.strerror
            if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError)
            else "is not what it should be, or its key does not fit"
        )
        raise BadDatabaseUrl(
            f"{name}={path}: {reason}; name a PEM file that this process may read"
        ) from error
