"""
``GET /v1/live``: channels as server-sent events, for dashboards and curl. Read only.

    event: push
    data: {"channel":"live:likes;post=42;window=5m","data":{"value":12,...}}

Laws: what waits for a slow reader is bounded in bytes: of a live channel only the
latest value waits, and a reader that lets anything else pile up is ended. Every end is
told by ``event: end`` and says why. Whatever ends a stream, its subscriptions go too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from random import Random

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from realtime.clock import Timer
from realtime.core.access import Identity
from realtime.core.channels import LIVE, namespace_of
from realtime.core.naming import parse_live
from realtime.edges.http.auth import Callers
from realtime.edges.http.errors import NOT_ACCEPTABLE
from realtime.edges.http.fields import refuse
from realtime.edges.http.host import Host
from realtime.edges.http.reader import Reader
from realtime.edges.http.resume import Places
from realtime.engine.directory import Facts
from realtime.engine.gate import presents_token
from realtime.engine.subscriptions import Missed, Subscription
from realtime.errors import (
    DISCONNECTED,
    ENDED_BY_BACKEND,
    EXPIRED_CLOSE,
    GOING_AWAY,
    SLOW,
    UNAVAILABLE,
    CloseCode,
    CommandError,
)
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)
from realtime.wire.frames import FrameKey, PreparedPush, sse_id

AGAIN_S = 1.0
"""A page that could not be read is asked for again after this."""

KEEPALIVE_S = 15.0
"""After this long without an event, a comment tells proxies that the stream lives."""

STALL_S = 60.0
"""A reader that takes nothing for this long is gone, whatever TCP believes."""

_KEEPALIVE = b": keepalive\n\n"
_SPREAD_MS = (1_000, 5_000)  # when to come back after a shutdown, drawn per stream


class Streams:
    """The open streams of this process; the assembly closes them when it drains."""

    def __init__(self, limit: int, random: Random | None = None) -> None:
        self._limit = limit
        self._random = random or Random()
        self._open: set[Reader] = set()
        self.closing = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, reader: Reader) -> None:
        """
        Count one more stream.

        Raises:
            CommandError: UNAVAILABLE when there are too many, or it is shutting down.
        """
        if self.closing:
            raise CommandError(UNAVAILABLE, GOING_AWAY.meaning, retry_after_s=1.0)
        if len(self._open) >= self._limit:
            raise CommandError(
                UNAVAILABLE,
                f"{self._limit} streams are open, which is the most",
                retry_after_s=5.0,
            )
        self._open.add(reader)

    def leave(self, reader: Reader) -> None:
        """Count one stream less; harmless when it was not counted."""
        self._open.discard(reader)

    @property
    def readers(self) -> Collection[Reader]:
        """Those of the open streams, live."""
        return self._open

    def shut(self) -> None:
        """Take no stream any more."""
        self.closing = True

    def close(self) -> None:
        """End every stream, telling when to come back, and take none any more."""
        self.shut()
        for reader in list(self._open):
            reader.finish(GOING_AWAY, retry_ms=self._random.randint(*_SPREAD_MS))


class Live:
    """The handler of streams."""

    def __init__(self, host: Host, callers: Callers, streams: Streams) -> None:
        self._host = host
        self._callers = callers
        self._streams = streams

    async def get(self, request: Request) -> Response:
        """Check who may watch what; the answer is the stream itself."""
        _check_accept(request.headers.get("accept", "*/*"))
        caller = await self._callers.of(request, in_address=True)
        channels = self._channels(request)
        places = Places(
            request.query_params.getlist("since"), request.headers.get("last-event-id")
        )
        places.check(channels)
        for channel in channels:
            await self._host.hooks.channels.check_subscribe(caller.identity, channel)
        remote = "" if request.client is None else request.client.host
        return EventStream(
            self._host, self._streams, caller.identity, channels, places, remote
        )

    def _channels(self, request: Request) -> Mapping[Channel, None]:
        found: dict[Channel, None] = {}
        limit = self._host.limits.max_subscriptions
        for name, value in request.query_params.multi_items():
            if name == "since":
                continue
            if name != "channel":
                refuse(name, "no such parameter; there are channel and since")
            found[self._canonical(value)] = None
            if len(found) > limit:
                refuse("channel", f"is given more than {limit} times")
        if not found:
            refuse("channel", "is missing; name at least one channel to watch")
        return found

    def _canonical(self, name: str) -> Channel:
        if namespace_of(name) == LIVE:
            return parse_live(name, self._host.counters).channel
        return Channel(name)


def _check_accept(header: str) -> None:
    offered = {part.partition(";")[0].strip().lower() for part in header.split(",")}
    if offered.isdisjoint({"text/event-stream", "text/*", "*/*", ""}):
        raise CommandError(
            NOT_ACCEPTABLE, "here are only server-sent events: text/event-stream"
        )


class EventStream(Response):
    """
    One stream, from its subscriptions to its end; a ``Visitor`` of the directory.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        host: Host,
        streams: Streams,
        identity: Identity,
        channels: Mapping[Channel, None],
        places: Places,
        remote: str,
    ) -> None:
        self.id = ConnectionId(secrets.token_hex(8))
        self.identity = identity
        self.status_code = 200
        self.background = None
        # Nginx would collect events until its buffer is full.
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._host = host
        self._streams = streams
        self._remote = remote
        self._since = host.parts.clock.time()
        self._channels = channels
        self._wanted = set(channels)  # but for what a backend has ended
        self._places = places
        self._paged: dict[Channel, Position] = {}  # of these there are further pages
        self._reader = Reader(
            host.limits.max_outbox_bytes, host.parts.clock, host.metrics.tally
        )
        self._joined: list[Channel] = []
        self._timers: dict[str, Timer] = {}
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Subscribe, answer, write until the end; errors before that are answers."""
        head = scope["method"] == "HEAD"
        self._streams.enter(self._reader)
        self._host.directory.add_stream(self)
        try:
            self._host.gate.check(self.identity)  # an order may have come meanwhile
            for channel in () if head else self._channels:
                if channel in self._wanted:
                    await self._join(channel, self._places.of(channel))
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if head:
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._run(receive, send)
        finally:
            self._leave()

    async def _join(self, channel: Channel, since: Position | None) -> None:
        """Subscribe, or take a page of what was missed."""
        reader = self._reader
        if since is not None and self._writer is None and reader.room() <= 0:
            self._paged[channel] = since  # nobody takes anything yet
            return
        joined = await self._host.subscriptions.attend(
            channel, reader, since, reader.room
        )
        if channel not in self._wanted:  # a backend has ended it meanwhile
            if isinstance(joined, Subscription):
                self._host.subscriptions.unsubscribe(channel, reader)
            return
        for publication in joined.publications:
            reader.push(PreparedPush(0, publication).frame(FrameKey.SSE))
        if isinstance(joined, Missed):
            self._paged[channel] = joined.position
            return
        self._paged.pop(channel, None)
        self._joined.append(joined.channel)
        if joined.data is not None:
            first = Publication(joined.channel, joined.data, tags=joined.tags)
            frame = PreparedPush(joined.number, first).frame(FrameKey.SSE)
            reader.push_latest(joined.number, frame)
        if joined.position is not None:
            unknown = since is None and self._places.returning
            self._tell_place(joined, joined.recovered is False or unknown)

    def _tell_place(self, joined: Subscription, lost: bool) -> None:
        """Say where it goes on; with *lost*, that something before is missing."""
        channel, position = joined.channel, joined.position
        assert position is not None
        if lost:
            null, kind = JSONText(b"null"), PublicationKind.GAP
            gap = Publication(channel, null, position, kind=kind)
            self._reader.push(PreparedPush(joined.number, gap).frame(FrameKey.SSE))
        else:
            self._reader.push(sse_id(channel, position))

    async def _catch_up(self) -> None:
        """Take the further pages, as the reader takes them."""
        while self._paged:
            channel, since = next(iter(self._paged.items()))
            try:
                await self._join(channel, since)
            except CommandError as exc:
                if exc.code is not UNAVAILABLE:
                    raise
                await self._host.parts.clock.sleep(AGAIN_S)

    def _leave(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for channel in self._joined:
            self._host.subscriptions.unsubscribe(channel, self._reader)
        self._host.directory.discard_stream(self)
        self._streams.leave(self._reader)

    # -- what a backend may order; see engine.directory --------------------------

    def facts(self) -> Facts:
        """Say what may be told of this stream."""
        since = round(self._since, 3)
        return Facts(self.id, since, self._remote, "sse", len(self._joined))

    def turn_out(
        self, code: CloseCode, reason: str = "", error: CommandError | None = None
    ) -> None:
        """End it; the end says why."""
        self._reader.finish(code)

    def end_subscription(self, channel: Channel) -> bool:
        """End a subscription and say so; end the stream with the last one."""
        if channel not in self._wanted:
            return False
        self._wanted.remove(channel)
        self._paged.pop(channel, None)
        if channel in self._joined:  # else it is being made, or catches up
            self._joined.remove(channel)
            self._host.subscriptions.unsubscribe(channel, self._reader)
        code = ENDED_BY_BACKEND
        told = {"channel": channel, "code": code.code, "reason": code.meaning}
        self._reader.push(b"event: unsubscribed\ndata: %b\n\n" % orjson.dumps(told))
        if not self._wanted:
            self._reader.finish(DISCONNECTED)
        return True

    def renew(self, expires_at: float | None) -> bool:
        """Set when the token expires, None: now; return whether there is a token."""
        if not presents_token(self.identity):
            return False
        self.identity = replace(self.identity, expires_at=expires_at or 0.0)
        self._expect_expiry()
        return True

    async def _run(self, receive: Receive, send: Send) -> None:
        """Write until the reader is finished or gone."""
        self._writer = asyncio.create_task(self._write(send))
        catcher = asyncio.create_task(self._catch_up())
        listener = asyncio.create_task(_until_gone(receive))
        self._start_timers()
        self._reader.when_finished(self._finished)
        tasks = (self._writer, listener)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, catcher):
                task.cancel()
            results = await asyncio.gather(*tasks, catcher, return_exceptions=True)
        for result in results:
            # What ends a task on purpose: cancelling it, and a connection that is gone.
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    async def _write(self, send: Send) -> None:
        reader = self._reader
        while reader.end is None:
            await reader.ready()
            await _send(send, reader)
        await _send(send, reader)
        last = _end_event(reader)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    def _finished(self) -> None:
        """The reader has ended: what it does not take soon, it does not get."""
        assert self._writer is not None
        self._timers["close"] = self._host.parts.clock.call_later(
            self._host.limits.close_timeout_s, self._cut
        )

    def _cut(self) -> None:
        assert self._writer is not None
        self._writer.cancel()

    # -- time ------------------------------------------------------------------

    def _start_timers(self) -> None:
        clock = self._host.parts.clock
        self._timers["quiet"] = clock.call_later(KEEPALIVE_S, self._check_quiet)
        self._expect_expiry()

    def _expect_expiry(self) -> None:
        clock, expires_at = self._host.parts.clock, self.identity.expires_at
        if "expiry" in self._timers:
            self._timers["expiry"].cancel()
        if expires_at is not None:
            self._timers["expiry"] = clock.call_later(
                max(expires_at - clock.time(), 0.0),
                lambda: self._reader.finish(EXPIRED_CLOSE),
            )

    def _check_quiet(self) -> None:
        reader, clock = self._reader, self._host.parts.clock
        quiet_s = clock.monotonic() - reader.last_taken
        if reader.sending and quiet_s >= STALL_S:
            reader.finish(SLOW)
            return
        if quiet_s >= KEEPALIVE_S and not reader.sending:
            reader.push(_KEEPALIVE)
            quiet_s = 0.0
        delay_s = KEEPALIVE_S - quiet_s % KEEPALIVE_S
        self._timers["quiet"] = clock.call_later(delay_s, self._check_quiet)


async def _send(send: Send, reader: Reader) -> None:
    chunk = reader.take()
    if not chunk:
        return
    await send({"type": "http.response.body", "body": chunk, "more_body": True})
    reader.taken()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _end_event(reader: Reader) -> bytes:
    end = reader.end
    assert end is not None
    data = orjson.dumps(
        {
            "code": end.code,
            "name": end.name,
            "reconnect": end.reconnect,
            "reason": end.meaning,
        }
    )
    retry = b"" if reader.retry_ms is None else b"retry: %d\n" % reader.retry_ms
    return b"event: end\n%bdata: %b\n\n" % (retry, data)
