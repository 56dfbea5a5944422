"""What the frame reader makes of a client's bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, CloseCode, Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import OPEN, Protocol, Side

from realtime.native import built
from realtime.wire import reader
from realtime.wire.frames import Opcode
from realtime.wire.reader import Event, FrameReader

TEXT, BINARY = Opcode.TEXT, Opcode.BINARY
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE
MASK = b"\x01\x02\x03\x04"
MAX_BYTES = 1000


@pytest.fixture(autouse=True, scope="module", params=["python", "native"])
def form(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the reader work alone, then with the part in C."""
    read_usual = reader._read_nothing
    if request.param == "native":
        read_usual = built("frames", "read")  # type: ignore[assignment]
        if read_usual is None:
            pytest.skip("realtime.native.frames was not built: there was no compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_read_usual", read_usual)
        yield


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    declared: int | None = None,
    width: int | None = None,
) -> bytes:
    """Build a frame as a client would, or as no client should."""
    length = len(payload) if declared is None else declared
    head = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    if width == 0:
        header = struct.pack("!BB", head, mask_bit | length)
    elif width == 2:
        header = struct.pack("!BBH", head, mask_bit | 126, length)
    else:
        header = struct.pack("!BBQ", head, mask_bit | 127, length)
    if not masked:
        return header + payload
    return header + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))


def read(
    data: bytes, step: int | None = None, max_bytes: int = MAX_BYTES
) -> tuple[list[Event], tuple[int, str] | None]:
    """Feed *data*, whole or *step* bytes at a time; return events and failure."""
    reader = FrameReader(max_bytes)
    events: list[Event] = []
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        events += reader.feed(data[start : start + step])
    return events, reader.failure


