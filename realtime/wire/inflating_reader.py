"""
Frames in on a connection with compression (RFC 7692): compressed messages, read lean.

Clients that compress do so with nearly every message, and send it as one frame. Such a
one is cut out, unmasked and unpacked here; plain frames go the lean way of all
connections, and everything else (compressed fragments, data that cannot be unpacked,
messages that become too large ...) goes to the library's parser with the library's own
form of the extension. The laws of `FrameReader` hold.

Nothing that belongs to compression is kept between two messages.
"""

from __future__ import annotations

from websockets.extensions.permessage_deflate import PerMessageDeflate

from realtime.wire.deflate import inflate
from realtime.wire.frames import Opcode
from realtime.wire.reader import (
    Event,
    FrameReader,
    StrictReader,
    Unusual,
    apply_mask,
    is_utf8,
)

# By the first byte of a message in one frame: final, with the bit of compression.
_COMPRESSED = {0xC0 | opcode: opcode for opcode in (Opcode.TEXT, Opcode.BINARY)}


class InflatingReader(FrameReader):
    """*max_bytes* bounds a message before and after it is unpacked."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that *data* completes, in order."""
        # Hot: a chunk is one compressed message as a rule, and nothing else is needed.
        if self._rest is not None or self._strict is not None or self._ended:
            return super().feed(data)
        events: list[Event] = []
        position, end = 0, len(data)
        while end - position >= 2 and data[position] in _COMPRESSED:
            stop = self._read_compressed(data, events, position)
            if stop is None or stop == position:
                break
            position = stop
        if position == end:
            return events
        return events + super().feed(data[position:] if position else data)

    def _make_strict(self) -> StrictReader:
        # No context on either side. The largest window understands every other.
        return StrictReader(self._max_bytes, PerMessageDeflate(True, True, 15, 15))

    def _read_unusual(
        self, data: bytes, events: list[Event], position: int
    ) -> list[Event]:
        """Read compressed messages, and plain ones behind them."""
        while (stop := self._read_compressed(data, events, position)) is not None:
            if stop == position:  # it is not complete
                self._keep(data, position)
                return events
            try:
                position = self._read(data, events, stop)
            except Unusual as exc:
                position = exc.args[0]
            else:
                if position < len(data):
                    self._keep(data, position)
                return events
        return super()._read_unusual(data, events, position)

    def _read_compressed(
        self, data: bytes, events: list[Event], position: int
    ) -> int | None:
        """
        Append the compressed message at *position* to *events*; return where it ends.

        That is *position* when it is not complete; None: it is for the strict reader.
        """
        opcode = _COMPRESSED.get(data[position])
        length = data[position + 1] - 0x80
        if opcode is None or length < 0:
            return None
        start = position + (6 if length < 126 else 8 if length == 126 else 14)
        if length >= 126:
            if start - 4 > len(data):
                self._needed = start - 4 - position
                return position
            length = int.from_bytes(data[position + 2 : start - 4], "big")
        if length > self._max_bytes:
            return None
        stop = start + length
        if stop > len(data):
            self._needed = stop - position
            return position
        payload = apply_mask(data[start:stop], data[start - 4 : start])
        try:
            message = inflate(payload, self._max_bytes)
        except ValueError:
            return None
        if opcode is Opcode.TEXT and not message.isascii() and not is_utf8(message):
            return None
        events.append((opcode, message))
        return stop
