"""How every subcommand fails (one line, and a status that scripts can rely on), and how it is told a secret."""

import sys
from typing import NoReturn

import typer

from middleman.secret_files import SecretFileError, from_file

FAILED = 1
MISUSE = 2
INTERRUPTED = 130


def fail(message: str, status: int) -> NoReturn:
    """Say it on one line of standard error and exit; only a member's log may follow on lines of its own."""
    print(f"middleman: {message}", file=sys.stderr)
    raise typer.Exit(status)


def or_from_file(given: str | None, name: str) -> str | None:
    """What an option or its environment variable `name` gave, or else the content of the file `<name>_FILE`."""
    try:
        return given or from_file(name)
    except SecretFileError as error:
        fail(str(error), MISUSE)
