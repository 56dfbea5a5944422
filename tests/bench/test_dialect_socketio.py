"""The bytes of Socket.IO, as its servers of version 4 send and take them."""

from __future__ import annotations

import pytest

from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Ping,
    Published,
    Refused,
    Said,
    Subscribed,
    Welcome,
)
from realtime.bench.dialects.socketio import SocketIO

STAMP = b"abcdefgh0000000012500000"


def test_it_asks_for_a_websocket_at_once() -> None:
    """Engine.IO 4, without long polling before."""
    assert SocketIO().path == "/socket.io/?EIO=4&transport=websocket"


@pytest.mark.parametrize(
    ("token", "said"), [(None, b"40"), ("a.b.c", b'40{"token":"a.b.c"}')]
)
def test_greeting(token: str | None, said: bytes) -> None:
    """The connect packet carries the token as the payload called auth."""
    assert SocketIO().greeting(token, None, None) == [said]


def test_subscribe() -> None:
    """An event that wants an answer, which has the number 0."""
    assert SocketIO().subscribe("bench:a") == [b'420["subscribe","bench:a"]']


@pytest.mark.parametrize(
    ("request_number", "said"),
    [(None, b'42["publish","bench:a","x"]'), (7, b'428["publish","bench:a","x"]')],
)
def test_publish(request_number: int | None, said: bytes) -> None:
    """An answer is asked for only if there is a number for it, which is never 0."""
    assert SocketIO().publish("bench:a", "x", request_number) == said


@pytest.mark.parametrize(
    ("payload", "heard"),
    [
        (b'0{"sid":"x","upgrades":[],"pingInterval":25000}', OTHER),
        (b'40{"sid":"y"}', Welcome()),
        (b"2", Ping(b"3")),
        (b'430["bench:a"]', Subscribed("bench:a")),
        (b"430[]", Subscribed("")),
        (b"438[]", Published(7)),
        (b'42["message","xx~' + STAMP + b'"]', Delivery(STAMP)),
        (b'42["message","hello"]', OTHER),
        (b'44{"message":"no"}', Refused("refused", "no")),
        (b'44"no"', Refused("refused", "no")),
        (b"41", Refused("disconnected", "the server has ended the session")),
        (b"6", OTHER),
    ],
)
def test_what_is_heard(payload: bytes, heard: Said) -> None:
    """Each packet is what the client waits for, or nothing of interest."""
    assert SocketIO().read(payload) == heard
