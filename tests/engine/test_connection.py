"""What a node answers a connection: hello, bad frames, the token's end, its own end."""

from __future__ import annotations

import jwt
import pytest
from structlog.testing import capture_logs

from realtime.testing.client import MemoryClient
from realtime.testing.clock import settle
from tests.engine.support import PHONE, phone, running, token

pytestmark = pytest.mark.anyio


async def test_welcome_names_the_mark_the_clock_and_the_limits() -> None:
    """Everything a client must know comes with the first answer."""
    async with running() as (node, clock):
        answer = await MemoryClient(node).hello(id=1, **PHONE)

        assert answer["id"] == 1
        assert answer["acked"] == 0
        assert answer["received_at"] == answer["sent_at"] == clock.time()
        assert answer["limits"]["max_subscriptions"] == 3
        assert answer["keepalive_s"] == 25.0


async def test_keepalive_is_granted_within_bounds() -> None:
    """A client may choose, but not everything."""
    async with running() as (node, _):
        answers = [
            (await MemoryClient(node).hello(keepalive_s=wanted))["keepalive_s"]
            for wanted in (0.1, 60.0, 1e9)
        ]

        assert answers == [5.0, 60.0, 1800.0]


async def test_a_forged_token_is_refused_and_closed() -> None:
    """The error says why; the close code says not to come back like this."""
    async with running() as (node, _):
        client = MemoryClient(node)
        forged = jwt.encode({"sub": "ann", "exp": 9e9}, "x" * 32, "HS256")
        answer = await client.hello(id=1, token=forged)

        assert (answer["name"], client.close_code) == ("unauthorized", 4501)


async def test_an_expired_token_closes_with_a_code_of_its_own() -> None:
    """The close code says what is needed: a new token, and nothing else."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        answer = await client.hello(id=1, token=token(clock, lives_s=-60))

        assert (answer["name"], client.close_code) == ("token_expired", 4502)


async def test_mistakes_are_logged_at_the_end_without_their_values() -> None:
    """The line of the end says how many there were, and where the last one was."""
    async with running() as (node, _):
        client = await phone(node)
        await client.say("shout", text="my secret")
        await client.say("subscribe", channel=["my secret"])
        with capture_logs() as logs:
            client.lose()

        [line] = logs
        assert (line["event"], line["remote"]) == ("connection_closed", "192.0.2.1")
        assert (line["errors"], line["last_error"]) == (2, "bad_message: channel")
        assert "secret" not in str(line)


async def test_mistakes_are_answered_in_their_turn() -> None:
    """A message that is wrong does not overtake the command before it."""
    async with running() as (node, _):
        client = MemoryClient(node)
        for message in (
            b'{"type":"hello","id":1}',
            b'{"type":"shout","id":2}',
            b'{"type":"subscribe","id":3}',
            b'{"type":"subscribe","id":4,"channel":"chat:a"}',
        ):
            client.send_raw(message)
        await settle()

        answers = [(one["type"], one["id"]) for one in client.take()]
        assert answers == [
            ("welcome", 1),
            ("error", 2),
            ("error", 3),
            ("subscribed", 4),
        ]


async def test_no_mistakes_no_words_about_them() -> None:
    """The line of an ordinary end is short."""
    async with running() as (node, _):
        client = await phone(node)
        with capture_logs() as logs:
            client.lose()

        assert "errors" not in logs[0]


async def test_a_refused_hello_is_measured() -> None:
    """Forged tokens show in the metrics."""
    async with running() as (node, _):
        await MemoryClient(node).hello(token="x.y.z")

        text, _ = node.metrics.render()
        assert b'realtime_errors_total{name="unauthorized"} 1.0' in text


async def test_a_message_that_is_no_object_is_not_quoted() -> None:
    """The reason of a close is logged, so it says only what was sent instead."""
    async with running() as (node, _):
        client = await phone(node)
        client.send_raw(b'"my secret"')

        reason = "a message is an object, not a string"
        assert client.socket.closed_with == (4500, reason)


async def test_a_device_of_another_is_refused() -> None:
    """Nobody can move another's mark."""
    async with running() as (node, _):
        await phone(node)
        thief = MemoryClient(node)
        answer = await thief.hello(device="phone", secret="another secret 1234")

        assert (answer["name"], thief.close_code) == ("device_taken", 4501)


