"""A hot standby of the embedded PostgreSQL: it follows, is promoted, and the old primary follows it in turn."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from cluster.errors import ClusterError
from cluster.links import Link
from cluster.ports import HOST
from cluster.postgres import PostgresServer


async def note(server: PostgresServer, text: str) -> None:
    connection = await server.connect()
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        await connection.execute("INSERT INTO note VALUES ($1)", text)
    finally:
        await connection.close()


async def test_a_promoted_standby_has_every_commit_and_the_old_primary_follows_it(server_root: Path) -> None:
    first, second = (
        PostgresServer(server_root / "one", name="one"),
        PostgresServer(server_root / "two", name="two"),
    )
    try:
        await first.start()
        await note(first, "before")
        second.follow(first)
        await second.start()
        assert second.is_standby
        with pytest.raises(ClusterError, match="stop it before"):
            second.follow(first)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await note(second, "refused")
        await note(first, "streamed")
        await second.until_caught_up()
        await first.stop(mode="immediate")
        await second.promote()
        assert not second.is_standby
        first.follow(second)
        await first.start()
        await note(second, "after")
        await first.until_caught_up()
        rows = await first.fetch("SELECT text FROM note ORDER BY text")
        assert [row["text"] for row in rows] == ["after", "before", "streamed"]
    finally:
        await second.close()
        await first.close()


async def test_an_address_that_moves_leaves_standing_connections_where_they_are() -> None:
    async def serve(text: bytes) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readline():
                writer.write(text)
            writer.close()

        return await asyncio.start_server(answer, HOST, 0)

    servers = [await serve(b"old\n"), await serve(b"new\n")]
    old, new = (server.sockets[0].getsockname()[1] for server in servers)
    address = Link("an address", f"{HOST}:{old}")
    address.start()

    async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
        connection[1].write(b"who?\n")
        async with asyncio.timeout(5):
            return await connection[0].readline()

    standing = await asyncio.open_connection(HOST, address.port)
    try:
        assert await ask(standing) == b"old\n"
        address.lead_to(f"{HOST}:{new}")
        later = await asyncio.open_connection(HOST, address.port)
        assert await ask(later) == b"new\n"
        assert await ask(standing) == b"old\n"
        later[1].close()
    finally:
        standing[1].close()
        await address.close()
        for server in servers:
            server.close()
