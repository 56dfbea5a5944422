"""What the reader of a connection with compression makes of a client's bytes."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.frames import Opcode as AnyOpcode
from websockets.protocol import Protocol

from realtime.wire.deflate import deflate
from realtime.wire.frames import Opcode
from realtime.wire.inflating_reader import InflatingReader
from realtime.wire.reader import Event, FrameReader

TEXT, BINARY = Opcode.TEXT, Opcode.BINARY
PING, CLOSE = Opcode.PING, Opcode.CLOSE
MASK = b"\x01\x02\x03\x04"
MAX_BYTES = 5000
NOISE = os.urandom(3000)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0
) -> bytes:
    """Build a client's frame."""
    head = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return head + length + MASK + masked


def compressed(opcode: int, message: bytes) -> bytes:
    """Build a frame with a whole message that is compressed."""
    return frame(opcode, deflate(message), rsv=4)


def read(
    data: bytes, step: int | None = None, max_bytes: int = MAX_BYTES
) -> tuple[list[Event], tuple[int, str] | None]:
    """Feed *data*, whole or *step* bytes at a time; return events and failure."""
    reader = InflatingReader(max_bytes)
    events: list[Event] = []
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        events += reader.feed(data[start : start + step])
    return events, reader.failure


HALF = deflate(b"half and half")

GOOD = [
    ("text", compressed(1, b"hello"), [(TEXT, b"hello")]),
    ("text that is not ASCII", compressed(1, "ä€".encode()), [(TEXT, "ä€".encode())]),
    ("binary", compressed(2, b"\xff\x00" * 99), [(BINARY, b"\xff\x00" * 99)]),
    ("empty", compressed(1, b""), [(TEXT, b"")]),
    ("the largest", compressed(2, b"a" * 5000), [(BINARY, b"a" * 5000)]),
    ("a length in 2 bytes", compressed(2, NOISE), [(BINARY, NOISE)]),
    ("not compressed", frame(1, b"plain"), [(TEXT, b"plain")]),
    (
        "with and without compression by turns",
        compressed(1, b"a") + frame(9) + frame(1, b"b") + compressed(1, b"c") * 2,
        [(TEXT, b"a"), (PING, b""), (TEXT, b"b"), (TEXT, b"c"), (TEXT, b"c")],
    ),
    (
        "fragments",
        frame(1, HALF[:3], fin=False, rsv=4) + frame(0, fin=False) + frame(0, HALF[3:]),
        [(TEXT, b"half and half")],
    ),
    (
        "a ping between fragments, and what follows them",
        frame(2, HALF[:1], fin=False, rsv=4)
        + frame(9, b"p")
        + frame(0, HALF[1:])
        + compressed(1, b"next")
        + frame(1, b"last"),
        [
            (PING, b"p"),
            (BINARY, b"half and half"),
            (TEXT, b"next"),
            (TEXT, b"last"),
        ],
    ),
    ("anything after a close", frame(8) + compressed(1, b"late"), [(CLOSE, b"")]),
]

