"""`middleman up`, and what a person does beside it: judge, make API keys, use one, revoke it."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import httpx
from tests.support.processes import eventually

MIDDLEMAN = (sys.executable, "-m", "middleman.entrypoints.cli")
# What a shell may hold for other databases, and an output that has no check mark.
ELSEWHERE = os.environ | {
    "PGSSLMODE": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGHOST": "192.0.2.1",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGTZ": "Asia/Kathmandu",
    "PYTHONIOENCODING": "ascii:strict",
}
BOUND_S = 60
REVOCATION_BOUND_S = 15.0


async def run(*arguments: str, data_dir: Path) -> tuple[int | None, str]:
    """Exit status and standard output of one command on that cluster."""
    process = await asyncio.create_subprocess_exec(
        *MIDDLEMAN, *arguments, "--data-dir", str(data_dir), stdout=PIPE, env=ELSEWHERE
    )
    output, _ = await asyncio.wait_for(process.communicate(), BOUND_S)
    return process.returncode, output.decode()


async def test_a_cluster_in_the_foreground_can_be_judged_and_used(server_root: Path) -> None:
    data_dir = server_root / "up"
    process = await asyncio.create_subprocess_exec(
        *MIDDLEMAN,
        *("up", "--replicas", "1", "--data-dir", str(data_dir)),
        stdout=PIPE,
        stderr=PIPE,
        env=ELSEWHERE,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            told = await _until_up(process)
        api_url = re.findall(r"REST API +(http://\S+)/v1", told)[0]

        status, verdict = await run("judge", data_dir=data_dir)
        assert status == 0
        assert "the verdict holds" in verdict
        status, secret = await run("api-key", "create", "--name", "ops", "--read-only", data_dir=data_dir)
        assert (status, secret[:8]) == (0, "mk_test_")
        _, listed = await run("api-key", "list", data_dir=data_dir)
        (key_line,) = [line for line in listed.splitlines() if line.endswith("ops")]
        assert "active" in key_line
        assert secret.strip() not in listed
        assert _may_read(api_url, secret.strip())

        key_id = key_line.split()[0]
        assert (await run("api-key", "revoke", key_id, data_dir=data_dir))[0] == 0
        assert (await run("api-key", "revoke", key_id, data_dir=data_dir))[0] == 2
        await eventually(lambda: not _may_read(api_url, secret.strip()), REVOCATION_BOUND_S)

        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (await run("judge", data_dir=data_dir))[0] == 2


def _may_read(api_url: str, key: str) -> bool:
    answer = httpx.get(f"{api_url}/v1/plans", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def _until_up(process: Process) -> str:
    """What it prints until it says how to stop it."""
    assert process.stdout is not None
    told = ""
    while line := (await process.stdout.readline()).decode():
        told += line
        if "Ctrl-C stops" in line:
            return told
    assert process.stderr is not None
    raise AssertionError(f"it ended before: {(await process.stderr.read()).decode()}")
