"""
Frames in: what a client's bytes say, read lean where that is simple, else by the book.

Nearly every frame of a client is a whole text or binary message, or a small ping, pong
or close. Those are cut out here with one slice and one masking in C. From the first
byte of anything else on (a fragment, an oversized frame, a reserved bit, a wrong mask
...) the rest of the connection is read by ``websockets``' own parser, which knows the
RFC.

Laws: the same events come out however the bytes are cut into chunks; events that
precede an error are returned before it shows; no more than one message of the largest
size and one header are ever kept. Text is checked here, so that nobody else has to: for
ASCII, the usual case, this costs next to nothing.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Callable
from logging import Logger
from typing import cast

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.frames import Close, CloseCode, Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import OPEN, Protocol, Side

from realtime.native import find
from realtime.wire.frames import Opcode

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # the wheel without C
    from websockets.utils import apply_mask as apply_mask

Event = tuple[Opcode, bytes]
"""
A message (TEXT, BINARY) or a control frame (PING, PONG, CLOSE), with its payload.

A plain tuple, since one is made per message. The payload of a close is valid: empty, or
a code that may be received and a reason in UTF-8.
"""

_NOTHING: list[Event] = []
# An enum's member costs more to look up than a name of the module.
_TEXT, _BINARY, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE

# By the first byte of an ordinary frame: final, no reserved bits.
_ORDINARY = {0x80 | opcode: opcode for opcode in Opcode}

# The library would log every frame when its logger is set to DEBUG: payloads.
SILENT = Logger("realtime.silent")
SILENT.disabled = True


ReadUsual = Callable[[bytes, int, list[Event], Opcode, Opcode], int]
"""
Appends the usual messages that the bytes begin with to the list, under these two names
of text and bytes; returns where the rest begins. Usual is what is whole and masked, has
at most so many bytes, and, if it is text, is ASCII.
"""


def _read_nothing(
    data: bytes, max_bytes: int, events: list[Event], text: Opcode, binary: Opcode
) -> int:
    return 0  # the reader itself knows these, too


_read_usual = cast(ReadUsual, find("frames", "read") or _read_nothing)


class Unusual(Exception):
    """The frame is for the library's parser."""


class FrameReader:
    """
    Reads one connection. *max_bytes* bounds a message, whole or in fragments.

    Feed it and handle the events; then look at ``failure``, which is the close code and
    the reason once the client has broken the rules. After that, and after a close
    frame, whatever is fed is thrown away.
    """

    __slots__ = ("_ended", "_max_bytes", "_needed", "_rest", "_strict", "failure")

    def __init__(self, max_bytes: int) -> None:
        self.failure: tuple[int, str] | None = None
        self._max_bytes = max_bytes
        self._rest: bytearray | None = None  # the beginning of a frame
        self._needed = 0  # how long _rest must be before it is worth looking at again
        self._strict: StrictReader | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that *data* completes, in order."""
        if self._ended:
            return _NOTHING
        if self._strict is not None:
            return self._feed_strict(data)
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return _NOTHING
            data = bytes(self._rest)
            self._rest = None
        events: list[Event] = []
        try:
            position = _read_usual(data, self._max_bytes, events, _TEXT, _BINARY)
            if position == len(data):
                return events
            position = self._read(data, events, position)
        except Unusual as exc:
            return self._read_unusual(data, events, exc.args[0])
        if position < len(data):
            self._keep(data, position)
        return events

    def _keep(self, data: bytes, position: int) -> None:
        """Keep the beginning of a frame until the rest of it comes."""
        if not self._ended:
            self._rest = bytearray(memoryview(data)[position:])

    def _read_unusual(
        self, data: bytes, events: list[Event], position: int
    ) -> list[Event]:
        """Leave what begins at *position* to the library's parser, and all after it."""
        self._strict = self._make_strict()
        return events + self._feed_strict(data[position:])

    def _make_strict(self) -> StrictReader:
        return StrictReader(self._max_bytes)

    def _read(self, data: bytes, events: list[Event], position: int) -> int:
        """
        Append the ordinary frames of *data* from *position* on to *events*; return
        where the rest begins.

        Raises:
            Unusual: With the position of the frame that is none.
        """
        # Hot: once per received chunk, which is one frame as a rule.
        end = len(data)
        self._needed = 2
        while end - position >= 2:
            opcode = _ORDINARY.get(data[position])
            length = data[position + 1] - 0x80  # negative when not masked
            if opcode is None or length < 0:
                raise Unusual(position)
            start = position + 6  # of the payload: two bytes of header, four of mask
            if length >= 126:
                if opcode >= _CLOSE:
                    raise Unusual(position)
                start += 2 if length == 126 else 8
                if start - 4 > end:
                    self._needed = start - 4 - position
                    break
                if length == 126:  # int.from_bytes takes four times as long
                    length = data[position + 2] << 8 | data[position + 3]
                else:
                    length = int.from_bytes(data[position + 2 : start - 4], "big")
            if length > self._max_bytes:
                raise Unusual(position)
            stop = start + length
            if stop > end:
                self._needed = stop - position
                break
            payload = apply_mask(data[start:stop], data[start - 4 : start])
            if opcode is _TEXT:
                if not payload.isascii() and not is_utf8(payload):
                    raise Unusual(position)
            elif opcode is _CLOSE:
                if not _is_close(payload):
                    raise Unusual(position)
                self._ended = True
                stop = end
            events.append((opcode, payload))
            position = stop
        return position

    def _feed_strict(self, data: bytes) -> list[Event]:
        strict = self._strict
        assert strict is not None
        events = strict.feed(data)
        self.failure = strict.failure
        if self.failure is not None or (events and events[-1][0] is _CLOSE):
            self._ended = True
            self.close()
        return events

    def close(self) -> None:
        """Let go of what was read: nothing more will come, or is wanted."""
        self._rest = None
        if self._strict is not None:
            self._strict.close()
            self._strict = None


