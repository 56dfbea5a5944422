"""
Readers that never read, under every policy that a namespace may have: nobody else is
slower, memory is bounded, and when they read at last they are told the truth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    BASE,
    Client,
    check_log,
    eventually,
    logged,
    metric,
    rss_bytes,
    start_node,
    write_config,
)

MIB = 2**20
TEXT = "x" * 30_000
FLOOD = 500  # publications: 15 MB, more than any outbox and transport hold
READERS = 8

POLICIES = ["disconnect", "drop", "coalesce"]
CONFIG = BASE + "".join(
    f"""
[namespaces.{policy}]
subscribe = "user"
publish = "user"
overflow = "{policy}"

[namespaces.kept-{policy}]
subscribe = "user"
publish = "user"
overflow = "{policy}"
history_size = 5
"""
    for policy in POLICIES
)
CONFIG += """
[limits]
max_outbox = "1MiB"
close_timeout = "30s"
publish_rate = 0
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server with a namespace for each policy, with and without a history."""
    folder = tmp_path_factory.mktemp("overflow")
    write_config(folder, CONFIG)
    with start_node(folder) as node:
        yield node
        check_log(node)


def reader(node: NodeProcess, channel: str, *, greedy: bool = True) -> Client:
    """A client that has subscribed; who is not greedy reads no more."""
    client = Client(node.ws_url, greedy=greedy)
    client.hello()
    assert client.ask("subscribe", channel=channel)["type"] == "subscribed"
    return client


class Flood:
    """A publisher who numbers what it publishes."""

    def __init__(self, node: NodeProcess, channel: str) -> None:
        self.client = Client(node.ws_url)
        self.client.hello()
        self.channel = channel
        self.count = 0

    def publish(self, text: str = TEXT) -> None:
        """Publish one message; return when it has been handed over."""
        data = {"number": self.count, "text": text}
        answer = self.client.ask("publish", channel=self.channel, data=data)
        assert answer["type"] == "published", answer
        self.count += 1

    def pace(self, readers: list[Client], rounds: int) -> list[float]:
        """Publish so often; return how long each took until every reader had it."""
        times = []
        for _ in range(rounds):
            before, number = time.monotonic(), self.count
            self.publish()
            for one in readers:
                assert one.until("push")["data"]["number"] == number
            times.append(time.monotonic() - before)
        return times


def read_until(slow: Client, kind: str, text: str = "") -> list[dict[str, Any]]:
    """Let a slow reader read until a message of this kind, or with this text, is in."""
    found = [slow.until("push", "gap")]
    while found[-1]["type"] != kind or (text and found[-1]["data"]["text"] != text):
        found.append(slow.until("push", "gap"))
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_who_never_reads_costs_the_others_nothing(
    node: NodeProcess, policy: str
) -> None:
    """They get everything, in order, as quickly as without the one."""
    channel = f"{policy}:crowd"
    with ExitStack() as stack:
        readers = [stack.enter_context(reader(node, channel)) for _ in range(READERS)]
        flood = Flood(node, channel)
        stack.enter_context(flood.client)
        flood.pace(readers, 50)  # warms up
        before = flood.pace(readers, FLOOD // 4)
        slow = stack.enter_context(reader(node, channel, greedy=False))
        during = flood.pace(readers, FLOOD)
        slow.abort()
        after = flood.pace(readers, FLOOD // 4)

    quiet = median(before + after)
    print(f"{policy}: {median(during) / quiet:.2f} times as long with a deaf reader")
    assert median(during) < 3 * quiet


@pytest.mark.parametrize("policy", POLICIES)
def test_the_memory_for_many_who_never_read_is_bounded(
    node: NodeProcess, policy: str
) -> None:
    """Each has its outbox and its transport, and no more."""
    channel = f"{policy}:many"
    with ExitStack() as stack:
        flood = Flood(node, channel)
        stack.enter_context(flood.client)
        slow = [
            stack.enter_context(reader(node, channel, greedy=False)) for _ in range(20)
        ]
        before = rss_bytes(node)
        for _ in range(2 * FLOOD):
            flood.publish()
        grown = rss_bytes(node) - before
        for one in slow:
            one.abort()
    sent = 2 * FLOOD * len(TEXT) / MIB
    print(f"{policy}: 20 deaf readers of {sent:.0f} MiB: {grown / MIB:.1f} MiB more")
    assert grown < 12 * MIB, "what waits, which they share, is not bounded"
    eventually(lambda: metric(node, "subscriptions") == 0, "all have left")


def test_a_reader_that_is_disconnected_may_recover(node: NodeProcess) -> None:
    """Closed with 4001, it comes back with its position; what is lost is said."""
    channel = "kept-disconnect:one"
    with ExitStack() as stack:
        flood = Flood(node, channel)
        stack.enter_context(flood.client)
        slow = stack.enter_context(reader(node, channel, greedy=False))
        for _ in range(FLOOD):
            flood.publish()
        code, _ = slow.closed()
        assert code == 4001
        logged(node, event="connection_closed", connection=slow.connection, code=4001)
        last = [one for one in slow.passed if one["type"] == "push"][-1]

        back = stack.enter_context(Client(node.ws_url))
        back.hello()
        stale = back.ask("subscribe", channel=channel)
        since = {"offset": last["offset"], "epoch": stale["epoch"]}
        back.ask("unsubscribe", channel=channel)
        joined = back.ask("subscribe", channel=channel, since=since)

    assert joined["recovered"] is False, "the history is shorter than what was missed"
    assert joined["offset"] == FLOOD


@pytest.mark.parametrize("namespace", ["drop", "kept-drop"])
def test_a_reader_that_missed_something_is_told_where_it_stands(
    node: NodeProcess, namespace: str
) -> None:
    """Everything arrives in order, up to a gap, and everything after it."""
    channel = f"{namespace}:one"
    with ExitStack() as stack:
        flood = Flood(node, channel)
        stack.enter_context(flood.client)
        slow = stack.enter_context(reader(node, channel, greedy=False))
        for _ in range(FLOOD):
            flood.publish()
        found = read_until(slow, "gap")
        flood.publish("the last")
        found += read_until(slow, "push", "the last")

    stands: int | None = -1
    for one in found:
        if one["type"] == "gap":
            if namespace == "drop":
                assert "offset" not in one
                stands = None
            else:
                assert stands is not None
                assert one["offset"] > stands + 1
                stands = one["offset"] - 1
            continue
        number = one["data"]["number"]
        assert stands is None or number == stands + 1, "a hole that was not told"
        stands = number
    assert stands == FLOOD


@pytest.mark.parametrize("namespace", ["coalesce", "kept-coalesce"])
def test_a_reader_that_is_slow_gets_the_latest(
    node: NodeProcess, namespace: str
) -> None:
    """In order, far fewer than were published, and the last one."""
    channel = f"{namespace}:one"
    with ExitStack() as stack:
        flood = Flood(node, channel)
        stack.enter_context(flood.client)
        slow = stack.enter_context(reader(node, channel, greedy=False))
        for _ in range(FLOOD):
            flood.publish()
        flood.publish("the last")
        found = read_until(slow, "push", "the last")

    numbers = [one["data"]["number"] for one in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == FLOOD
    assert len(numbers) < FLOOD
