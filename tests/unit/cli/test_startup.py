"""What ends a process at its start: one line, and a status that says whether trying again helps."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError

from middleman.entrypoints.startup import run_to_exit

STATEMENT = "ALTER ROLE r PASSWORD 'hunter2'"


class ServerError(Exception):
    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@pytest.fixture(autouse=True)
def no_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would outlive the test, with the stream that pytest closes after it."""
    monkeypatch.setattr("middleman.entrypoints.startup.configure_logging", lambda *_: None)


def failing(sqlstate: str, message: str) -> Callable[[], None]:
    def run() -> None:
        raise DBAPIError(STATEMENT, {}, ServerError(sqlstate, message))

    return run


@pytest.mark.parametrize(
    ("sqlstate", "status", "advice"),
    [
        ("28P01", 2, "MIDDLEMAN_DATABASE_URL"),
        ("28000", 2, "MIDDLEMAN_DATABASE_URL"),
        ("3D000", 2, "MIDDLEMAN_DATABASE_URL"),
        ("42501", 2, "MIDDLEMAN_DATABASE_URL"),
        ("57P03", 1, "try again"),
        ("53300", 1, "try again"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    sqlstate: str, status: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_to_exit("migrate", "json", failing(sqlstate, "the server's reason\nand a hint"))
    told = capsys.readouterr().err
    assert ended.value.code == status
    assert told.count("\n") == 1
    assert "the server's reason" in told
    assert advice in told
    assert "hunter2" not in told


def test_a_defect_is_not_hushed_up() -> None:
    with pytest.raises(DBAPIError):
        run_to_exit("migrate", "json", failing("42601", "syntax error"))
