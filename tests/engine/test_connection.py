"""
What a node answers to a client, message by message, in memory and by a manual clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from structlog.testing import capture_logs

from realtime.engine.node import Node
from realtime.testing.client import MSGPACK_V1, MemoryClient
from realtime.testing.clock import ManualClock, settle
from realtime.testing.nodes import memory_node

pytestmark = pytest.mark.anyio

SECRET = "a secret of thirty-two bytes or more"
PHONE = {"device": "phone", "secret": "0123456789abcdef"}
TICK_S = 0.1
CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"
anonymous = true

[events]
track = "anyone"

[limits]
max_subscriptions = 3
max_errors = 5
max_publication = 100

[namespaces.chat]
subscribe = "anyone"
publish = "user"

[namespaces.secret]

[counters.likes]
event = "like"
by = ["post"]
windows = ["total", "10s"]
lateness = "5s"
watch = "anyone"

[counters.trend]
event = "like"
windows = ["10s/1s"]
watch = "anyone"

[counters.fans]
event = "like"
measure = "unique"
of = "device"
windows = ["total"]
watch = "anyone"

[counters.sales]
event = "sale"
measure = "sum"
of = "amount"
windows = ["total"]
watch = "user"
"""


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Node, ManualClock]]:
    """A node whose time stands still between two ticks."""
    async with memory_node(CONFIG, ManualClock(1_700_000_000.04, 1000.04)) as both:
        yield both


def token(
    clock: ManualClock, user: str = "ann", lives_s: float = 60, **grants: Any
) -> str:
    """A token that the node believes."""
    claims = {"sub": user, "exp": int(clock.time() + lives_s), "realtime": grants}
    return jwt.encode(claims, SECRET, "HS256")


async def phone(node: Node, **fields: Any) -> MemoryClient:
    """An anonymous client with a device, welcomed."""
    client = MemoryClient(node)
    assert (await client.hello(**{**PHONE, **fields}))["type"] == "welcome"
    return client


# -- hello ---------------------------------------------------------------------------


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


# -- events --------------------------------------------------------------------------


async def test_events_are_acknowledged_after_the_commit() -> None:
    """Nothing comes back before the tick."""
    async with running() as (node, clock):
        client = await phone(node)
        assert await client.track(1, "like", "like") == []
        await clock.elapse(TICK_S)

        assert client.take() == [{"type": "ack", "acked": 2}]


async def test_a_bad_event_is_named_and_the_others_count() -> None:
    """Rejections come with the acknowledgement."""
    async with running() as (node, clock):
        client = await phone(node)
        events = [
            {"name": "like"},
            {"name": "!"},
            {"name": "sale", "properties": {"amount": "x"}},
        ]
        await client.say("track", first=1, events=events)
        await clock.elapse(TICK_S)

        [ack] = client.take()
        assert ack["acked"] == 3
        assert {one["seq"]: one["name"] for one in ack["rejected"]} == {
            2: "bad_event_name",
            3: "bad_value",
        }


async def test_a_hole_is_answered_with_the_number_expected() -> None:
    """The device resends from there."""
    async with running() as (node, _):
        client = await phone(node)
        [answer] = await client.track(5, "like")

        assert (answer["name"], answer["expected"]) == ("gap", 1)
        assert answer["retry"] == "resend"


