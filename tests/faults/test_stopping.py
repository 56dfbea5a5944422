"""A server that is told to stop: whom it tells what, and what it still does."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from realtime.testing.lean import End, LeanSocket
from realtime.testing.processes import NodeProcess
from realtime.testing.servers import HOST
from tests.faults.support import (
    API_KEY,
    BASE,
    HTTP,
    Client,
    check_log,
    eventually,
    logged,
    metric,
    start_node,
    user_token,
    write_config,
)

pytestmark = pytest.mark.slow

CROWD = 300
RETURN_S = 2.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a configuration can be written."""
    return tmp_path


def a_node(folder: Path, **drain: str) -> NodeProcess:
    """A server that takes its time over goodbyes as the test wants it."""
    settings = {"return": f"{RETURN_S}s", **drain}
    lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    write_config(folder, f"{BASE}\n[drain]\n{lines}")
    return start_node(folder)


@pytest.fixture
def node(folder: Path) -> Iterator[NodeProcess]:
    """A server whose goodbyes to a crowd take three seconds."""
    with a_node(folder, over="3s") as node:
        yield node
        check_log(node)


class Guest:
    """One of a crowd: what it has heard, and when."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.welcome = asyncio.get_running_loop().create_future()
        self.told_at = 0.0
        self.socket = LeanSocket(self._heard)

    def _heard(self, message: dict[str, Any]) -> None:
        self.said.append(message)
        if message["type"] == "welcome":
            self.welcome.set_result(None)
        elif message["type"] == "goodbye":
            self.told_at = time.monotonic()


@asynccontextmanager
async def a_crowd(node: NodeProcess, size: int = CROWD) -> AsyncIterator[list[Guest]]:
    """So many clients that have been welcomed."""
    loop = asyncio.get_running_loop()
    guests = [Guest() for _ in range(size)]
    token = user_token()
    for guest in guests:
        await loop.create_connection(lambda one=guest: one.socket, HOST, node.port)
        guest.socket.say({"type": "hello", "id": 1, "token": token})
    async with asyncio.timeout(30):
        await asyncio.gather(*(guest.welcome for guest in guests))
    try:
        yield guests
    finally:
        for guest in guests:
            guest.socket.cut()


async def ends(guests: list[Guest]) -> list[End]:
    """Wait until all connections have ended."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*(guest.socket.ended for guest in guests))


def tell(node: NodeProcess, number: signal.Signals = signal.SIGTERM) -> float:
    """Send a signal; return when."""
    assert node.pid is not None
    os.kill(node.pid, number)
    return time.monotonic()


def test_a_crowd_leaves_over_the_time_given(node: NodeProcess) -> None:
    """Each is told another time to come back, then closed with 1001."""
    asyncio.run(_leaves_over_time(node))

    assert node.wait() == 0
    assert logged(node, event="drain_ended", unacknowledged=0)["seconds"] >= 2.5


async def _leaves_over_time(node: NodeProcess) -> None:
    async with a_crowd(node) as guests:
        begun = tell(node)
        found = await ends(guests)
    assert {end.code for end in found} == {1001}
    told = [one for guest in guests for one in guest.said if one["type"] == "goodbye"]
    assert len(told) == CROWD
    delays = [one["after_s"] for one in told]
    assert len(set(delays)) > CROWD / 2
    assert 0 <= min(delays) < 0.5 < 1.5 < max(delays) <= RETURN_S
    by_second = [0] * 5
    for guest in guests:
        by_second[int(guest.told_at - begun)] += 1
    assert all(60 <= count <= 160 for count in by_second[:3]), by_second


def test_meanwhile_newcomers_are_refused_and_requests_answered(
    node: NodeProcess,
) -> None:
    """503 and a time to come back; readiness is red, health is green."""
    asyncio.run(_refuses_newcomers(node))
    assert node.wait() == 0


