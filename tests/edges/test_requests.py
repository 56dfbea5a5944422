"""Who does not take the answers to his requests has no connection for ever."""

from __future__ import annotations

import socket
import time

import pytest

from realtime.edges import requests as module
from realtime.settings import LimitSettings
from realtime.testing.host import RecordingPeer, SimpleHost
from realtime.testing.server import MUCH_BYTES, running

STALL_S = 0.5


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleHost:
    """A host that waits for nobody's reading for long."""
    monkeypatch.setattr(module, "STALL_S", STALL_S)
    limits = LimitSettings(max_connections_per_address=5)
    return SimpleHost(lambda subprotocol, remote: RecordingPeer(), limits=limits)


def ask(port: int, more: str = "") -> socket.socket:
    """Ask for more than can wait in the kernel."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(f"GET /much HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    return sock


def until(host: SimpleHost, count: int) -> None:
    """Wait until so many connections of requests are there."""
    deadline = time.monotonic() + 10
    while host.admission.http != count:
        assert time.monotonic() < deadline, f"{host.admission.http} are there"
        time.sleep(0.01)


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_who_takes_nothing_of_an_answer_is_cut(
    host: SimpleHost, loop: str, more: str
) -> None:
    """Closing alone would wait until he reads, which may be never."""
    with running(host, loop=loop, timeout_keep_alive=1) as port, ask(port, more):
        until(host, 1)
        until(host, 0)
        assert host.admission.addresses == 0
        assert len(host.wheel) == 0


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_who_takes_an_answer_slowly_gets_all_of_it(host: SimpleHost, loop: str) -> None:
    """However long that takes, and the next one too."""
    with running(host, loop=loop) as port, ask(port) as sock:
        begun = time.monotonic()
        for _ in range(2):
            taken = 0
            while taken < MUCH_BYTES:
                chunk = sock.recv(256 * 1024)
                assert chunk, f"the connection ended after {taken} bytes"
                taken += len(chunk)
                time.sleep(0.02)
            sock.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        assert time.monotonic() - begun > 2 * STALL_S
