"""The client against the real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support.manual_clock import eventually
from client_support.real_server import SECRET, RealServer, available, make_token
from realtime_client import (
    CommandError,
    GoingAway,
    LiveValue,
    RealtimeClient,
    Rejection,
    State,
    StateChange,
    Watch,
    live,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not available(), reason="the server's package is not here"),
]

COUNTERS = """
[counters.likes]
event = "like"
measure = "count"
by = ["post"]
windows = ["total", "5m"]

[counters.spent]
event = "purchase"
measure = "sum"
of = "amount"
by = ["shop", "day"]
windows = ["total"]

[namespaces.chat]
"""
CLOSED = f"""
[auth]
hmac_secret = "{SECRET}"
leeway = 0
{COUNTERS}
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that allows everything."""
    server = RealServer(tmp_path_factory.mktemp("dev"), COUNTERS, "--dev")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that allows what tokens grant."""
    server = RealServer(tmp_path_factory.mktemp("closed"), CLOSED)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RealServer]:
    """A server of the test's own, to be stopped and started."""
    server = RealServer(tmp_path, COUNTERS, "--dev")
    server.start()
    yield server
    server.kill()


async def until(watch: Watch, value: float) -> LiveValue:
    """Return the first value of *watch* that is *value*."""
    async with asyncio.timeout(10):
        async for one in watch:
            if one.value == value:
                return one
    raise AssertionError("the watch has ended")


# -- what flows ------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_events_make_counters_move(dev: RealServer, codec: Any) -> None:
    """What is tracked is counted, and seen by everybody who watches."""
    post = f"post of {codec}; with = and é"
    async with (
        RealtimeClient(dev.url, codec=codec) as author,
        RealtimeClient(dev.url, codec=codec, tracking=False) as reader,
    ):
        watch = reader.watch(live("likes", post=post))
        assert (await anext(watch)).value == 0
        for _ in range(3):
            author.track("like", {"post": post})
        last = await until(watch, 3)
        assert last.at is None
        await author.flush(5)
        assert (author.acked, author.pending) == (3, 0)
        recent = reader.watch(live("likes", post=post, window="5m"))
        windowed = await anext(recent)
        assert windowed.value == 3
        assert windowed.at is not None
        assert -1 < windowed.at - reader.server_time() <= 301


async def test_dimensions_come_in_any_order(dev: RealServer) -> None:
    """The server has one name for a channel, whichever way it is spelled."""
    async with RealtimeClient(dev.url) as client:
        client.track("purchase", {"shop": "a", "day": 7, "amount": 9.5})
        one = client.watch(live("spent", day=7, shop="a"))
        two = client.watch(live("spent", shop="a", day=7.0, window=None))
        assert (await until(one, 9.5)).channel == "live:spent;shop=a;day=7;window=total"
        assert (await until(two, 9.5)).value == 9.5


async def test_many_devices_are_counted_exactly(dev: RealServer) -> None:
    """Several clients at once, each with several thousand events."""
    clients = [RealtimeClient(dev.url) for _ in range(3)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(client.connect() for client in clients))
        for n in range(2000):
            for client in clients:
                client.track("like", {"post": f"busy{n % 2}"})
            if n % 100 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(client.flush(30) for client in clients))
        for post in ("busy0", "busy1"):
            value = await anext(clients[0].watch(live("likes", post=post)))
            assert value.value == 3000
        await asyncio.gather(*(client.aclose() for client in clients))


async def test_messages_reach_every_subscriber(dev: RealServer) -> None:
    """The publisher too, if it has subscribed."""
    async with RealtimeClient(dev.url) as ann, RealtimeClient(dev.url) as bob:
        heard = await ann.subscribe("chat:lobby"), await bob.subscribe("chat:lobby")
        await bob.publish("chat:lobby", {"text": "héllo", "n": [1, 2.5, None]})
        async with asyncio.timeout(5):
            for reader in heard:
                assert await anext(reader) == {"text": "héllo", "n": [1, 2.5, None]}
        heard[0].close()
        await ann.publish("chat:lobby", "second")
        async with asyncio.timeout(5):
            assert await anext(heard[1]) == "second"


async def test_the_servers_clock_is_known(dev: RealServer) -> None:
    """It is this machine's own here."""
    async with RealtimeClient(dev.url) as client:
        rtt_s = await client.ping()
        assert 0 <= rtt_s < 1
        assert abs(client.server_time() - time.time()) < 0.5


async def test_what_is_wrong_with_an_event_is_told(dev: RealServer) -> None:
    """The event is named; the others are counted."""
    rejected: list[Rejection] = []
    async with RealtimeClient(dev.url, on_rejected=rejected.append) as client:
        client.track("like", {"post": "old"}, at=time.time() - 100 * 3600)
        client.track("like", {"post": "old"})
        client.track("purchase", {"shop": "b", "day": 1, "amount": "much"})
        await client.flush(5)
        assert [(one.seq, one.name) for one in rejected] == [
            (1, "event_too_old"),
            (3, "bad_value"),
        ]
        assert (await anext(client.watch(live("likes", post="old")))).value == 1


async def test_a_device_with_a_wrong_clock_is_corrected(dev: RealServer) -> None:
    """Events of a device that is years behind count now."""

    class SlowClock:
        """A device whose battery was empty."""

        def time(self) -> float:
            """Return a time of long ago."""
            return time.time() - 3e8

        def monotonic(self) -> float:
            """Return seconds."""
            return time.monotonic()

        def call_later(self, delay_s: float, callback: Any) -> asyncio.TimerHandle:
            """Call later."""
            return asyncio.get_running_loop().call_later(delay_s, callback)

    rejected: list[Rejection] = []
    options: Any = {"clock": SlowClock(), "on_rejected": rejected.append}
    async with RealtimeClient(dev.url, **options) as client:
        client.track("like", {"post": "slow clock"})
        await client.flush(5)
        watch = client.watch(live("likes", post="slow clock", window="5m"))
        assert (await anext(watch)).value == 1
        assert abs(client.server_time() - time.time()) < 0.5
    assert rejected == []


