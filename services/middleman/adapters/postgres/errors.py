"""Translate the database's errors at the adapter's edge."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from middleman.adapters.postgres.address import LoginRefused, TakesNoWrites
from middleman.domain.money import MoneyError
from middleman.ports.errors import StaleTerm
from middleman.ports.store import StoreRefused, StoreUnavailable
from middleman.ports.term import Term

STALE_TERM = "MM001"
# Classes and codes after which the same transaction may well succeed:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = ("08", "53", "58")  # connection, resources, system
_TRANSIENT_CODES = (
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
    "57014",  # query_canceled, also by statement_timeout
    "57P01",  # admin_shutdown, also pg_terminate_backend
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
)

_READ_ONLY = "25006"
# The server ends, has crashed, starts, or takes no writes: what one session hears concerns all that lead to it.
_SERVER_IS_GONE = (_READ_ONLY, "57P01", "57P02", "57P03")
_REFUSED_CLASSES = ("22", "23")  # data exception, integrity constraint violation


_NO_AUTHORIZATION_CLASS = "28"
_NO_SUCH_DATABASE = "3D000"


def sqlstate(error: BaseException) -> str:
    """The five-character code of a database error, or an empty string."""
    origin = getattr(error, "orig", error)
    return str(getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None) or "")


class ShutOut(StoreUnavailable):
    """The database lets nobody in under this URL (user, password, name, TLS): a person has to correct it."""


class ReadOnlyServer(StoreUnavailable):
    """The address leads to a server that takes no writes: a standby, until the address moves, or a read-only primary."""


def says_server_is_gone(error: BaseException) -> bool:
    """Whether the server said that it takes no writes, ends, has crashed or does not serve yet."""
    return sqlstate(error) in _SERVER_IS_GONE


def is_shut_out(error: BaseException) -> bool:
    """Whether the database refused the login itself, or has not the TLS that the URL asks for."""
    if isinstance(error, LoginRefused):
        return True
    code = sqlstate(error)
    return code[:2] == _NO_AUTHORIZATION_CLASS or code == _NO_SUCH_DATABASE


def is_transient(error: BaseException) -> bool:
    """Whether the database was away or busy, as opposed to refusing what we asked."""
    if isinstance(error, (OSError, TimeoutError, PoolTimeout, InterfaceError)):
        return True
    if not isinstance(error, DBAPIError):
        # asyncpg reports a connection that broke while connecting with its own exceptions.
        return sqlstate(error)[:2] in _TRANSIENT_CLASSES or sqlstate(error) in _TRANSIENT_CODES
    code = sqlstate(error)
    return error.connection_invalidated or code[:2] in _TRANSIENT_CLASSES or code in _TRANSIENT_CODES


@contextmanager
def translated(term: Term | None = None) -> Iterator[None]:
    """Turn driver errors into `StaleTerm`, `StoreUnavailable` and its kinds; anything else is a defect and passes."""
    try:
        yield
    except (StaleTerm, StoreUnavailable, StoreRefused):
        raise
    except Exception as error:
        if sqlstate(error) == STALE_TERM:
            number = "?" if term is None else str(term.number)
            raise StaleTerm(f"the database refused term {number}: {_told(error)}") from error
        if isinstance(error, TakesNoWrites) or sqlstate(error) == _READ_ONLY:
            raise ReadOnlyServer(
                "the database server takes no writes: it is a standby, or default_transaction_read_only is on"
            ) from error
        if is_shut_out(error):
            raise ShutOut(f"cannot log in: {reason_of(error)}") from error
        if is_transient(error):
            raise StoreUnavailable(f"{type(error).__name__}: {_first_line(error)}") from error
        raise


@contextmanager
def refusals() -> Iterator[None]:
    """Turn refusals of the values themselves, the database's and the domain's, into `StoreRefused`."""
    try:
        yield
    except (DBAPIError, MoneyError) as error:
        if isinstance(error, MoneyError) or sqlstate(error)[:2] in _REFUSED_CLASSES:
            raise StoreRefused(f"{type(error).__name__}: {_first_line(error)}") from error
        raise


def reason_of(error: BaseException) -> str:
    """What the server said, in one line and without the statement, which may carry a password."""
    origin = getattr(error, "orig", None) or error
    return (str(origin.__cause__ or origin).strip() or type(error).__name__).split("\n")[0][:300]


def _told(error: Exception) -> str:
    """What the fence said: a later term has begun, or the database has failed over within this one."""
    said = reason_of(error)
    return said if "timeline" in said else f"a later one has begun ({said})"


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", error)).strip().split("\n")[0][:300]
