"""Server-sent events: what comes first, what follows, and every way to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from realtime.edges.http import streams_of
from realtime.edges.http.live import STALL_S
from realtime.settings import LimitSettings
from realtime.testing.clock import settle
from realtime.types import Channel, JSONText
from tests.edges.http.support import (
    KEY,
    Exchange,
    World,
    bearer,
    running,
    token,
)

pytestmark = pytest.mark.anyio

LIKES = "live:likes;post=42;window=total"


def parse(body: bytes) -> Iterator[tuple[str, Any]]:
    """The events of a stream, as (name, data); comments are left out."""
    for block in body.decode().split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in block.splitlines()
            if not line.startswith(":")
        )
        if fields:
            yield fields["event"], orjson.loads(fields["data"])


async def watch(world: World, *channels: str, **headers: str) -> Exchange:
    """Open a stream as a backend and let it begin."""
    query = "&".join(f"channel={channel.replace(';', '%3B')}" for channel in channels)
    stream = world.open("GET", f"/v1/live?{query}", headers or KEY)
    await settle(30)  # some for each channel, one after the other
    return stream


async def publish(world: World, channel: str, data: bytes = b"1") -> None:
    """Publish, and let it arrive."""
    await world.node.publish(Channel(channel), JSONText(data))
    await settle()


def subscriptions(world: World) -> float:
    """How many subscriptions the node has."""
    value = world.node.metrics.registry.get_sample_value("realtime_subscriptions")
    assert value is not None
    return value


def open_streams(world: World) -> float:
    """How many streams are open, as the metrics say."""
    value = world.node.metrics.registry.get_sample_value("realtime_live_streams")
    assert value is not None
    return value


# -- what comes ------------------------------------------------------------------------


async def test_the_present_value_comes_first(world: World) -> None:
    """A live channel begins with its value now; an ordinary one with nothing."""
    await world.like("42", 3)
    stream = await watch(world, LIKES, "chat:1")
    ((name, data),) = parse(stream.body)
    assert name == "push"
    assert data["channel"] == LIKES
    assert data["data"]["value"] == 3


async def test_the_head_says_what_it_is(world: World) -> None:
    """It is an event stream, and nobody on the way is to keep or collect it."""
    stream = await watch(world, LIKES)
    answer = stream.answer
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers


async def test_changes_are_pushed(world: World) -> None:
    """Every value that follows comes as it changes."""
    stream = await watch(world, LIKES)
    await world.like("42", 2)
    await world.clock.elapse(1.0)
    values = [data["data"]["value"] for _, data in parse(stream.body)]
    assert values == [0, 2]


async def test_a_stream_has_the_flow_of_the_namespace(world: World) -> None:
    """Publications that the namespace merges are merged here, too."""
    stream = await watch(world, "prices:1")
    for value in range(5):
        await publish(world, "prices:1", b"%d" % value)
    await world.clock.elapse(1.0)
    assert [data["data"] for _, data in parse(stream.body)] == [0, 4]


async def test_a_name_in_another_order_is_the_same_channel(world: World) -> None:
    """Channels are watched by their canonical name, and once each."""
    other = "live:likes;window=total;post=42"
    stream = await watch(world, other, LIKES)
    assert [data["channel"] for _, data in parse(stream.body)] == [LIKES]
    assert subscriptions(world) == 1


async def test_head_has_no_stream(world: World) -> None:
    """HEAD is answered with the head and leaves nothing behind."""
    answer = await world.ask("HEAD", "/v1/live?channel=chat:1", headers=KEY)
    assert (answer.status, answer.body) == (200, b"")
    assert (subscriptions(world), open_streams(world)) == (0, 0)


async def test_silence_is_filled_with_comments(world: World) -> None:
    """After 15 seconds without an event comes a comment, and again after 15 more."""
    stream = await watch(world, "chat:1")
    await world.clock.elapse(14.9)
    assert stream.body == b""
    await world.clock.elapse(0.2)
    assert stream.body == b": keepalive\n\n"
    await world.clock.elapse(15)
    assert stream.body == b": keepalive\n\n" * 2


async def test_events_postpone_the_comment(world: World) -> None:
    """The 15 seconds begin anew with every event."""
    stream = await watch(world, "chat:1")
    await world.clock.elapse(10)
    await publish(world, "chat:1")
    await world.clock.elapse(14.9)
    assert b"keepalive" not in stream.body
    await world.clock.elapse(0.2)
    assert b"keepalive" in stream.body


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, status, name",
    [
        ("", 400, "bad_message"),
        ("channel=", 400, "bad_channel"),
        ("channel=chat", 400, "bad_channel"),
        ("channel=chat:1&chanel=chat:2", 400, "bad_message"),
        ("channel=nowhere:1", 404, "unknown_channel"),
        ("channel=live:nothing", 404, "unknown_channel"),
        ("channel=live:likes;window=7m", 400, "bad_channel"),
        ("channel=chat:1&channel=nowhere:1", 404, "unknown_channel"),
    ],
)
async def test_a_wrong_channel_is_an_answer(
    world: World, query: str, status: int, name: str
) -> None:
    """What is wrong is told by status and error, before any stream begins."""
    answer = await world.get(f"/v1/live?{query}", KEY)
    assert (answer.status, answer.error["name"]) == (status, name)
    assert (subscriptions(world), open_streams(world)) == (0, 0)


async def test_one_channel_that_is_not_granted_spoils_all(world: World) -> None:
    """A stream has all that was asked for, or there is none."""
    headers = bearer(token(subscribe=["chat:1"]))
    answer = await world.get("/v1/live?channel=chat:1&channel=chat:2", headers)
    assert answer.status == 403
    assert subscriptions(world) == 0


async def test_channels_are_limited() -> None:
    """A stream has at most as many channels as a socket."""
    async with running(limits=LimitSettings(max_subscriptions=2)) as world:
        query = "&".join(f"channel=chat:{number}" for number in range(3))
        answer = await world.get(f"/v1/live?{query}", KEY)
    assert (answer.status, answer.error["field"]) == (400, "channel")


async def test_streams_are_limited() -> None:
    """Beyond max_connections streams, the next one is told to come later."""
    async with running(limits=LimitSettings(max_connections=1)) as world:
        stream = await watch(world, "chat:1")
        answer = await world.get("/v1/live?channel=chat:1", KEY)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        stream.leave()
        await settle()
        again = await watch(world, "chat:1")
        assert again.answer.status == 200


async def test_only_event_streams_are_sent(world: World) -> None:
    """An Accept header that excludes them is answered 406."""
    for accept, status in (
        ("application/json", 406),
        ("text/event-stream", 200),
        ("text/*;q=0.5", 200),
        ("application/json, */*;q=0.1", 200),
    ):
        answer = await world.ask(
            "HEAD", "/v1/live?channel=chat:1", headers={**KEY, "accept": accept}
        )
        assert answer.status == status, accept


# -- how it ends -----------------------------------------------------------------------


def end_of(stream: Exchange) -> Any:
    """What the last event says, which must be an end."""
    name, data = list(parse(stream.body))[-1]
    assert name == "end"
    return data


async def test_a_client_that_leaves_takes_its_subscriptions(world: World) -> None:
    """Disconnecting ends everything that belonged to the stream."""
    stream = await watch(world, LIKES, "chat:1")
    assert (subscriptions(world), open_streams(world)) == (2, 1)
    stream.leave()
    await settle()
    assert stream.done()
    assert stream.task is not None
    assert stream.task.exception() is None
    assert (subscriptions(world), open_streams(world)) == (0, 0)
    assert len(world.node.live) == 0


async def test_a_client_that_leaves_while_clogged(world: World) -> None:
    """A disconnect is noticed also while a chunk cannot be sent."""
    stream = await watch(world, "chat:1")
    stream.clog()
    await publish(world, "chat:1")
    stream.leave()
    await settle()
    assert stream.done()
    assert subscriptions(world) == 0


async def test_a_slow_reader_gets_the_latest_value(world: World) -> None:
    """Values of a live channel that could not be sent are replaced, not queued."""
    stream = await watch(world, LIKES)
    stream.clog()
    for number in range(1, 8):
        await world.like("42", 1, device=f"backend-{number}")
        await world.clock.elapse(1.0)
    stream.unclog()
    await settle()
    values = [data["data"]["value"] for _, data in parse(stream.body)]
    assert values == [0, 1, 7]
    assert not stream.done()


async def test_a_slow_reader_of_messages_is_ended() -> None:
    """What may not be skipped piles up to the bound; then the stream ends as slow."""
    limits = LimitSettings(max_outbox_bytes=2_000)
    async with running(limits=limits) as world:
        slow = await watch(world, "chat:1")
        quick = await watch(world, "chat:1")
        slow.clog()
        for _ in range(10):
            await publish(world, "chat:1", b'"%b"' % (b"x" * 500))
        assert not slow.done()
        slow.unclog()
        await settle()
        assert end_of(slow)["name"] == "slow"
        assert slow.complete
        assert slow.done()
        assert subscriptions(world) == 1
        assert len(list(parse(quick.body))) == 10


async def test_a_reader_that_never_reads_is_cut() -> None:
    """After its end, a reader has close_timeout_s to take what it says."""
    limits = LimitSettings(max_outbox_bytes=2_000, close_timeout_s=5.0)
    async with running(limits=limits) as world:
        stream = await watch(world, "chat:1")
        stream.clog()
        for _ in range(10):
            await publish(world, "chat:1", b'"%b"' % (b"x" * 500))
        await world.clock.elapse(4.9)
        assert not stream.done()
        await world.clock.elapse(0.2)
        assert stream.done()
        assert not stream.complete
        assert subscriptions(world) == 0


async def test_a_reader_that_stalls_is_cut(world: World) -> None:
    """A chunk that is not taken for a minute ends the stream, whatever waits."""
    stream = await watch(world, LIKES)
    stream.clog()
    await world.like("42", 1)
    await world.clock.elapse(STALL_S + 20 + world.node.limits.close_timeout_s)
    assert stream.done()
    assert subscriptions(world) == 0


async def test_a_stream_ends_with_its_token(world: World) -> None:
    """When the token expires, the stream says so and ends."""
    headers = bearer(token(expires_in_s=60, subscribe=["chat:1"]))
    stream = await watch(world, "chat:1", **headers)
    await world.clock.elapse(59)
    assert not stream.done()
    await world.clock.elapse(2)
    assert end_of(stream)["name"] == "token_expired"
    assert end_of(stream)["reconnect"] is False
    assert stream.done()


def close_streams(world: World) -> None:
    """Do what a server does that stops."""
    streams = streams_of(world.app)
    assert streams is not None
    streams.close()


async def test_a_shutdown_ends_every_stream(world: World) -> None:
    """Each stream gets what waits, the reason, and its own time to come back."""
    streams = [await watch(world, LIKES) for _ in range(10)]
    close_streams(world)
    await settle()
    for stream in streams:
        assert end_of(stream)["name"] == "going_away"
        assert end_of(stream)["reconnect"] is True
        assert stream.complete
        assert stream.done()
    delays = {
        line
        for stream in streams
        for line in stream.body.decode().splitlines()
        if line.startswith("retry: ")
    }
    assert len(delays) > 1
    assert (subscriptions(world), open_streams(world)) == (0, 0)


async def test_no_stream_begins_during_a_shutdown(world: World) -> None:
    """Who comes then is told to come later."""
    await world.get("/healthz")
    close_streams(world)
    answer = await world.get("/v1/live?channel=chat:1", KEY)
    assert answer.status == 503


async def test_there_are_no_streams_before_the_first_request(world: World) -> None:
    """A shutdown then has nothing to end."""
    assert streams_of(world.app) is None


async def test_a_drain_tells_each_stream_when_to_come_back(world: World) -> None:
    """A stream leaves as a connection does; its reader has nothing under way."""
    stream = await watch(world, LIKES)
    found = streams_of(world.app)
    assert found is not None
    [reader] = found.readers
    assert reader.quiet
    reader.goodbye(2.5, "the server is shutting down")
    await settle()

    assert "retry: 2500" in stream.body.decode()
    assert end_of(stream)["name"] == "going_away"
    assert not found.readers


async def test_a_cancelled_stream_leaves_nothing(world: World) -> None:
    """When the server cancels the request, subscriptions and timers go too."""
    timers = world.clock.pending
    stream = await watch(world, "chat:1")
    assert stream.task is not None
    stream.task.cancel()
    await settle()
    assert stream.done()
    assert subscriptions(world) == 0
    assert world.clock.pending == timers


async def test_a_connection_that_breaks_while_writing(world: World) -> None:
    """A server that reports the loss by OSError ends the stream quietly."""
    stream = await watch(world, "chat:1")
    stream.sent = Broken(OSError("connection lost"))
    await publish(world, "chat:1")
    assert stream.done()
    assert stream.task is not None
    assert stream.task.exception() is None
    assert subscriptions(world) == 0


class Broken(list[dict[str, Any]]):
    """Where nothing can be written any more."""

    def __init__(self, exc: Exception) -> None:
        super().__init__()
        self._exc = exc

    def append(self, message: object) -> None:
        raise self._exc


async def test_a_defect_while_writing_is_logged(world: World) -> None:
    """An error that nobody expects ends the stream and leaves a line in the log."""
    stream = await watch(world, "chat:1")
    stream.sent = Broken(RuntimeError("a defect"))
    with capture_logs() as logs:
        await publish(world, "chat:1")
    assert stream.done()
    assert [log["event"] for log in logs] == ["http_failed"]
    assert subscriptions(world) == 0


async def test_sockets_find_nothing_here(world: World) -> None:
    """A WebSocket that comes this way, past the front door, is turned away."""
    stream = Exchange(world.app, "GET", "/v1/live", node=world.node)
    stream.scope["type"] = "websocket"
    stream.start()
    await settle()
    assert [message["type"] for message in stream.sent] == ["websocket.close"]