GOOD = [
    ("text", client_frame(1, b"hello"), [(TEXT, b"hello")]),
    (
        "text that is not ASCII",
        client_frame(1, "ä€🙂".encode()),
        [(TEXT, "ä€🙂".encode())],
    ),
    ("binary", client_frame(2, b"\xff\x00"), [(BINARY, b"\xff\x00")]),
    ("empty", client_frame(1), [(TEXT, b"")]),
    ("125 bytes", client_frame(2, b"a" * 125), [(BINARY, b"a" * 125)]),
    ("126 bytes", client_frame(2, b"a" * 126), [(BINARY, b"a" * 126)]),
    ("the largest", client_frame(2, b"a" * 1000), [(BINARY, b"a" * 1000)]),
    ("a length in 8 bytes", client_frame(1, b"hi", width=8), [(TEXT, b"hi")]),
    ("ping", client_frame(9, b"x"), [(PING, b"x")]),
    ("pong", client_frame(10, b"a" * 125), [(PONG, b"a" * 125)]),
    ("close without code", client_frame(8), [(CLOSE, b"")]),
    ("close", client_frame(8, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
    (
        "several at once",
        client_frame(1, b"a") + client_frame(9) + client_frame(2, b"b"),
        [(TEXT, b"a"), (PING, b""), (BINARY, b"b")],
    ),
    (
        "fragments",
        client_frame(1, b"a", fin=False)
        + client_frame(0, b"b", fin=False)
        + client_frame(0, b"c"),
        [(TEXT, b"abc")],
    ),
    (
        "a character cut by fragments",
        client_frame(1, b"\xe2\x82", fin=False) + client_frame(0, b"\xac"),
        [(TEXT, "€".encode())],
    ),
    (
        "a ping between fragments",
        client_frame(2, b"a", fin=False)
        + client_frame(9, b"p")
        + client_frame(0, b"b"),
        [(PING, b"p"), (BINARY, b"ab")],
    ),
    (
        "a close between fragments",
        client_frame(2, b"a", fin=False) + client_frame(8, b"\x03\xe8"),
        [(CLOSE, b"\x03\xe8")],
    ),
    (
        "a close without code between fragments",
        client_frame(2, b"a", fin=False) + client_frame(8),
        [(CLOSE, b"")],
    ),
    (
        "empty fragments",
        client_frame(1, fin=False) + client_frame(0, fin=False) + client_frame(0),
        [(TEXT, b"")],
    ),
    (
        "ordinary frames after fragments",
        client_frame(1, b"a", fin=False) + client_frame(0) + client_frame(2, b"z"),
        [(TEXT, b"a"), (BINARY, b"z")],
    ),
    (
        "anything after a close",
        client_frame(8) + client_frame(1, b"late") + b"\xff\xff",
        [(CLOSE, b"")],
    ),
]

BAD = [
    ("not masked", client_frame(1, b"a", masked=False), 1002),
    ("not masked and empty", client_frame(9, masked=False), 1002),
    ("a reserved bit", client_frame(1, b"a", rsv=4), 1002),
    ("a reserved opcode", client_frame(3, b"a"), 1002),
    ("a reserved control opcode", client_frame(11, b"a"), 1002),
    ("a continuation of nothing", client_frame(0, b"a"), 1002),
    (
        "a message within a message",
        client_frame(1, b"a", fin=False) + client_frame(1, b"b"),
        1002,
    ),
    ("a ping in fragments", client_frame(9, fin=False), 1002),
    ("a ping of 126 bytes", client_frame(9, b"a" * 126), 1002),
    ("a close of one byte", client_frame(8, b"\x03"), 1002),
    ("a close code that may not be sent", client_frame(8, b"\x03\xee"), 1002),
    ("a close reason that is not UTF-8", client_frame(8, b"\x03\xe8\xff"), 1007),
    ("text that is not UTF-8", client_frame(1, b"a\xff"), 1007),
    ("text that ends within a character", client_frame(1, b"\xe2\x82"), 1007),
    ("a surrogate", client_frame(1, b"\xed\xa0\x80"), 1007),
    (
        "a first fragment that is not UTF-8",
        client_frame(1, b"\xff", fin=False),
        1007,
    ),
    (
        "fragments that end within a character",
        client_frame(1, b"a", fin=False) + client_frame(0, b"\xe2"),
        1007,
    ),
    ("one byte too many", client_frame(2, b"a" * 1001), 1009),
    ("much too large, in 8 bytes", client_frame(2, declared=2**40, width=8), 1009),
    ("the largest length", client_frame(2, declared=2**64 - 1, width=8), 1009),
    (
        "fragments that are too large together",
        client_frame(2, b"a" * 600, fin=False) + client_frame(0, b"a" * 600),
        1009,
    ),
]


def ids(cases: Sequence[tuple[str, bytes, object]]) -> list[str]:
    """Return the names of *cases*."""
    return [case[0] for case in cases]


@pytest.mark.parametrize("step", [None, 1, 2, 3, 7])
@pytest.mark.parametrize("name, data, expected", GOOD, ids=ids(GOOD))
def test_good_frames_become_events_however_they_are_cut(
    name: str, data: bytes, expected: list[Event], step: int | None
) -> None:
    """Every legal sequence of frames gives its events, whatever the chunks."""
    assert read(data, step) == (expected, None)


@pytest.mark.parametrize("step", [None, 1, 2, 3, 7])
@pytest.mark.parametrize("name, data, code", BAD, ids=ids(BAD))
def test_bad_frames_fail_with_their_code_after_what_came_before(
    name: str, data: bytes, code: int, step: int | None
) -> None:
    """A bad frame fails with the RFC's code; the message before it is delivered."""
    events, failure = read(client_frame(1, b"before") + data, step)

    assert events == [(TEXT, b"before")]
    assert failure is not None
    assert failure[0] == code
    assert failure[1]


@pytest.mark.parametrize("name, data, code", BAD, ids=ids(BAD))
def test_nothing_is_read_after_a_failure(name: str, data: bytes, code: int) -> None:
    """Once the connection has failed, later frames are thrown away."""
    reader = FrameReader(MAX_BYTES)
    reader.feed(data)

    assert reader.feed(client_frame(1, b"late")) == []
    assert reader.failure is not None


def test_an_oversized_frame_is_refused_from_its_header() -> None:
    """The payload of a frame that is too large is not waited for."""
    header = client_frame(2, declared=MAX_BYTES + 1)[:4]
    events, failure = read(header)

    assert (events, failure and failure[0]) == ([], 1009)


def test_a_partial_frame_is_kept_and_nothing_else() -> None:
    """What waits for its end is one frame at most, and it is let go when complete."""
    reader = FrameReader(MAX_BYTES)
    frame = client_frame(2, b"a" * MAX_BYTES)
    reader.feed(frame * 3 + frame[:-1])
    assert reader._rest is not None
    assert len(reader._rest) == len(frame) - 1

    assert reader.feed(frame[-1:]) == [(BINARY, b"a" * MAX_BYTES)]
    assert reader._rest is None


def test_an_ordinary_connection_never_needs_the_library_parser() -> None:
    """Messages, pings, pongs and a clean close are read by the lean path alone."""
    reader = FrameReader(MAX_BYTES)
    for _, data, _ in GOOD[:13]:
        if data[0] != 0x88:
            reader.feed(data)
            assert reader._strict is None


# -- the same as the library -----------------------------------------------------------

frames = st.builds(
    client_frame,
    st.sampled_from([0, 1, 1, 2, 2, 2, 3, 8, 9, 10, 11]),
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=20).map(str.encode),
        st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8ok", b"a" * 125, b"b" * 126]),
        st.integers(90, 110).map(lambda size: b"c" * size),
    ),
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0] * 15 + [1, 4]),
    masked=st.sampled_from([True] * 15 + [False]),
    width=st.sampled_from([None, None, None, 2, 8]),
)
streams = st.one_of(
    st.lists(frames, max_size=8).map(b"".join),
    st.lists(frames, max_size=3).flatmap(
        lambda some: st.binary(max_size=30).map(lambda tail: b"".join(some) + tail)
    ),
)


