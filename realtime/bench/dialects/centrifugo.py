"""
Centrifugo's client protocol 2 in JSON, over a WebSocket.

A command has an id, which its reply repeats, and one member that says what it is. What
has no id is a push, or a ping if it is empty, which is answered by an empty command.
Messages may be joined in one frame, a line each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from realtime.bench.dialects.port import (
    OTHER,
    Delivery,
    Dialect,
    Goodbye,
    Ping,
    Published,
    Refused,
    Said,
    Subscribed,
    Welcome,
    stamp_in,
)

_CONNECT, _SUBSCRIBE, _PUBLISH = 1, 2, 3
_FIRST_REQUEST = 4  # the id of publication N is N + 4

_Message = Mapping[str, Any]


class Centrifugo(Dialect):
    """Client-side subscriptions, with recovery where the namespace has it."""

    name = "centrifugo"
    path = "/connection/websocket"

    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        connect = {} if token is None else {"token": token}
        return [orjson.dumps({"id": _CONNECT, "connect": connect})]

    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        fields: dict[str, object] = {"channel": channel}
        if since is not None:
            fields |= {"recover": True, "offset": since[0], "epoch": since[1]}
        return [orjson.dumps({"id": _SUBSCRIBE, "subscribe": fields})]

    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        number = _PUBLISH if request is None else request + _FIRST_REQUEST
        fields = {"channel": channel, "data": data}
        return orjson.dumps({"id": number, "publish": fields})

    def read(self, payload: bytes) -> Said | list[Said]:
        if b"\n" in payload:
            return [_read(line) for line in payload.split(b"\n") if line]
        return _read(payload)


def _read(line: bytes) -> Said:
    if line.startswith(b'{"push"'):
        stamp = stamp_in(line)
        if stamp is not None:
            return Delivery(stamp)
    if line == b"{}":
        return Ping(b"{}")
    message = orjson.loads(line)
    number = message.get("id")
    if "error" in message:
        error = message["error"]
        return Refused(str(error["code"]), error["message"], _request(number))
    if "connect" in message:
        return Welcome()
    if "subscribe" in message:
        return _subscribed(message["subscribe"])
    if "publish" in message:
        return Published(_request(number))
    return _pushed(message.get("push") or {})


def _request(number: int | None) -> int | None:
    if number is None or number < _FIRST_REQUEST:
        return None
    return number - _FIRST_REQUEST


def _subscribed(result: _Message) -> Subscribed:
    publications = result.get("publications") or ()
    missed = [stamp_in(str(one["data"]).encode()) for one in publications]
    return Subscribed(
        recovered=result.get("recovered", False) if _recovers(result) else None,
        offset=result.get("offset", 0) if "epoch" in result else None,
        epoch=result.get("epoch", ""),
        missed=tuple(stamp for stamp in missed if stamp is not None),
    )


def _recovers(result: _Message) -> bool:
    return bool(result.get("was_recovering"))


def _pushed(push: _Message) -> Said:
    if "disconnect" in push:
        return Goodbye(0.0)
    if "unsubscribe" in push:
        ended = push["unsubscribe"]
        return Refused(str(ended.get("code", 0)), ended.get("reason", "unsubscribed"))
    return OTHER
