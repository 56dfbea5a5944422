"""
A crowd that connects all at once: ``python -m tests.faults.storm PORT CROWD``.

In a process of its own, so that it takes no time from whoever watches. Prints as JSON
what each visitor was told before it got in: pairs of status and seconds.
"""

from __future__ import annotations

import asyncio
import sys
from random import Random
from typing import Any

import orjson

from realtime.testing.lean import LeanSocket
from realtime.testing.servers import HOST
from tests.faults.support import user_token

AT_ONCE = 50  # connects between two looks at the answers


class Visitor:
    """Comes at once, and comes back when it is told to, until it is welcomed."""

    def __init__(self, port: int, token: str, random: Random) -> None:
        self.refusals: list[tuple[int | None, float]] = []
        self._port = port
        self._token = token
        self._random = random
        self._welcomed = asyncio.get_running_loop().create_future()
        self._socket: LeanSocket | None = None

    async def come_in(self) -> None:
        """Try until it is in."""
        while not self._welcomed.done():
            socket = self._socket = LeanSocket(self._hear)
            await asyncio.get_running_loop().create_connection(
                lambda one=socket: one, HOST, self._port
            )
            socket.say({"type": "hello", "token": self._token})
            await asyncio.wait(
                [self._welcomed, socket.ended], return_when=asyncio.FIRST_COMPLETED
            )
            if not self._welcomed.done():
                end = socket.ended.result()
                self.refusals.append((end.status, end.retry_after_s))
                await asyncio.sleep(end.retry_after_s + self._random.random())

    async def leave(self) -> None:
        """Be cut off."""
        if self._socket is not None and self._socket.begun:
            self._socket.cut()
            await asyncio.wait([self._socket.ended])

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "welcome":
            self._welcomed.set_result(None)


async def storm(port: int, size: int) -> list[Visitor]:
    """Let a crowd come; return it when all are in, and out again."""
    random, token = Random(1), user_token()
    crowd = [Visitor(port, token, random) for _ in range(size)]
    coming = []
    for number, visitor in enumerate(crowd):
        coming.append(asyncio.create_task(visitor.come_in()))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(90):
        await asyncio.gather(*coming)
    await asyncio.gather(*(visitor.leave() for visitor in crowd))
    return crowd


def main() -> None:
    """Run one storm."""
    port, size = map(int, sys.argv[1:])
    crowd = asyncio.run(storm(port, size))
    sys.stdout.buffer.write(orjson.dumps([visitor.refusals for visitor in crowd]))


if __name__ == "__main__":
    main()
