"""Pub/sub that is kept whole: what happens when connections, servers and ears fail."""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.adapters.redis.lane import BATCH, WINDOW, _PubSubWire
from realtime.adapters.redis.pubsub import PubSub
from realtime.errors import Unavailable
from realtime.testing.ledger_kit import eventually
from realtime.testing.relay import Relay
from realtime.testing.servers import ValkeyServer, free_port
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


class Ear:
    """Counts reconnections and keeps messages."""

    def __init__(self, pubsub: PubSub) -> None:
        self.messages: list[bytes] = []
        self.reconnections = 0
        pubsub.on_reconnected.append(self._reconnected)

    def _reconnected(self) -> None:
        self.reconnections += 1


async def test_channels_asked_for_at_once_go_together(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Thousands of subscriptions of one turn of the loop are a few commands."""
    pubsub = make_pubsub(make_link(victim.url, timeout_s=30))
    await pubsub.start()
    names = [f"t:{number}".encode() for number in range(1200)]
    ear = Ear(pubsub)
    await asyncio.gather(*(pubsub.subscribe(n, ear.messages.append) for n in names))
    assert victim.calls("subscribe") <= 4
    for name in names:
        pubsub.unsubscribe(name)
    await eventually(
        lambda: victim.command("PUBSUB", "CHANNELS", "t:*") == [], "all are left"
    )
    assert victim.calls("unsubscribe") <= 4


async def test_thousands_come_back_in_batches(
    make_link: MakeLink,
    make_pubsub: MakePubSub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    After a loss, 20,000 channels are asked for in batches, each when enough has been
    answered: the server's replies never reach its limit, and the loop turns meanwhile.
    """
    limit = ("client-output-buffer-limit", "pubsub 1mb 0 0")
    with ValkeyServer(options=[limit]) as server:
        pubsub = make_pubsub(make_link(server.url, timeout_s=30))
        await pubsub.start()
        ear, under_way, longest_s = Ear(pubsub), list[int](), 0.0
        names = [f"t:{number:0200}".encode() for number in range(20_000)]
        await asyncio.gather(*(pubsub.subscribe(n, ear.messages.append) for n in names))
        before, request = server.calls("subscribe"), _PubSubWire.request

        def counted(wire: _PubSubWire, verb: bytes, channels: list[bytes]) -> object:
            assert len(channels) <= BATCH
            made = request(wire, verb, channels)
            under_way.append(wire.unanswered)
            return made

        monkeypatch.setattr(_PubSubWire, "request", counted)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        deadline = time.monotonic() + 20
        while not ear.reconnections:
            assert time.monotonic() < deadline, "it is whole again"
            turn = time.thread_time()  # processor time: other processes do not matter
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - turn)
        assert max(under_way) <= WINDOW
        assert server.calls("subscribe") - before <= 20_000 // BATCH + 2
        assert ear.reconnections == 1
        assert "output buffer limits" not in server.log
        assert longest_s < 0.5  # some 40 ms on an idle machine
        server.command("PUBLISH", names[-1], "1")
        await eventually(lambda: ear.messages == [b"1"], "the message arrives")


async def test_the_latest_does_not_wait_for_those_that_come_back(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Who subscribes while thousands are asked for again is not behind all of them."""
    pubsub = make_pubsub(make_link(victim.url, timeout_s=30))
    await pubsub.start()
    ear = Ear(pubsub)
    names = [f"t:{number}".encode() for number in range(20_000)]
    await asyncio.gather(*(pubsub.subscribe(n, ear.messages.append) for n in names))
    victim.command("CLIENT", "KILL", "TYPE", "pubsub")
    first = pubsub._subscriptions[names[0]]
    await eventually(lambda: not first.ready.is_set(), "the loss is noticed")
    await pubsub.subscribe(b"new", ear.messages.append)
    assert ear.reconnections == 0, "the others are still on their way"


async def test_subscriptions_survive_their_connection(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A connection that is killed is replaced, with all channels, and that is told."""
    link = make_link(valkey.url)
    pubsub = make_pubsub(link)
    await pubsub.start()
    ear = Ear(pubsub)
    names = [f"survive:{number}".encode() for number in range(50)]
    for name in names:
        await pubsub.subscribe(name, ear.messages.append)
    for round in range(1, 4):
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda r=round: ear.reconnections == r, "it is whole again")  # type: ignore[misc]
        for name in names:
            await link.publish(name, name)
        await eventually(lambda: len(ear.messages) == 50, "all messages arrive")
        assert sorted(ear.messages) == sorted(names)
        ear.messages.clear()


