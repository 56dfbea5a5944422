"""The client: what an application calls."""

from __future__ import annotations

from collections.abc import Mapping

from realtime_client.channel_client import ChannelClient
from realtime_client.errors import ClientClosed
from realtime_client.events import MAX_EVENT_BYTES, encode_event
from realtime_client.values import Scalar


class RealtimeClient(ChannelClient):
    """
    One device's connection to a realtime server, kept up in the background.

    Use it as an asynchronous context manager, or call ``connect`` (or ``start``) and
    ``aclose``. All of it belongs to one event loop.

    *url* is the server's address; ``http://host:8080`` stands for
    ``ws://host:8080/v1/ws``.

    *token* is a JWT, or a function (also a coroutine function) that returns one: it is
    called when the first is needed, when one has lived 80 % of its life, and when the
    server finds one expired. Let it raise a ``RealtimeError`` to stop the client for
    good (say, the user has signed out); anything else it raises is tried again.

    *queue* keeps events until they are acknowledged: None keeps them in memory, a path
    in a SQLite file (they outlive the process); or give an ``EventQueue`` of your own.
    *device* and *secret* name and prove the device; they are made up when left out, and
    recorded in the queue's file. *tracking* False makes a client that never tracks.

    *keepalive_s* is the silence after which the connection is checked; the server may
    move it into its bounds. *batch_interval_ms* is how long events wait for others once
    a frame of events was sent; the first after a pause goes at once. At most
    *max_in_flight* frames of events wait for their acknowledgement. *close_flush_s* is
    how long ``aclose`` waits for acknowledgements.

    *headers* and *ssl* are for the handshake. *max_message_bytes* bounds what the
    server may send in one message. With *compression*, large messages are compressed
    in both directions if the server wants that, too.

    *on_state*, *on_rejected* and *on_notice* are called on the event loop and should
    return quickly. *clock* and *random* (0 to 1, for jitter) are for tests.

    Raises:
        ValueError: If an argument is wrong.
        QueueError: If the queue's file cannot be used.
    """

    # -- events ------------------------------------------------------------------------

    def track(
        self,
        name: str,
        properties: Mapping[str, Scalar] | None = None,
        at: float | None = None,
    ) -> int:
        """
        Queue an event and return its number. Never waits, works offline.

        *at* is when it happened by the device's clock, in seconds since the epoch; now
        when left out. The server counts the event once, however often it must be sent.

        Raises:
            BadEvent: If it can never be sent, or is larger than the server takes.
            QueueFull: If too many events wait. Drop it, drop others, or try again.
            QueueError: If the queue's file cannot be written.
            ClientClosed: If the client was closed.
        """
        if self._closed:
            raise ClientClosed("track: the client was closed")
        queue = self._tracking()
        when = self._clock.time() if at is None else at
        limits = self.limits
        most = MAX_EVENT_BYTES if limits is None else limits.max_event_bytes
        seq = queue.put(encode_event(name, properties, when, most))
        self._wake()
        return seq

    # -- the connection ----------------------------------------------------------------

    async def ping(self) -> float:
        """
        Return how long a round trip to the server takes, in seconds.

        Raises:
            NotConnected, ConnectionLost: If there is no connection, or it ends.
        """
        return await self._session().commands.ping()
