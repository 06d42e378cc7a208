"""Links lead to IPv6 addresses, too."""

import asyncio

from cluster.link import Link


async def test_a_link_leads_to_an_ipv6_address_from_the_start_or_later() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        writer.close()

    server = await asyncio.start_server(answer, "::1", 0)
    target = f"[::1]:{server.sockets[0].getsockname()[1]}"
    direct, moved = Link("direct", target), Link("moved", "127.0.0.1:1")
    moved.lead_to(target)
    try:
        for link in (direct, moved):
            link.start()
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            assert await asyncio.wait_for(reader.read(), 5) == b"here"
            writer.close()
    finally:
        await asyncio.gather(direct.close(), moved.close())
        server.close()
