"""Leaving when the server asks, and what close codes say about coming back."""

from __future__ import annotations

import asyncio

import pytest
from client_support.history import CHAT, at, missed, subscribed
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    GoingAway,
    State,
)

pytestmark = pytest.mark.anyio


async def test_goodbye_is_obeyed_to_the_second() -> None:
    """The connection is closed, and the next one comes when the server said."""
    async with scene() as it:
        client, conversation = await it.online()
        chat = await subscribed(client, conversation)
        await conversation.send("goodbye", after_s=7.5, reason="a deploy")
        assert await conversation.closed() == 1000
        change = await it.offline(client)
        assert change.retry_in_s == 7.5
        assert isinstance(change.error, GoingAway)
        assert str(change.error) == "a deploy"
        it.clock.advance(7.5)
        conversation = await it.again(client)
        await conversation.confirm(4, **at(6), recovered=True, publications=missed(6))
        assert await anext(chat) == 6
        assert it.notices == []


async def test_goodbye_is_no_failed_attempt() -> None:
    """Said again and again, the delay after a real failure is still the shortest."""
    async with scene() as it:
        client, conversation = await it.online()
        for _ in range(5):
            await conversation.send("goodbye", after_s=1.0, reason="")
            change = await it.offline(client)
            assert change.retry_in_s == 1.0
            it.clock.advance(1.0)
            conversation = await it.again(client)
        conversation.cut()
        assert (await it.offline(client)).retry_in_s == 0.25


async def test_a_publication_outlives_a_goodbye() -> None:
    """It is repeated on the next connection; the application notices nothing."""
    async with scene() as it:
        client, conversation = await it.online()
        publishing = asyncio.ensure_future(client.publish(CHAT, 1))
        first = await conversation.receive("publish")
        await conversation.send("goodbye", after_s=2.0, reason="")
        await it.back_off(client)
        conversation = await it.again(client)
        second = await conversation.receive("publish")
        assert second["idempotency_key"] == first["idempotency_key"]
        await conversation.send("published", id=second["id"])
        await publishing


@pytest.mark.parametrize("code", [4006, 4007, 4008, 4111])
async def test_codes_below_4500_are_come_back_from(code: int) -> None:
    """Whether this version knows them or not."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.close(code)
        assert (await it.offline(client)).retry_in_s == 0.25


@pytest.mark.parametrize("code", [4504, 4505, 4777])
async def test_codes_from_4500_are_final(code: int) -> None:
    """The application is told; a new client may try again."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.close(code)
        await eventually(lambda: client.state is State.CLOSED)
        assert client.error is not None
        assert client.error.code == code


async def test_a_revoked_token_is_replaced() -> None:
    """As an expired one is."""
    tokens = iter(["one", "two"])
    async with scene() as it:
        client, conversation = await it.online(token=lambda: next(tokens))
        await conversation.close(4506)
        await it.back_off(client)
        conversation = await it.server.accept()
        assert (await conversation.receive("hello"))["token"] == "two"
