"""Several nodes in memory that share who is there, and clients of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary

from realtime.engine.node import Node
from realtime.errors import Unavailable
from realtime.testing.client import MemoryClient
from realtime.testing.clock import ManualClock, settle
from realtime.types import Channel
from tests.engine.support import SECRET, token

LEASE_S = 20.0
ROOM = Channel("room:42")
CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"
anonymous = true

[limits]
keepalive_default = "1h"
keepalive_max = "1h"

[presence]
lease = "20s"
max_page = 3

[namespaces.room]
subscribe = "anyone"
members = "anyone"
presence = true
join_leave = true
linger = "5s"

[namespaces.quiet]
subscribe = "anyone"
members = "anyone"
presence = true

[namespaces.open]
subscribe = "anyone"
members = "anyone"
"""
CALLS = ("join", "leave", "touch", "restore", "members", "stats", "connections")


async def guest(
    node: Node, user: str | None = None, *channels: str, **fields: Any
) -> MemoryClient:
    """A client that has said hello and subscribed."""
    client = MemoryClient(node)
    clock = node.parts.clock
    assert isinstance(clock, ManualClock)
    if user is not None:
        fields["token"] = token(clock, user, 600_000, info={"name": user})
    assert (await client.hello(**fields))["type"] == "welcome"
    for channel in channels or (ROOM,):
        [answer] = await client.say("subscribe", id=1, channel=channel)
        assert answer["type"] == "subscribed", answer
    return client


async def listener(node: Node, channel: str = ROOM) -> MemoryClient:
    """A guest that is told who comes and goes."""
    client = await guest(node, "watcher", "open:nothing")
    [answer] = await client.say("subscribe", id=1, channel=channel, join_leave=True)
    assert answer["type"] == "subscribed", answer
    await settle()
    client.take()
    return client


def told(client: MemoryClient) -> list[tuple[str, str]]:
    """What a listener has heard since the last time: what, and of whom."""
    passed = _passed.pop(client, [])
    return [
        (each["type"], each["member"].get("user", each["member"]["client"]))
        for each in (*passed, *client.take())
        if each["type"] in ("join", "leave")
    ]


_passed: WeakKeyDictionary[MemoryClient, list[Any]] = WeakKeyDictionary()


async def ask(client: MemoryClient, kind: str, **fields: Any) -> dict[str, Any]:
    """Send a command; return its answer. What else comes is left to ``told``."""
    found = await client.say(kind, id=1, **fields)
    [answer] = [each for each in found if each.get("id") == 1]
    found.remove(answer)
    _passed.setdefault(client, []).extend(found)
    return answer


async def listed(client: MemoryClient, channel: str = ROOM) -> list[str]:
    """The users (or else connections) that a client finds on a channel."""
    found: list[str] = []
    cursor = ""
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await ask(client, "presence", channel=channel, **more)
        assert page["type"] == "presence", page
        found += [each.get("user", each["client"]) for each in page["members"]]
        cursor = page.get("cursor", "")
        if not cursor:
            return sorted(found)


async def counted(client: MemoryClient, channel: str = ROOM) -> tuple[int, int]:
    """How many connections and users there are."""
    answer = await ask(client, "presence_stats", channel=channel)
    return answer["clients"], answer["users"]


@contextmanager
def deaf(*nodes: Node) -> Iterator[None]:
    """Let the store not answer these nodes."""

    async def fail(*arguments: object) -> None:
        raise Unavailable("the store does not answer")

    with mock.patch.multiple(nodes[0].parts.presence, **dict.fromkeys(CALLS, fail)):
        if len(nodes) == 1:
            yield
            return
        with deaf(*nodes[1:]):
            yield


@contextmanager
def asleep(node: Node) -> Iterator[None]:
    """Let a node be as a process that is stopped: it renews nothing."""

    async def never(*arguments: object) -> tuple[list[Any], list[Any]]:
        return [], []

    with mock.patch.object(node.parts.presence, "touch", never):
        yield