async def test_subscriptions_survive_a_restart(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """After a crash of the server everything is subscribed again by itself."""
    link = make_link(victim.url, timeout_s=10)
    pubsub = make_pubsub(link)
    await pubsub.start()
    ear = Ear(pubsub)
    await pubsub.subscribe(b"c", ear.messages.append)
    victim.kill()
    await asyncio.sleep(0.1)
    await asyncio.to_thread(victim.restart)
    await eventually(lambda: ear.reconnections == 1, "it is whole again")
    await link.publish(b"c", b"1")
    await eventually(lambda: ear.messages == [b"1"], "the message arrives")
    assert await pubsub.probe()


async def test_a_server_that_hangs_fails_the_probe(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """While the server is stopped, nothing is proved or published; afterwards it is."""
    link = make_link(victim.url, timeout_s=0.2)
    pubsub = make_pubsub(link)
    await pubsub.start()
    ear = Ear(pubsub)
    await pubsub.subscribe(b"c", ear.messages.append)
    assert await pubsub.probe()
    with victim.paused():
        assert not await pubsub.probe()
        with pytest.raises(Unavailable):
            await link.publish(b"c", b"lost")
    await _until_proved(pubsub)
    await link.publish(b"c", b"1")
    await eventually(lambda: b"1" in ear.messages, "the message arrives")


async def test_a_deaf_connection_is_replaced(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A connection that is open but silent is found by the probe, and replaced."""
    async with Relay(valkey.port) as relay:
        link = make_link(f"redis://127.0.0.1:{relay.port}", timeout_s=0.2)
        pubsub = make_pubsub(link)
        await pubsub.start()
        ear = Ear(pubsub)
        await pubsub.subscribe(b"deaf", ear.messages.append)
        assert await pubsub.probe()
        (listening,) = relay.which_sent(b"SUBSCRIBE")
        listening.deaf = True
        await link.publish(b"deaf", b"lost")
        assert not await pubsub.probe()
        await _until_proved(pubsub)
        assert ear.reconnections == 1
        await link.publish(b"deaf", b"1")
        await eventually(lambda: ear.messages == [b"1"], "the message arrives")


async def test_a_connection_that_does_not_confirm_is_replaced(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A subscription that is never confirmed is refused, and its connection goes."""
    async with Relay(valkey.port) as relay:
        link = make_link(f"redis://127.0.0.1:{relay.port}", timeout_s=0.2)
        pubsub = make_pubsub(link)
        await pubsub.start()
        ear = Ear(pubsub)
        await pubsub.subscribe(b"deaf-1", ear.messages.append)
        (listening,) = relay.which_sent(b"SUBSCRIBE")
        listening.mute = True
        await asyncio.sleep(0.2)  # a young connection is given its time
        with pytest.raises(Unavailable, match="confirm"):
            await pubsub.subscribe(b"deaf-2", ear.messages.append)
        await pubsub.subscribe(b"deaf-2", ear.messages.append)
        await link.publish(b"deaf-2", b"1")
        await eventually(lambda: ear.messages == [b"1"], "the message arrives")


async def test_a_subscription_that_failed_is_none(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """What could not be subscribed is not subscribed later behind one's back."""
    link = make_link(victim.url, timeout_s=0.2)
    pubsub = make_pubsub(link)
    await pubsub.start()
    ear = Ear(pubsub)
    await pubsub.subscribe(b"old", ear.messages.append)
    with victim.paused():
        for name in (b"new", b"new", b"newer"):
            with pytest.raises(Unavailable):
                await pubsub.subscribe(name, ear.messages.append)
    await _until_proved(pubsub)
    channels = victim.command("PUBSUB", "CHANNELS")
    assert b"old" in channels
    assert b"new" not in channels


async def test_a_cancelled_subscribe_is_undone(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """Cancelling a subscribe that waits leaves nothing behind; others still wait."""
    pubsub = make_pubsub(make_link(victim.url, timeout_s=5))
    await pubsub.start()
    ear = Ear(pubsub)
    with victim.paused():
        names = (b"a", b"b", b"b")
        tasks = [
            asyncio.create_task(pubsub.subscribe(name, ear.messages.append))
            for name in names
        ]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0)
    await tasks[2]
    await eventually(
        lambda: victim.command("PUBSUB", "CHANNELS") == [b"b"], "only b is left"
    )


async def test_what_redis_refuses_is_told(
    make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A channel that is not permitted fails at once, and no other with it."""
    with ValkeyServer() as server:
        server.command("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all", "&ok*", "&r*")
        link = make_link(f"redis://u:p@127.0.0.1:{server.port}", timeout_s=5)
        pubsub = make_pubsub(link)
        await pubsub.start()
        ear, started = Ear(pubsub), time.monotonic()
        for _ in range(2):
            with pytest.raises(Unavailable, match="refuses"):
                await pubsub.subscribe(b"secret", ear.messages.append)
        assert time.monotonic() - started < 4
        await pubsub.subscribe(b"ok", ear.messages.append)
        await link.publish(b"ok", b"1")
        await eventually(lambda: ear.messages == [b"1"], "the message arrives")


async def until_probed(pubsub: PubSub, alive: bool) -> None:
    """Probe until this is the answer."""
    async with asyncio.timeout(10):
        while await pubsub.probe() is not alive:
            await asyncio.sleep(0.01)


async def test_what_was_refused_comes_back_with_the_permission(
    make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A permission that is taken away and given back needs no restart of ours."""
    with ValkeyServer() as server:
        pubsub = make_pubsub(make_link(server.url, timeout_s=5))
        await pubsub.start()
        ear = Ear(pubsub)
        await pubsub.subscribe(b"c", ear.messages.append)
        await until_probed(pubsub, True)
        server.command("ACL", "SETUSER", "default", "resetchannels")
        await until_probed(pubsub, False)
        assert ear.reconnections == 0, "nothing was whole again yet"
        server.command("ACL", "SETUSER", "default", "allchannels")
        await until_probed(pubsub, True)
        await eventually(lambda: ear.reconnections == 1, "it is whole again")
        server.command("PUBLISH", "c", "1")
        await eventually(lambda: ear.messages == [b"1"], "the message arrives")


async def test_a_callback_that_fails_harms_nobody(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """An error in one subscriber's callback does not reach the others."""
    link = make_link(valkey.url)
    pubsub = make_pubsub(link)
    await pubsub.start()
    ear = Ear(pubsub)

    def fail(message: bytes) -> None:
        raise ValueError(message)

    await pubsub.subscribe(b"bad", fail)
    await pubsub.subscribe(b"good", ear.messages.append)
    for channel in (b"bad", b"good", b"bad", b"good"):
        await link.publish(channel, channel)
    await eventually(lambda: ear.messages == [b"good"] * 2, "the messages arrive")
    assert ear.reconnections == 0


async def test_closing_while_the_server_is_away_is_prompt(
    victim: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """A loop that reconnects can be cancelled; closing twice is harmless."""
    pubsub = make_pubsub(make_link(victim.url, timeout_s=30))
    await pubsub.start()
    await pubsub.subscribe(b"c", lambda message: None)
    victim.kill()
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await pubsub.aclose()
    await pubsub.aclose()
    assert time.monotonic() - started < 2


async def test_starting_without_a_server(
    make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """With nobody to connect to, start says so."""
    pubsub = make_pubsub(make_link(f"redis://127.0.0.1:{free_port()}", timeout_s=0.1))
    with pytest.raises(Unavailable):
        await pubsub.start()


async def _until_proved(pubsub: PubSub) -> None:
    deadline = time.monotonic() + 10
    while not await pubsub.probe():
        assert time.monotonic() < deadline, "the probe never succeeds again"
        await asyncio.sleep(0.01)
