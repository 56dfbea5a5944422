"""
The contract of brokers, fourth part: what is published again, or too late.
"""

from __future__ import annotations

import asyncio

from realtime.adapters.broker.port import Broker, Keep, Placed, PublishOptions
from realtime.testing.contracts_broker import CHAT, Brokers, Received
from realtime.testing.contracts_broker_history import (
    KEEP,
    data_of,
    position_of,
    read,
)
from realtime.types import Channel, JSONText, Publication


async def put_once(
    broker: Broker,
    data: bytes,
    key: str,
    *,
    keep: Keep | None = KEEP,
    ttl_s: float = 300.0,
    channel: Channel = CHAT,
) -> Placed:
    """Publish under an idempotency key."""
    options = PublishOptions(keep, key, ttl_s)
    return await broker.publish(Publication(channel, JSONText(data)), options)


async def put_version(
    broker: Broker,
    version: int,
    epoch: str = "",
    key: str | None = None,
) -> Placed:
    """Publish a version; its number is the data."""
    options = PublishOptions(KEEP, key, version=version, version_epoch=epoch)
    return await broker.publish(Publication(CHAT, JSONText(b"%d" % version)), options)


class OnceContract:
    """A key counts once within its time, a version only when it is greater."""

    async def test_a_key_that_was_seen(self, brokers: Brokers) -> None:
        """The second one is not made, and told where the first one is."""
        one, two = Received(await brokers.open()), await brokers.open()
        await one.broker.subscribe(CHAT)
        first = await put_once(one.broker, b"1", "key")
        assert first.skipped is None
        assert position_of(first).offset == 1
        for broker in (one.broker, two):
            again = await put_once(broker, b"2", "key")
            assert again == Placed(first.position, "duplicate")
        other = await put_once(two, b"3", "another key")
        assert position_of(other).offset == 2
        await one.until_end()
        assert one.on() == [b"1", b"3"]
        assert data_of((await read(two)).publications) == [b"1", b"3"]

    async def test_a_key_without_a_history(self, brokers: Brokers) -> None:
        """A key also guards what is only delivered."""
        one, two = Received(await brokers.open()), await brokers.open()
        await one.broker.subscribe(CHAT)
        assert await put_once(two, b"1", "key", keep=None) == Placed()
        for broker in (one.broker, two):
            again = await put_once(broker, b"2", "key", keep=None)
            assert again == Placed(None, "duplicate")
        await one.until_end()
        assert one.on() == [b"1"]
        assert one.publications[0].position is None

    async def test_keys_are_those_of_a_channel(self, brokers: Brokers) -> None:
        """The same key on another channel is another key, whatever their names."""
        broker = await brokers.open()
        for channel, key in (
            ("a", "b:i:c"),
            ("a:i:b", "c"),
            ("a", ""),
            ("a", "\u00fc}{"),
        ):
            placed = await put_once(broker, b"1", key, channel=Channel(channel))
            assert placed.skipped is None
            placed = await put_once(broker, b"1", key, channel=Channel(channel))
            assert placed.skipped == "duplicate"

    async def test_a_key_is_forgotten_after_its_time(self, brokers: Brokers) -> None:
        """After idempotency_ttl_s the same key makes another publication."""
        broker = await brokers.open()
        for key, keep in (("kept", KEEP), ("plain", None)):
            await put_once(broker, b"1", key, keep=keep, ttl_s=0.1)
            await brokers.pass_s(0.15)
            placed = await put_once(broker, b"2", key, keep=keep)
            assert placed.skipped is None
            await brokers.pass_s(0.15)  # the time of the first use is over
            placed = await put_once(broker, b"3", key, keep=keep)
            assert placed.skipped == "duplicate"

    async def test_one_key_from_everywhere_at_once(self, brokers: Brokers) -> None:
        """Of many at once with one key, exactly one is made, and all know which."""
        nodes = [await brokers.open() for _ in range(2)]
        for keep in (KEEP, None):
            key = f"key-{keep}"
            found = await asyncio.gather(
                *(put_once(nodes[n % 2], b"%d" % n, key, keep=keep) for n in range(40))
            )
            assert sum(each.skipped is None for each in found) == 1
            assert len({each.position for each in found}) == 1

    async def test_a_version_must_be_greater(self, brokers: Brokers) -> None:
        """What is not greater than the last version is neither made nor kept."""
        one, two = Received(await brokers.open()), await brokers.open()
        await one.broker.subscribe(CHAT)
        for version, made in ((5, True), (5, False), (4, False), (6, True), (0, False)):
            placed = await put_version(two, version)
            assert placed.skipped == (None if made else "stale")
            assert (placed.position is not None) == made
        await one.until_end()
        assert one.on() == [b"5", b"6"]
        assert data_of((await read(two)).publications) == [b"5", b"6"]

    async def test_versions_of_another_epoch_start_anew(self, brokers: Brokers) -> None:
        """They are compared within an epoch; a change of the epoch is always made."""
        broker = await brokers.open()
        steps = [(9, "a", True), (1, "b", True), (1, "b", False), (2, "a", True)]
        for version, epoch, made in steps:
            placed = await put_version(broker, version, epoch)
            assert (placed.skipped is None) == made

    async def test_great_versions_are_exact(self, brokers: Brokers) -> None:
        """Versions are whole numbers of up to 63 bits, and compared as such."""
        broker = await brokers.open()
        for version in (0, 9, 10, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1):
            assert (await put_version(broker, version)).skipped is None
            assert (await put_version(broker, version)).skipped == "stale"

    async def test_publications_without_a_version_do_not_count(
        self, brokers: Brokers
    ) -> None:
        """They are always made, and versions go on after them and after forgetting."""
        broker = await brokers.open()
        await put_version(broker, 5)
        publication = Publication(CHAT, JSONText(b"x"))
        placed = await broker.publish(publication, PublishOptions(KEEP))
        assert position_of(placed).offset == 2
        await broker.forget(CHAT)
        assert (await put_version(broker, 5)).skipped == "stale"
        assert (await put_version(broker, 6)).skipped is None

    async def test_what_is_stale_does_not_use_up_its_key(
        self, brokers: Brokers
    ) -> None:
        """A key stands for what was made; a duplicate is told before a stale one."""
        broker = await brokers.open()
        first = await put_version(broker, 5, key="a")
        assert (await put_version(broker, 4, key="b")).skipped == "stale"
        assert (await put_version(broker, 6, key="b")).skipped is None
        again = await put_version(broker, 5, key="a")
        assert again == Placed(first.position, "duplicate")