class StrictReader:
    """
    Reads by ``websockets``' parser and joins fragments.

    The parser leaves it to its user whether text is UTF-8; fragments are checked as
    they come, so that bad text fails before its last fragment. *extensions* are those
    agreed on in the handshake.
    """

    __slots__ = ("_decoder", "_message", "_opcode", "_protocol", "failure")

    def __init__(self, max_bytes: int, *extensions: Extension) -> None:
        self.failure: tuple[int, str] | None = None
        self._protocol = Protocol(
            Side.SERVER, state=OPEN, max_size=max_bytes, logger=SILENT
        )
        self._protocol.extensions = list(extensions)
        self._opcode = _TEXT  # of the fragmented message
        self._message = bytearray()
        self._decoder = getincrementaldecoder("utf-8")()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that *data* completes; then look at ``failure``."""
        protocol = self._protocol
        protocol.receive_data(data)
        protocol.data_to_send()  # its answers are not sent: the socket has its own
        events: list[Event] = []
        try:
            for frame in protocol.events_received():
                assert isinstance(frame, Frame)
                self._take(frame, events)
        except UnicodeDecodeError as exc:
            reason = f"text is not UTF-8: {exc.reason} at position {exc.start}"
            self.failure = (CloseCode.INVALID_DATA, reason)
            return events
        if protocol.parser_exc is not None:
            self._fail(events)
        return events

    def close(self) -> None:
        """
        Let go of the parser, which is a generator that holds itself.

        Without this, what it has read would stay until a full garbage collection.
        """
        self._protocol.parser.close()
        exc: BaseException | None = self._protocol.parser_exc
        while exc is not None:  # its frames hold the parser, too
            exc.__traceback__ = None
            exc = exc.__context__

    def _take(self, frame: Frame, events: list[Event]) -> None:
        """Turn a frame into an event, unless the message goes on."""
        if frame.opcode >= AnyOpcode.CLOSE:
            events.append((Opcode(frame.opcode), bytes(frame.data)))
            return
        if frame.opcode is not AnyOpcode.CONT:
            self._opcode = Opcode(frame.opcode)
            self._decoder.reset()
        if self._opcode is _TEXT:
            self._decoder.decode(frame.data, frame.fin)
        if frame.fin and not self._message:
            events.append((self._opcode, bytes(frame.data)))
            return
        self._message += frame.data
        if frame.fin:
            events.append((self._opcode, bytes(self._message)))
            self._message = bytearray()

    def _fail(self, events: list[Event]) -> None:
        """Say why the parser has stopped."""
        sent = self._protocol.close_sent
        closed = self._protocol.close_rcvd
        if closed is not None:
            # The parser takes a close frame between fragments for an error, but it is
            # allowed there (RFC 6455, 5.4) and only ends the message unfinished.
            no_code = closed.code == CloseCode.NO_STATUS_RCVD
            events.append((Opcode.CLOSE, b"" if no_code else closed.serialize()))
        elif sent is not None:
            self.failure = (int(sent.code), sent.reason)
        else:
            raise AssertionError("the parser has stopped without a reason")


def is_utf8(payload: bytes) -> bool:
    """Whether *payload* may be a text message."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_close(payload: bytes) -> bool:
    """Whether *payload* may stand in a close frame (RFC 6455, 5.5.1 and 7.4)."""
    try:
        Close.parse(payload)
    except (ProtocolError, UnicodeDecodeError):
        return False
    return True