async def _refuses_newcomers(node: NodeProcess) -> None:
    loop = asyncio.get_running_loop()
    async with a_crowd(node) as guests:
        tell(node)
        async with asyncio.timeout(5):
            while not any(guest.told_at for guest in guests):
                await asyncio.sleep(0.01)
        newcomer = Guest()
        await loop.create_connection(lambda: newcomer.socket, HOST, node.port)
        end = await newcomer.socket.ended
        assert end.status == 503
        assert 1 <= end.retry_after_s <= RETURN_S * 1.25 + 1
        ready = await asyncio.to_thread(HTTP.get, f"{node.url}/readyz")
        health = await asyncio.to_thread(HTTP.get, f"{node.url}/healthz")
        sent = await asyncio.to_thread(_send_events, node)
        assert (ready.status_code, health.status_code, sent) == (503, 200, 200)
        assert "shutting down" in ready.text
        assert await asyncio.to_thread(metric, node, "draining") == 1
        await ends(guests)


def _send_events(node: NodeProcess) -> int:
    answer = HTTP.post(
        f"{node.url}/v1/events",
        headers={"X-API-Key": API_KEY, "Idempotency-Key": "while it drains"},
        json={"events": [{"name": "beat"}]},
    )
    return answer.status_code


def test_what_was_sent_before_the_goodbye_is_acknowledged(folder: Path) -> None:
    """However slow the ledger's tick: first the answer, then the close."""
    text = BASE.replace('tick = "20ms"', 'tick = "700ms"')
    text = text.replace('cadence = "20ms"', 'cadence = "700ms"')
    write_config(folder, text)
    with start_node(folder) as node, Client(node.ws_url) as client:
        client.hello(device="late")
        client.track(1, "beat", "beat", "beat")
        assert client.ask("ping")["type"] == "pong"  # so they have been taken
        tell(node)
        code, _ = client.closed()
        kinds = [message["type"] for message in client.passed]
        assert node.wait() == 0

    assert code == 1001
    assert kinds == ["goodbye", "ack"]
    assert client.passed[1]["acked"] == 3


def test_the_notice_turns_readiness_red_and_lets_everybody_in(folder: Path) -> None:
    """A balancer can take the process out before anybody is refused."""
    with a_node(folder, notice="1.5s") as node, Client(node.ws_url) as client:
        client.hello()
        tell(node)
        eventually(
            lambda: HTTP.get(f"{node.url}/readyz").status_code == 503, "it is red"
        )
        with Client(node.ws_url) as late:
            late.hello()
            assert late.ask("ping")["type"] == "pong"
            assert late.until("goodbye")["after_s"] <= RETURN_S
            assert late.closed()[0] == 1001
        assert client.until("goodbye")
        assert node.wait() == 0


def test_a_request_under_way_is_finished(folder: Path) -> None:
    """Also when nobody else is there, and the process could end at once."""
    body = b'{"events": [{"name": "beat"}]}'
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n"
        "Idempotency-Key: half\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with (
        a_node(folder) as node,
        socket.create_connection((HOST, node.port), timeout=20) as sock,
    ):
        sock.sendall(head + body[:5])
        eventually(lambda: metric(node, "http_connections") == 2, "it is under way")
        tell(node)
        logged(node, event="Shutting down")
        sock.sendall(body[5:])
        answer = sock.recv(65536)
        assert node.wait() == 0

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_second_signal_stops_at_once(folder: Path) -> None:
    """Whoever is left is closed without a goodbye, but with the code."""
    with a_node(folder, over="60s") as node:
        took_s, found = asyncio.run(_hurries(node))

    assert took_s < 3
    assert {end.code for end in found} <= {1001, 1006}
    assert sum(end.code == 1001 for end in found) > CROWD / 2
    logged(node, event="stopped_at_once")


async def _hurries(node: NodeProcess) -> tuple[float, list[End]]:
    async with a_crowd(node) as guests:
        tell(node)
        await asyncio.sleep(0.7)  # within 0.5 s, it would count as the same signal
        begun = tell(node)
        assert await asyncio.to_thread(node.wait) == 0
        took_s = time.monotonic() - begun
        return took_s, await ends(guests)


@pytest.fixture
def hangup() -> Iterator[None]:
    """Let servers heed SIGHUP, although these tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_with_a_few_tabs_open_it_ends_at_once(
    folder: Path, number: signal.Signals
) -> None:
    """Ctrl-C of a developer does not wait for the time of a deploy."""
    with a_node(folder, over="60s") as node:
        clients = [Client(node.ws_url) for _ in range(3)]
        for client in clients:
            client.hello()
        begun = tell(node, number)
        codes = [client.closed()[0] for client in clients]
        assert node.wait() == 0
        took_s = time.monotonic() - begun

    assert codes == [1001] * 3
    assert took_s < 2
