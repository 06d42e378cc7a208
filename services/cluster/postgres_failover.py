"""A failover of PostgreSQL, played with a second server for as long as it takes: to the standby, and back again."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from cluster import postgres_files
from cluster.links import Link
from cluster.ports import HOST
from cluster.postgres import PostgresServer


class PostgresFailover:
    """`primary` and `standby` change places. The links of `addresses` lead to one of both, wherever they were moved last.

    Nothing that was acknowledged is lost: a server that is stopped sends its standby everything first.
    """

    def __init__(self, primary: PostgresServer, standby: PostgresServer, addresses: Sequence[Link]) -> None:
        self.primary = primary
        self.standby = standby
        self._addresses = addresses

    async def fail_over(self) -> None:
        """The primary ends and the standby takes its place. The addresses stay where they are."""
        await self.primary.stop()
        await self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    async def old_primary_follows(self) -> None:
        """The old primary comes back at its old place, as a standby."""
        self.standby.follow(self.primary)
        await self.standby.start()
        await self.standby.until_caught_up()

    def move_addresses(self) -> None:
        """New connections reach the primary; those that stand stay where they are."""
        for link in self._addresses:
            link.lead_to(f"{HOST}:{self.primary.port}")


@contextlib.asynccontextmanager
async def with_standby(
    first: PostgresServer, second: PostgresServer, directory: Path, addresses: Sequence[Link]
) -> AsyncIterator[PostgresFailover]:
    """Inside, `second` is a hot standby of `first`, with its data below `directory`.

    Afterwards `first` is the primary again, the addresses lead to it, and the second server is gone with its data.
    """
    failover = PostgresFailover(first, second, addresses)
    try:
        second.follow(first)
        await second.start()
        await second.until_caught_up()
        yield failover
    finally:
        try:
            if failover.primary is second:
                if not first.is_running:
                    await failover.old_primary_follows()
                await failover.fail_over()
            failover.move_addresses()
        finally:
            await second.close()
            postgres_files.wipe(directory)
            shutil.rmtree(directory, ignore_errors=True)
