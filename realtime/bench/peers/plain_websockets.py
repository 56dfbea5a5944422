"""
``websockets`` and its ``broadcast``: whatever one says, everybody is sent.

No authentication, no channels, no permissions, no limits; the library's keepalive is
on. Compression is off. The loop is uvloop.
"""

from __future__ import annotations

import asyncio

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from realtime.bench.peers.serving import BACKLOG, Place, listen, place


async def main(where: Place) -> None:
    """Serve until stopped."""
    everybody: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        everybody.add(connection)
        try:
            async for message in connection:
                broadcast(everybody, message)
        finally:
            everybody.discard(connection)

    sock = listen(where.port)
    async with serve(
        handle,
        sock=sock,
        compression=None,
        backlog=BACKLOG,
        ping_interval=where.keepalive_s,
    ):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(place(__doc__ or "")))
