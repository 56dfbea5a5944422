"""Commands over one socket, numbered, each with its reply."""

from __future__ import annotations

import asyncio
from functools import partial

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime_client.clock import Clock
from realtime_client.codec import Codec
from realtime_client.errors import BadReply, CommandError, NotConnected, Retry
from realtime_client.replies import Pong, Reply
from realtime_client.requests import OnReply, Requests, resolve
from realtime_client.server_clock import ServerClock
from realtime_client.values import Json, Limits

LIMIT_EXCEEDED = (111, "limit_exceeded")


class Commands:
    """
    The sending half of one connection.

    ``limits`` are the welcome's; None before it came and after the end, when only
    ``send`` works.
    """

    def __init__(
        self,
        socket: ClientConnection,
        codec: Codec,
        clock: Clock,
        server_clock: ServerClock,
    ) -> None:
        self.requests = Requests()
        self.limits: Limits | None = None
        self._socket = socket
        self._codec = codec
        self._clock = clock
        self._server_clock = server_clock

    async def request(self, kind: str, **fields: Json) -> Reply:
        """
        Send a command and return the reply to it.

        Raises:
            NotConnected: If there is no connection now.
            CommandError: If the reply is an error, or the command is over a limit.
            ConnectionLost: If the connection ended before the reply came.
        """
        self._check_connected(kind)
        with self.requests.future() as future:
            await self.send(self.encode(kind, partial(resolve, future), **fields))
            reply: Reply = await future
        return reply

    async def ping(self) -> float:
        """Return how long a round trip takes, in seconds. Raises like ``request``."""
        self._check_connected("ping")
        with self.requests.future() as future:
            await self.send(self.encode_ping(future))
            rtt_s: float = await future
        return rtt_s

    def encode_ping(self, future: asyncio.Future[float] | None = None) -> bytes:
        """Return a ping that measures the server's clock; *future* gets the seconds."""
        sent = self._clock.monotonic()

        def ponged(reply: Reply, _size: int) -> None:
            if not isinstance(reply, Pong):
                raise BadReply(f"ping was answered with {type(reply).__name__}")
            rtt_s = self._server_clock.sample(
                sent, reply.received_at, reply.sent_at, self._clock.monotonic()
            )
            if future is not None and not future.done():
                future.set_result(rtt_s)

        return self.encode("ping", ponged, sent_at=self._clock.time())

    def encode(self, kind: str, on_reply: OnReply, **fields: Json) -> bytes:
        """Return the payload of a command whose reply goes to *on_reply*."""
        id = next(self.requests.ids)
        payload = self._codec.encode({"type": kind, "id": id, **fields})
        if self.limits is not None:
            _check_size(kind, payload, self.limits)
        self.requests.expect(id, on_reply)
        return payload

    def expect(self, on_reply: OnReply) -> int:
        """Return the id of a command, within another one, whose reply goes there."""
        id = next(self.requests.ids)
        self.requests.expect(id, on_reply)
        return id

    async def send(self, payload: bytes) -> None:
        """Send; wait for ever if the connection is gone."""
        try:
            await self._socket.send(payload, text=not self._codec.binary)
        except ConnectionClosed:
            # The reader finds out too, after what came before the end, and knows why:
            # it ends the session, and with it whoever waits here.
            with self.requests.future() as end:
                await end

    def lose_all(self) -> None:
        """The connection is gone: no reply will come any more."""
        self.limits = None
        self.requests.lose_all()

    def _check_connected(self, kind: str) -> None:
        if self.limits is None:
            raise NotConnected(f"{kind}: there is no connection now")


def _check_size(kind: str, payload: bytes, limits: Limits) -> None:
    size, most = len(payload), limits.max_frame_bytes
    if size > most:
        reason = f"{kind}: the message takes {size} bytes, the server takes {most}"
        raise CommandError(*LIMIT_EXCEEDED, Retry.NEVER, reason)
