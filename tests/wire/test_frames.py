"""Frames are complete, and a push is encoded once per frame key."""

from __future__ import annotations

import os
from zlib import ZLIB_RUNTIME_VERSION

import msgpack
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame
from websockets.protocol import OPEN, Protocol, Side
from websockets.streams import StreamReader

from realtime.types import Channel, JSONText, Position, Publication, PublicationKind
from realtime.wire.frames import (
    FrameKey,
    Opcode,
    PreparedPush,
    close_frame,
    deflate_frame,
    deflated,
    server_frame,
)


def parsed(data: bytes) -> Frame:
    """Read exactly one unmasked frame with another implementation of RFC 6455."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert reader.buffer == b""
    frame = done.value.value
    assert isinstance(frame, Frame)
    return frame


def push(data: bytes = b'{"value":12}', channel: str = "live:likes") -> PreparedPush:
    """Make a push for a test."""
    return PreparedPush(7, Publication(Channel(channel), JSONText(data)))


def notice(kind: PublicationKind, position: Position | None = None) -> PreparedPush:
    """Make a push of another kind than somebody's data."""
    data = JSONText(b'{"client":"c-1"}')
    return PreparedPush(7, Publication(Channel("chat:a"), data, position, kind=kind))


# -- frames ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length, head",
    [
        (0, "82 00"),
        (125, "82 7d"),
        (126, "82 7e 007e"),
        (65535, "82 7e ffff"),
        (65536, "82 7f 0000000000010000"),
    ],
)
def test_length_takes_the_shortest_form(length: int, head: str) -> None:
    """RFC 6455, 5.2: the length is written in the minimal number of bytes."""
    frame = server_frame(Opcode.BINARY, b"x" * length)

    assert frame == bytes.fromhex(head) + b"x" * length


@pytest.mark.parametrize("opcode", list(Opcode))
def test_another_implementation_reads_every_opcode(opcode: Opcode) -> None:
    """A frame of any opcode is whole, final and has no reserved bits."""
    frame = parsed(server_frame(opcode, b"\x03\xe8hello"))

    assert (int(frame.opcode), frame.data, frame.fin) == (
        opcode,
        b"\x03\xe8hello",
        True,
    )
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


def test_long_control_frame_is_refused() -> None:
    """RFC 6455, 5.5: a control frame has at most 125 bytes."""
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        server_frame(Opcode.PING, b"x" * 126)


def test_close_frame_carries_code_and_reason() -> None:
    """A close frame is the code in network order, then the reason."""
    close = Close.parse(parsed(close_frame(4501, "hello was refused")).data)

    assert close == Close(4501, "hello was refused")


@pytest.mark.parametrize(
    "reason", ["x" * 200, "é" * 200, "€" * 200, "😀" * 200, "a😀" * 99]
)
def test_long_reason_is_cut_between_characters(reason: str) -> None:
    """What does not fit into 123 bytes is cut, never in the middle of a character."""
    close = Close.parse(parsed(close_frame(4500, reason)).data)

    assert reason.startswith(close.reason)
    assert 120 <= len(close.reason.encode()) <= 123


def test_reason_that_is_no_unicode_is_mended() -> None:
    """A lone surrogate in a reason is replaced: closing must not fail."""
    assert close_frame(4500, "a\ud800b")[4:] == b"a?b"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000, 70000])
def test_reserved_close_code_is_refused(code: int) -> None:
    """RFC 6455, 7.4: some codes never travel."""
    with pytest.raises(ValueError, match=f"close code {code} may not be sent"):
        close_frame(code, "")


@settings(deadline=None)
@given(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary(max_size=300))
def test_another_implementation_reads_what_was_written(
    opcode: Opcode, payload: bytes
) -> None:
    """Any payload comes back as it was."""
    frame = parsed(server_frame(opcode, payload))

    assert (int(frame.opcode), frame.data) == (opcode, payload)


# -- pushes ----------------------------------------------------------------------------


