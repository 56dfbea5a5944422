"""
An application that tracks until it is killed: run by the test that kills it.

Arguments: the server's address, the queue's file, and a number that no other run has.
Every event that track() has returned for is printed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from realtime_client import RealtimeClient


async def main(url: str, path: str, run: str) -> None:
    """Track without end."""
    client = RealtimeClient(url, queue=path, batch_interval_ms=1)
    client.start()
    for n in range(1_000_000):
        name = f"{run}-{n}"
        client.track("e", {"n": name})
        print(name, flush=True)
        await asyncio.sleep(0.0005)


asyncio.run(main(*sys.argv[1:]))