BAD = [
    ("no deflate data", frame(1, b"\xff\xff\xff", rsv=4), 1002),
    ("a compressed ping", frame(9, deflate(b"p"), rsv=4), 1002),
    ("a compressed close", frame(8, deflate(b"\x03\xe8"), rsv=4), 1002),
    (
        "a continuation with the bit of compression",
        frame(1, HALF[:3], fin=False, rsv=4) + frame(0, HALF[3:], rsv=4),
        1002,
    ),
    (
        "the same after a plain beginning",
        frame(1, b"a", fin=False) + frame(0, HALF, rsv=4),
        1002,
    ),
    ("another reserved bit", frame(1, HALF, rsv=2), 1002),
    ("another reserved bit, too", frame(1, HALF, rsv=5), 1002),
    ("text that is not UTF-8", compressed(1, b"a\xff"), 1007),
    ("one byte too many", compressed(2, b"a" * 5001), 1009),
    ("one byte too many in noise", compressed(2, NOISE + b"a" * 2001), 1009),
    ("as large before it is unpacked", frame(2, NOISE * 2, rsv=4), 1009),
    (
        "fragments that are too large together",
        frame(2, deflate(b"a" * 4000 + NOISE)[:1500], fin=False, rsv=4)
        + frame(0, deflate(b"a" * 4000 + NOISE)[1500:]),
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
    events, failure = read(compressed(1, b"before") + data, step)

    assert events == [(TEXT, b"before")]
    assert failure is not None
    assert failure[0] == code


def test_whole_messages_never_need_the_library_parser() -> None:
    """Compressed or not, in any chunks: they are read by the lean ways alone."""
    data = b"".join(one for name, one, _ in GOOD[:8])
    for step in (1, 5, len(data)):
        reader = InflatingReader(MAX_BYTES)
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
        assert reader._strict is None
        assert reader._rest is None


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_bomb_is_refused_before_it_has_been_unpacked(pieces: int) -> None:
    """32 MiB in one frame or in fragments end the connection, and take no memory."""
    bomb = deflate(bytes(32 * 1024 * 1024))
    size = -(-len(bomb) // pieces)
    data = b"".join(
        frame(
            0 if at else 2,
            bomb[at : at + size],
            fin=at + size >= len(bomb),
            rsv=0 if at else 4,
        )
        for at in range(0, len(bomb), size)
    )
    reader = InflatingReader(256 * 1024)
    tracemalloc.start()
    try:
        events = reader.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert events == []
    assert reader.failure is not None
    assert reader.failure[0] == 1009
    assert peak < 4 * 1024 * 1024


def partial(reader: InflatingReader) -> None:
    """Begin a message in fragments, and a frame that is not complete."""
    payload = deflate(NOISE)
    reader.feed(frame(2, payload[:1000], fin=False, rsv=4))
    reader.feed(frame(0, payload[1000:])[:500])


def broken(reader: InflatingReader) -> None:
    """Send what becomes too large."""
    reader.feed(compressed(2, b"a" * 100_000))


@pytest.mark.parametrize("mistreat", [partial, broken])
def test_what_has_been_read_goes_with_the_connection(
    mistreat: Callable[[InflatingReader], None],
) -> None:
    """No garbage is left that only the collector finds: it would take too long."""
    gc.collect()
    gc.disable()
    try:
        before = parsers()
        reader = InflatingReader(MAX_BYTES)
        mistreat(reader)
        reader.close()
        assert parsers() == before
    finally:
        gc.enable()


def parsers() -> int:
    """Return how many of the library's parsers there are."""
    return sum(type(one) is Protocol for one in gc.get_objects())


def test_a_connection_keeps_no_more_than_one_without_compression() -> None:
    """The reader has the same places, and they are empty between messages."""
    reader, plain = InflatingReader(MAX_BYTES), FrameReader(MAX_BYTES)
    for _ in range(3):
        assert reader.feed(compressed(1, b"words " * 100))

    assert sys.getsizeof(reader) == sys.getsizeof(plain)
    assert not hasattr(reader, "__dict__")
    assert (reader._rest, reader._strict) == (None, None)


# -- the same as the library -----------------------------------------------------------

messages = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=60).map(str.encode),
    st.tuples(st.binary(min_size=1, max_size=20), st.integers(1, 200)).map(
        lambda part: part[0] * part[1]
    ),
)


def by_the_library(message: bytes, opcode: Opcode, cuts: Sequence[int]) -> bytes:
    """Let ``websockets`` compress a message and cut it into fragments."""
    extension = PerMessageDeflate(True, True, 15, 15)
    data = b""
    pieces = list(zip([0, *cuts], [*cuts, len(message)], strict=True))
    for at, (start, stop) in enumerate(pieces):
        kind = AnyOpcode(opcode) if at == 0 else AnyOpcode.CONT
        piece = Frame(kind, message[start:stop], fin=at == len(pieces) - 1)
        data += piece.serialize(mask=True, extensions=[extension])
    return data


@settings(deadline=None)
@given(st.lists(messages, min_size=1, max_size=4), st.data())
def test_any_message_comes_back_in_whatever_pieces_it_comes(
    sent: list[bytes], draw: st.DataObject
) -> None:
    """Compressed by the library, in fragments, in chunks: the messages are the same."""
    data = b""
    for message in sent:
        places = st.lists(st.integers(0, len(message)), max_size=2).map(sorted)
        data += by_the_library(message, BINARY, draw.draw(places))
    step = draw.draw(st.integers(1, len(data)))

    assert read(data, step, 10_000) == ([(BINARY, one) for one in sent], None)


frames = st.builds(
    frame,
    st.sampled_from([0, 1, 1, 2, 2, 8, 9]),
    st.one_of(
        st.binary(max_size=40),
        messages.map(deflate),
        st.sampled_from([b"", b"\x03\xe8", deflate(b"\xff"), deflate(bytes(200))]),
    ),
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 4, 4, 4, 4, 4, 2]),
)


@settings(deadline=None)
@given(st.lists(frames, max_size=6).map(b"".join), st.integers(1, 50))
def test_the_lean_way_agrees_with_the_strict_one_on_everything(
    data: bytes, step: int
) -> None:
    """Whatever frames come, the strict reader alone finds the same in them."""
    lean, strict = InflatingReader(150), InflatingReader(150)
    strict._strict = strict._make_strict()
    found: list[Event] = []
    for start in range(0, len(data), step):
        found += lean.feed(data[start : start + step])

    assert found == strict.feed(data)
    assert (lean.failure and lean.failure[0]) == (strict.failure and strict.failure[0])


@settings(deadline=None)
@given(st.binary(max_size=200).map(lambda data: b"\xc1" + data), st.integers(1, 30))
def test_any_bytes_give_events_or_a_failure_and_no_exception(
    data: bytes, step: int
) -> None:
    """Garbage never raises."""
    read(data, step, 64)


def test_compression_of_other_strategies_is_understood() -> None:
    """A client may compress as it likes, in blocks of any kind."""
    message = b"some text that comes back, some text that does not " * 40
    for level in range(10):
        for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH):
            work = zlib.compressobj(level, zlib.DEFLATED, -15)
            payload = (work.compress(message) + work.flush(flush))[:-4]
            assert read(frame(1, payload, rsv=4))[0] == [(TEXT, message)]
