"""Bytes that are no message: the documented close code, and nobody else notices."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgpack
import pytest

from realtime.testing.processes import NodeProcess
from realtime.wire.deflate import deflate
from tests.faults.support import (
    JSON_V1,
    MSGPACK_V1,
    PAYLOAD,
    Client,
    Witness,
    eventually,
    logged,
    metric,
    rss_bytes,
)

pytestmark = pytest.mark.usefixtures("served")

MIB = 2**20
NESTED = 40
DEEP = 50_000

JSON_FRAMES: dict[str, tuple[Any, str]] = {
    "nothing": ("", "no JSON"),
    "half an object": ('{"type":', "no JSON"),
    "words": (f"hello {PAYLOAD}", "no JSON"),
    "two objects": ('{"type":"ping"}{"type":"ping"}', "no JSON"),
    "a comment": ('{"type":"ping"} // hello', "no JSON"),
    "an array": (f'["{PAYLOAD}"]', "not an array"),
    "a string": (f'"{PAYLOAD}"', "not a string"),
    "a number": ("7", "not a number"),
    "null": ("null", "not null"),
    "NaN": ('{"type":"ping","id":NaN}', "no JSON"),
    "Infinity": ('{"type":"ping","sent_at":Infinity}', "no JSON"),
    "a byte order mark": ('\ufeff{"type":"ping"}', "no JSON"),
    "half a surrogate pair": (r'{"type":"\ud800"}', "no JSON"),
    "a nested object": ('{"a":' * NESTED + "1" + "}" * NESTED, "nested"),
    "a nested publication": (
        '{"type":"publish","channel":"chat:a","data":'
        + "[" * NESTED
        + "]" * NESTED
        + "}",
        "nested",
    ),
    "deep brackets": ("[" * DEEP + "]" * DEEP, "nested"),
    "open brackets": ("[" * DEEP, "nested"),
    "a binary frame": (b'{"type":"ping"}', "wants a text frame"),
}

MSGPACK_FRAMES: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "cut short"),
    "half a map": (b"\x82\xa4type", "cut short"),
    "a type that does not exist": (b"\xc1", "no MessagePack"),
    "two messages": (msgpack.packb({"type": "ping"}) * 2, "after the message"),
    "an array": (msgpack.packb([PAYLOAD]), "not an array"),
    "a string": (msgpack.packb(PAYLOAD), "not a string"),
    "raw bytes": (msgpack.packb({"type": b"ping"}), "raw bytes"),
    "an extension": (msgpack.packb(msgpack.ExtType(1, b"x")), "extension"),
    "a timestamp": (msgpack.packb(msgpack.Timestamp(1, 0)), "extension"),
    "a key that is a number": (msgpack.packb({1: 2}), "key is not a string"),
    "NaN": (msgpack.packb({"type": "ping", "sent_at": float("nan")}), "finite"),
    "Infinity": (msgpack.packb({"type": "ping", "sent_at": -1e999}), "finite"),
    "an array of four billion": (b"\xdd\xff\xff\xff\xff", "length is greater"),
    "a nest of long arrays": (b"\xdd\x00\x03\xff\xff" * 20_000, "nested"),
    "deep arrays": (b"\x91" * 500 + b"\xc0", "nested"),
    "bad UTF-8": (b"\x81\xa4type\xa2\xff\xff", "not UTF-8"),
    "a text frame": ("hello", "wants a binary frame"),
}

FRAMES = [
    pytest.param(subprotocol, *frame, id=f"{subprotocol.rpartition('.')[2]}: {name}")
    for subprotocol, frames in ((JSON_V1, JSON_FRAMES), (MSGPACK_V1, MSGPACK_FRAMES))
    for name, frame in frames.items()
]


@pytest.mark.parametrize(("subprotocol", "frame", "reason"), FRAMES)
def test_what_is_no_message_closes_with_4500(
    node: NodeProcess, subprotocol: str, frame: str | bytes, reason: str
) -> None:
    """The reason says what is wrong; so does the log, which does not quote it."""
    with Client(node.ws_url, subprotocol) as client:
        client.hello()
        client.send(frame)
        code, said = client.closed()

        assert (code, reason in said) == (4500, True), said
        line = logged(node, connection=client.connection, event="connection_closed")
        assert (line["code"], line["reason"]) == (4500, said)
        assert line["remote"] == "127.0.0.1"


def test_a_number_over_all_bounds_is_no_message(client: Client) -> None:
    """JSON has no infinity, by whatever way it is written."""
    client.send('{"type":"ping","id":1,"sent_at":1e999}')
    code, _ = client.closed()

    assert code == 4500


def test_text_that_is_not_utf8_closes_with_1007(client: Client) -> None:
    """As RFC 6455 wants it."""
    client.socket.socket.sendall(b"\x81\x82\x00\x00\x00\x00\xff\xff")

    assert client.closed()[0] == 1007


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x81\x02hi", id="not masked"),
        pytest.param(b"\xc1\x80\x00\x00\x00\x00", id="a reserved bit"),
        pytest.param(b"\x83\x80\x00\x00\x00\x00", id="a reserved opcode"),
        pytest.param(b"\x80\x80\x00\x00\x00\x00", id="a fragment of nothing"),
        pytest.param(b"\x09\x80\x00\x00\x00\x00", id="half a ping"),
        pytest.param(b"\x88\x81\x00\x00\x00\x00\x00", id="half a close code"),
    ],
)
def test_a_frame_that_breaks_the_rfc_closes_with_1002(
    client: Client, frame: bytes
) -> None:
    """Nothing after it can be trusted."""
    client.socket.socket.sendall(frame)

    assert client.closed()[0] == 1002


def test_a_message_over_the_limit_closes_with_1009(client: Client) -> None:
    """One byte more than was told in welcome is too much."""
    client.send('"' + "x" * 262_143 + '"')

    assert client.closed()[0] == 1009


def test_a_frame_that_announces_too_much_closes_with_1009(client: Client) -> None:
    """The server does not wait for an exabyte to come."""
    client.socket.socket.sendall(b"\x81\xff" + struct.pack("!Q", 2**60) + b"\0" * 4)

    assert client.closed()[0] == 1009


def test_endless_fragments_close_with_1009(client: Client) -> None:
    """A message of many small fragments is bounded as a whole."""
    begin = b"\x01\xfe\x27\x10\x00\x00\x00\x00" + b"x" * 10_000
    client.socket.socket.sendall(begin + (b"\x00" + begin[1:]) * 30)

    assert client.closed()[0] == 1009


# -- compression -----------------------------------------------------------------------


def packed(first: int, payload: bytes) -> bytes:
    """Return a frame with any length, which a short one need not have."""
    return bytes((first, 0xFE)) + struct.pack("!H", len(payload)) + bytes(4) + payload


@pytest.mark.parametrize(
    "payload, code, reason",
    [
        (b"\x07 is no block", 1002, "decompression"),
        (zlib.compress(b'{"type":"ping"}'), 1002, "decompression"),
        (deflate(b"hello"), 4500, "no JSON"),
        (deflate(b"\xff"), 1007, "UTF-8"),
        (deflate(b"x" * 256 * 1024), 4500, "no JSON"),
        (deflate(b"x" * (256 * 1024 + 1)), 1009, ""),
    ],
)
def test_what_is_wrong_when_unpacked_closes_with_its_code(
    node: NodeProcess, payload: bytes, code: int, reason: str
) -> None:
    """As for plain messages; and 1002 for what cannot be unpacked."""
    with Client(node.ws_url, compression=True) as client:
        client.socket.socket.sendall(packed(0xC1, payload))

        found, text = client.closed()

    assert found == code
    assert reason in text


def test_compressed_commands_are_obeyed(node: NodeProcess) -> None:
    """A session of a client that compresses all that it says."""
    with Client(node.ws_url, compression=True) as client:
        client.hello()
        assert client.ask("subscribe", channel="chat:packed")["type"] == "subscribed"
        client.say("publish", channel="chat:packed", data="words " * 1000)

        assert client.until("push")["data"] == "words " * 1000


def test_bombs_take_no_memory(node: NodeProcess, witness: Witness) -> None:
    """A hundred messages of 8 MiB, in 36 KB each."""
    frame = packed(0xC2, deflate(bytes(8 * MIB)))
    before = rss_bytes(node)
    for _ in range(100):
        with Client(node.ws_url, MSGPACK_V1, compression=True) as client:
            client.socket.socket.sendall(frame)
            assert client.closed()[0] == 1009

    assert rss_bytes(node) - before < 10 * MIB
    witness.beat()


# -- memory ----------------------------------------------------------------------------

JUNK = "x" * 10_000
HUGE = '{"type":"track","first":1,"events":[' + '{"name":"' + "y" * 250_000


def mistreat(node: NodeProcess) -> None:
    """Send some 60 MB of rubbish, as 3,000 wrong messages of 130 connections."""
    for _ in range(30):
        with Client(node.ws_url) as client:
            client.hello()
            for _ in range(101):
                client.say("shout", text=JUNK)
            assert client.closed()[0] == 4503
    for _ in range(100):
        with Client(node.ws_url) as client:
            client.send(HUGE)
            assert client.closed()[0] == 4500
    eventually(lambda: metric(node, "connections") == 1, "only the witness is left")


def test_rubbish_leaves_nothing_in_memory(node: NodeProcess, witness: Witness) -> None:
    """What the server holds does not grow with what it has refused."""
    mistreat(node)
    before = rss_bytes(node)
    mistreat(node)

    assert rss_bytes(node) - before < 5 * MIB
    witness.beat()
