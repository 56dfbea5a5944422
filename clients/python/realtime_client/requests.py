"""Numbers for commands, and who waits for the reply to which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from realtime_client.errors import ConnectionLost
from realtime_client.replies import ErrorReply, Reply

OnReply = Callable[[Reply, int], None]
"""Takes a reply and the size of its frame in bytes."""


class Requests:
    """The commands of one connection that are not answered yet."""

    def __init__(self) -> None:
        self.ids = count(1)
        self._waiting: dict[int, OnReply] = {}
        self._futures: set[asyncio.Future[Any]] = set()

    def expect(self, id: int, on_reply: OnReply) -> None:
        """The reply to command *id* goes to *on_reply*."""
        self._waiting[id] = on_reply

    def answer(self, id: int | None, reply: Reply, size: int) -> bool:
        """Pass a reply on; False if nobody waits for it."""
        on_reply = None if id is None else self._waiting.pop(id, None)
        if on_reply is None:
            return False
        on_reply(reply, size)
        return True

    @contextmanager
    def future(self) -> Iterator[asyncio.Future[Any]]:
        """Give a block a future that fails when the connection ends."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            yield future
        finally:
            self._futures.discard(future)
            future.cancel()

    def lose_all(self) -> None:
        """No reply will come any more."""
        self._waiting.clear()
        for future in self._futures:
            if not future.done():
                future.set_exception(
                    ConnectionLost("the connection was lost before the reply came")
                )


def resolve(future: asyncio.Future[Any], reply: Reply, _size: int) -> None:
    """Give *future* its reply; an error is raised where it is awaited."""
    if future.done():  # nobody waits any more
        return
    if isinstance(reply, ErrorReply):
        future.set_exception(reply.error)
    else:
        future.set_result(reply)
