"""
The object graph of one process: the node, and the application that serves it.

``build_app`` returns the Starlette application that uvicorn hosts; its lifespan yields
the node under ``"node"``, where the front door finds it without any global. The node is
started before and closed after it, so that what fails then is not uvicorn's to tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from starlette.applications import Starlette

from realtime.adapters.build import Adapters, open_adapters
from realtime.adapters.jwks import JWKS
from realtime.adapters.webhooks.build import backend_asker, backend_notices
from realtime.clock import Clock, SystemClock
from realtime.config import Config, load_functions
from realtime.core.access import Access
from realtime.core.namespaces import NamespaceDefinition
from realtime.core.tokens import ApiKeys
from realtime.demo.player import EventDict, play
from realtime.edges.http import routes
from realtime.engine.auth import Authenticator
from realtime.engine.graph import NodeParts
from realtime.engine.hooks import Asker, HookFunctions, HookParts, ModuleAsker
from realtime.engine.node import Node, new_node_id
from realtime.engine.people import PeopleSettings
from realtime.engine.subscriptions import SERVER
from realtime.errors import CommandError, Unavailable
from realtime.types import DeviceId, NodeId

log = structlog.get_logger(__name__)

DEMO_RETRY_S = 1.0

Ready = Callable[[Node], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to the configuration."""

    page: Mapping[str, object] = field(default_factory=dict)
    demo: bool = False  # play the demonstration's events in this process
    clock: Clock = field(default_factory=SystemClock)


def build_app(node: Node) -> Starlette:
    """Return the application that serves *node*."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        yield {"node": node}

    return Starlette(routes=routes(), lifespan=lifespan)


@asynccontextmanager
async def running_node(config: Config, options: Options) -> AsyncIterator[Node]:
    """
    Make a node of *config*, start it, and close it with everything it stands on.

    Raises:
        ConfigError: If what is stored in Redis was made with other settings, or the
            module of hooks is not as it must be.
        Unavailable: If Redis or the tokens' issuer does not answer.
    """
    id = new_node_id()
    functions = load_functions(config)
    adapters = await open_adapters(
        config.redis, config.ledger, config.counters, id, options.clock.monotonic
    )
    jwks = JWKS(config.auth, options.clock) if config.auth.jwks_url else None
    try:
        if jwks is not None:
            await jwks.start()
        hooks = _hooks(config, options.clock, functions, adapters, id)
        node = Node(_parts(config, options, id, adapters, jwks, hooks))
        adapters.on_reconnected(node.missed)
        async with _hooked(node):
            await node.start()
            try:
                _tell(config, adapters)
                if options.demo:
                    node.play(partial(_play, node, options.clock))
                yield node
            finally:
                await node.aclose()
    finally:
        if jwks is not None:
            await jwks.aclose()
        await adapters.aclose()


@asynccontextmanager
async def _hooked(node: Node) -> AsyncIterator[None]:
    """Start the hooks before anything asks them; end them after the last word."""
    try:
        await node.hooks.start()
        yield
    finally:
        await node.hooks.aclose()


def _parts(
    config: Config,
    options: Options,
    id: NodeId,
    adapters: Adapters,
    jwks: JWKS | None,
    hooks: HookParts,
) -> NodeParts:
    server = NamespaceDefinition(SERVER)
    namespaces = {SERVER: server, **config.namespaces}
    return NodeParts(
        id=id,
        server=config.server,
        auth=config.auth,
        limits=config.limits,
        drain=config.drain,
        ledger_settings=config.ledger,
        events=config.events,
        probe_s=config.redis.probe_s,
        counters=config.counters,
        access=Access(namespaces, config.counters, config.events),
        authenticator=Authenticator(
            config.auth, jwks, options.clock, dev=config.server.dev
        ),
        api_keys=ApiKeys(config.api_keys),
        ledger=adapters.ledger,
        broker=adapters.broker,
        registry=adapters.registry,
        blocks=adapters.blocks,
        presence=adapters.presence,
        people=PeopleSettings(
            config.presence,
            config.users,
            config.limits.max_connections_per_user,
            namespaces,
        ),
        clock=options.clock,
        page=options.page,
        history=config.history,
        namespaces=namespaces,
        hooks=hooks,
    )


def _hooks(
    config: Config,
    clock: Clock,
    functions: HookFunctions | None,
    adapters: Adapters,
    id: NodeId,
) -> HookParts:
    """Make what asks the developer's code, and what tells a backend."""
    askers: list[Asker] = []
    if functions is not None:
        askers.append(ModuleAsker(functions, clock))
    if config.hooks.url is not None:
        askers.append(backend_asker(config.hooks, config.limits, clock))
    notices = backend_notices(
        config.webhooks, clock, adapters.link, config.redis.prefix, id
    )
    return HookParts(config.hooks, tuple(askers), notices)


def _tell(config: Config, adapters: Adapters) -> None:
    """Say at start-up what survives what."""
    if config.redis.url is None:
        log.info("ledger_in_memory", lost="all counters, when this process ends")
    else:
        durability = adapters.durability or "unknown"
        may_lose = _may_lose(durability)
        if may_lose is None:
            log.info("ledger_in_redis", durability=durability)
        else:
            log.warning("ledger_in_redis", durability=durability, may_lose=may_lose)


def _may_lose(durability: str) -> str | None:
    """Say what of the acknowledged events Redis may lose; None if nothing is known."""
    if durability.startswith("maxmemory-policy"):
        return "marks and counters, when Redis is short of memory"
    if durability == "appendfsync everysec":
        return "about the last second, when Redis or its machine crashes"
    if durability in ("appendfsync no", "appendonly no"):
        return "everything since the last snapshot, when Redis or its machine crashes"
    return None


async def _play(node: Node, clock: Clock) -> None:
    """Send the demonstration's events as a backend device of this node's own."""
    device, sent = DeviceId(f"demo-{node.id}"), 0

    async def track(events: list[EventDict]) -> None:
        nonlocal sent
        while True:
            try:
                result = await node.track(
                    device, ("demo",), sent + 1, events, may_track=lambda name: True
                )
            except (CommandError, Unavailable) as exc:
                log.info("demo_waits", reason=str(exc))
                if isinstance(exc, CommandError) and exc.expected is not None:
                    sent = exc.expected - 1  # the ledger has lost our mark
                await clock.sleep(DEMO_RETRY_S)
            else:
                sent = result.acked
                return

    await play(track, clock)
