"""The native protocol, as the kit speaks it: by the examples of its documentation."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import (
    OTHER,
    RUN_CHARACTERS,
    Acked,
    Delivery,
    Goodbye,
    Published,
    Refused,
    Said,
    SlowDown,
    Subscribed,
    Value,
    Welcome,
    due_of,
    stamp_in,
    stamped,
)

EXAMPLES = orjson.loads(
    Path(__file__)
    .parents[2]
    .joinpath("docs/reference/examples/native.json")
    .read_bytes()
)
DOWN = [one for one in EXAMPLES if one["direction"] == "down"]
RUN = b"abcdefgh"
STAMP = b"abcdefgh0000000012500000"

HEARD: dict[bytes, Said] = {
    b'{"type":"welcome","acked":41,"connection":"c"}': Welcome(41),
    b'{"type":"welcome","connection":"c"}': Welcome(0),
    b'{"type":"ack","acked":43}': Acked(43),
    b'{"type":"ack","acked":43,"rejected":[{"seq":43,"code":202,"name":"bad_properties",'
    b'"reason":"why"}]}': Acked(43, 1, "bad_properties: why"),
    b'{"type":"slow_down","first":44,"retry_after_s":1.5,"reason":"why"}': SlowDown(
        44, 1.5, "why"
    ),
    b'{"type":"subscribed","channel":"live:a","number":7,"data":{"value":12}}': (
        Subscribed("live:a", 12)
    ),
    b'{"type":"push","channel":7,"data":{"value":12,"at":1.0}}': Value(12),
    b'{"type":"push","channel":7,"data":"not ours"}': OTHER,
    b'{"type":"published","id":5}': Published(5),
    b'{"type":"error","code":112,"name":"gap","reason":"why","expected":44}': Refused(
        "gap", "why", expected=44
    ),
    b'{"type":"goodbye","after_s":3.5,"reason":"why"}': Goodbye(3.5),
    b'{"type":"something_new"}': OTHER,
}


@pytest.mark.parametrize(("text", "said"), HEARD.items())
def test_what_is_heard(text: bytes, said: Said) -> None:
    """Every message that a scenario waits for, and others are nothing."""
    assert Native().read(text) == said


@pytest.mark.parametrize("example", DOWN, ids=lambda one: one["name"])
def test_both_codecs_say_the_same(example: dict[str, str]) -> None:
    """And none of the documented messages is too much for it."""
    text = Native("json").read(example["json"].encode())
    packed = Native("msgpack").read(bytes.fromhex(example["msgpack"]))

    assert text == packed


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_push_with_a_stamp_is_a_delivery(codec: str) -> None:
    """In either codec; what was published comes back as data of the push."""
    dialect = Native(codec)
    data = stamped(RUN, 12.5, 60)
    push = dialect.publish("bench:a", data).replace(b"publish", b"push", 1)
    if codec == "msgpack":
        push = push.replace(b"\xa7push", b"\xa4push", 1)

    assert dialect.read(push) == Delivery(STAMP)


@given(st.floats(0, 1e9), st.integers(25, 500))
def test_a_stamp_comes_back_to_the_microsecond(due: float, size: int) -> None:
    """In data of the size that was asked for."""
    text = stamped(RUN, due, size)
    stamp = stamp_in(text.encode())

    assert len(text) == size
    assert stamp is not None
    found = due_of(stamp, RUN)
    assert found is not None
    assert abs(found - due) <= 1.1e-6


def test_stamps_of_other_runs_are_not_ours() -> None:
    """Two machines may load one server at the same time."""
    assert due_of(STAMP, b"otherrun") is None
    assert len(RUN) == RUN_CHARACTERS


def test_greetings_have_what_the_client_has() -> None:
    """An anonymous device has a secret in place of a token."""
    [signed] = Native().greeting("a.b.c", "phone", None)
    [anonymous] = Native().greeting(None, "phone", "secret")

    assert orjson.loads(signed)["token"] == "a.b.c"
    assert "secret" not in orjson.loads(signed)
    assert orjson.loads(anonymous)["secret"] == "secret"
    assert "token" not in orjson.loads(anonymous)


def test_unknown_codecs_are_refused() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="must be json or msgpack"):
        Native("xml")
