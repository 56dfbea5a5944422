"""Bodies: bounded while they are read, refused by what is wrong with them."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import BODY_TOO_SLOW
from realtime.errors import CommandError
from realtime.settings import LimitSettings
from realtime.testing.clock import settle
from tests.edges.http.support import KEY, World, running

pytestmark = pytest.mark.anyio

JSON = {**KEY, "content-type": "application/json"}
SMALL = LimitSettings(max_body_bytes=100)


async def test_a_declared_length_over_the_limit_is_not_read() -> None:
    """The answer comes before the body does, and the connection is closed."""
    async with running(limits=SMALL) as world:
        exchange = world.open("POST", "/v1/events", {**JSON, "content-length": "101"})
        await settle()
        answer = exchange.answer
    assert (answer.status, answer.error["name"]) == (413, "body_too_large")
    assert answer.headers["connection"] == "close"


async def test_an_undeclared_body_is_cut_at_the_limit() -> None:
    """A chunked body is refused at the chunk that passes the limit."""
    async with running(limits=SMALL) as world:
        exchange = world.open("POST", "/v1/events", JSON)
        exchange.feed(b" " * 100, more=True)
        await settle()
        assert not exchange.started
        exchange.feed(b" ", more=True)
        await settle()
        assert exchange.answer.status == 413


async def test_a_length_that_lies_does_not_help() -> None:
    """The bytes are counted, whatever Content-Length says."""
    async with running(limits=SMALL) as world:
        exchange = world.open("POST", "/v1/events", {**JSON, "content-length": "10"})
        exchange.feed(b" " * 101)
        await settle()
        assert exchange.answer.status == 413


async def test_a_body_in_chunks_is_one_body(world: World) -> None:
    """How the bytes were cut does not matter."""
    exchange = world.open("POST", "/v1/publish", JSON)
    for byte in b'{"channel":"chat:1","data":1}':
        exchange.feed(bytes([byte]), more=True)
    exchange.feed(b"")
    await settle()
    assert exchange.answer.status == 200


async def test_a_trickle_is_ended() -> None:
    """A body that is not complete in time is answered 408."""

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/json")],
    }
    with pytest.raises(CommandError) as raised:
        await Bodies(100, within_s=0.0).read(Request(scope, receive))
    assert raised.value.code is BODY_TOO_SLOW


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"device":"d","first":1,"events":[',
        b"\xff\xfe",
        b"nothing",
        b'{"first":NaN}',
        b'{"events":[{"name":"\xed\xa0\x80"}]}',
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b'{"device":"d","first":1,"events":[]} {}',
        b"\xef\xbb\xbf{}",
    ],
)
async def test_what_is_no_object_is_400(world: World, body: bytes) -> None:
    """Truncated, malformed, nested and other JSON is the sender's mistake."""
    answer = await world.ask("POST", "/v1/events", body=body, headers=JSON)
    assert (answer.status, answer.error["name"]) == (400, "bad_message")
    assert "body" in answer.error["reason"] or "field" in answer.error


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x81",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\xc4\x01x",
        b"\x91" * 10_000,
        b"\x80\x80",
        b"\x81\x01\x01",
        b"\x93\x01\x02",
    ],
)
async def test_message_pack_is_checked_alike(world: World, body: bytes) -> None:
    """Truncated, binary, nested and other MessagePack is the sender's mistake."""
    headers = {**KEY, "content-type": "application/msgpack"}
    answer = await world.ask("POST", "/v1/events", body=body, headers=headers)
    assert (answer.status, answer.error["name"]) == (400, "bad_message")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_other_media_types_are_415(world: World, headers: dict[str, str]) -> None:
    """Only JSON in UTF-8 and MessagePack are read, and the answer says so."""
    answer = await world.ask("POST", "/v1/events", body=b"{}", headers=KEY | headers)
    assert (answer.status, answer.error["name"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
    ],
)
async def test_json_may_name_its_charset(world: World, content_type: str) -> None:
    """UTF-8 may be said, in any case and quoted."""
    answer = await world.ask(
        "POST",
        "/v1/publish",
        body=b'{"channel":"chat:1","data":1}',
        headers={**KEY, "content-type": content_type},
    )
    assert answer.status == 200
