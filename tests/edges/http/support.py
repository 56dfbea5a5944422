"""A node in memory behind the HTTP edge, and requests driven message by message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import jwt
import orjson
from starlette.applications import Starlette

from realtime.adapters.build import Adapters, open_adapters
from realtime.core.access import Access
from realtime.core.channels import Rule
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.keys import ApiKeys, KeySet
from realtime.core.namespaces import NamespaceDefinition
from realtime.edges.http import routes
from realtime.engine.auth import Authenticator, StaticKeys
from realtime.engine.graph import NodeParts
from realtime.engine.hooks import HookParts
from realtime.engine.node import Node
from realtime.engine.people import PeopleSettings
from realtime.settings import (
    ApiKey,
    AuthSettings,
    DrainSettings,
    EventSettings,
    HistorySettings,
    LedgerSettings,
    LimitSettings,
    RedisSettings,
    ServerSettings,
    UserSettings,
)
from realtime.testing.clock import ManualClock, settle
from realtime.types import NodeId

SECRET = "a secret of thirty-two bytes or more"
API_KEY = "the key of the shop's backend"
OTHER_KEY = "the key of another backend"
NOW = 1_700_000_000.0

KEY = {"authorization": f"Bearer {API_KEY}"}

COUNTERS: Mapping[str, Mapping[str, object]] = {
    "likes": {
        "event": "like",
        "by": ["post"],
        "windows": ["total", "5m"],
        "watch": "anyone",
    },
    "sales": {
        "event": "sale",
        "measure": "sum",
        "of": "amount",
        "windows": ["1h/1m"],
        "watch": "user",
    },
    "hidden": {"event": "like", "measure": "unique", "of": "user"},
}

NAMESPACES = (
    NamespaceDefinition("chat"),
    NamespaceDefinition("news", Rule.USER, Rule.TOKEN),
    NamespaceDefinition("lobby", Rule.ANYONE, Rule.ANYONE),
    NamespaceDefinition("log", Rule.ANYONE, Rule.TOKEN, history_size=5),
    NamespaceDefinition("quote", Rule.ANYONE, history_size=1, last_value=True),
    NamespaceDefinition("prices", Rule.ANYONE, Rule.TOKEN, conflate_s=1.0),
    NamespaceDefinition("room", Rule.ANYONE, presence=True, join_leave=True),
)


def token(user: str | None = "ann", expires_in_s: float = 600.0, **grants: Any) -> str:
    """A token that the test's node believes."""
    claims: dict[str, Any] = {"exp": int(NOW + expires_in_s), "realtime": grants}
    if user is not None:
        claims["sub"] = user
    return jwt.encode(claims, SECRET, "HS256")


def bearer(presented: str) -> dict[str, str]:
    """The header that presents a key or a token."""
    return {"authorization": f"Bearer {presented}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> Any:
        """What the one shape of errors says."""
        assert self.headers["content-type"] == "application/json"
        return self.json["error"]


class Exchange:
    """One request, driven by hand: what arrives, what is taken, when it is left."""

    def __init__(
        self,
        app: Any,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        node: object = None,
    ) -> None:
        raw_path, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [
                (name.lower().encode(), value.encode("latin-1"))
                for name, value in {"host": "localhost:8080", **(headers or {})}.items()
            ],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
            "state": {} if node is None else {"node": node},
        }
        self._app = app
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._open = asyncio.Event()
        self._open.set()
        self.sent: list[dict[str, Any]] = []
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let the application begin."""
        self.task = asyncio.create_task(
            self._app(self.scope, self._incoming.get, self._send)
        )

    def feed(self, body: bytes, more: bool = False) -> None:
        """Let a part of the body arrive."""
        self._incoming.put_nowait(
            {"type": "http.request", "body": body, "more_body": more}
        )

    def leave(self) -> None:
        """Let the client be gone."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    def clog(self) -> None:
        """Let the client take nothing more."""
        self._open.clear()

    def unclog(self) -> None:
        """Let the client take again what is sent."""
        self._open.set()

    async def _send(self, message: dict[str, Any]) -> None:
        await self._open.wait()
        self.sent.append(message)

    def done(self) -> bool:
        """Whether the application has returned."""
        assert self.task is not None
        return self.task.done()

    @property
    def started(self) -> bool:
        """Whether the head of the answer was sent."""
        return bool(self.sent)

    @property
    def complete(self) -> bool:
        """Whether the last part of the answer was sent."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    @property
    def body(self) -> bytes:
        """What was sent of the body so far."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def answer(self) -> Answer:
        """What was sent so far, as an answer."""
        head = self.sent[0]
        headers = {
            name.decode(): value.decode("latin-1") for name, value in head["headers"]
        }
        return Answer(head["status"], headers, self.body)


