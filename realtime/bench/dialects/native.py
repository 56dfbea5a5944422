"""The native protocol (docs/reference/protocol.md), in JSON or MessagePack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
import orjson

from realtime import __version__
from realtime.bench.dialects.port import (
    OTHER,
    Acked,
    Delivery,
    Dialect,
    Event,
    Gap,
    Goodbye,
    Published,
    Recovering,
    Refused,
    Said,
    SlowDown,
    Subscribed,
    Value,
    Welcome,
    stamp_in,
)

SILENCE_S = 1800
"""
How long the server may be silent before it pings us: the longest that it grants. Pings
are the server's way to notice phones that have vanished; they are no part of a load.
"""

Message = Mapping[str, Any]


class Native(Dialect):
    """
    Ours. With *offsets*, publications are decoded and their offsets told, which costs
    the client more.
    """

    name = "native"
    path = "/v1/ws"

    def __init__(
        self,
        codec: str = "json",
        keepalive_s: float = SILENCE_S,
        *,
        offsets: bool = False,
    ) -> None:
        if codec not in ("json", "msgpack"):
            raise ValueError(f"codec is {codec!r}; it must be json or msgpack")
        self.subprotocol = f"realtime.v1.{codec}"
        self.binary = codec == "msgpack"
        self._keepalive_s = keepalive_s
        self._offsets = offsets

    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        fields: dict[str, object] = {
            "keepalive_s": self._keepalive_s,
            "client": _CLIENT,
        }
        if token is not None:
            fields["token"] = token
        if device is not None:
            fields["device"] = device
            if secret is not None:
                fields["secret"] = secret
        return [self._write({"type": "hello", **fields})]

    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        fields: dict[str, object] = {"type": "subscribe", "id": 0, "channel": channel}
        if since is not None:
            fields["since"] = {"offset": since[0], "epoch": since[1]}
        return [self._write(fields)]

    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        fields: dict[str, object] = {"type": "publish", "channel": channel}
        if request is not None:
            fields["id"] = request
        return self._write({**fields, "data": data})

    def track(self, first: int, events: Sequence[Event]) -> bytes:
        return self._write({"type": "track", "first": first, "events": events})

    def ping(self) -> bytes:
        return self._write({"type": "ping"})

    def read(self, payload: bytes) -> Said:
        if not self._offsets and _is_push(payload):
            stamp = stamp_in(payload)
            if stamp is not None:
                return Delivery(stamp)
        message = msgpack.unpackb(payload) if self.binary else orjson.loads(payload)
        reader = _READERS.get(message["type"])
        return OTHER if reader is None else reader(message)

    def _write(self, message: Message) -> bytes:
        packed: bytes = msgpack.packb(message) if self.binary else orjson.dumps(message)
        return packed


_CLIENT = f"realtime-bench/{__version__}"


def _is_push(payload: bytes) -> bool:
    # Both codecs write the type first: {"type":"push" and 83 a4 type a4 push. Answers
    # with what was missed hold stamps, too, but are no deliveries.
    return b"push" in payload[:16]


def _push(message: Message) -> Said:
    data = message["data"]
    if isinstance(data, str):
        stamp = _stamp(data)
        return OTHER if stamp is None else Delivery(stamp, message.get("offset"))
    if isinstance(data, dict) and isinstance(data.get("value"), int | float):
        return Value(data["value"])
    return OTHER


def _subscribed(message: Message) -> Said:
    data = message.get("data")
    value = data.get("value") if isinstance(data, dict) else None
    return Subscribed(
        channel=message["channel"],
        value=value if isinstance(value, int | float) else None,
        recovered=message.get("recovered"),
        offset=message.get("offset"),
        epoch=message.get("epoch") or "",
        missed=_missed(message),
    )


def _recovering(message: Message) -> Said:
    return Recovering(
        message["channel"], message["offset"], message["epoch"], _missed(message)
    )


def _missed(message: Message) -> tuple[bytes, ...]:
    publications = message.get("publications") or ()
    stamps = (_stamp(one["data"]) for one in publications)
    return tuple(stamp for stamp in stamps if stamp is not None)


def _stamp(data: object) -> bytes | None:
    return stamp_in(data.encode()) if isinstance(data, str) else None


def _acked(message: Message) -> Said:
    rejected = message.get("rejected") or ()
    reason = f"{rejected[0]['name']}: {rejected[0]['reason']}" if rejected else ""
    return Acked(message["acked"], len(rejected), reason)


def _refused(message: Message) -> Said:
    return Refused(
        name=message["name"],
        reason=message["reason"],
        request=message.get("id"),
        expected=message.get("expected"),
        retry_after_s=message.get("retry_after_s"),
    )


_READERS: Mapping[str, Callable[[Message], Said]] = {
    "push": _push,
    "ack": _acked,
    "welcome": lambda message: Welcome(message.get("acked") or 0),
    "subscribed": _subscribed,
    "recovering": _recovering,
    "gap": lambda message: Gap(message.get("offset"), message.get("epoch") or ""),
    "published": lambda message: Published(message.get("id")),
    "slow_down": lambda message: SlowDown(
        message["first"], message["retry_after_s"], message["reason"]
    ),
    "error": _refused,
    "goodbye": lambda message: Goodbye(message["after_s"]),
}
