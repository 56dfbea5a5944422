"""The bytes of Centrifugo's protocol in JSON, as its servers send and take them."""

from __future__ import annotations

import pytest

from realtime.bench.dialects.centrifugo import Centrifugo
from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Goodbye,
    Ping,
    Published,
    Refused,
    Said,
    Subscribed,
    Welcome,
)

STAMP = b"abcdefgh0000000012500000"
PUSH = b'{"push":{"channel":"bench:a","pub":{"data":"xx~' + STAMP + b'"}}}'


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, b'{"id":1,"connect":{}}'),
        ("a.b.c", b'{"id":1,"connect":{"token":"a.b.c"}}'),
    ],
)
def test_greeting(token: str | None, said: bytes) -> None:
    """The first command of a connection."""
    assert Centrifugo().greeting(token, None, None) == [said]


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (None, b'{"id":2,"subscribe":{"channel":"bench:a"}}'),
        (
            (10, "abcd"),
            b'{"id":2,"subscribe":{"channel":"bench:a","recover":true,"offset":10,'
            b'"epoch":"abcd"}}',
        ),
    ],
)
def test_subscribe(since: tuple[int, str] | None, said: bytes) -> None:
    """With a position, what was missed is asked for."""
    assert Centrifugo().subscribe("bench:a", since) == [said]


@pytest.mark.parametrize(
    ("request_number", "id"), [(None, b"3"), (0, b"4"), (7, b"11")]
)
def test_publish(request_number: int | None, id: bytes) -> None:
    """Ids say which publication it was; they are never those of other commands."""
    said = b'{"id":' + id + b',"publish":{"channel":"bench:a","data":"x"}}'

    assert Centrifugo().publish("bench:a", "x", request_number) == said


@pytest.mark.parametrize(
    ("payload", "heard"),
    [
        (b"{}", Ping(b"{}")),
        (b'{"id":1,"connect":{"client":"c","ping":25,"pong":true}}', Welcome()),
        (b'{"id":2,"subscribe":{}}', Subscribed()),
        (
            b'{"id":2,"subscribe":{"recoverable":true,"epoch":"abcd","offset":3}}',
            Subscribed(offset=3, epoch="abcd"),
        ),
        (
            b'{"id":2,"subscribe":{"recoverable":true,"epoch":"abcd"}}',
            Subscribed(offset=0, epoch="abcd"),
        ),
        (
            b'{"id":2,"subscribe":{"epoch":"abcd","offset":3,"recovered":true,'
            b'"was_recovering":true,"publications":[{"data":"~' + STAMP + b'"}]}}',
            Subscribed(recovered=True, offset=3, epoch="abcd", missed=(STAMP,)),
        ),
        (
            b'{"id":2,"subscribe":{"epoch":"abcd","offset":3,"was_recovering":true}}',
            Subscribed(recovered=False, offset=3, epoch="abcd"),
        ),
        (b'{"id":3,"publish":{}}', Published(None)),
        (b'{"id":11,"publish":{}}', Published(7)),
        (
            b'{"id":11,"error":{"code":103,"message":"permission denied"}}',
            Refused("103", "permission denied", 7),
        ),
        (PUSH, Delivery(STAMP)),
        (b'{"push":{"channel":"bench:a","join":{"info":{}}}}', OTHER),
        (
            b'{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"gap"}}}',
            Refused("2500", "gap"),
        ),
        (b'{"push":{"disconnect":{"code":3000,"reason":"x"}}}', Goodbye(0.0)),
    ],
)
def test_what_is_heard(payload: bytes, heard: Said) -> None:
    """Each message is what the client waits for, or nothing of interest."""
    assert Centrifugo().read(payload) == heard


def test_joined_messages() -> None:
    """A frame may hold several messages, a line each, and end in a newline."""
    assert Centrifugo().read(PUSH + b"\n{}\n") == [Delivery(STAMP), Ping(b"{}")]