@dataclass
class World:
    """A node, its clock and its application."""

    node: Node
    clock: ManualClock  # unless the test asked for another
    app: Starlette
    adapters: Adapters
    opened: list[Exchange] = field(default_factory=list)

    def open(
        self, method: str, path: str, headers: Mapping[str, str] | None = None
    ) -> Exchange:
        """Begin a request that the test drives further."""
        exchange = Exchange(self.app, method, path, headers, self.node)
        self.opened.append(exchange)
        exchange.start()
        return exchange

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a whole request; let time pass until it is answered."""
        merged = dict(headers or {})
        if json is not None:
            body = orjson.dumps(json)
            merged.setdefault("content-type", "application/json")
        exchange = self.open(method, path, merged)
        exchange.feed(body or b"")
        for _ in range(200):
            await settle()
            if exchange.done():
                break
            await self.clock.elapse(0.1)
        assert exchange.task is not None
        await exchange.task
        return exchange.answer

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask with GET."""
        return await self.ask("GET", path, headers=headers)

    async def post(
        self, path: str, json: object, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask with POST and a JSON body."""
        return await self.ask("POST", path, json=json, headers=headers)

    async def like(self, post: str, times: int, device: str = "backend-1") -> None:
        """Have so many likes of *post* counted, by a device that is new."""
        event = {"name": "like", "properties": {"post": post}}
        answer = await self.post(
            "/v1/events",
            {"device": device, "first": 1, "events": [event] * times},
            KEY,
        )
        assert answer.status == 200, answer.body


@asynccontextmanager
async def running(
    *,
    server: ServerSettings | None = None,
    auth: AuthSettings | None = None,
    limits: LimitSettings | None = None,
    ledger: LedgerSettings | None = None,
    history: HistorySettings | None = None,
    page: Mapping[str, object] | None = None,
    clock: Any = None,
    hooks: HookParts | None = None,
) -> AsyncIterator[World]:
    """A node in memory on a clock that stands still, with its application."""
    clock = clock or ManualClock(time=NOW)
    server = server or ServerSettings()
    auth = replace(auth or AuthSettings(), hmac_secret=SECRET)
    ledger = ledger or LedgerSettings()
    counters = CounterSet(
        CounterDefinition.parse(name, raw, ledger.tick_s)
        for name, raw in COUNTERS.items()
    )
    events = EventSettings()
    id = NodeId("n1")
    adapters = await open_adapters(
        RedisSettings(), ledger, counters, id, clock.monotonic
    )
    node = Node(
        NodeParts(
            id=id,
            server=server,
            auth=auth,
            limits=limits or LimitSettings(),
            drain=DrainSettings(),
            ledger_settings=ledger,
            events=events,
            probe_s=2.0,
            counters=counters,
            history=history or HistorySettings(),
            namespaces={one.name: one for one in NAMESPACES},
            access=Access({one.name: one for one in NAMESPACES}, counters, events),
            authenticator=Authenticator(
                auth, StaticKeys(KeySet.configured(auth)), clock, dev=server.dev
            ),
            api_keys=ApiKeys(
                [
                    ApiKey("shop", sha256(API_KEY.encode()).hexdigest()),
                    ApiKey("other", sha256(OTHER_KEY.encode()).hexdigest()),
                ]
            ),
            ledger=adapters.ledger,
            broker=adapters.broker,
            registry=adapters.registry,
            blocks=adapters.blocks,
            presence=adapters.presence,
            people=PeopleSettings(
                users=UserSettings(online=True),
                namespaces={one.name: one for one in NAMESPACES},
            ),
            clock=clock,
            page=page or {},
            hooks=hooks or HookParts(),
        )
    )
    await node.start()
    world = World(node, clock, Starlette(routes=routes()), adapters)
    try:
        yield world
    finally:
        for exchange in world.opened:
            if exchange.task is not None:
                exchange.task.cancel()
        await asyncio.gather(
            *(one.task for one in world.opened if one.task), return_exceptions=True
        )
        await node.aclose()
        await adapters.aclose()
