"""A process that is really killed, again and again, loses and doubles nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from client_support.ledger_model import Ledger, ModelSession
from client_support.manual_clock import eventually
from client_support.scripted_server import Conversation, ScriptedServer
from realtime_client import RealtimeClient
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.anyio

APP = Path(__file__).parent / "client_support" / "killed_app.py"
ROUNDS = 5


class CountingServer:
    """Counts what clients send, in a ledger that outlives their connections."""

    def __init__(self, server: ScriptedServer, ledger: Ledger) -> None:
        self.ledger = ledger
        self._server = server
        self.frames = 0

    async def run(self) -> None:
        """Serve one connection after the other."""
        while True:
            conversation = await self._server.accept_whenever()
            with suppress(ConnectionClosed):
                await self._serve(conversation)

    async def _serve(self, conversation: Conversation) -> None:
        hello = await conversation.receive("hello")
        session = ModelSession(self.ledger, hello)
        await conversation.answer(hello, session.mark)
        while True:
            message = await conversation.receive()
            if message["type"] != "track":
                continue
            self.frames += 1
            said = [session.track(message), *session.tick()]
            for one in said:
                if one is not None:
                    await conversation.send(**{"kind": one.pop("type"), **one})


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
