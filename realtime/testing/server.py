"""
The real stack on loopback: uvicorn, front door, WebSockets, a host of one's own.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from realtime.edges.frontdoor import FrontDoor
from realtime.edges.host import SocketHost
from realtime.edges.hosting import HostingServer

MUCH_BYTES = 16 * 1024 * 1024


def host_app(host: SocketHost) -> Starlette:
    """
    Return an application that yields *host* and answers ``GET /hello``, and
    ``GET /much`` with more bytes than the kernel keeps for somebody.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        yield {"node": host}
        host.wheel.stop()

    async def hello(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello over HTTP")

    async def much(request: Request) -> PlainTextResponse:
        return PlainTextResponse(b"." * MUCH_BYTES)

    routes = [Route("/hello", hello), Route("/much", much)]
    return Starlette(routes=routes, lifespan=lifespan)


def server_of(host: SocketHost, **options: Any) -> uvicorn.Server:
    """Return a uvicorn server that is configured as the product's is."""
    settings: dict[str, Any] = {
        "http": FrontDoor,
        "ws": "none",
        "loop": "uvloop",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "timeout_graceful_shutdown": 10,
    }
    config = uvicorn.Config(host_app(host), **(settings | options))
    return HostingServer(config, host.limits.hello_timeout_s)


def listening_socket() -> socket.socket:
    """Return a socket bound to a free port of loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=2048)


@contextmanager
def running(host: SocketHost, **options: Any) -> Iterator[int]:
    """
    Serve *host* in a thread; the value is the port.

    *options* are uvicorn's. Leaving stops the server as a signal would.
    """
    server = server_of(host, **options)
    sock = listening_socket()
    started = threading.Event()
    startup = server.startup

    async def announce(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets=sockets)
        started.set()

    server.startup = announce  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    try:
        if not started.wait(10):
            raise TimeoutError("the server has not started within 10 seconds")
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        if thread.is_alive():
            raise TimeoutError("the server has not stopped within 20 seconds")


def run_until_stopped(host: SocketHost, ready: Callable[[int], None]) -> None:
    """Serve *host* in this process until a signal; *ready* is told the port."""
    server = server_of(host)
    sock = listening_socket()
    startup = server.startup

    async def announce(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets=sockets)
        ready(sock.getsockname()[1])

    server.startup = announce  # type: ignore[method-assign]
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[sock]))
