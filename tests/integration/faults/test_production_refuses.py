"""Failpoints and wrong builds exist in the test environment only."""

import asyncio
import sys

from cluster.environment import clean_environment

COMPLETE = {
    "MIDDLEMAN_DATABASE_URL": "postgresql://middleman_replica:secret@127.0.0.1:1/middleman",
    "MIDDLEMAN_ETCD_ENDPOINTS": "127.0.0.1:1",
    "MIDDLEMAN_REPLICA_NAME": "replica-1",
    "STRIPE_API_KEY": "sk_test_x",
}


WRONG = (
    {"MIDDLEMAN_FAILPOINTS": "after_claim=kill"},  # the environment is production unless it says otherwise
    {"MIDDLEMAN_UNSAFE": "fence_off", "MIDDLEMAN_ENVIRONMENT": "production"},
)


async def test_production_starts_neither_with_failpoints_nor_with_a_wrong_build() -> None:
    starts = [
        asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "middleman.entrypoints.replica"),
            env=clean_environment() | COMPLETE | wrong,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for wrong in WRONG
    ]
    for process in await asyncio.gather(*starts):
        async with asyncio.timeout(30):
            output, errors = await process.communicate()
        assert (process.returncode, output) == (2, b"")
        [line] = errors.decode().splitlines()
        assert line.startswith("middleman: MIDDLEMAN_FAILPOINTS and MIDDLEMAN_UNSAFE exist for tests")
        assert "MIDDLEMAN_ENVIRONMENT=test" in line
