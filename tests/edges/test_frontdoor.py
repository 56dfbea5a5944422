"""What the front door makes of the first bytes, without sockets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.edges import frontdoor
from realtime.edges.frontdoor import FrontDoor
from realtime.edges.websocket import WebSocketTransport
from realtime.settings import LimitSettings
from realtime.testing.clock import ManualClock
from realtime.testing.host import SimpleHost
from realtime.testing.transport import RecordingTransport
from tests.edges.support import REQUEST


class HTTP(asyncio.Protocol):
    """Takes the place of uvicorn's protocol."""

    ws_protocol_class: Any = None

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.received = b""
        self.transport: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep the data."""
        self.received += data


class Entrance:
    """A front door, its transport, and what stands behind."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        limits = LimitSettings(hello_timeout_s=10)
        self.host = SimpleHost(limits=limits, clock=self.clock)
        self.state = SimpleNamespace(connections=set())
        self.arguments = (object(), self.state, {"node": self.host}, None)
        self.door = FrontDoor(*self.arguments)
        self.transport = RecordingTransport(self.door)
        self.door.connection_made(self.transport)

    @property
    def behind(self) -> asyncio.BaseProtocol:
        """Who has the transport now."""
        return self.transport.get_protocol()


@pytest.fixture
def entrance(monkeypatch: pytest.MonkeyPatch) -> Entrance:
    """Return a front door with nobody at it yet."""
    monkeypatch.setattr(frontdoor, "_http_protocol", HTTP)
    return Entrance()


@pytest.mark.parametrize("step", [1, 4, None])
@pytest.mark.parametrize("end", [b" ", b"?token=x "])
def test_a_request_for_the_path_goes_to_the_websocket(
    entrance: Entrance, end: bytes, step: int | None
) -> None:
    """With or without a query, however it is cut; nothing of it is lost."""
    entrance.transport.feed(b"GET /v1/ws" + end + b"HTTP/1.1\r\nHost: x\r\n\r\n", step)

    assert isinstance(entrance.behind, WebSocketTransport)
    assert entrance.transport.data.startswith(b"HTTP/1.1 426 ")
    assert entrance.state.connections == {entrance.behind}


@pytest.mark.parametrize("cut", [1, 12, 60, None])
def test_a_request_waits_at_the_door_only_while_it_is_incomplete(
    entrance: Entrance, cut: int | None
) -> None:
    """Its first part has a timer and a place among the waiting; the whole has none."""
    if cut is not None:
        entrance.transport.feed(REQUEST[:cut])
        assert entrance.host.admission.waiting == 1
        assert len(entrance.host.wheel) == 1
        entrance.transport.feed(REQUEST[cut:])
    else:
        entrance.transport.feed(REQUEST)

    assert entrance.transport.data.startswith(b"HTTP/1.1 101 ")
    assert entrance.host.admission.waiting == 0
    assert entrance.host.admission.sockets == 1
    assert len(entrance.host.wheel) == 0


@pytest.mark.parametrize("step", [1, 4, None])
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/ws HTTP/1.1\r\n\r\n",
        b"GET /v1/wsx HTTP/1.1\r\n\r\n",
        b"GET /v1/ws/ HTTP/1.1\r\n\r\n",
        b"GET /v1/ws\r\n\r\n",
        b"get /v1/ws HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_everything_else_goes_to_http(
    entrance: Entrance, data: bytes, step: int | None
) -> None:
    """Every byte, and it may hand a later upgrade back to us."""
    entrance.transport.feed(data, step)

    assert isinstance(entrance.behind, HTTP)
    assert entrance.behind.received == data
    assert entrance.behind.transport is entrance.transport
    assert entrance.behind.arguments == entrance.arguments
    assert entrance.behind.ws_protocol_class is WebSocketTransport
    assert entrance.state.connections == set()
    assert len(entrance.host.wheel) == 0


@pytest.mark.parametrize("data", [b"", b"GET /v1/w"])
def test_who_says_too_little_for_too_long_is_cut(
    entrance: Entrance, data: bytes
) -> None:
    """One timeout, from the beginning."""
    entrance.transport.feed(data)
    entrance.clock.advance(9.9)
    assert not entrance.transport.aborted
    entrance.clock.advance(0.4)
    assert entrance.transport.aborted


def test_a_connection_lost_at_the_door_leaves_nothing(entrance: Entrance) -> None:
    """Neither in the server's set nor in the wheel."""
    assert entrance.state.connections == {entrance.door}
    entrance.transport.lose()

    assert entrance.state.connections == set()
    assert len(entrance.host.wheel) == 0


def test_stopping_closes_whoever_stands_at_the_door(entrance: Entrance) -> None:
    """Nothing has begun, so nothing is said."""
    entrance.door.shutdown()

    assert entrance.transport.closing
    assert entrance.transport.data == b""


def test_an_application_without_a_host_is_a_clear_mistake() -> None:
    """The sentence says what the lifespan must yield."""
    with pytest.raises(RuntimeError, match='"node"'):
        FrontDoor(None, SimpleNamespace(connections=set()), {})