async def test_commands_before_hello_are_not_ready() -> None:
    """The connection lives; hello may still come."""
    async with running() as (node, _):
        client = MemoryClient(node)
        [answer] = await client.say("subscribe", id=4, channel="chat:a")
        assert (answer["name"], answer["id"]) == ("not_ready", 4)

        assert (await client.hello())["type"] == "welcome"


async def test_a_client_that_says_nothing_is_closed() -> None:
    """Hello must come within the limit."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await clock.elapse(9)
        assert client.close_code is None
        await clock.elapse(2)

        assert client.close_code == 4003


async def test_commands_behind_hello_wait_for_it() -> None:
    """A client may send everything at once."""
    async with running() as (node, _):
        client = MemoryClient(node)
        client.send_raw(b'{"type":"hello","id":1}')
        client.send_raw(b'{"type":"subscribe","id":2,"channel":"chat:a"}')
        client.send_raw(b'{"type":"unsubscribe","id":3,"channel":"chat:a"}')
        await settle(30)

        kinds = [message["type"] for message in client.take()]
        assert kinds == ["welcome", "subscribed", "unsubscribed"]


async def test_bytes_that_are_no_message_close_the_connection() -> None:
    """There is no way to answer a request that cannot be read."""
    async with running() as (node, _):
        client = await phone(node)
        client.send_raw(b"{nonsense")

        assert client.close_code == 4500


async def test_the_wrong_kind_of_frame_closes_the_connection() -> None:
    """JSON comes in text frames, MessagePack in binary ones."""
    async with running() as (node, _):
        client = await phone(node)
        client.send_raw(b'{"type":"ping"}', binary=True)

        assert client.close_code == 4500


async def test_an_expired_token_is_told_and_may_be_refreshed() -> None:
    """Only refresh and ping are answered meanwhile; then the session goes on."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, lives_s=30), keepalive_s=1800)
        await client.say("subscribe", channel="chat:a")
        await clock.elapse(31)
        assert client.take()[0]["type"] == "token_expired"
        [refused] = await client.say("subscribe", id=1, channel="chat:b")
        assert (refused["name"], refused["retry"]) == ("token_expired", "refresh")

        [answer] = await client.say("refresh", id=2, token=token(clock))

        assert answer["type"] == "refreshed"
        await clock.elapse(26)
        assert client.close_code is None


async def test_a_token_that_is_not_refreshed_ends_the_connection() -> None:
    """After the grace the connection is closed with a code of its own."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, lives_s=30), keepalive_s=1800)
        await clock.elapse(31)
        await clock.elapse(26)

        assert client.close_code == 4502


async def test_what_a_new_token_no_longer_grants_is_unsubscribed() -> None:
    """The client is told which channel and why."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, subscribe=["secret:*"]))
        await client.say("subscribe", channel="secret:a")
        answers = await client.say("refresh", token=token(clock))

        assert [a["type"] for a in answers] == ["refreshed", "unsubscribed"]
        assert (answers[1]["channel"], answers[1]["code"]) == ("secret:a", 106)


async def test_nothing_is_left_of_a_lost_connection() -> None:
    """Every table is empty again."""
    async with running() as (node, clock):
        client = await phone(node)
        for channel in ("chat:a", "live:trend", "server:stats"):
            await client.say("subscribe", channel=channel)
        client.lose()
        await settle()
        await clock.elapse(1)

        assert len(node.services.connections) == 0
        assert len(node.services.subscriptions) == 0
        assert len(node.live) == 0


async def test_ping_is_answered_at_once() -> None:
    """Before hello too: it measures the way, not the session."""
    async with running() as (node, clock):
        [answer] = await MemoryClient(node).say("ping", id=3)

        assert answer == {
            "type": "pong",
            "id": 3,
            "received_at": clock.time(),
            "sent_at": clock.time(),
        }


async def test_the_keepalive_pings_and_then_closes() -> None:
    """A client of which nothing is heard is let go."""
    async with running() as (node, clock):
        client = await phone(node, keepalive_s=5)
        client.socket.last_received = clock.monotonic()
        await clock.elapse(6)
        assert client.socket.pings == 1
        await clock.elapse(11)

        assert client.close_code == 4002
