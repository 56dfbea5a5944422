"""Processes that are killed and connections that are cut lose and double nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from random import Random

import pytest
from client_support.counting_server import CountingServer
from client_support.ledger_model import Ledger
from client_support.manual_clock import eventually
from client_support.scripted_server import ScriptedServer
from realtime_client import RealtimeClient

pytestmark = pytest.mark.anyio

APP = Path(__file__).parent / "client_support" / "killed_app.py"
ROUNDS = 5


async def kill_after(
    url: str, path: Path, run: int, server: CountingServer
) -> set[str]:
    """Run the application, kill it while it is sending; return what it tracked."""
    random = Random(run)
    app = await asyncio.create_subprocess_exec(
        sys.executable,
        str(APP),
        url,
        str(path),
        str(run),
        stdout=asyncio.subprocess.PIPE,
    )
    enough = server.frames + random.randint(5, 60)
    reading = asyncio.ensure_future(app.communicate())
    await eventually(lambda: server.frames >= enough, timeout_s=20.0)
    app.send_signal(signal.SIGKILL)
    printed, _ = await reading
    assert app.returncode == -signal.SIGKILL
    return set(printed.decode().split())


async def test_a_killed_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Every event for which track() returned is counted exactly once."""
    path = tmp_path / "events.sqlite3"
    ledger = Ledger()
    tracked: set[str] = set()
    async with ScriptedServer() as listening:
        server = CountingServer(listening, ledger)
        serving = asyncio.ensure_future(server.run())
        for run in range(ROUNDS):
            tracked |= await kill_after(listening.url, path, run, server)
        async with RealtimeClient(listening.url, queue=path) as client:
            await client.flush(timeout_s=10.0)
        serving.cancel()
        await asyncio.wait([serving])
    assert len(tracked) > ROUNDS
    assert set(ledger.counted.values()) == {1}
    # The last event of a run may have been stored without its line being printed.
    assert tracked <= set(ledger.counted)
    assert len(set(ledger.counted) - tracked) <= ROUNDS
    assert ledger.lost == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_connections_cut_at_random_lose_and_double_nothing(seed: int) -> None:
    """Cut before the batch was taken, before it was counted, before it was told."""
    ledger = Ledger()
    async with ScriptedServer() as listening:
        server = CountingServer(listening, ledger, Random(seed))
        serving = asyncio.ensure_future(server.run())
        options = {"batch_interval_ms": 0.0, "random": lambda: 0.0}
        async with RealtimeClient(listening.url, **options) as client:
            for n in range(300):
                client.track("e", {"n": n})
                await asyncio.sleep(0)
            await client.flush(timeout_s=30.0)
        serving.cancel()
        await asyncio.wait([serving])
    assert server.cuts > 10
    assert ledger.counted == dict.fromkeys(range(300), 1)
    assert ledger.lost == 0