async def test_a_number_that_goes_backwards_is_acknowledged_and_not_counted() -> None:
    """What was counted is not counted again."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.track(1, "like", "like")
        await clock.elapse(TICK_S)
        client.take()

        assert await client.track(1, "like") == [{"type": "ack", "acked": 2}]
        assert node.metrics.total(node.metrics.events_counted) == 2


async def test_a_reconnected_device_goes_on_where_it_stood() -> None:
    """Welcome tells the mark; the resent part counts once."""
    async with running() as (node, clock):
        first = await phone(node)
        await first.track(1, "like", "like")
        first.lose()
        await clock.elapse(TICK_S)
        again = MemoryClient(node)
        assert (await again.hello(**PHONE))["acked"] == 2
        await again.track(1, "like", "like", "like")
        await clock.elapse(TICK_S)

        assert again.take() == [{"type": "ack", "acked": 3}]
        assert node.metrics.total(node.metrics.events_counted) == 3


async def test_a_session_without_a_device_cannot_track() -> None:
    """The error says what hello lacked."""
    async with running() as (node, _):
        client = MemoryClient(node)
        await client.hello()
        [answer] = await client.track(1, "like")

        assert answer["name"] == "no_device"


# -- live channels ---------------------------------------------------------------------


async def test_subscribing_answers_with_the_current_value() -> None:
    """A watcher need not wait for a change."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(TICK_S)
        client.take()
        [answer] = await client.say("subscribe", id=2, channel="live:likes;post=7")

        assert answer["channel"] == "live:likes;post=7;window=total"
        assert answer["data"]["value"] == 1


async def test_a_change_is_pushed_under_the_number_told() -> None:
    """A push names its channel by the number of the subscribe reply."""
    async with running() as (node, clock):
        client = await phone(node)
        [answer] = await client.say(
            "subscribe", channel="live:likes;post=7;window=total"
        )
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(TICK_S)

        pushes = [m for m in client.take() if m["type"] == "push"]
        assert [(p["channel"], p["data"]["value"]) for p in pushes] == [
            (answer["number"], 1)
        ]


async def test_many_changes_within_a_cadence_are_one_push() -> None:
    """A watcher gets at most one value per cadence, the latest."""
    async with running() as (node, clock):
        watcher, sender = MemoryClient(node), await phone(node)
        await watcher.hello()
        await watcher.say("subscribe", channel="live:trend")
        for seq in range(1, 51):
            await sender.track(seq, "like")
            await clock.elapse(0.01)
        await clock.elapse(TICK_S)

        pushes = watcher.take()
        assert len(pushes) <= 7
        assert pushes[-1]["data"]["value"] == 50


async def test_a_sliding_window_falls_without_events() -> None:
    """Time alone takes the value back to nothing."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say("subscribe", channel="live:trend;window=10s/1s")
        await client.track(1, "like", "like")
        await clock.elapse(1)
        await clock.elapse(15)

        values = [m["data"]["value"] for m in client.take() if m["type"] == "push"]
        assert (values[0], values[-1]) == (2, 0)


async def test_a_tumbling_window_closes_and_starts_anew() -> None:
    """The last word on a window says final; the next one begins at nothing."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say("subscribe", channel="live:likes;post=7;window=10s")
        await client.say(
            "track", first=1, events=[{"name": "like", "properties": {"post": 7}}]
        )
        await clock.elapse(1)
        await clock.elapse(20)

        values = [m["data"] for m in client.take() if m["type"] == "push"]
        assert [v["value"] for v in values if v["final"]] == [1]
        assert 0 in [v["value"] for v in values if not v["final"]]


async def test_unique_counts_are_read_and_pushed() -> None:
    """Cardinalities do not travel, but their watchers hear of them all the same."""
    async with running() as (node, clock):
        watcher = MemoryClient(node)
        await watcher.hello()
        await watcher.say("subscribe", channel="live:fans")
        for name in ("one", "two", "three"):
            client = await phone(node, device=name)
            await client.track(1, "like", "like")
        await clock.elapse(2 * TICK_S)

        assert watcher.take()[-1]["data"]["value"] == 3


async def test_an_unknown_counter_is_named() -> None:
    """The error says which counters there are or that this one is not."""
    async with running() as (node, _):
        client = await phone(node)
        [answer] = await client.say("subscribe", id=1, channel="live:nothing")

        assert answer["name"] == "unknown_channel"
        assert "nothing" in answer["reason"]


