"""Readers that never read, while others flood: nobody else is slower, nothing grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    API_KEY,
    BASE,
    HTTP,
    Client,
    Witness,
    check_log,
    eventually,
    logged,
    metric,
    rss_bytes,
    start_node,
    write_config,
)

MIB = 2**20
OUTBOX = 4 * MIB
MESSAGE = "x" * 60_000
PING = b"\x81\x90\0\0\0\0" + b'{"type": "ping"}'

CONFIG = f"""{BASE}
[limits]
max_outbox = "4MiB"
close_timeout = "30s"
publish_rate = 0
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server that gives slow readers four megabytes and much time."""
    folder = tmp_path_factory.mktemp("slow-reader")
    write_config(folder, CONFIG)
    with start_node(folder) as node:
        yield node
        check_log(node)


def deaf(node: NodeProcess, *channels: str) -> Client:
    """A client that has subscribed and reads no more."""
    client = Client(node.ws_url, greedy=False)
    client.hello()
    for channel in channels:
        assert client.ask("subscribe", channel=channel)["type"] == "subscribed"
    return client


def publish(client: Client, channel: str, number: int) -> None:
    """Publish one large message; return when it has been handed over."""
    data = {"number": number, "text": MESSAGE}
    answer = client.ask("publish", id=number, channel=channel, data=data)
    assert answer["type"] == "published"


def test_who_never_reads_is_closed_with_4001(node: NodeProcess) -> None:
    """The others get everything, in order; the memory for the slow one is bounded."""
    channel = "chat:flood"
    with (
        Witness(node.ws_url) as witness,
        Client(node.ws_url) as publisher,
        Client(node.ws_url) as reader,
        deaf(node, channel) as slow,
    ):
        publisher.hello()
        reader.hello()
        reader.ask("subscribe", channel=channel)
        before = rss_bytes(node)
        total = 400  # 24 MB
        for number in range(total):
            publish(publisher, channel, number)
        grown = rss_bytes(node) - before
        numbers = [reader.until("push")["data"]["number"] for _ in range(total)]
        witness.beat()
        code, _ = slow.closed()

    assert numbers == list(range(total))
    assert code == 4001
    got = [one["data"]["number"] for one in slow.passed if one["type"] == "push"]
    assert got == list(range(len(got)))
    assert grown < 4 * OUTBOX
    logged(node, event="connection_closed", connection=slow.connection, code=4001)


def test_twenty_who_never_read_share_their_memory(node: NodeProcess) -> None:
    """The same bytes wait for all of them, once."""
    channel = "chat:crowd"
    with ExitStack() as stack, Client(node.ws_url) as publisher:
        publisher.hello()
        slow = [stack.enter_context(deaf(node, channel)) for _ in range(20)]
        before = rss_bytes(node)
        for number in range(200):
            publish(publisher, channel, number)
        grown = rss_bytes(node) - before
        codes = {one.closed()[0] for one in slow}

    assert codes == {4001}
    assert grown < 8 * OUTBOX


def test_a_slow_watcher_gets_the_latest_value(node: NodeProcess) -> None:
    """Values of a counter that nobody took give way to newer ones: no close."""
    filler, channel = "chat:filler", "live:likes;post=slow;window=total"
    with (
        Client(node.ws_url) as publisher,
        Client(node.ws_url) as watcher,
        deaf(node, filler, channel) as slow,
    ):
        publisher.hello(device="flooder")
        watcher.hello()
        watcher.ask("subscribe", channel=channel)
        for number in range(60):  # 3.6 MB: more than any transport takes
            publish(publisher, filler, number)
        total = 0
        for _ in range(40):
            event = {"name": "like", "properties": {"post": "slow"}}
            publisher.say("track", first=total + 1, events=[event] * 5)
            total += 5
            publisher.until("ack", acked=total)
        seen = values(watcher, total)
        late = values(slow, total)

    assert seen[-1] == late[-1] == total
    assert len(seen) > 10
    assert len(late) < len(seen) / 2, "values that nobody took were kept"


def values(client: Client, last: int) -> list[int]:
    """Read until a counter is at *last*; return all values that have come."""
    found: list[int] = []
    while last not in found:
        push = client.until("push")
        if "value" in push["data"]:
            found.append(push["data"]["value"])
    return found


def test_who_asks_and_never_listens_is_closed_with_4001(node: NodeProcess) -> None:
    """Answers wait like everything else, up to the same bound."""
    with Witness(node.ws_url) as witness, deaf(node) as slow:
        before = rss_bytes(node)
        for _ in range(100):  # each ping is answered by 100 bytes
            slow.socket.socket.sendall(PING * 1_000)
        witness.beat()
        code, _ = slow.closed()
        grown = rss_bytes(node) - before

    assert code == 4001
    assert grown < 8 * OUTBOX


def test_a_slow_stream_is_ended_and_told_why(node: NodeProcess) -> None:
    """Server-sent events have the same bound, and an end with a name."""
    channel, headers = "chat:stream", {"Authorization": f"Bearer {API_KEY}"}
    url, query = f"{node.url}/v1/live", {"channel": channel}
    with Client(node.ws_url) as publisher:
        publisher.hello()
        with HTTP.stream("GET", url, params=query, headers=headers) as stream:
            eventually(lambda: metric(node, "live_streams") == 1, "the stream is open")
            for number in range(400):
                publish(publisher, channel, number)
            text = "".join(stream.iter_text())

    assert text.endswith("\n\n")
    event, data = text.rstrip().splitlines()[-2:]
    assert event == "event: end"
    assert json.loads(data.removeprefix("data: "))["name"] == "slow"
