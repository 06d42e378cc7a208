"""`python -m cluster` says in one line what is wrong."""

from pathlib import Path

import pytest

from cluster.__main__ import main
from cluster.lock import DataDirLock


def test_misuse_ends_with_status_2_and_names_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--data-dir", "x", "--replicas", "-1"])
    assert exit_info.value.code == 2
    assert "replicas=-1: must be at least 0" in capsys.readouterr().err


def test_a_cluster_that_cannot_start_ends_with_status_1_and_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = DataDirLock(tmp_path)
    holder.acquire()
    assert main(["--data-dir", str(tmp_path)]) == 1
    assert "error: " in (said := capsys.readouterr().err)
    assert "is in use by process" in said
    holder.release()