# -- who may do what -------------------------------------------------------------------


async def test_without_a_token_there_is_no_way_in(closed: RealServer) -> None:
    """The refusal is final and says why."""
    with pytest.raises(CommandError, match="104 unauthorized"):
        await RealtimeClient(closed.url).connect(timeout_s=10)
    with pytest.raises(CommandError, match="104 unauthorized"):
        await RealtimeClient(closed.url, token="a.b.c").connect(timeout_s=10)


async def test_a_token_grants_what_it_says(closed: RealServer) -> None:
    """And nothing else: each refusal is an error of its own call."""
    grants = {
        "subscribe": ["chat:1", "live:likes*"],
        "publish": ["chat:1"],
        "track": ["like"],
    }
    rejected: list[Rejection] = []
    token = make_token("ann", **grants)
    async with RealtimeClient(
        closed.url, token=token, on_rejected=rejected.append
    ) as client:
        assert client.user == "ann"
        chat = await client.subscribe("chat:1")
        await client.publish("chat:1", 1)
        async with asyncio.timeout(5):
            assert await anext(chat) == 1
        for call in (client.subscribe("chat:2"), client.publish("chat:2", 1)):
            with pytest.raises(CommandError, match="106 permission_denied"):
                await call
        with pytest.raises(CommandError, match="106 permission_denied"):
            await anext(client.watch(live("spent", shop=1, day=1)))
        with pytest.raises(CommandError, match="107 unknown_channel"):
            await anext(client.watch(live("unheard")))
        with pytest.raises(CommandError, match="108 bad_channel"):
            await anext(client.watch(live("likes", page=1)))
        client.track("like", {"post": 1})
        client.track("purchase", {"amount": 1})
        await client.flush(5)
        assert [(one.seq, one.name) for one in rejected] == [(2, "event_denied")]
        assert client.state is State.ONLINE


async def test_a_token_is_refreshed_in_time(closed: RealServer) -> None:
    """On the open connection: subscriptions and events go on."""
    calls = 0
    states: list[StateChange] = []

    def fetch() -> str:
        nonlocal calls
        calls += 1
        return make_token("ann", 2.0 if calls == 1 else 60.0, subscribe=["*"])

    async with RealtimeClient(
        closed.url, token=fetch, on_state=states.append
    ) as client:
        watch = client.watch(live("likes", post="refresh"))
        await anext(watch)
        await eventually(lambda: calls == 2)
        assert await client.ping() < 5
        await client.subscribe("chat:anything")
        assert [one.state for one in states] == [State.CONNECTING, State.ONLINE]


async def test_a_fixed_token_ends(closed: RealServer) -> None:
    """A token that has expired, with no other to be had, is refused for good."""
    token = make_token("ann", -10.0)
    with pytest.raises(CommandError, match="105 token_expired"):
        await RealtimeClient(closed.url, token=token).connect(timeout_s=10)


async def test_a_device_belongs_to_its_secret(dev: RealServer) -> None:
    """Somebody else's secret does not open it."""
    mine = {"device": "phone-1", "secret": "0123456789abcdef"}
    async with RealtimeClient(dev.url, **mine) as client:
        client.track("like", {"post": "mine"})
        await client.flush(5)
    other = RealtimeClient(dev.url, device="phone-1", secret="fedcba9876543210")
    with pytest.raises(CommandError, match="113 device_taken"):
        await other.connect(timeout_s=10)
    async with RealtimeClient(dev.url, **mine) as client:
        client.track("like", {"post": "mine"})
        await client.flush(5)
        assert client.acked == 2
        assert (await anext(client.watch(live("likes", post="mine")))).value == 2


# -- when the server goes away ---------------------------------------------------------


async def test_a_stopped_server_is_waited_for(
    mortal: RealServer, tmp_path: Path
) -> None:
    """Events tracked meanwhile are counted when it is back; readers go on."""
    states: list[StateChange] = []
    options: Any = {"queue": tmp_path / "events.sqlite3", "on_state": states.append}
    async with RealtimeClient(mortal.url, **options) as client:
        watch = client.watch(live("likes", post=1))
        client.track("like", {"post": 1})
        await until(watch, 1)
        await client.flush(5)
        await asyncio.to_thread(mortal.stop)
        await eventually(lambda: client.state is not State.ONLINE)
        errors = [one.error for one in states if one.error is not None]
        assert isinstance(errors[0], GoingAway)
        client.track("like", {"post": 1})
        client.track("like", {"post": 1})
        await asyncio.to_thread(mortal.start)
        # Its memory began anew: two of the three are what this ledger knows.
        await until(watch, 2)
        await client.flush(10)
        assert client.acked == 3


async def test_a_killed_server_is_waited_for(mortal: RealServer) -> None:
    """A cut without a word is noticed; what was under way is sent again."""
    async with RealtimeClient(mortal.url) as client:
        chat = await client.subscribe("chat:lobby")
        for _ in range(500):
            client.track("like", {"post": 2})
        await asyncio.sleep(0)
        await asyncio.to_thread(mortal.kill)
        await asyncio.to_thread(mortal.start)
        await client.flush(20)
        assert client.acked == 500
        async with RealtimeClient(mortal.url) as other:
            await other.publish("chat:lobby", "back")
            async with asyncio.timeout(5):
                assert await anext(chat) == "back"
