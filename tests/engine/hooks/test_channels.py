"""Hooks that decide who may subscribe and what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.testing.clock import settle
from tests.engine.hooks.support import Answers, hooked
from tests.engine.support import CONFIG, token

pytestmark = pytest.mark.anyio

SUBSCRIBE = """
from realtime.hooks import Deny, SubscribeRequest

asked: list[SubscribeRequest] = []

async def authorise_subscribe(request: SubscribeRequest) -> bool | None:
    asked.append(request)
    if request.channel == "chat:closed":
        raise Deny("closed on Mondays")
    return {"chat:no": False, "secret:yes": True}.get(request.channel)
"""


async def test_a_hook_allows_refuses_or_leaves_it_to_the_rules(tmp_path: Path) -> None:
    """Also what the rules do not grant, and what they do."""
    async with hooked(tmp_path, SUBSCRIBE) as (node, _, module):
        client = Answers(node)
        await client.say("hello")
        answers = {
            channel: await client.say("subscribe", channel=channel)
            for channel in ("chat:1", "chat:no", "chat:closed", "secret:no")
        }
        assert answers["chat:1"]["type"] == "subscribed"
        for channel in ("chat:no", "chat:closed", "secret:no"):
            assert answers[channel]["name"] == "permission_denied"
            assert answers[channel]["field"] == "channel"
        assert answers["chat:closed"]["reason"] == "closed on Mondays"
        assert "realtime.subscribe" in answers["secret:no"]["reason"]
        allowed = await client.say("subscribe", channel="secret:yes")
        assert allowed["type"] == "subscribed"
        assert [(one.channel, one.granted) for one in module.asked] == [
            ("chat:1", True),
            ("chat:no", True),
            ("chat:closed", True),
            ("secret:no", False),
            ("secret:yes", False),
        ]


async def test_what_is_no_channel_is_not_asked_about(tmp_path: Path) -> None:
    """No hook makes one of it."""
    async with hooked(tmp_path, SUBSCRIBE) as (node, _, module):
        client = Answers(node)
        await client.say("hello")
        for channel, name in (
            ("nowhere:1", "unknown_channel"),
            ("live:nothing", "unknown_channel"),
            ("chat:\n", "bad_channel"),
        ):
            assert (await client.say("subscribe", channel=channel))["name"] == name
        assert module.asked == []


async def test_a_new_token_is_asked_about_for_every_subscription(
    tmp_path: Path,
) -> None:
    """What the hook allows stays, though the token does not grant it."""
    source = SUBSCRIBE + "\n\nasync def on_start() -> None:\n    pass\n"
    async with hooked(tmp_path, source) as (node, clock, module):
        client = Answers(node)
        await client.say("hello", token=token(clock))
        await client.say("subscribe", channel="secret:yes")
        await client.say("subscribe", channel="chat:1")
        module.asked.clear()
        answer = await client.say("refresh", token=token(clock))
        assert answer["type"] == "refreshed"
        answer = await client.say("unsubscribe", channel="secret:yes")
        assert answer == {"type": "unsubscribed", "channel": "secret:yes"}
        assert [one.channel for one in module.asked] == ["secret:yes", "chat:1"]
        assert [one.user for one in module.asked] == ["ann", "ann"]


KEEPS = """
[namespaces.kept]
subscribe = "anyone"
history = "anyone"
history_size = 10
members = "anyone"
presence = true
"""


async def test_who_is_refused_reads_neither_history_nor_members(
    tmp_path: Path,
) -> None:
    """And who is not, reads what the rules let him read."""
    source = """
asked = []

async def authorise_subscribe(request):
    asked.append((request.channel, request.wants, request.granted))
    return not request.channel.endswith("no")
