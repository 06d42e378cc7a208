"""PostgreSQL with its log on a small disk that can be full: put there and brought back, whatever happens."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.environment import clean_environment
from cluster.errors import ClusterError
from cluster.small_disk import SmallDisk

_MIN_SIZE_MB = 96
_CONTROL_TIMEOUT_S = 10.0
_TOP_UP_INTERVAL_S = 0.05


class SmallWal:
    """The log's small disk, while it lies there."""

    def __init__(
        self,
        disk: SmallDisk,
        size_mb: int,
        *,
        use_up_segments: Callable[[], Awaitable[None]],
        stand_up: Callable[[], Awaitable[object]],
    ) -> None:
        """`use_up_segments` makes the server need room; `stand_up` has it ready, whatever the full disk did to it.

        Raises `ValueError` for a disk on which PostgreSQL could not run even while there is room.
        """
        if size_mb < _MIN_SIZE_MB:
            raise ValueError(f"size_mb={size_mb}: must be at least {_MIN_SIZE_MB}")
        self._disk = disk
        self._size_mb = size_mb
        self._use_up_segments = use_up_segments
        self._stand_up = stand_up
        self._filling: asyncio.Task[None] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What makes the server keep its log small, and ask for room whenever it begins a segment."""
        return {
            "max_wal_size": f"{self._size_mb // 2}MB",
            "min_wal_size": "32MB",
            "wal_keep_size": "0",  # what is kept for a standby would not fit
            "wal_recycle": "off",
        }

    def mount(self) -> None:
        """The disk is there, empty. Raises `NotPermittedError`."""
        self._disk.mount(self._size_mb)

    async def move_in(self, pg_controldata: Path) -> None:
        """The stopped server's log is on the disk, as much of it as is needed."""
        segment = await _first_needed_segment(pg_controldata, self._disk.data)
        await asyncio.to_thread(self._disk.move_in, segment)

    @property
    def is_full(self) -> bool:
        """Between `fill` and `free`."""
        return self._filling is not None

    async def fill(self) -> None:
        """No byte is left on the disk, and none becomes free: the server panics when it needs room, and as it recovers.

        Then it gives up, or hangs without serving anybody.
        """
        if self._filling is None:
            await asyncio.to_thread(self._disk.fill)
            self._filling = asyncio.create_task(self._keep_full())
            await self._use_up_segments()

    async def free(self) -> None:
        """There is room again; returns when the server is ready, started anew if it had given up or hangs."""
        await self.make_room()
        await self._stand_up()

    async def make_room(self) -> None:
        """There is room again."""
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.cancel()
            await asyncio.wait({filling})
        await asyncio.to_thread(self._disk.free)

    async def _keep_full(self) -> None:
        while True:
            await asyncio.sleep(_TOP_UP_INTERVAL_S)
            self._disk.fill()


async def _first_needed_segment(pg_controldata: Path, data: Path) -> str:
    """The segment that recovery would begin with, by the control file; raises `ClusterError`."""
    process = await asyncio.create_subprocess_exec(
        str(pg_controldata),
        "-D",
        str(data),
        env=clean_environment() | {"LC_ALL": "C"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_CONTROL_TIMEOUT_S):
            output = (await process.communicate())[0].decode(errors="replace")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    found = re.search(r"REDO WAL file:\s+([0-9A-F]{24})", output)
    if found is None:
        raise ClusterError(f"pg_controldata does not say where the log of {data} begins:\n{output}")
    return found[1]
