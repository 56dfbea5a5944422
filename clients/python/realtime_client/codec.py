"""
Messages to frames and back, as JSON or as MessagePack.

Events are kept as JSON text from the moment they are tracked: in JSON they are spliced
into the frame as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from realtime_client.errors import BadReply
from realtime_client.values import Json

CodecName = Literal["json", "msgpack"]

_HEAD_BYTES = 256  # more than anything but the events takes in a frame of events

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True
)


def to_json(value: Json) -> bytes:
    """
    Return *value* as JSON on one line.

    Raises:
        ValueError: If it contains NaN, infinity, a lone surrogate, or itself.
        TypeError: If it contains something that JSON cannot say.
    """
    return _encoder.encode(value).encode()


class Codec(Protocol):
    """One way to write messages."""

    subprotocol: str
    binary: bool

    def encode(self, message: Mapping[str, Json]) -> bytes:
        """Return the frame's payload."""

    def encode_events(self, head: Mapping[str, Json], events: Sequence[bytes]) -> bytes:
        """Return the payload of *head* with ``events`` added, given as JSON texts."""

    def decode(self, frame: str | bytes) -> object:
        """Return what a frame says. Raises BadReply."""

    def event_room(self, max_frame_bytes: int) -> int:
        """How many bytes of JSON (and a comma each) of events fit into a frame."""


class JSONCodec:
    """JSON in text frames."""

    subprotocol = "realtime.v1.json"
    binary = False

    def encode(self, message: Mapping[str, Json]) -> bytes:
        """Return the frame's payload."""
        return to_json(message)

    def encode_events(self, head: Mapping[str, Json], events: Sequence[bytes]) -> bytes:
        """Return the payload, with the events spliced in as they are."""
        return b'%b,"events":[%b]}' % (to_json(head)[:-1], b",".join(events))

    def decode(self, frame: str | bytes) -> object:
        """Return what a frame says."""
        try:
            value: object = json.loads(frame)
        except (ValueError, RecursionError) as exc:
            raise BadReply(f"the server sent something that is no JSON: {exc}") from exc
        return value

    def event_room(self, max_frame_bytes: int) -> int:
        """How many bytes of events fit into a frame."""
        return max_frame_bytes - _HEAD_BYTES


class MessagePackCodec:
    """MessagePack in binary frames; needs the extra ``msgpack``."""

    subprotocol = "realtime.v1.msgpack"
    binary = True

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError as exc:
            raise ImportError(
                "codec='msgpack' needs the package msgpack: "
                "pip install 'realtime-client[msgpack]'"
            ) from exc
        self._pack = msgpack.packb
        self._unpack = msgpack.unpackb

    def encode(self, message: Mapping[str, Json]) -> bytes:
        """Return the frame's payload."""
        packed: bytes = self._pack(message)
        return packed

    def encode_events(self, head: Mapping[str, Json], events: Sequence[bytes]) -> bytes:
        """Return the payload, with the events read from their JSON."""
        packed: bytes = self._pack({**head, "events": [json.loads(e) for e in events]})
        return packed

    def decode(self, frame: str | bytes) -> object:
        """Return what a frame says."""
        try:
            value: object = self._unpack(frame)
        except (ValueError, TypeError) as exc:
            raise BadReply(f"the server sent no MessagePack: {exc}") from exc
        return value

    def event_room(self, max_frame_bytes: int) -> int:
        """How many bytes of events fit into a frame."""
        # A float takes 9 bytes here and may take 3 in JSON; with its key, an event
        # grows by less than a half.
        return max_frame_bytes * 2 // 3 - _HEAD_BYTES


def make_codec(name: CodecName) -> Codec:
    """Return the codec of this name. Raises ValueError or ImportError."""
    if name == "json":
        return JSONCodec()
    if name == "msgpack":
        return MessagePackCodec()
    raise ValueError(f'codec: must be "json" or "msgpack", not {name!r}')
