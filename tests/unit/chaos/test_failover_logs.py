"""What replicas log, read as it grows, and the stages of a take-over in it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chaos.failover import logs as logs_module
from chaos.failover.logs import Logs, parsed
from chaos.failover.timeline import FirstCharge, Struck, measured, stages

STRUCK_AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STRUCK = Struck("replica-1", 4, STRUCK_AT, 100)


def line(event: str, after_s: float = 0.0, **values: Any) -> bytes:
    at = (STRUCK_AT + timedelta(seconds=after_s)).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": event, "timestamp": at, **values}).encode() + b"\n"


def write(file: Path, *lines: bytes) -> None:
    with file.open("ab") as log:
        log.writelines(lines)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {f"replica-{number}": tmp_path / f"replica-{number}.log" for number in (1, 2, 3)}
    for file in found.values():
        file.touch()
    return found


def test_only_events_that_matter_are_taken_and_nothing_else_hurts() -> None:
    lines = [
        line("term.started", 1, token=5),
        line("heartbeat.failed"),
        b"Traceback (most recent call last):\n",
        b"{broken\n",
        b'{"event": "term.started", "timestamp": "yesterday"}\n',
        b"{}\n",
    ]
    (found,) = parsed("replica-2", lines)
    assert (found.replica, found.event, found.values["token"]) == ("replica-2", "term.started", 5)
    assert found.at == STRUCK_AT + timedelta(seconds=1)


def test_a_line_is_read_once_and_only_when_it_is_complete(files: dict[str, Path]) -> None:
    logs = Logs(files)
    whole = line("election.won", 1)
    write(files["replica-2"], line("term.ended"), whole[:20])
    logs.read()
    assert [each.event for each in logs.lines] == ["term.ended"]
    write(files["replica-2"], whole[20:])
    logs.read()
    logs.read()
    assert [each.event for each in logs.lines] == ["term.ended", "election.won"]


def test_only_the_newest_lines_are_kept(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "MAX_LINES", 2)
    write(files["replica-1"], *(line("term.started", token=token) for token in range(5)))
    logs = Logs(files)
    logs.read()
    assert [each.values["token"] for each in logs.lines] == [3, 4]


def test_lines_are_found_by_time_event_and_replica_earliest_first(files: dict[str, Path]) -> None:
    write(files["replica-1"], line("pulse.felt", 3), line("election.won", 1))
    write(files["replica-2"], line("pulse.felt", 2), line("pulse.felt", -1))
    logs = Logs(files)
    logs.read()
    assert [each.replica for each in logs.since(STRUCK_AT, "pulse.felt")] == ["replica-2", "replica-1"]
    assert len(logs.since(STRUCK_AT, "pulse.felt", replica="replica-2")) == 1
    assert len(logs.since(STRUCK_AT, "pulse.felt", "election.won")) == 3


class Books:
    """A database in which the first period of the term was claimed so long after the fault."""

    def __init__(self, claimed_after_s: float | None) -> None:
        self.claimed_after_s = claimed_after_s

    async def fetchval(self, statement: str, after_seq: int, term: int) -> datetime | None:
        assert (after_seq, term) == (STRUCK.after_seq, 6)
        if self.claimed_after_s is None:
            return None
        return STRUCK_AT + timedelta(seconds=self.claimed_after_s)


async def stages_of(files: dict[str, Path], *, claimed_after_s: float | None = 0.05) -> dict[str, float]:
    charge = FirstCharge(6, "replica-2#abcd", STRUCK_AT + timedelta(seconds=0.08))
    return await stages(Books(claimed_after_s), Logs(files), STRUCK, charge)


async def test_every_stage_is_counted_from_the_fault(files: dict[str, Path]) -> None:
    write(files["replica-1"], line("term.ended", -9, token=3))
    write(
        files["replica-3"],
        line("pulse.broken", 0.01, definite=False),
        line("pulse.broken", 0.012, definite=True),
    )
    write(
        files["replica-2"],
        line("election.won", -5),
        line("pulse.broken", 0.013, definite=True),
        line("leader.revoked", 0.02, first=True),
        line("election.won", 0.03),
        line("term.started", 0.04, token=6),
        line("recovery.finished", 0.045, token=6),
        line("election.won", 0.2),
    )
    assert await stages_of(files) == {
        "noticed_s": 0.012,
        "revoked_s": 0.02,
        "elected_s": 0.03,
        "in_office_s": 0.04,
        "recovered_s": 0.045,
        "claimed_s": 0.05,
        "charged_s": 0.08,
    }


async def test_a_hand_over_has_the_end_of_the_old_term_and_no_death(files: dict[str, Path]) -> None:
    write(files["replica-1"], line("term.ended", 0.02, token=4))
    write(
        files["replica-2"],
        line("election.won", 0.03),
        line("term.started", 0.04, token=6),
        line("pulse.broken", 0.3, definite=True),
        line("leader.revoked", 0.31),
    )
    assert await stages_of(files, claimed_after_s=None) == {
        "stood_down_s": 0.02,
        "elected_s": 0.03,
        "in_office_s": 0.04,
        "charged_s": 0.08,
    }


def test_the_successors_own_account_is_that_of_its_term_in_seconds(files: dict[str, Path]) -> None:
    write(files["replica-3"], line("takeover.measured", 0.02, token=5, elected_ms=1.0))
    own = {"noticed_ms": 1.5, "elected_ms": 20.0, "charged_ms": 70.25, "lost_by": "pulse", "idle": False}
    write(files["replica-2"], line("takeover.measured", 0.09, token=6, **own))
    charge = FirstCharge(6, "replica-2#abcd", STRUCK_AT)
    assert measured(Logs(files), STRUCK, charge) == {
        "noticed_s": 0.0015,
        "elected_s": 0.02,
        "charged_s": 0.07025,
    }
    assert measured(Logs(files), STRUCK, FirstCharge(7, "replica-2#abcd", STRUCK_AT)) == {}


async def test_an_election_that_led_to_no_term_is_not_that_of_the_successor(files: dict[str, Path]) -> None:
    write(
        files["replica-2"],
        line("election.won", 0.01),
        line("term.started", 0.015, token=5),
        line("election.won", 0.03),
        line("term.started", 0.04, token=6),
    )
    found = await stages_of(files)
    assert (found["elected_s"], found["in_office_s"]) == (0.03, 0.04)
