"""
The contract of brokers, third part: how the history is read.
"""

from __future__ import annotations

from realtime.adapters.broker.port import Keep
from realtime.testing.contracts_broker import CHAT, Brokers
from realtime.testing.contracts_broker_history import (
    KEEP,
    data_of,
    numbers,
    put,
    read,
)
from realtime.types import Channel, Position


class ReadingContract:
    """Nothing is missing between what was asked for and what is told, or it is told."""

    async def test_reading_from_an_end(self, brokers: Brokers) -> None:
        """From the oldest on, or from the newest back, up to the limit."""
        broker = await brokers.open()
        places = await put(broker, *numbers(1, 4))
        for limit, more in ((100, False), (4, False), (3, True), (1, True)):
            found = await read(broker, limit=limit)
            assert data_of(found.publications) == numbers(1, min(limit, 4))
            assert (found.more, found.complete, found.top) == (more, True, places[-1])
            found = await read(broker, limit=limit, reverse=True)
            assert data_of(found.publications) == numbers(1, 4)[::-1][:limit]
            assert (found.more, found.complete, found.top) == (more, True, places[-1])

    async def test_reading_since_a_position(self, brokers: Brokers) -> None:
        """What follows a position, or comes before it, without the position itself."""
        broker = await brokers.open()
        places = await put(broker, *numbers(1, 5))
        zero = Position(0, places[0].epoch)
        for since, after in ((zero, 5), (places[0], 4), (places[3], 1), (places[4], 0)):
            found = await read(broker, since)
            assert data_of(found.publications) == numbers(6 - after, 5)
            assert (found.more, found.complete, found.top) == (False, True, places[4])
            before = await read(broker, since, reverse=True)
            assert data_of(before.publications) == numbers(1, since.offset - 1)[::-1]
            assert (before.more, before.complete) == (False, True)
        found = await read(broker, places[0], limit=2)
        assert (data_of(found.publications), found.more) == ([b"2", b"3"], True)
        found = await read(broker, places[4], limit=2, reverse=True)
        assert (data_of(found.publications), found.more) == ([b"4", b"3"], True)

    async def test_pages_put_together_are_the_history(self, brokers: Brokers) -> None:
        """Reading on from the last of each page gives everything once, both ways."""
        broker, keep = await brokers.open(), Keep(100, 3600.0, 7200.0)
        await put(broker, *numbers(1, 50), keep=keep)
        for reverse in (False, True):
            found, since, more = list[bytes](), None, True
            while more:
                page = await read(broker, since, 7, reverse=reverse, keep=keep)
                assert page.complete
                found += data_of(page.publications)
                since, more = page.publications[-1].position, page.more
            assert found == (numbers(1, 50)[::-1] if reverse else numbers(1, 50))

    async def test_a_limit_of_zero_tells_the_top_alone(self, brokers: Brokers) -> None:
        """Nothing is returned but the position, and whether there were more."""
        broker = await brokers.open()
        empty = await read(broker, limit=0)
        assert (empty.publications, empty.more, empty.top.offset) == ([], False, 0)
        places = await put(broker, *numbers(1, 3))
        for since, more in ((None, True), (places[1], True), (places[2], False)):
            found = await read(broker, since, limit=0)
            assert list(found.publications) == []
            assert (found.top, found.more, found.complete) == (places[2], more, True)

    async def test_bytes_are_bounded(self, brokers: Brokers) -> None:
        """The data of a page fit into max_bytes; one is returned whatever its size."""
        broker = await brokers.open()
        await put(broker, b"a" * 300, b"b" * 300, b"c" * 400, b"", b"d")
        for max_bytes, count in ((1, 1), (300, 1), (599, 1), (600, 2), (1000, 4)):
            found = await read(broker, max_bytes=max_bytes)
            assert (len(found.publications), found.more) == (count, True)
        assert len((await read(broker, max_bytes=1001)).publications) == 5
        found = await read(broker, max_bytes=400, reverse=True)
        assert data_of(found.publications) == [b"d", b""]

    async def test_what_was_trimmed_is_told(self, brokers: Brokers) -> None:
        """A position before the oldest but one is incomplete, and read from there."""
        broker = await brokers.open()
        places = await put(broker, *numbers(1, 12))
        for since, complete in ((places[6], True), (places[5], False)):
            found = await read(broker, since)
            assert (data_of(found.publications), found.complete) == (
                numbers(8, 12),
                complete,
            )
        for since, complete in ((places[8], True), (places[7], False)):
            found = await read(broker, since, reverse=True)
            assert data_of(found.publications) == numbers(8, since.offset - 1)[::-1]
            assert found.complete == complete
        trimmed = await read(broker, places[3], reverse=True)
        assert (trimmed.publications, trimmed.complete) == ([], False)

    async def test_positions_of_another_history_are_told(
        self, brokers: Brokers
    ) -> None:
        """Another epoch, or an offset that was never given out, is incomplete."""
        broker = await brokers.open()
        places = await put(broker, *numbers(1, 3))
        for since in (
            Position(2, "another"),
            Position(0, ""),
            Position(4, places[0].epoch),
            Position(2**53 - 1, places[0].epoch),
        ):
            for reverse in (False, True):
                found = await read(broker, since, reverse=reverse)
                expected = numbers(1, 3)[::-1] if reverse else numbers(1, 3)
                assert data_of(found.publications) == expected
                assert (found.complete, found.top) == (False, places[2])

    async def test_an_unused_channel_has_a_position(self, brokers: Brokers) -> None:
        """Reading a channel nobody published on gives it its epoch, the same to all."""
        one, two = await brokers.open(), await brokers.open()
        found = await read(one)
        assert (found.publications, found.top.offset) == ([], 0)
        assert (found.complete, found.more) == (True, False)
        assert (await read(two, found.top)).complete
        assert (await read(two)).top == found.top
        assert list(await two.tops([CHAT], KEEP)) == [found.top]
        assert await put(two, b"1") == [Position(1, found.top.epoch)]
        after = await read(one, found.top)
        assert (data_of(after.publications), after.complete) == ([b"1"], True)

    async def test_the_tops_of_many_channels(self, brokers: Brokers) -> None:
        """Tops come in the order asked for, of thousands, of unused ones too."""
        broker = await brokers.open()
        channels = [Channel(f"top:{number}") for number in range(1500)]
        for channel in channels[::100]:
            await put(broker, b"1", b"2", channel=channel)
        tops = await broker.tops([*channels, channels[100]], KEEP)
        expected = [2 if number % 100 == 0 else 0 for number in range(1500)]
        assert [top.offset for top in tops] == [*expected, 2]
        assert list(await broker.tops(channels, KEEP)) == list(tops[:-1])
        assert list(await broker.tops([], KEEP)) == []
        assert (await read(broker, channel=channels[7])).top == tops[7]
