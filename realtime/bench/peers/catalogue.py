"""
Who is compared: our server and its peers, each alone and, where it can, with Redis.

What each checks of a client before it serves it, and what else it does for it:

    realtime         a JWT (HS256), its expiry and its grants; limits of rates, of
                     outboxes and of subscriptions; keepalive
    Centrifugo       a JWT (HS256) and its expiry; permissions by namespace; bounded
                     queues; keepalive. It is Go and uses all cores
    Socket.IO        nothing (an application's middleware would); keepalive
    python-socketio  nothing (an application's handler would); keepalive
    Django Channels  nothing (an application's middleware would); keepalive
    websockets       nothing, and it has no channels; keepalive
    picows           nothing, and it has no channels; keepalive

All ping their connections equally often, none compresses, all write their logs, which
are short, to a file. Each is one process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from realtime import __version__
from realtime.bench.dialects.centrifugo import Centrifugo
from realtime.bench.dialects.channels import Channels
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.plain import Plain
from realtime.bench.dialects.port import Dialect
from realtime.bench.dialects.socketio import SocketIO
from realtime.bench.errors import BenchError
from realtime.bench.local import CREDENTIALS, SECRET, local_target
from realtime.bench.peers import npm
from realtime.bench.peers.launch import Command, running
from realtime.bench.peers.serving import HOST
from realtime.bench.target import Credentials, Endpoint, Target

OURS = "realtime"
QUIET = '[logs]\nlevel = "warning"\n'  # as the others: no line for each client
PIP = "pip install -e '.[peers]' in a clone"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What the peers are started with: how often they ping, the folder of the packages
    from npm, and Centrifugo's binary, if there is one.
    """

    keepalive_s: float
    npm_folder: Path
    centrifugo: str | None = None


