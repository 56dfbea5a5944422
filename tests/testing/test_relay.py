"""The relay of the tests fails in the ways that it is told to, and in no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from realtime.testing.links import Link
from realtime.testing.relay import HOST, Relay, Relayed

pytestmark = pytest.mark.anyio

PATIENCE_S = 10.0


@dataclass(slots=True)
class End:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, data: bytes) -> None:
        """Send it."""
        self.writer.write(data)

    async def hear(self, size: int) -> bytes:
        """Wait for so many bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size)

    async def ended(self) -> str:
        """Read until the connection ends; return how it did."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.reader.read()
        except ConnectionResetError:
            return "reset"
        return "closed"

    def is_told_nothing(self) -> bool:
        """Whether neither bytes nor an end have come so far."""
        return not self.reader.at_eof() and self.reader.exception() is None


@dataclass(slots=True)
class Pair:
    """A client and a server, and what is between them."""

    relay: Relay
    client: End
    server: End

    @property
    def between(self) -> Relayed:
        """The connection, while it is open."""
        [connection] = self.relay.connections
        return connection


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Connect a client to a server through a relay."""
    accepted: asyncio.Queue[End] = asyncio.Queue()

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        accepted.put_nowait(End(reader, writer))

    server = await asyncio.start_server(accept, HOST, 0)
    async with Relay(server.sockets[0].getsockname()[1]) as relay:
        client = End(*await asyncio.open_connection(HOST, relay.port))
        async with asyncio.timeout(PATIENCE_S):
            both = Pair(relay, client, await accepted.get())
        try:
            # Whatever is asked of the connection, it is there.
            await both_ways(both)
            yield both
        finally:
            for end in (both.client, both.server):
                end.writer.transport.abort()
                with suppress(OSError):
                    await end.writer.wait_closed()
            server.close()


async def both_ways(both: Pair) -> None:
    """Fail if the two do not hear each other."""
    both.client.say(b"question")
    assert await both.server.hear(8) == b"question"
    both.server.say(b"answer")
    assert await both.client.hear(6) == b"answer"


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        pytest.fail(f"not in time: {what}")


def seconds() -> float:
    """Now, as the loop sees it."""
    return asyncio.get_running_loop().time()


async def test_latency_is_of_each_way() -> None:
    """What is said takes at least as long as the way has, and ways differ."""
    async with pair() as both:
        both.relay.up.latency_s = 0.02
        both.relay.down.latency_s = 0.04
        began = seconds()
        both.client.say(b"question")
        await both.server.hear(8)
        up_s = seconds() - began
        both.server.say(b"answer")
        await both.client.hear(6)
        both_s = seconds() - began

    assert up_s >= 0.019
    assert both_s >= 0.058


async def test_latency_does_not_make_narrow() -> None:
    """A hundred words, each said before the last one has arrived, take one latency."""
    async with pair() as both:
        both.relay.up.latency_s = 0.05
        began = seconds()
        for _ in range(100):
            both.client.say(b"word")
            await asyncio.sleep(0)
        assert await both.server.hear(400) == b"word" * 100
        took_s = seconds() - began

    assert 0.049 <= took_s < 2.5


async def test_what_is_said_first_arrives_first() -> None:
    """A latency that ends does not let later words pass earlier ones."""
    async with pair() as both:
        both.relay.up.latency_s = 0.03
        both.client.say(b"first")
        await asyncio.sleep(0.005)
        both.relay.up.latency_s = 0.0
        both.client.say(b"second")
        assert await both.server.hear(11) == b"firstsecond"


async def test_bandwidth_bounds_bytes_in_a_second() -> None:
    """Bytes take their number divided by the rate, and all of them arrive."""
    async with pair() as both:
        both.relay.down.bytes_per_s = 1_000_000
        data = bytes(range(256)) * 200
        began = seconds()
        both.server.say(data)
        assert await both.client.hear(len(data)) == data
        took_s = seconds() - began

    assert took_s >= 0.05


async def test_a_narrow_way_holds_back_who_sends() -> None:
    """More than a window is not taken from who sends faster than it is passed on."""
    async with pair() as both:
        both.relay.up.bytes_per_s = 1_000
        both.client.say(bytes(40_000_000))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await both.client.writer.drain()


async def test_a_stall_keeps_what_it_takes() -> None:
    """Bytes are taken while nothing arrives; afterwards they do, in order."""
    async with pair() as both:
        both.relay.up.stalled = True
        both.client.say(b"x" * 1_000_000)
        both.client.say(b"end")
        async with asyncio.timeout(PATIENCE_S):
            await both.client.writer.drain()
        both.server.say(b"still here")
        assert await both.client.hear(10) == b"still here"
        assert both.server.is_told_nothing()
        both.relay.up.stalled = False
        assert (await both.server.hear(1_000_003)).endswith(b"xend")


async def test_one_connection_may_have_a_link_of_its_own() -> None:
    """The links of the relay are those of all others."""
    async with pair() as both:
        both.between.up = Link(latency_s=0.02)
        both.relay.up.stalled = True
        began = seconds()
        await both_ways(both)

        assert seconds() - began >= 0.019


async def test_of_a_lost_server_the_client_is_not_told() -> None:
    """The server sees an end, the client none: what it says is taken and gone."""
    async with pair() as both:
        between = both.between
        between.lose_server()
        await both.server.ended()
        both.client.say(b"anybody there?")
        await until(lambda: between.sent.endswith(b"there?"), "it is taken")
        assert both.client.is_told_nothing()
        both.client.writer.close()
        await until(lambda: not both.relay.connections, "the client's end is seen")


async def test_of_a_lost_client_the_server_is_not_told() -> None:
    """The client sees an end, the server none, until it is done itself."""
    async with pair() as both:
        both.between.lose_client()
        await both.client.ended()
        both.server.say(b"anybody there?")
        await both.server.writer.drain()
        assert both.server.is_told_nothing()
        both.server.writer.close()
        await until(lambda: not both.relay.connections, "the server's end is seen")


async def test_half_open_keeps_an_end_to_itself() -> None:
    """A side that goes by itself is not missed by the other, which may go on."""
    async with pair() as both:
        between = both.between
        between.half_open = True
        both.server.writer.transport.abort()
        for _ in range(20):
            both.client.say(b"hello?")
            await asyncio.sleep(0.001)
        await until(lambda: between.sent.count(b"hello?") == 20, "all are taken")

        assert both.client.is_told_nothing()


async def test_an_end_is_told_where_it_is_not_half_open() -> None:
    """When one side closes, the other is told."""
    async with pair() as both:
        both.server.writer.close()

        assert await both.client.ended() in ("closed", "reset")


async def test_a_reset_is_one_on_both_sides() -> None:
    """Neither side takes the end for an orderly one."""
    async with pair() as both:
        both.between.reset()

        assert await both.client.ended() == "reset"
        assert await both.server.ended() == "reset"
