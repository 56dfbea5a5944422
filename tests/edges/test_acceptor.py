"""A crowd at the door is let in a few at a time."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from realtime.edges import acceptor as module
from realtime.edges.acceptor import BATCH, Acceptor
from tests.signing import certificate

pytestmark = pytest.mark.anyio

CROWD = 100


class Guest(asyncio.Protocol):
    """Says hello to whoever comes, and keeps what he says."""

    def __init__(self) -> None:
        self.heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data


class House:
    """An acceptor, and who came through it."""

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLContext | None, handshake_s: float
    ) -> None:
        self.guests: list[Guest] = []
        self.acceptor = Acceptor(sock, self._make, tls, handshake_s)
        self.address = sock.getsockname()

    def _make(self) -> Guest:
        self.guests.append(Guest())
        return self.guests[-1]

    def knock(self) -> socket.socket:
        """Connect; the kernel lets one wait."""
        return socket.create_connection(self.address, timeout=5)

    async def until(self, count: int) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(10):
            while len(self.guests) < count:
                await asyncio.sleep(0)


@asynccontextmanager
async def a_house(
    sock: Any = None, tls: ssl.SSLContext | None = None, handshake_s: float = 0.2
) -> AsyncIterator[House]:
    """Listen on a free port of loopback."""
    if sock is None:
        sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    house = House(sock, tls, handshake_s)
    house.acceptor.start()
    try:
        yield house
    finally:
        house.acceptor.close()
        await house.acceptor.wait_closed()


async def test_a_crowd_comes_in_by_small_batches() -> None:
    """Between two of them the loop goes round, and others have their turn."""
    async with a_house() as house:
        with ExitStack() as stack:
            for _ in range(CROWD):
                stack.enter_context(house.knock())
            most, before = 0, 0
            while len(house.guests) < CROWD:
                await asyncio.sleep(0)
                most = max(most, len(house.guests) - before)
                before = len(house.guests)

    assert 1 <= most <= BATCH


async def test_nobody_comes_in_any_more_once_it_is_closed() -> None:
    """Who is inside stays; closing twice is harmless."""
    async with a_house() as house:
        with house.knock() as first:
            await house.until(1)
            house.acceptor.close()
            house.acceptor.close()
            with pytest.raises(ConnectionRefusedError):
                house.knock()
            assert await asyncio.to_thread(first.recv, 10) == b"hello"


class Exhausted(socket.socket):
    """A socket of a process that has no file descriptors left, the first few times."""

    refusals = 3

    def accept(self) -> tuple[socket.socket, Any]:
        """Fail as the kernel does."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_without_file_descriptors_it_pauses_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither does it spin nor die: those who wait are let in later."""
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    with capture_logs() as logs:
        async with a_house(Exhausted()) as house:
            with house.knock():
                await house.until(1)

    assert [line["event"] for line in logs] == ["accept_failed"] * 3
    assert logs[0]["error"] == "Too many open files"


async def test_who_does_not_finish_the_tls_handshake_is_not_waited_for(
    tmp_path: Path,
) -> None:
    """Nor who speaks something else; both are let go of, and others come in."""
    cert, key = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    async with a_house(tls=tls) as house:
        with house.knock() as silent, house.knock() as wrong:
            wrong.sendall(b"GET / HTTP/1.1\r\n\r\n")
            for sock in (silent, wrong):
                assert await asyncio.to_thread(_ended, sock)
        trust = ssl.create_default_context(cafile=str(cert))
        trust.check_hostname = False
        reader, writer = await asyncio.open_connection(*house.address, ssl=trust)
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_does_not_begin_the_tls_handshake_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """However many are silent, they hold no more sockets than without TLS."""
    monkeypatch.setattr(module, "MAX_WAITING", 20)
    cert, key = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)

    async def crowd() -> None:
        async with a_house(tls=tls, handshake_s=60) as house:
            with ExitStack() as stack:
                silent = [stack.enter_context(house.knock()) for _ in range(CROWD)]
                for sock in silent[: CROWD - 20]:
                    assert await asyncio.to_thread(_ended, sock)
                for sock in silent[CROWD - 20 :]:
                    sock.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        sock.recv(1)

    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(crowd())


def _ended(sock: socket.socket) -> bool:
    """Whether the other side ends the connection."""
    try:
        while sock.recv(1024):
            pass
    except ConnectionResetError:
        pass
    return True
