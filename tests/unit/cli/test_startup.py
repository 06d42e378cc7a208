"""What ends a process at its start: one line, and a status that says whether trying again helps."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError

from middleman.adapters.postgres.address import address
from middleman.billing.observer import SilentBillingObserver
from middleman.bootstrap.replica import build_replica
from middleman.entrypoints.startup import run_to_exit
from middleman.leadership.observer import SilentObserver
from middleman.settings import ReplicaSettings, load

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


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@db", "postgresql://u:hunter2@db:port/middleman"])
def test_a_database_url_that_cannot_be_used_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_to_exit("migrate", "json", lambda: [address(url)].clear())
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith("middleman: MIDDLEMAN_DATABASE_URL: ")
    assert told.count("\n") == 1
    assert "hunter2" not in told


REPLICA = {
    "MIDDLEMAN_DATABASE_URL": "postgresql://r:hunter2@127.0.0.1:1/middleman",
    "MIDDLEMAN_ETCD_ENDPOINTS": "127.0.0.1:2379",
    "MIDDLEMAN_REPLICA_NAME": "replica-1",
    "STRIPE_API_KEY": "sk_test_x",
}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (
            "MIDDLEMAN_DATABASE_URL",
            "postgresql://r:hunter2@127.0.0.1",
            "MIDDLEMAN_DATABASE_URL: user or database",
        ),
        (
            "MIDDLEMAN_DATABASE_URL",
            "postgresql://r:hunter2@127.0.0.1:x/m",
            "MIDDLEMAN_DATABASE_URL: not a database URL",
        ),
        (
            "MIDDLEMAN_TRUST_MARGIN_S",
            "1.5",
            "MIDDLEMAN_TRUST_MARGIN_S is 1.5: it must be above 0 and below half of ",
        ),
        ("MIDDLEMAN_DRAIN_S", "5", "it must be at least MIDDLEMAN_PROCESSOR_TIMEOUT_S (10)"),
    ],
)
def test_settings_that_fit_no_other_are_one_line_that_names_them(
    name: str,
    value: str,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each, usual in (REPLICA | {name: value}).items():
        monkeypatch.setenv(each, usual)
    with pytest.raises(SystemExit) as ended:
        build_replica(
            load(ReplicaSettings), observer=SilentObserver(), billing_observer=SilentBillingObserver()
        )
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert complaint in told
    assert name in told
    assert told.count("\n") == 1
    assert "hunter2" not in told
