"""The small files of a data directory: keys, state, lock, logs."""

import json
import os
from pathlib import Path

import pytest

from cluster.environment import clean_environment
from cluster.errors import ClusterError, DataDirLockedError
from cluster.keys import ClusterKeys
from cluster.lock import DataDirLock
from cluster.logs import opened_for_append, tail
from cluster.state import ClusterState, MemberState, SandboxState


def a_state(sandbox: SandboxState | None) -> ClusterState:
    return ClusterState(
        supervisor_pid=os.getpid(),
        environment="test",
        api_urls=("http://127.0.0.1:1",),
        api_key="mk_test_1",
        ops_token="ops_1",
        judge_database_url="postgresql://judge",
        superuser_database_url="postgresql://superuser",
        etcd_endpoints=("127.0.0.1:2", "127.0.0.1:3"),
        sandbox=sandbox,
        members=(MemberState("postgres", "postgres", 1, 2, "postgresql://", "/log"),),
    )


def test_generated_keys_differ_and_say_what_they_are_for() -> None:
    first, second = ClusterKeys.generate(), ClusterKeys.generate()
    assert first != second
    assert first.api_key.startswith("mk_test_")
    assert first.sandbox_api_key.startswith("sk_test_")


def test_a_restart_finds_the_same_keys_in_a_file_nobody_else_can_read(tmp_path: Path) -> None:
    keys = ClusterKeys.load_or_generate(tmp_path)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert ClusterKeys.load_or_generate(tmp_path) == keys


def test_a_key_that_an_older_version_did_not_know_is_added_to_the_kept_ones(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"api_key": "mk_test_old", "dropped": "x"}))
    keys = ClusterKeys.load_or_generate(tmp_path)
    assert keys.api_key == "mk_test_old"
    assert keys.db_password_judge
    assert keys.webhook_secret.startswith("whsec_")


@pytest.mark.parametrize("sandbox", [None, SandboxState("http://s", "sk_test_1", "admin")])
def test_a_published_state_is_read_back_whole(tmp_path: Path, sandbox: SandboxState | None) -> None:
    lock = DataDirLock(tmp_path)
    lock.acquire()
    a_state(sandbox).write(tmp_path)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    assert ClusterState.load(tmp_path) == a_state(sandbox)
    lock.release()


def test_a_state_left_by_a_dead_supervisor_is_not_believed(tmp_path: Path) -> None:
    a_state(None).write(tmp_path)
    with pytest.raises(ClusterError, match="no cluster is running on"):
        ClusterState.load(tmp_path)


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    lock.acquire()
    (tmp_path / "state.json").write_text('{"version": 99}')
    with pytest.raises(ClusterError, match="has version 99, not 2"):
        ClusterState.load(tmp_path)
    lock.release()


def test_a_locked_data_directory_is_refused_with_its_holders_pid(tmp_path: Path) -> None:
    first, second = DataDirLock(tmp_path), DataDirLock(tmp_path)
    first.acquire()
    assert second.is_held_by_anyone()
    with pytest.raises(DataDirLockedError, match=f"in use by process {os.getpid()}"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert not first.is_held_by_anyone()


def test_members_do_not_inherit_variables_that_would_configure_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETCD_NAME", "surprise")
    monkeypatch.setenv("PGDATA", "/surprise")
    monkeypatch.setenv("MIDDLEMAN_UNSAFE", "surprise")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_surprise")
    monkeypatch.setenv("HARMLESS", "kept")
    environment = clean_environment()
    assert environment["HARMLESS"] == "kept"
    assert not [name for name, value in environment.items() if "surprise" in value]


def test_the_tail_of_a_log_starts_at_the_latest_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with opened_for_append(log) as descriptor:
        os.write(descriptor, b"old\n")
    start = log.stat().st_size
    assert tail(log, start, 5) == "(nothing was logged)"
    with opened_for_append(log) as descriptor:
        os.write(descriptor, b"1\n2\n3\n")
    assert tail(log, start, 5) == "1\n2\n3"
    assert tail(log, start, 2) == "2\n3"


def test_a_log_that_has_grown_large_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("wb") as file:
        file.truncate(65 * 1024 * 1024)  # sparse
    with opened_for_append(log) as descriptor:
        os.write(descriptor, b"new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "a.log.1").exists()
