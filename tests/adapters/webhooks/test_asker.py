"""The questions of hooks, put to a backend: from the wire to what clients hear."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.app import Options, running_node
from realtime.core.access import BACKEND
from realtime.engine.node import Node
from realtime.testing.clock import ManualClock
from realtime.testing.nodes import config_of
from realtime.types import JSONText
from tests.adapters.webhooks.backend import (
    SECRET,
    Backend,
    Behaviour,
    Hang,
    HangUp,
    Received,
    listening,
    reply,
)
from tests.engine.hooks.support import Answers, until
from tests.engine.support import CONFIG, PHONE

pytestmark = pytest.mark.anyio

ALL = (
    "authenticate",
    "authorise_subscribe",
    "on_publish",
    "on_events",
    "on_connect",
    "on_disconnect",
)


@asynccontextmanager
async def asking(
    behave: Behaviour, *points: str, more: str = ""
) -> AsyncIterator[tuple[Node, ManualClock, Backend]]:
    """A node that asks this backend."""
    async with listening(behave) as backend:
        text = f"""{CONFIG}
[hooks]
url = "{backend.url}"
secret = "{SECRET}"
points = {list(points)}
{more}
"""
        clock = ManualClock(1_700_000_000.04, 1000.04)
        async with running_node(config_of(text), Options(clock=clock)) as node:
            yield node, clock, backend


def shop(request: Received) -> bytes:
    """A backend with an opinion on everything."""
    question = request.json
    assert request.genuine
    assert request.headers["x-realtime-id"] == question["id"]
    match question["point"]:
        case "authenticate":
            return reply({"allow": True, "user": {"id": "ann", "track": ["*"]}})
        case "authorise_subscribe":
            allow = question["channel"].endswith("yes")
            return reply({"allow": allow, "reason": "members only"})
        case "on_publish":
            return reply({"allow": True, "data": {"was": question["data"]}})
        case "on_events":
            return reply({"events": [None, {"reject": "not today"}]})
    return reply(b"ok")


async def test_a_backend_is_asked_at_every_point() -> None:
    """And its answers hold as a function's would."""
    async with asking(shop, *ALL) as (node, clock, backend):
        client = Answers(node)
        welcome = await client.say("hello", **PHONE, token="a cookie")
        assert welcome["user"] == "ann"
        answer = await client.say("subscribe", channel="secret:no")
        assert (answer["name"], answer["reason"]) == (
            "permission_denied",
            "members only",
        )
        assert (await client.say("subscribe", channel="secret:yes"))["number"]
        push = await client.say("publish", channel="secret:yes", data=1)
        assert push["data"] == {"was": 1}
        events = [{"name": "like"}, {"name": "like"}]
        await client.send("track", first=1, events=events)
        await until(lambda: node.ingest.pending_events)
        ack = await client.hear(clock)
        assert [(one["seq"], one["reason"]) for one in ack["rejected"]] == [
            (2, "not today")
        ]
        client.client.lose()
        await until(lambda: backend.received[-1].json["point"] == "on_disconnect")
    points = [request.json["point"] for request in backend.received]
    assert set(points) == set(ALL)


@pytest.mark.parametrize(
    ("answer", "logged"),
    [
        (reply(status=500), "status 500"),
        (reply(b"no"), "not JSON"),
        (reply({"allow": "yes"}), "allow must be"),
        (reply(b"x" * 3_000_000), "more than"),
    ],
)
async def test_a_backend_that_fails_is_told_as_unavailable(
    answer: bytes, logged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client may try again later; the log says what was wrong."""

    def behave(request: Received) -> bytes:
        return answer

    async with asking(behave, "authorise_subscribe") as (node, _, _):
        client = Answers(node)
        await client.say("hello")
        told = await client.say("subscribe", channel="chat:1")
        assert (told["name"], told["retry"]) == ("unavailable", "later")
        assert told["retry_after_s"] >= 1.0
    assert logged in capsys.readouterr().out


async def test_a_backend_that_hangs_up_is_given_a_rest() -> None:
    """After some failures it is not asked for a while."""

    def behave(request: Received) -> bytes:
        raise HangUp

    more = "failures = 2"
    async with asking(behave, "authorise_subscribe", more=more) as (node, _, backend):
        client = Answers(node)
        await client.say("hello")
        for _ in range(5):
            told = await client.say("subscribe", channel="chat:1")
            assert told["name"] == "unavailable"
        assert len(backend.received) == 4  # twice each, since it hung up
        assert told["retry_after_s"] >= 10.0


async def test_a_backend_that_hangs_keeps_nobody_else_waiting() -> None:
    """The one who asked waits as long as is allowed, the others not at all."""

    def behave(request: Received) -> bytes:
        raise Hang

    async with asking(behave, "authorise_subscribe") as (node, clock, backend):
        client, other = Answers(node), Answers(node)
        await client.say("hello")
        await other.say("hello")
        await client.send("subscribe", channel="chat:1")
        await until(lambda: backend.received)
        assert (await client.say("ping"))["type"] == "pong"
        assert (await other.say("publish", channel="chat:1", data=1))["type"] == "error"
        await clock.elapse(2.0)
        assert (await client.hear())["name"] == "unavailable"


async def test_a_backend_with_its_own_token_is_not_asked_about() -> None:
    """Whoever has an API key acts for the same developer."""
    async with asking(shop, "authorise_subscribe", "on_publish") as (node, _, backend):
        hooks = node.hooks.channels
        data, _ = await hooks.check_publish(BACKEND, "secret:no", JSONText(b"1"))
        await hooks.check_subscribe(BACKEND, "secret:no")
        assert (data, backend.received) == (b"1", [])