def by_the_library(data: bytes, max_bytes: int) -> tuple[list[Event], int | None]:
    """Return what ``websockets``' parser and the simplest joining of fragments give."""
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=max_bytes)
    protocol.receive_data(data)
    events: list[Event] = []
    message, opcode = b"", TEXT
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode >= AnyOpcode.CLOSE:
            events.append((Opcode(frame.opcode), bytes(frame.data)))
            continue
        if frame.opcode is not AnyOpcode.CONT:
            message, opcode = b"", Opcode(frame.opcode)
        message += frame.data
        if opcode is TEXT and not begins_utf8(message, frame.fin):
            return events, CloseCode.INVALID_DATA
        if frame.fin:
            events.append((opcode, message))
    if protocol.parser_exc is None:
        return events, None
    if protocol.close_rcvd is not None:  # between fragments, where it is allowed
        close = protocol.close_rcvd
        payload = b"" if close.code == 1005 else Close.serialize(close)
        return [*events, (CLOSE, payload)], None
    assert protocol.close_sent is not None
    return events, protocol.close_sent.code


def begins_utf8(data: bytes, complete: bool) -> bool:
    """Whether *data* is UTF-8, or can still become it when it is not *complete*."""
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        return not complete and exc.reason == "unexpected end of data"
    return True


@given(streams, st.data())
def test_the_reader_agrees_with_the_library_on_everything(
    data: bytes, draw: st.DataObject
) -> None:
    """Whole, byte by byte or in any chunks, events and close code are the library's."""
    expected = by_the_library(data, 100)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=6).map(sorted))
    chunked = FrameReader(100)
    events: list[Event] = []
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += chunked.feed(data[start:stop])

    for got, failure in (
        (events, chunked.failure),
        read(data, None, 100),
        read(data, 1, 100),
    ):
        assert (got, failure and failure[0]) == expected


@given(st.binary(max_size=200), st.integers(1, 30))
def test_any_bytes_give_events_or_a_failure_and_no_exception(
    data: bytes, step: int
) -> None:
    """Garbage never raises."""
    read(data, step, 64)
