"""Fetching tokens, and replacing them before they expire."""

from __future__ import annotations

import asyncio

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    CommandError,
    Disconnected,
    RealtimeError,
    RefreshFailed,
    State,
    TokenFailed,
)

pytestmark = pytest.mark.anyio


class Backend:
    """The application's function that fetches tokens: t1, t2, ..."""

    def __init__(self, *failures: Exception) -> None:
        self.calls = 0
        self.failures = list(failures)

    async def __call__(self) -> str:
        """Return the next token, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.calls += 1
        return f"t{self.calls}"


async def test_a_token_is_fetched_once_and_used_again() -> None:
    """A reconnect needs no new one."""
    backend = Backend()
    async with scene() as it:
        client = it.make(token=backend)
        client.start()
        conversation = await it.server.accept()
        assert (await conversation.welcome())["token"] == "t1"
        await eventually(lambda: client.state is State.ONLINE)
        conversation.cut()
        await it.back_off(client)
        assert (await (await it.server.accept()).welcome())["token"] == "t1"


async def test_a_token_is_refreshed_at_four_fifths_of_its_life() -> None:
    """On the same connection, and the next one in its turn."""
    backend = Backend()
    now = {"received_at": 1000.0, "sent_at": 1000.0}
    async with scene() as it:
        client, conversation = await it.online(
            {**now, "expires_at": 1100.0}, token=backend
        )
        await eventually(lambda: 80.0 in it.clock.delays)
        it.clock.advance(79.0)
        await asyncio.sleep(0.01)
        assert backend.calls == 1
        it.clock.advance(1.0)
        # The keepalive's ping has come in the meantime.
        command = await conversation.receive()
        if command["type"] == "ping":
            command = await conversation.receive()
        assert (command["type"], command["token"]) == ("refresh", "t2")
        fields = {"id": command["id"], "expires_at": 1180.0}
        await conversation.send("refreshed", **fields)
        await eventually(lambda: 80.0 in it.clock.delays)
        assert client.state is State.ONLINE


async def test_token_expired_is_answered_on_the_same_connection() -> None:
    """What must wait for the new token goes after it."""
    backend = Backend()
    async with scene() as it:
        client, conversation = await it.online(token=backend)
        await conversation.send("token_expired", grace_s=25.0)
        refresh = await conversation.receive("refresh")
        assert refresh["token"] == "t2"
        client.track("e")
        client.watch("live:likes")
        await asyncio.sleep(0.01)
        await conversation.send("refreshed", id=refresh["id"])
        kinds = {(await conversation.receive())["type"] for _ in range(2)}
        assert kinds == {"track", "subscribe"}


async def test_the_backend_may_move_the_end_of_a_token() -> None:
    """Told by a refreshed that nobody asked for: it is kept until then."""
    backend = Backend()
    now = {"received_at": 1000.0, "sent_at": 1000.0}
    async with scene() as it:
        _, conversation = await it.online({**now, "expires_at": 1100.0}, token=backend)
        await eventually(lambda: 80.0 in it.clock.delays)
        await conversation.send("refreshed", expires_at=1500.0)
        await eventually(lambda: 400.0 in it.clock.delays)
        assert backend.calls == 1


async def test_a_failed_refresh_is_repeated() -> None:
    """With growing delays, and the application hears of it."""
    backend = Backend()
    async with scene() as it:
        _, conversation = await it.online(token=backend)
        backend.failures = [OSError("no network")]
        await conversation.send("token_expired", grace_s=25.0)
        await eventually(lambda: it.notices)
        (notice,) = it.notices
        assert isinstance(notice, RefreshFailed)
        assert isinstance(notice.error, TokenFailed)
        assert "no network" in str(notice.error)
        await eventually(lambda: notice.retry_in_s in it.clock.delays)
        it.clock.advance(notice.retry_in_s)
        refresh = await conversation.receive("refresh")
        await conversation.refuse(refresh, 104, "unauthorized")
        await eventually(lambda: len(it.notices) == 2)
        assert isinstance(it.notices[1], RefreshFailed)
        assert isinstance(it.notices[1].error, CommandError)


async def test_a_connection_closed_for_its_token_comes_back_with_a_new_one() -> None:
    """4502 asks for a new token, and is no final error."""
    backend = Backend()
    async with scene() as it:
        client, conversation = await it.online(token=backend)
        await conversation.close(4502)
        await it.back_off(client)
        assert (await (await it.server.accept()).welcome())["token"] == "t2"


async def test_a_hello_refused_for_its_token_comes_back_with_a_new_one() -> None:
    """The error token_expired means the same as the close code."""
    backend = Backend()
    async with scene() as it:
        client = it.make(token=backend)
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        await conversation.refuse(hello, 105, "token_expired", retry="refresh")
        await conversation.close(4501)
        await it.back_off(client)
        assert (await (await it.server.accept()).welcome())["token"] == "t2"


async def test_a_second_token_that_has_expired_is_final() -> None:
    """One new token is tried; if it is refused as well, the application must act."""
    backend = Backend()
    async with scene() as it:
        client = it.make(token=backend)
        client.start()
        await (await it.server.accept()).close(4502)
        await it.back_off(client)
        await (await it.server.accept()).close(4502)
        await eventually(lambda: client.state is State.CLOSED)
        assert isinstance(client.error, Disconnected)
        assert client.error.code == 4502
        assert backend.calls == 2


async def test_a_fixed_token_that_has_expired_is_final() -> None:
    """There is no other one to try."""
    async with scene() as it:
        client, conversation = await it.online(token="fixed")
        await conversation.close(4502)
        await eventually(lambda: client.state is State.CLOSED)


async def test_a_function_that_fails_is_called_again() -> None:
    """A backend out of reach is no reason to give up."""
    backend = Backend(OSError("no network"))
    async with scene() as it:
        client = it.make(token=backend)
        client.start()
        change = await it.offline(client)
        assert isinstance(change.error, TokenFailed)
        await it.back_off(client)
        await it.again(client)


async def test_a_function_can_end_it() -> None:
    """By raising a RealtimeError that says never: the user has signed out."""
    async with scene() as it:
        client = it.make(token=Backend(RealtimeError("signed out")))
        with pytest.raises(RealtimeError, match="signed out"):
            await client.connect()


async def test_a_function_must_return_a_string() -> None:
    """Anything else is its failure, and named."""
    async with scene() as it:
        client = it.make(token=lambda: None)
        client.start()
        change = await it.offline(client)
        assert "must return a string, not NoneType" in str(change.error)


async def test_a_function_may_close_the_client() -> None:
    """The application that has no token any more need not wait for itself."""
    async with scene() as it:
        client = it.make(token=lambda: client.aclose())
        client.start()
        await eventually(lambda: client.state is State.CLOSED)


async def test_a_token_that_was_refused_begins_no_connection() -> None:
    """After a failed refresh, the next connection fetches another one."""
    backend = Backend()
    async with scene() as it:
        client, conversation = await it.online(token=backend)
        await conversation.send("token_expired", grace_s=25.0)
        refresh = await conversation.receive("refresh")
        await conversation.refuse(refresh, 104, "unauthorized")
        await eventually(lambda: it.notices)
        conversation.cut()
        await it.back_off(client)
        assert (await (await it.server.accept()).welcome())["token"] == "t3"
