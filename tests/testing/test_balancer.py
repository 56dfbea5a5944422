"""The balancer of the tests passes connections on as a real one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime.testing.balancer import HOST, Balancer

pytestmark = pytest.mark.anyio


class Node:
    """Answers health checks as it is told to, and everything else with its name."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.ready = True
        self.port = 0
        self.open = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection, line by line, until it is closed."""
        self.open += 1
        try:
            while line := await reader.readline():
                if line.startswith(b"GET /readyz"):
                    status = b"200" if self.ready else b"503"
                    writer.write(b"HTTP/1.1 %b x\r\n\r\n" % status)
                    break
                writer.write(self.name + b" heard " + line)
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def nodes(*names: str) -> AsyncIterator[list[Node]]:
    """Serve on free ports."""
    found, servers = [Node(name) for name in names], []
    for node in found:
        server = await asyncio.start_server(node.serve, HOST, 0)
        node.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    try:
        yield found
    finally:
        for server in servers:
            server.close()


async def ask(balancer: Balancer) -> bytes:
    """Connect, say a line, and return the answer."""
    reader, writer = await asyncio.open_connection(HOST, balancer.port)
    writer.write(b"hello\n")
    answer = await reader.read(100)
    writer.close()
    await writer.wait_closed()
    return answer


async def until(condition: object) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_connections_go_to_the_nodes_in_turn() -> None:
    """And everything that is said passes, both ways."""
    async with nodes("a", "b") as found, Balancer([n.port for n in found]) as balancer:
        answers = [await ask(balancer) for _ in range(4)]

    assert sorted(answers) == [b"a heard hello\n"] * 2 + [b"b heard hello\n"] * 2


async def test_a_node_that_is_not_ready_gets_no_connection() -> None:
    """Those that it has stay; when it is ready again, it gets new ones."""
    async with nodes("a", "b") as found, Balancer([n.port for n in found]) as balancer:
        found[0].ready = False
        await until(lambda: not balancer.ready[found[0].port])
        assert {await ask(balancer) for _ in range(4)} == {b"b heard hello\n"}

        found[0].ready = True
        await until(lambda: balancer.ready[found[0].port])
        assert len({await ask(balancer) for _ in range(4)}) == 2


async def test_without_a_node_a_connection_is_cut() -> None:
    """The client notices at once."""
    async with nodes("a") as found, Balancer([n.port for n in found]) as balancer:
        found[0].ready = False
        await until(lambda: not balancer.ready[found[0].port])
        with pytest.raises(ConnectionResetError):
            await ask(balancer)


async def test_whoever_ends_first_both_halves_are_let_go_of() -> None:
    """No connection is left, however it was closed."""
    async with nodes("a") as [node], Balancer([node.port]) as balancer:
        await ask(balancer)
        reader, writer = await asyncio.open_connection(HOST, balancer.port)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        _, writer = await asyncio.open_connection(HOST, balancer.port)
        writer.write(b"hello\n")
        await until(lambda: node.open >= 1)
        writer.transport.abort()
        await until(lambda: node.open == 0 and balancer.connections == 0)
