"""
Listening: one port for HTTP and WebSocket, hosted by uvicorn, stopped by signals.

The first signal drains: readiness turns red, connections are said goodbye to in
batches, requests are still answered. Then, or at a second signal, the rest is closed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette

from realtime.app import Options, build_app, running_node
from realtime.config import Config
from realtime.edges.descriptors import allow_connections
from realtime.edges.frontdoor import FrontDoor
from realtime.edges.hosting import HostingServer
from realtime.edges.http import streams_of
from realtime.engine.drain import SETTLE_S, Leaver
from realtime.engine.hooks import LONGEST_STOP_S as HOOKS_STOP_S
from realtime.engine.node import FLUSH_S, Node
from realtime.errors import ConfigError
from realtime.settings import DrainSettings, ServerSettings

log = structlog.get_logger(__name__)

SHUTDOWN_S = 10  # for requests under way, once everybody was said goodbye to
SPARE_S = 10.0  # for what is done after the last commit
SAME_BREATH_S = 0.5  # signals within this time are one
GC_THRESHOLDS = (10_000, 5, 20)  # of the three generations; see gc.set_threshold

Announce = Callable[[str], None]


def bind(server: ServerSettings, *, worker: bool = False) -> socket.socket:
    """
    Return a socket bound to the configured address, not listening yet.

    The workers of one supervisor bind the same port, and the kernel spreads connections
    over them; *worker* says that this process is one of them.

    Raises:
        ConfigError: If the address cannot be bound.
    """
    shared = server.workers > 1
    if shared and not worker:
        # Sharing would succeed beside the workers of another supervisor.
        _bind(server, shared=False).close()
    return _bind(server, shared)


def _bind(server: ServerSettings, shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise _cannot_listen(server, exc) from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        raise _cannot_listen(server, exc) from exc
    return sock


def _cannot_listen(server: ServerSettings, exc: OSError) -> ConfigError:
    return ConfigError(
        "server.port",
        f"cannot listen on {server.host} port {server.port}: {exc.strerror}",
    )


def address_of(server: ServerSettings, sock: socket.socket) -> str:
    """Return the URL under which the page of this server is found."""
    scheme = "https" if server.tls_cert else "http"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{sock.getsockname()[1]}/"


class _Server(HostingServer):
    """uvicorn, telling when it listens and when it begins to stop."""

    def __init__(
        self, node: Node, config: ServerSettings, started: Callable[[], None]
    ) -> None:
        self._app = build_app(node)
        uvicorn_config = _uvicorn_config(self._app, config)
        super().__init__(uvicorn_config, node.limits.hello_timeout_s)
        self._node = node
        self._server = config
        self._started = started
        self._drain: asyncio.Task[None] | None = None
        self._asked_at = 0.0

    def stop(self, replaced: bool = False) -> None:
        """
        Drain and end; asked once more, end at once.

        Who is asked twice in one breath was asked once: a terminal or a service
        manager tells a process directly and through its parent. One that is *replaced*
        closes its port first, so that the kernel chooses others of those who share it.
        """
        now = time.monotonic()
        if self._drain is None:
            self._asked_at = now
            self._node.draining = True
            for server in self.servers if replaced else ():
                server.close()
            self._drain = asyncio.create_task(self._leave())
        elif now - self._asked_at > SAME_BREATH_S:
            log.info("stopped_at_once")
            self._drain.cancel()
            self.force_exit = True

    async def _leave(self) -> None:
        """Say goodbye to everybody, then let uvicorn stop."""
        try:
            await self._node.drain.run(self._leavers(), self._shut)
        finally:
            self.should_exit = True

    def _leavers(self) -> Collection[Collection[Leaver]]:
        streams = streams_of(self._app)
        readers = streams.readers if streams is not None else ()
        return self._node.services.connections, readers

    def _shut(self) -> None:
        """Take no WebSocket and no stream any more; requests are still answered."""
        self._node.admission.closing = True
        streams = streams_of(self._app)
        if streams is not None:
            streams.shut()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """
        Leave signals to ``_serve``.

        uvicorn's own way raises the signal again when it has stopped serving, which
        would end the process before the node has committed its last events.
        """
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """
        Begin to listen.

        Raises:
            ConfigError: If another process was faster to take the port.
        """
        try:
            await super().startup(sockets=sockets)
        except OSError as exc:
            raise _cannot_listen(self._server, exc) from exc
        _collect_rarely()
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what is still open; end the streams, which uvicorn would wait for."""
        self._node.draining = True
        self._shut()
        streams = streams_of(self._app)
        if streams is not None:
            streams.close()
        await super().shutdown(sockets=sockets)
        if self.force_exit:  # uvicorn leaves it running then
            await self.lifespan.shutdown()


def _collect_rarely() -> None:
    """
    Look for garbage less often, and never again in what exists at the start.

    Nearly everything here is freed by its reference count. By Python's own thresholds,
    looking for the rest took a quarter of the time of 5,000 devices that track an event
    each; by these, a fifteenth (benchmarks/ingest.py, 2026-11). While 15,000 clients
    came in, it took 6.5 % of the time, and four times everything stood still for up to
    0.12 s; by these, 2 %, and 0.03 s at most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _uvicorn_config(app: Starlette, server: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=FrontDoor,
        ws="none",  # the front door takes WebSocket requests before uvicorn sees them
        loop="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def longest_stop_s(drain: DrainSettings) -> float:
    """Return how long a process may take from the signal to its end, at the most."""
    goodbyes_s = drain.notice_s + drain.over_s + SETTLE_S
    return goodbyes_s + SHUTDOWN_S + FLUSH_S + HOOKS_STOP_S + SPARE_S


def run(
    config: Config,
    options: Options,
    sock: socket.socket,
    started: Callable[[], None],
    worker: bool = False,
) -> int:
    """
    Serve on *sock* until SIGINT, SIGTERM or SIGHUP; return the process's exit code.

    *started* is called once connections are accepted. The end of a *worker's* standard
    input means that the supervisor has died, and so ends this process too; SIGHUP means
    to it that another has taken its place.

    Raises:
        ConfigError: If what is stored in Redis was made with other settings.
        Unavailable: If Redis or the tokens' issuer does not answer.
    """

    allow_connections(config.limits, warn=not config.server.dev)

    async def main() -> None:
        async with running_node(config, options) as node:
            server = _Server(node, config.server, started)
            if worker:
                _follow_parent(server)
            await _serve(server, sock, worker)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return 0


async def _serve(server: _Server, sock: socket.socket, worker: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    # Who is alone stops on SIGHUP (a terminal that closes), unless nohup lets it live.
    if worker or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, server.stop, worker)
    await server.serve(sockets=[sock])


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is no uvloop on Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _follow_parent(server: uvicorn.Server) -> None:
    loop = asyncio.get_running_loop()

    def parent_ended() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            server.should_exit = True

    loop.add_reader(sys.stdin.fileno(), parent_ended)