"""
    async with hooked(tmp_path, source, config=CONFIG + KEEPS) as (node, _, module):
        client = Answers(node)
        await client.say("hello")
        for kind in ("history", "presence", "presence_stats"):
            answer = await client.say(kind, id=1, channel="kept:yes")
            assert answer["type"] == kind
            answer = await client.say(kind, id=1, channel="kept:no")
            assert answer["name"] == "permission_denied"
            answer = await client.say(kind, id=1, channel="secret:yes")
            assert answer["name"] == "permission_denied"
        assert [wants for _, wants, _ in module.asked] == ["history"] * 2 + [
            "members"
        ] * 4
        assert all(granted for _, _, granted in module.asked)


PUBLISH = """
from realtime.hooks import ChangePublication, Deny, PublishRequest

asked: list[PublishRequest] = []

async def on_publish(request: PublishRequest):
    asked.append(request)
    match request.data:
        case {"change": text}:
            return ChangePublication({"changed": text, "by": request.user})
        case {"swear": _}:
            raise Deny("mind your language")
        case {"large": size}:
            return ChangePublication("x" * size)
    return True if request.channel == "secret:yes" else None
"""


async def test_a_hook_refuses_and_changes_publications(tmp_path: Path) -> None:
    """Subscribers receive what it has made of them."""
    async with hooked(tmp_path, PUBLISH) as (node, clock, module):
        writer, reader = Answers(node), Answers(node)
        await writer.say("hello", token=token(clock))
        await reader.say("hello")
        number = (await reader.say("subscribe", channel="chat:1"))["number"]
        for id, data in enumerate(({"text": "a"}, {"change": "b"}, {"swear": 1})):
            answer = await writer.say("publish", id=id, channel="chat:1", data=data)
            assert answer["type"] == ("error" if "swear" in data else "published")
        assert answer["name"] == "permission_denied"
        assert answer["reason"] == "mind your language"
        pushes = [await reader.hear(), await reader.hear()]
        assert {push["channel"] for push in pushes} == {number}
        assert [push["data"] for push in pushes] == [
            {"text": "a"},
            {"changed": "b", "by": "ann"},
        ]
        assert [one.granted for one in module.asked] == [True] * 3


async def test_a_hook_may_let_somebody_publish(tmp_path: Path) -> None:
    """Though neither token nor namespace does."""
    async with hooked(tmp_path, PUBLISH) as (node, _, _):
        client = Answers(node)
        await client.say("hello")
        answer = await client.say("publish", id=1, channel="secret:yes", data=1)
        assert answer["type"] == "published"
        answer = await client.say("publish", id=2, channel="secret:no", data=1)
        assert answer["name"] == "permission_denied"


async def test_a_change_that_is_too_large_is_a_failure(tmp_path: Path) -> None:
    """The limit holds for hooks, too; nothing is published."""
    async with hooked(tmp_path, PUBLISH) as (node, clock, _):
        client = Answers(node)
        await client.say("hello", token=token(clock))
        answer = await client.say(
            "publish", id=1, channel="chat:1", data={"large": 100}
        )
        assert (answer["name"], answer["retry"]) == ("unavailable", "later")


async def test_commands_wait_behind_a_slow_hook_in_their_order(tmp_path: Path) -> None:
    """Publications of one connection arrive in the order in which it sent them."""
    source = """
import asyncio
import threading

gate = threading.Event()

async def on_publish(request):
    while request.data == 1 and not gate.is_set():
        await asyncio.sleep(0.002)
"""
    async with hooked(tmp_path, source) as (node, clock, module):
        writer, reader = Answers(node), Answers(node)
        await writer.say("hello", token=token(clock))
        await reader.say("hello")
        await reader.say("subscribe", channel="chat:1")
        for data in (1, 2, 3):
            await writer.send("publish", id=data, channel="chat:1", data=data)
        await settle()
        assert writer.client.take() == []
        module.gate.set()
        assert [(await writer.hear())["id"] for _ in range(3)] == [1, 2, 3]
        assert [(await reader.hear())["data"] for _ in range(3)] == [1, 2, 3]
