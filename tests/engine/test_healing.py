"""What is lost on the way to a node is filled in, in order, or told."""

from __future__ import annotations

import asyncio

import pytest

from realtime.adapters.broker.port import History, HistoryQuery, Keep
from realtime.core.history import Histories
from realtime.engine.node import Node
from realtime.errors import BrokerUnavailable
from realtime.testing.clock import settle
from realtime.types import Channel
from tests.engine.recovery_support import (
    CHECK_S,
    PAGE,
    SIZE,
    A,
    broker_of,
    cluster,
    data,
    deaf,
    guest,
    publish,
    since,
    subscriber,
)

pytestmark = pytest.mark.anyio


def gaps(node: Node, outcome: str) -> float:
    """How many gaps the node has healed, or told."""
    return node.metrics.publication_gaps.labels(outcome)._value.get()


class Gate:
    """Holds a node's reads of histories, or fails them."""

    def __init__(self, node: Node) -> None:
        self.open = asyncio.Event()
        self.error: Exception | None = None
        self.reads = 0
        broker = broker_of(node)
        self._history = broker.history
        broker.history = self.history  # type: ignore[method-assign]

    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        """Answer once the gate is open, with what was there at the beginning."""
        self.reads += 1
        if self.error is not None:
            raise self.error
        found = await self._history(channel, query, keep)
        await self.open.wait()
        return found


class Narrow(Gate):
    """Fails reads of many bytes, as a link does that is too slow for them."""

    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        """Answer small pages only."""
        self.error = BrokerUnavailable("late") if query.max_bytes > 10_000 else None
        return await super().history(channel, query, keep)


async def test_pages_shrink_until_they_come_through() -> None:
    """A node on a slow link is not stuck with pages that never arrive in time."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        gate = Narrow(two)
        gate.open.set()
        with deaf(two):
            await publish(one, 1, 2)
        await publish(one, 3)
        for _ in range(60):
            await shared.clock.elapse(1)
        assert data(reader.take()) == [1, 2, 3]


async def test_a_gap_is_filled_before_what_follows_it() -> None:
    """One read for all subscribers of the node."""
    async with cluster() as ([one, two], _):
        readers = [(await subscriber(two))[0] for _ in range(3)]
        await publish(one, 1)
        with deaf(two):
            await publish(one, 2, 3)
        await publish(one, 4)

        assert [data(reader.take()) for reader in readers] == [[1, 2, 3, 4]] * 3
        assert two.metrics.history_reads.labels("heal")._value.get() == 1
        assert (gaps(two, "healed"), gaps(two, "told")) == (1, 0)


async def test_a_long_gap_is_filled_page_by_page() -> None:
    """As long as everything is kept."""
    async with cluster() as ([one, two], _):
        reader, _ = await subscriber(two)
        with deaf(two):
            await publish(one, *range(3 * PAGE))
        await publish(one, 99)

        assert data(reader.take()) == [*range(3 * PAGE), 99]


async def test_what_is_not_kept_any_more_is_told_as_a_gap() -> None:
    """Then comes what is kept of it."""
    async with cluster() as ([one, two], _):
        reader, told = await subscriber(two)
        with deaf(two):
            await publish(one, *range(SIZE + 5))
        await publish(one, 99)
        gap, *pushes = reader.take()

        assert (gap["type"], gap["channel"]) == ("gap", told["number"])
        assert (gap["offset"], gap["epoch"]) == (6, told["epoch"])
        assert data(pushes) == [*range(6, SIZE + 5), 99]
        assert [push["offset"] for push in pushes] == list(range(7, SIZE + 7))
        assert gaps(two, "told") == 1


async def test_a_silent_loss_is_noticed() -> None:
    """Positions are compared even if nothing arrives any more."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        with deaf(two):
            await publish(one, 1)
            before = reader.take()
        await shared.clock.elapse(CHECK_S + 1)

        assert (before, data(reader.take())) == ([], [1])


async def test_a_loss_is_noticed_at_once_after_a_reconnect() -> None:
    """Without any time passing."""
    async with cluster() as ([one, two], _):
        reader, _ = await subscriber(two)
        with deaf(two):
            await publish(one, 1)
        two.missed()
        await settle()

        assert data(reader.take()) == [1]


async def test_what_is_only_late_is_no_gap() -> None:
    """It may arrive while positions are compared."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        late = []
        broker = broker_of(two)
        receive = broker.receive
        broker.receive = late.append  # type: ignore[method-assign]
        await publish(one, 1)
        await shared.clock.elapse(CHECK_S - 0.9)
        receive(late.pop())
        await shared.clock.elapse(1)

        assert data(reader.take()) == [1]
        assert two.metrics.history_reads.labels("heal")._value.get() == 0


async def test_an_epoch_that_changes_is_told() -> None:
    """Everything of the new one is new to everybody."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        await publish(one, 1, 2)
        shared.bus.histories = Histories(iter(["second"]).__next__)
        with deaf(two):
            await publish(one, 3)
        await publish(one, 4)
        first, second, gap, *rest = reader.take()

        assert data([first, second]) == [1, 2]
        assert (gap["type"], gap["offset"], gap["epoch"]) == ("gap", 0, "second")
        assert data(rest) == [3, 4]