async def test_a_value_of_many_bytes_is_counted_and_can_be_watched() -> None:
    """The name of the channel may be as long as the values that are taken make it."""
    async with running() as (node, clock):
        client = await phone(node)
        post = "\N{PARTY POPPER}" * 128
        events = [{"name": "like", "properties": {"post": post}}]
        await client.say("track", first=1, events=events)
        await clock.elapse(TICK_S)
        assert client.take() == [{"type": "ack", "acked": 1}]

        name = f"live:likes;post={quote(post)}"
        [answer] = await client.say("subscribe", channel=name)
        assert (answer["type"], answer["data"]["value"]) == ("subscribed", 1)
        assert answer["channel"] == f"{name};window=total"


async def test_nobody_publishes_to_live_channels() -> None:
    """Their publications are the counters' values."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, publish=["*"]))
        [answer] = await client.say("publish", id=1, channel="live:trend", data=1)

        assert answer["name"] == "permission_denied"


# -- channels --------------------------------------------------------------------------


async def test_a_publication_reaches_subscribers_in_both_codecs() -> None:
    """JSON and MessagePack clients share a channel."""
    async with running() as (node, clock):
        text, binary, author = (
            MemoryClient(node),
            MemoryClient(node, MSGPACK_V1),
            MemoryClient(node),
        )
        for client in (text, binary):
            await client.hello()
            await client.say("subscribe", channel="chat:a")
        await author.hello(token=token(clock))
        answer = await author.say(
            "publish", id=9, channel="chat:a", data={"a": [1, None]}
        )
        await settle()

        assert answer == [{"type": "published", "id": 9}]
        assert [c.take()[0]["data"] for c in (text, binary)] == [{"a": [1, None]}] * 2


async def test_nothing_follows_unsubscribe() -> None:
    """After the reply no publication of the channel comes."""
    async with running() as (node, clock):
        reader, author = MemoryClient(node), MemoryClient(node)
        await reader.hello()
        await reader.say("subscribe", channel="chat:a")
        await reader.say("unsubscribe", channel="chat:a")
        await author.hello(token=token(clock))
        await author.say("publish", channel="chat:a", data=1)
        await settle()

        assert reader.take() == []


async def test_what_is_not_granted_is_denied() -> None:
    """Closed by default: a namespace that says nothing opens nothing."""
    async with running() as (node, _):
        client = await phone(node)
        answers = [
            await client.say("subscribe", id=1, channel="secret:a"),
            await client.say("publish", id=2, channel="chat:a", data=1),
            await client.say("subscribe", id=3, channel="live:sales"),
        ]

        assert [a[0]["name"] for a in answers] == ["permission_denied"] * 3


async def test_a_token_grants_what_the_namespace_does_not() -> None:
    """Patterns of the token open single channels."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock, subscribe=["secret:mine*"]))
        [mine] = await client.say("subscribe", channel="secret:mine-1")
        [other] = await client.say("subscribe", channel="secret:other")

        assert (mine["type"], other["name"]) == ("subscribed", "permission_denied")


async def test_publications_over_the_limit_are_refused() -> None:
    """The error names the size and the limit."""
    async with running() as (node, clock):
        client = MemoryClient(node)
        await client.hello(token=token(clock))
        [answer] = await client.say("publish", id=1, channel="chat:a", data="x" * 200)

        assert answer["name"] == "limit_exceeded"
        assert "100" in answer["reason"]


async def test_subscriptions_are_bounded() -> None:
    """One more than the limit is refused; the others live."""
    async with running() as (node, _):
        client = await phone(node)
        answers = [
            (await client.say("subscribe", channel=f"chat:{n}"))[0] for n in range(4)
        ]

        assert [a["type"] for a in answers] == ["subscribed"] * 3 + ["error"]


async def test_many_errors_close_the_connection() -> None:
    """A client that never learns is sent away."""
    async with running() as (node, _):
        client = await phone(node)
        for _ in range(6):
            await client.say("nonsense")

        assert client.close_code == 4503


# -- frames that are no messages -------------------------------------------------------


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


# -- the token's end -------------------------------------------------------------------


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


# -- the end ---------------------------------------------------------------------------


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