def test_json_push_is_a_text_frame_with_the_data_as_it_is() -> None:
    """The data is spliced in, byte for byte: even spacing that is not ours survives."""
    frame = parsed(push(b'{"a" : 1.0}').frame(FrameKey.JSON))

    assert int(frame.opcode) == Opcode.TEXT
    assert frame.data == b'{"type":"push","channel":7,"data":{"a" : 1.0}}'


def test_msgpack_push_is_a_binary_frame_with_the_same_message() -> None:
    """The MessagePack form says what the JSON form says."""
    one = push(b'{"a":[1,2.5,null,true,"\xc3\xa9"]}')
    frame = parsed(one.frame(FrameKey.MSGPACK))

    assert int(frame.opcode) == Opcode.BINARY
    assert msgpack.unpackb(frame.data) == orjson.loads(
        parsed(one.frame(FrameKey.JSON)).data
    )


def test_sse_push_is_one_event_that_names_its_channel() -> None:
    """A reader of server-sent events learns the channel by name."""
    event = push(channel='live:a"b').frame(FrameKey.SSE)

    assert event == (
        b'event: push\ndata: {"channel":"live:a\\"b","data":{"value":12}}\n\n'
    )


def test_an_event_with_a_position_has_an_id() -> None:
    """Browsers send it back when they return; it is one line whatever the channel."""
    one = Publication(Channel("chat:é,\n"), JSONText(b"1"), Position(5, "e"))
    event = PreparedPush(7, one).frame(FrameKey.SSE)

    assert event.endswith(b"}\nid: 5,e,chat:%C3%A9%2C%0A\n\n")


@pytest.mark.parametrize(
    "publication",
    [
        Publication(Channel("chat:a"), JSONText(b"[1]"), Position(5, "e")),
        Publication(Channel("chat:a"), JSONText(b"[1]"), tags={"a": '"', "b": "é"}),
        Publication(Channel("chat:a"), JSONText(b"1"), Position(5, "e"), {"a": ""}),
        Publication(Channel("chat:a"), JSONText(b"1"), tags={}),
        *(notice(kind).publication for kind in PublicationKind),
        *(notice(kind, Position(5, 'e"')).publication for kind in PublicationKind),
    ],
)
def test_every_kind_of_push_says_the_same_in_each_form(
    publication: Publication,
) -> None:
    """JSON, MessagePack and an event for a page have the same fields."""
    one = PreparedPush(7, publication)
    message = orjson.loads(parsed(one.frame(FrameKey.JSON)).data)

    assert msgpack.unpackb(parsed(one.frame(FrameKey.MSGPACK)).data) == message
    event, _, _ = one.frame(FrameKey.SSE).removesuffix(b"\n\n").partition(b"\nid: ")
    name, text = event.split(b"\ndata: ")
    assert name == b"event: %b" % message.pop("type").encode()
    assert orjson.loads(text) == {**message, "channel": "chat:a"}


def test_gap_tells_where_the_reader_stands() -> None:
    """With a position, what lies before it is lost; without one, just something."""
    gap = PublicationKind.GAP
    known = parsed(notice(gap, Position(5, "e")).frame(FrameKey.JSON)).data
    unknown = parsed(notice(gap).frame(FrameKey.JSON)).data

    assert known == b'{"type":"gap","channel":7,"offset":5,"epoch":"e"}'
    assert unknown == b'{"type":"gap","channel":7}'


@pytest.mark.parametrize("key", list(FrameKey))
def test_every_subscriber_is_given_the_same_object(key: FrameKey) -> None:
    """A push is encoded once per frame key, whoever asks and how often."""
    one = push()

    assert one.frame(key) is one.frame(key)


def test_frame_keys_are_encoded_only_when_asked_for() -> None:
    """What no subscriber needs is never made: this data is no JSON for MessagePack."""
    one = push(b"not JSON")

    assert b"not JSON" in one.frame(FrameKey.JSON)
    with pytest.raises(orjson.JSONDecodeError):
        one.frame(FrameKey.MSGPACK)


# -- compression -----------------------------------------------------------------------