@pytest.mark.parametrize(("pause_s", "gap", "rest"), [(0, 0, [11, 12]), (11, 1, [12])])
async def test_a_store_that_lost_its_end_is_noticed(
    pause_s: float, gap: int, rest: list[int]
) -> None:
    """
    It numbers again from before where the node stands, in the same epoch: sure as long
    as the node remembers what it passed on, else as soon as it sees the position.
    """
    async with cluster() as ([one, two], shared):
        reader, told = await subscriber(two)
        await publish(one, 1, 2, 3)
        await shared.clock.elapse(pause_s)
        shared.bus.histories = Histories(lambda: str(told["epoch"]))
        await publish(one, 11)
        await publish(one, 12)
        seen = reader.take()

        assert data(seen) == [1, 2, 3, "gap", *rest]
        assert (seen[3]["offset"], seen[3]["epoch"]) == (gap, told["epoch"])


# -- a broker that is slow, or away ----------------------------------------------------


async def test_what_arrives_while_history_is_read_follows_the_reply() -> None:
    """Nothing between the read and the reply is lost, nothing comes twice."""
    async with cluster() as ([one, two], _):
        _, told = await subscriber(one)
        await publish(one, 1)
        gate = Gate(two)
        reader = await guest(two)
        early = await reader.say("subscribe", channel=A, since=since(told))
        await publish(one, 2, 3)
        gate.open.set()
        await settle()
        await publish(one, 4)
        answer, *pushes = reader.take()

        assert early == []
        seen = [each["data"] for each in answer["publications"]]
        assert [*seen, *data(pushes)] == [1, 2, 3, 4]
        assert answer["offset"] + 1 == pushes[0]["offset"]


async def test_nothing_is_passed_on_out_of_order_while_a_gap_is_open() -> None:
    """Subscribers wait for the read; what is published meanwhile waits too."""
    async with cluster() as ([one, two], _):
        reader, _ = await subscriber(two)
        gate = Gate(two)
        with deaf(two):
            await publish(one, 1)
        await publish(one, 2, 3)
        meanwhile = reader.take()
        gate.open.set()
        await settle()

        assert (meanwhile, data(reader.take())) == ([], [1, 2, 3])


async def test_healing_is_tried_again_until_the_broker_answers() -> None:
    """With pauses in between."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        gate = Gate(two)
        gate.open.set()
        gate.error = BrokerUnavailable("gone")
        with deaf(two):
            await publish(one, 1)
        await publish(one, 2)
        await shared.clock.elapse(30)
        tried, before = gate.reads, reader.take()
        gate.error = None
        await shared.clock.elapse(5)

        assert 10 < tried < 300
        assert (before, data(reader.take())) == ([], [1, 2])


async def test_who_comes_while_the_broker_is_away_is_told_to_come_again() -> None:
    """And nothing is left of the attempt."""
    async with cluster(1) as ([two], shared):
        gate = Gate(two)
        gate.open.set()
        gate.error = BrokerUnavailable("gone")
        reader = await guest(two)
        [refused] = await reader.say("subscribe", id=3, channel=A)
        gate.error = None
        await shared.clock.elapse(3)
        streams = len(two.services.subscriptions.streams)
        [told] = await reader.say("subscribe", id=4, channel=A)

        assert (refused["name"], refused["retry"]) == ("unavailable", "later")
        assert (streams, told["type"]) == (0, "subscribed")


async def test_nobody_waits_for_a_read_that_has_failed_badly() -> None:
    """Whatever the error is, who wants to enter is told to come again."""
    async with cluster() as ([one, _], _):
        gate = Gate(one)
        gate.error = RuntimeError("a defect")
        client = await guest(one)
        [failed] = await client.say("subscribe", channel=A)
        gate.error = None
        gate.open.set()
        [told] = await client.say("subscribe", channel=A)

        assert (failed["name"], told["type"]) == ("unavailable", "subscribed")


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound it is read again, and nothing is lost of what is kept."""
    async with cluster() as ([one, two], shared):
        reader, _ = await subscriber(two)
        tended = two.services.subscriptions.streams._channels[A]
        bounds = type(tended.stream._bounds)(PAGE, 1000, held_bytes=2_000)
        monkeypatch.setattr(tended.stream, "_bounds", bounds)
        gate = Gate(two)
        with deaf(two):
            await publish(one, 0)
        await publish(one, *range(1, SIZE))
        held = tended.stream._held_bytes
        gate.open.set()
        await shared.clock.elapse(1)

        assert 0 < held <= 2_000
        assert data(reader.take()) == list(range(SIZE))


async def test_what_all_channels_remember_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is published counts as much as what was read."""
    async with cluster(1) as ([node], _):
        streams = node.services.subscriptions.streams
        monkeypatch.setattr(streams._memory, "_limit", 20_000)
        client = await guest(node)
        channels = [Channel(f"chat:{number}") for number in range(20)]
        for channel in channels:
            await client.say("subscribe", channel=channel)
        for value in range(5):
            for channel in channels:
                await publish(node, 10**1000 + value, channel=channel)
        costs = [one.stream.recent.cost for one in streams._channels.values()]

        assert sum(costs) == streams.remembered_bytes
        assert 10_000 < sum(costs) <= 20_000


async def test_nothing_is_left_of_those_who_went() -> None:
    """Streams, waiting reads and memory go with the last subscriber."""
    async with cluster() as ([one, two], shared):
        readers = [(await subscriber(two))[0] for _ in range(5)]
        gate = Gate(two)
        with deaf(two):
            await publish(one, 1)
        await publish(one, 2)
        coming = await guest(two)
        await coming.say("subscribe", channel=A, since={"offset": 0, "epoch": "x"})
        for client in (*readers, coming):
            client.lose()
        gate.open.set()
        await shared.clock.elapse(1)
        streams = two.services.subscriptions.streams

        assert (len(streams), streams.remembered_bytes) == (0, 0)
        assert two._hub.subscriptions == 0