Serve = Callable[[Surroundings], AbstractContextManager[Target]]
Find = Callable[[Surroundings], str | None]


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One server in one deployment; *redis* says whether it is joined to others by one.

    *version* returns what is installed, None if it is not, and *install* says how to
    get it. *serve* runs it, with a Redis of its own if it uses one; it raises
    BenchError if it does not start.
    """

    name: str
    redis: bool
    dialect: Callable[[Surroundings], Dialect]
    version: Find
    install: str
    serve: Serve

    @property
    def title(self) -> str:
        """What its row is called."""
        return f"{self.name} + Redis" if self.redis else self.name


# -- starting --------------------------------------------------------------------------

_Order = Callable[[Surroundings, int, str | None], Command]


def _serve(order: _Order, *, redis: bool, credentials: Credentials) -> Serve:
    """Return how to run the server that *order* starts on a port, with a Redis."""

    @contextmanager
    def serve(where: Surroundings) -> Iterator[Target]:
        from realtime.testing.servers import free_port

        port, url = free_port(), None
        with ExitStack() as stack:
            processes: dict[str, int] = {}
            if redis:
                url, processes["redis"] = stack.enter_context(_valkey())
            command = order(where, port, url)
            processes |= stack.enter_context(running(command, port))
            yield Target((Endpoint(False, HOST, port),), credentials, False, processes)

    return serve


@contextmanager
def _valkey() -> Iterator[tuple[str, int]]:
    from realtime.testing.servers import ServerError, ValkeyServer

    try:
        with ValkeyServer() as server:
            assert server.pid is not None
            yield server.url, server.pid
    except ServerError as exc:
        raise BenchError(f"peers with Redis need one: {exc}") from exc


def _ours(*, redis: bool) -> Peer:
    def serve(where: Surroundings) -> AbstractContextManager[Target]:
        return local_target(1, "auto" if redis else None, config=QUIET)

    return Peer(
        OURS,
        redis,
        lambda where: Native(keepalive_s=where.keepalive_s),
        lambda where: __version__,
        "",
        serve,
    )


def _python(
    name: str,
    module: str,
    package: str,
    dialect: Callable[[], Dialect],
    *,
    redis: bool = False,
    variant: str = "",
) -> Peer:
    """Return a peer that is a program beside this file."""

    def order(where: Surroundings, port: int, url: str | None) -> Command:
        words = [sys.executable, "-m", f"realtime.bench.peers.{module}"]
        words += ["--port", str(port), "--keepalive", str(where.keepalive_s)]
        words += ["--redis", url] if url else []
        words += ["--variant", variant] if variant else []
        return Command(words)

    def version(where: Surroundings) -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    serve = _serve(order, redis=redis, credentials=Credentials())
    return Peer(name, redis, lambda where: dialect(), version, PIP, serve)


def _socketio(*, redis: bool) -> Peer:
    def order(where: Surroundings, port: int, url: str | None) -> Command:
        environment = {"PORT": str(port), "KEEPALIVE_S": str(where.keepalive_s)}
        if url:
            environment["REDIS_URL"] = url
        return Command(["node", str(npm.program(where.npm_folder))], environment)

    def version(where: Surroundings) -> str | None:
        return npm.version(where.npm_folder) if shutil.which("node") else None

    serve = _serve(order, redis=redis, credentials=Credentials())
    install = "Node.js and --npm-install"
    return Peer("Socket.IO", redis, lambda where: SocketIO(), version, install, serve)


def _centrifugo(*, redis: bool) -> Peer:
    def order(where: Surroundings, port: int, url: str | None) -> Command:
        assert where.centrifugo is not None
        config = json.dumps(_centrifugo_config(where.keepalive_s, port, url))
        words = [where.centrifugo, "--config", "config.json"]
        return Command(words, files={"config.json": config})

    serve = _serve(order, redis=redis, credentials=CREDENTIALS)
    install = "its binary is given by --centrifugo PATH (centrifugal.dev)"
    return Peer(
        "Centrifugo",
        redis,
        lambda where: Centrifugo(),
        _centrifugo_version,
        install,
        serve,
    )


def _centrifugo_config(
    keepalive_s: float, port: int, url: str | None
) -> dict[str, object]:
    """Return a configuration of version 6 for the channels of the kit."""
    namespace = {
        "name": "bench",
        "allow_subscribe_for_client": True,
        "allow_publish_for_client": True,
    }
    config: dict[str, object] = {
        "http_server": {"address": HOST, "port": port},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "ping_interval": f"{keepalive_s:g}s",
            # It must be shorter than the interval.
            "pong_timeout": f"{keepalive_s * 0.6:g}s",
        },
        "channel": {"namespaces": [namespace]},
        "usage_stats": {"disabled": True},
        "log": {"level": "warn"},
    }
    if url is not None:
        config["engine"] = {"type": "redis", "redis": {"address": url}}
    return config


def _centrifugo_version(where: Surroundings) -> str | None:
    if where.centrifugo is None:
        return None
    try:
        said = subprocess.run(
            [where.centrifugo, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise BenchError(
            f"--centrifugo {where.centrifugo} does not run: {exc}"
        ) from exc
    return said.stdout.strip().removeprefix("Centrifugo ").partition(" ")[0]


PEERS: tuple[Peer, ...] = (
    _ours(redis=False),
    _centrifugo(redis=False),
    _python("picows", "plain_picows", "picows", Plain),
    _python("websockets", "plain_websockets", "websockets", Plain),
    _socketio(redis=False),
    _python("python-socketio", "python_socketio", "python-socketio", SocketIO),
    _ours(redis=True),
    _centrifugo(redis=True),
    _socketio(redis=True),
    _python(
        "python-socketio", "python_socketio", "python-socketio", SocketIO, redis=True
    ),
    _python(
        "Channels (pub/sub layer)",
        "django_channels",
        "channels-redis",
        Channels,
        redis=True,
        variant="pubsub",
    ),
    _python(
        "Channels (core layer)",
        "django_channels",
        "channels-redis",
        Channels,
        redis=True,
        variant="core",
    ),
    _python(
        "Channels (core layer) on Daphne",
        "django_channels",
        "daphne",
        Channels,
        redis=True,
        variant="daphne",
    ),
)
"""Each deployment begins with ours, which the others are compared with."""
