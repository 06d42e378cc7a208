"""How every subcommand fails: one line, and a status that scripts can rely on."""

import sys
from typing import NoReturn

import typer

FAILED = 1
MISUSE = 2
INTERRUPTED = 130


def fail(message: str, status: int) -> NoReturn:
    """Say it on one line of standard error and exit; only a member's log may follow on lines of its own."""
    print(f"middleman: {message}", file=sys.stderr)
    raise typer.Exit(status)
