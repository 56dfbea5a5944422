"""A relay that runs beside tests that wait, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realtime.testing.relay import Relay, Relayed
from tests.faults.support import PATIENCE_S


class RunningRelay:
    """A relay and its loop. Settings may be set from here, the rest goes by ``do``."""

    def __init__(self, relay: Relay, loop: asyncio.AbstractEventLoop) -> None:
        self.relay = relay
        self._loop = loop

    @property
    def url(self) -> str:
        """What to put into ``redis.url``."""
        return f"redis://127.0.0.1:{self.relay.port}/0"

    def do(self, what: Callable[[Relayed], None]) -> list[Relayed]:
        """Do it to every connection that is open now; return these."""

        async def run() -> list[Relayed]:
            found = list(self.relay.connections)
            for connection in found:
                what(connection)
            return found

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)


@contextmanager
def running_relay(port: int) -> Iterator[RunningRelay]:
    """Run a relay to *port*."""
    loop = asyncio.new_event_loop()
    relay = Relay(port)
    loop.run_until_complete(relay.__aenter__())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield RunningRelay(relay, loop)
    finally:
        leaving = asyncio.run_coroutine_threadsafe(relay.__aexit__(), loop)
        leaving.result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