BOARD = b'{"board":[%b]}' % b",".join(
    b'{"team":%d,"points":0}' % number for number in range(9)
)
DEFLATE_KEYS = [key for key in FrameKey if key.plain is not key]

GOLDEN = """
c1 5f 6c ce 3b 0a 80 30 10 45 d1 bd bc 3a 85 7f 65 b6 22 16 a3 06 22 68 12 34 16 12
b2 77 d3 08 16 d3 5d 4e 75 23 c2 e3 35 08 fe be 0c 14 16 c3 d6 ea 1d d4 2b ac 1c 18
14 31 3b 3e 57 d0 18 11 34 1f a0 42 c1 bb cd 86 2b 67 52 9f 96 a2 56 a2 d6 a2 36 a2
b6 a2 76 a2 e6 69 e1 6c f8 eb 94 d2 0b
"""
"""RSV1 and TEXT; 95 bytes, not masked; one block of deflate without the sync's end."""


def test_a_compressed_push_has_these_bytes() -> None:
    """Byte by byte as it has always been; another zlib may find another way."""
    frame = push(BOARD).frame(FrameKey.JSON_DEFLATE)

    assert read_by_a_client(bytes.fromhex(GOLDEN)).endswith(b',"data":%b}' % BOARD)
    if ZLIB_RUNTIME_VERSION.startswith("1.2."):
        assert frame.hex(" ") == " ".join(GOLDEN.split())


def read_by_a_client(data: bytes, window_bits: int = 12) -> bytes:
    """Let a client that has agreed to compression read one message."""
    client = Protocol(Side.CLIENT, state=OPEN)
    client.extensions = [PerMessageDeflate(True, True, window_bits, 15)]
    client.receive_data(data)
    [frame] = client.events_received()
    assert isinstance(frame, Frame)
    return bytes(frame.data)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 90))
@pytest.mark.parametrize("key", DEFLATE_KEYS)
def test_a_compressed_push_is_the_plain_one_to_its_reader(
    key: FrameKey, texts: list[str], times: int
) -> None:
    """Whatever is said, in both codecs and for both windows; and it is no longer."""
    one = push(orjson.dumps(texts * times))
    bits = 9 if key >= FrameKey.JSON_DEFLATE_SMALL else 12

    assert read_by_a_client(one.frame(key), bits) == parsed(one.frame(key.plain)).data
    assert len(one.frame(key)) <= len(one.frame(key.plain))


@pytest.mark.parametrize("key", DEFLATE_KEYS)
def test_what_compression_does_not_make_smaller_goes_as_it_is(key: FrameKey) -> None:
    """The very same bytes as for everybody else: short ones, and noise."""
    one = push(b'{"value":12}')
    noise = server_frame(Opcode.BINARY, os.urandom(500))

    assert one.frame(key) is one.frame(key.plain)
    assert deflated(noise, 12) is noise


def test_notices_are_compressed_by_the_same_rule() -> None:
    """Joins of members with long descriptions; a gap is short."""
    member = JSONText(b'{"client":"c","info":{"name":"%b"}}' % (b"Ada " * 50))
    joined = PreparedPush(
        7, Publication(Channel("chat:a"), member, None, kind=PublicationKind.JOIN)
    )

    assert len(joined.frame(FrameKey.JSON_DEFLATE)) < 120
    gap = notice(PublicationKind.GAP)
    assert gap.frame(FrameKey.JSON_DEFLATE) is gap.frame(FrameKey.JSON)


@pytest.mark.parametrize("length", [128, 5000, 70_000])
def test_any_length_of_header_is_understood(length: int) -> None:
    """The payload of a frame begins after 2, 4 or 10 bytes."""
    payload = bytes(range(128, 256)) * (length // 128)
    frame = deflate_frame(server_frame(Opcode.BINARY, payload), 12)

    assert frame[0] == 0xC2
    assert read_by_a_client(frame) == payload
    assert read_by_a_client(deflate_frame(server_frame(Opcode.TEXT, b"a"), 12)) == b"a"
