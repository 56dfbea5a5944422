"""Hooks that say who somebody is, and hear who comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.testing.client import MemoryClient
from tests.engine.hooks.support import Answers, hooked, until
from tests.engine.support import CONFIG, PHONE, token

pytestmark = pytest.mark.anyio

AUTHENTICATE = """
from realtime.hooks import ConnectRequest, Deny, User

asked: list[ConnectRequest] = []

async def authenticate(request: ConnectRequest) -> User | None:
    asked.append(request)
    match request.token:
        case "session-of-ann":
            return User("ann", subscribe=["secret:*"], track=["like"])
        case "guest":
            return User()
        case "soon":
            return User("ann", expires_at=1_700_000_010.0)
        case "banned":
            raise Deny("you are banned until Monday")
        case "nonsense":
            return {"id": "ann"}
        case "bug":
            raise LookupError("a bug of the developer's")
    return None
"""


async def test_a_hook_says_who_somebody_is(tmp_path: Path) -> None:
    """By whatever the client presents; with the grants that it gives."""
    async with hooked(tmp_path, AUTHENTICATE) as (node, _, module):
        client = Answers(node)
        welcome = await client.say("hello", token="session-of-ann", device="phone")
        assert (welcome["type"], welcome["user"]) == ("welcome", "ann")
        answer = await client.say("subscribe", channel="secret:1")
        assert answer["type"] == "subscribed"
        [request] = module.asked
        assert (request.purpose, request.device) == ("connect", "phone")
        assert request.connection == welcome["connection"]
        assert request.remote == client.client.socket.remote
        assert "session-of-ann" not in repr(request)


async def test_without_an_opinion_the_token_decides(tmp_path: Path) -> None:
    """Good tokens are believed, bad ones are not."""
    async with hooked(tmp_path, AUTHENTICATE) as (node, clock, _):
        answer = await Answers(node).say("hello", token=token(clock, "ben"))
        assert answer["user"] == "ben"
        client = Answers(node)
        answer = await client.say("hello", token="who.knows.what")
        assert answer["name"] == "unauthorized"
        assert client.client.close_code == 4501
        assert (await Answers(node).say("hello"))["type"] == "welcome"
        answer = await Answers(node).say("hello", token="guest")
        assert (answer["type"], answer.get("user")) == ("welcome", None)


async def test_who_is_refused_is_told_why(tmp_path: Path) -> None:
    """With the hook's reason, and a code that says not to come back."""
    async with hooked(tmp_path, AUTHENTICATE) as (node, _, _):
        client = Answers(node)
        answer = await client.say("hello", token="banned")
        assert answer["name"] == "unauthorized"
        assert answer["reason"] == "you are banned until Monday"
        assert client.client.close_code == 4501


@pytest.mark.parametrize("presented", ["nonsense", "bug"])
@pytest.mark.parametrize("on_failure", ["deny", "allow"])
async def test_a_hook_that_fails_lets_nobody_in_by_mistake(
    tmp_path: Path, presented: str, on_failure: str
) -> None:
    """He may say hello again later: perhaps only the hook knows his token."""
    more = f'on_failure = "{on_failure}"'
    async with hooked(tmp_path, AUTHENTICATE, more) as (node, _, _):
        client = Answers(node)
        answer = await client.say("hello", token=presented)
        assert (answer["name"], answer["retry"]) == ("unavailable", "later")
        assert client.client.close_code is None
        answer = await client.say("hello", token="session-of-ann")
        assert answer["user"] == "ann"


async def test_with_allow_good_tokens_are_believed_meanwhile(tmp_path: Path) -> None:
    """As if there was no hook."""
    source = "async def authenticate(request):\n    raise LookupError\n"
    async with hooked(tmp_path, source, 'on_failure = "allow"') as (node, clock, _):
        answer = await Answers(node).say("hello", token=token(clock))
        assert answer["user"] == "ann"


async def test_a_session_that_the_hook_ends_is_refreshed_by_it(tmp_path: Path) -> None:
    """As one of a token is."""
    async with hooked(tmp_path, AUTHENTICATE) as (node, clock, module):
        client = Answers(node)
        welcome = await client.say("hello", token="soon")
        assert welcome["expires_at"] == 1_700_000_010.0
        await clock.elapse(11)
        assert (await client.hear())["type"] == "token_expired"
        answer = await client.say("refresh", token="session-of-ann")
        assert answer["type"] == "refreshed"
        assert (module.asked[-1].purpose, module.asked[-1].user) == ("refresh", "ann")


COMES_AND_GOES = """
import asyncio
import threading

told = []
gate = threading.Event()

async def on_connect(connection):
    while not gate.is_set():
        await asyncio.sleep(0.002)
    told.append(connection)

def on_disconnect(connection):
    told.append(connection)
"""


async def test_hooks_hear_who_comes_and_goes(tmp_path: Path) -> None:
    """In that order, though the first one takes its time; nobody waits for them."""
    async with hooked(tmp_path, COMES_AND_GOES) as (node, clock, module):
        client = MemoryClient(node)
        welcome = await client.hello(**PHONE, token=token(clock), client="app/1")
        await clock.elapse(1)
        client.lose(4002)
        never = MemoryClient(node)
        never.lose()
        assert node.hooks._calls.waiting == 1
        module.gate.set()
        came, went = await until(lambda: len(module.told) == 2 and module.told)
        assert came.connection == went.connection == welcome["connection"]
        assert (came.user, came.device, came.client) == ("ann", "phone", "app/1")
        assert (went.user, went.code, went.seconds) == ("ann", 4002, 1.0)
        assert went.at == pytest.approx(came.at + 1)
        await until(lambda: not node.hooks.connections._telling)
        assert node.hooks.connections._here == {}


async def test_the_last_to_go_are_told_of_before_the_end(tmp_path: Path) -> None:
    """When the server closes, it waits a moment for the hook."""
    async with hooked(tmp_path, COMES_AND_GOES) as (node, _, module):
        module.gate.set()
        client = MemoryClient(node)
        await client.hello(**PHONE)
        client.lose()
    assert [type(one).__name__ for one in module.told] == [
        "ConnectionOpened",
        "ConnectionClosed",
    ]


async def test_under_dev_a_user_of_the_hook_is_a_developer(tmp_path: Path) -> None:
    """Everything is allowed to him as to everybody."""
    config = CONFIG + "\n[server]\ndev = true\n"
    async with hooked(tmp_path, AUTHENTICATE, config=config) as (node, _, _):
        client = Answers(node)
        await client.say("hello", token="session-of-ann")
        answer = await client.say("publish", id=1, channel="secret:1", data=1)
        assert answer["type"] == "published"
