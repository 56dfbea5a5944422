"""
Socket.IO 4 and later: Engine.IO 4 over a WebSocket from the start, text packets only.

An Engine.IO packet is a digit and its data: 0 open, 1 close, 2 ping, 3 pong, 4 message.
A message begins with a digit of Socket.IO: 0 connect, 1 disconnect, 2 event, 3 answer
to an event, 4 refusal. Events and answers then have a number, if an answer is wanted,
and a JSON array.

The application on the other side has the events ``subscribe`` (channel), which it
answers, ``publish`` (channel, data), and ``message`` (data) for what was published.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Dialect,
    Ping,
    Published,
    Refused,
    Said,
    Subscribed,
    Welcome,
    stamp_in,
)

_SUBSCRIBED = 0
_FIRST_REQUEST = 1  # the number of publication N is N + 1


class SocketIO(Dialect):
    """The default namespace, without recovery."""

    name = "socketio"
    path = "/socket.io/?EIO=4&transport=websocket"

    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        return [b"40" if token is None else b"40" + orjson.dumps({"token": token})]

    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        return [_event(["subscribe", channel], _SUBSCRIBED)]

    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        number = None if request is None else request + _FIRST_REQUEST
        return _event(["publish", channel, data], number)

    def read(self, payload: bytes) -> Said:
        kind = payload[:2]
        if kind == b"42":
            stamp = stamp_in(payload)
            return OTHER if stamp is None else Delivery(stamp)
        if kind == b"2":
            return Ping(b"3")
        if kind == b"40":
            return Welcome()
        if kind == b"43":
            return _answer(payload)
        if kind == b"44":
            return Refused("refused", _sentence(payload[2:]))
        if kind in (b"41", b"1"):
            return Refused("disconnected", "the server has ended the session")
        return OTHER


def _event(arguments: Sequence[str], number: int | None) -> bytes:
    head = b"42" if number is None else b"42%d" % number
    return head + orjson.dumps(arguments)


def _answer(payload: bytes) -> Said:
    begin = payload.index(b"[")
    number = int(payload[2:begin])
    if number != _SUBSCRIBED:
        return Published(number - _FIRST_REQUEST)
    said = orjson.loads(payload[begin:])
    return Subscribed(said[0] if said else "")


def _sentence(data: bytes) -> str:
    said = orjson.loads(data) if data else None
    if isinstance(said, dict):
        return str(said.get("message", said))
    return str(said)
