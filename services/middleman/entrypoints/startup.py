"""What every process does at its start: logging, and one line instead of a stack trace."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog

from middleman.adapters.postgres.address import BadDatabaseUrl, LoginRefused, TlsRefused
from middleman.adapters.postgres.errors import is_shut_out, is_transient, reason_of, sqlstate
from middleman.settings import refuse

_INSUFFICIENT_PRIVILEGE = "42501"


def configure_logging(process: str, log_format: str, level: str = "info", **bound: Any) -> None:
    """JSON lines on stderr, or colours where a person looks on (`auto` decides by the terminal)."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process, **bound)


def run_to_exit(process: str, log_format: str, run: Callable[[], None]) -> None:
    """Run, and turn what a person can cure into one line: exit 1 when something is away, 2 when misconfigured."""
    configure_logging(process, log_format)
    try:
        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BadDatabaseUrl as error:
        refuse(f"MIDDLEMAN_DATABASE_URL: {error}")
    except LoginRefused as error:
        if not isinstance(error, TlsRefused):
            refuse(f"MIDDLEMAN_DATABASE_URL: {error}")
        refuse(f"MIDDLEMAN_DATABASE_URL: {error}; correct sslmode and sslrootcert, or the server")
    except (OSError, TimeoutError) as error:
        print(f"middleman {process}: cannot reach a server: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except Exception as error:
        # Without the exception itself: its text repeats the statement, and a statement may carry a password.
        if is_shut_out(error):
            refuse(f"MIDDLEMAN_DATABASE_URL: {reason_of(error)}; correct its user, password or database name")
        if sqlstate(error) == _INSUFFICIENT_PRIVILEGE:
            refuse(f"MIDDLEMAN_DATABASE_URL: {reason_of(error)}; use the URL of the database's owner")
        if not is_transient(error):
            raise
        told = f"the database cannot be used now: {reason_of(error)}; try again in a moment"
        print(f"middleman {process}: {told}", file=sys.stderr)
        raise SystemExit(1) from None
