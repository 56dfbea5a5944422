"""
Accepting connections a few at a time: a crowd at the door starves nobody inside.

Event loops accept until nobody is left in the kernel's queue. When 10,000 clients come
at once, that is one turn of the loop that lasts longer than a second: nothing is read
or written meanwhile, and whoever was accepted first has waited longest without being
heard. Here the loop goes round between two small batches.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

import structlog

from realtime.engine.admission import MAX_WAITING

log = structlog.get_logger(__name__)

BATCH = 16
"""Connections accepted in one turn of the loop: about two milliseconds of work."""

BACKLOG = 4_096  # in the kernel; net.core.somaxconn bounds it, too
PAUSE_S = 0.5  # when there are no file descriptors left
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """
    Gives every connection to *sock* a protocol of its own.

    With *tls*, a handshake that is not over within *handshake_s* ends its connection,
    and when too many are under way, the oldest gives way to the next one. ``close`` and
    ``wait_closed`` are those of an asyncio server.
    """

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._sock = sock
        self._make = make
        self._tls = tls
        self._handshake_s = handshake_s
        self._loop = asyncio.get_running_loop()
        self._opening: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._closed = False

    def start(self) -> None:
        """
        Begin to listen.

        Raises:
            OSError: If another process was faster to take the port.
        """
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening and close the socket; who waits in the kernel is refused."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    async def wait_closed(self) -> None:
        """Wait for those who are half-way in."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self) -> None:
        """Let a few in; the loop calls again in its next turn if there are more."""
        for _ in range(BATCH):
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._pause(exc)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._open(connection))
            self._opening[task] = None
            task.add_done_callback(self._opened)
            if len(self._opening) > MAX_WAITING:
                oldest = next(iter(self._opening))
                del self._opening[oldest]
                oldest.cancel()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.pop(task, None)

    def _pause(self, exc: OSError) -> None:
        """Leave the others in the kernel's queue until something may be free again."""
        log.error("accept_failed", error=exc.strerror, again_in_s=PAUSE_S)
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    async def _open(self, connection: socket.socket) -> None:
        handshake_s = None if self._tls is None else self._handshake_s
        try:
            await self._loop.connect_accepted_socket(
                self._make,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
            )
        except (OSError, TimeoutError, ssl.SSLError, asyncio.CancelledError) as exc:
            # Whoever speaks no TLS, or does not go on, has nobody to be told.
            log.debug("connection_failed", error=str(exc))
            connection.close()
