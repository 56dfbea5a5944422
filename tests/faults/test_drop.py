"""
The network of all phones is gone for two seconds, again and again, while somebody keeps
publishing: everything arrives, once and in order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.drop_kit import Network, Phone, Publisher, Tally
from tests.faults.support import check_log, metric, start_node, write_config

pytestmark = pytest.mark.slow

PHONES = 200
CUTS = 10
DOWN_S = 2.0
UP_S = 1.6
PAUSE_S = 0.04
CHANNELS = ("chat:one", "chat:two")

CONFIG = """
[auth]
anonymous = true

[limits]
publish_rate = 0

[history]
max_page = 40

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"
history_size = 10000
"""


async def drop(ports: Sequence[int]) -> tuple[list[Phone], Publisher, Network, Tally]:
    """Let phones come, cut them off again and again, and wait until all have all."""
    tally, publisher = Tally(), Publisher(ports, CHANNELS)
    async with Network(ports) as network:
        phones = [
            Phone(network, CHANNELS, tally, Random(number)) for number in range(PHONES)
        ]
        running = [asyncio.create_task(phone.run()) for phone in phones]
        async with asyncio.timeout(30):
            while not all(stands(phone) for phone in phones):
                await asyncio.sleep(0.05)
        publishing = asyncio.create_task(publisher.run(PAUSE_S))
        for _ in range(CUTS):
            await asyncio.sleep(UP_S)
            network.fail()
            await asyncio.sleep(DOWN_S)
            network.down = False
        await asyncio.sleep(UP_S)
        publisher.stopped.set()
        await publishing
        await arrival(phones, publisher.made)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return phones, publisher, network, tally


def stands(phone: Phone) -> bool:
    """Whether it has been told where all its channels stand."""
    return all(feed.position is not None for feed in phone.feeds.values())


async def arrival(phones: list[Phone], made: int, within_s: float = 20.0) -> None:
    """Wait until everybody has as many as were made, or for long enough."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        feeds = [feed for phone in phones for feed in phone.feeds.values()]
        if all(len(feed.seen) >= made for feed in feeds):
            return
        await asyncio.sleep(0.1)


def report(
    title: str,
    phones: list[Phone],
    publisher: Publisher,
    network: Network,
    tally: Tally,
) -> None:
    """Say what was tried and what was lost; fail unless that is nothing."""
    wanted = list(range(publisher.made))
    feeds = [feed for phone in phones for feed in phone.feeds.values()]
    missing = sum(len(set(wanted) - set(feed.seen)) for feed in feeds)
    twice = sum(len(feed.seen) - len(set(feed.seen)) for feed in feeds)
    disorder = sum(feed.seen != sorted(feed.seen) for feed in feeds)
    expected = publisher.made * len(feeds)
    print(
        f"\n{title}: {len(phones)} phones, {CUTS} cuts of {DOWN_S:g} s, "
        f"{network.cut} connections cut, {tally.connections} made; "
        f"{publisher.made} publications on each of {len(CHANNELS)} channels: "
        f"{expected - missing} of {expected} arrived "
        f"({(expected - missing) / expected:.2%}), {tally.replies} of them in replies, "
        f"{tally.pages} pages; {missing} missing, {twice} twice, "
        f"{disorder} feeds out of order, {tally.lost} losses told"
    )
    assert (missing, twice, disorder, tally.lost) == (0, 0, 0, 0)
    assert tally.strange == []
    assert network.cut >= PHONES * CUTS * 0.9
    assert tally.replies > 0


def recovered(nodes: Sequence[NodeProcess]) -> str:
    """What the servers say of it."""
    reads = sum(metric(node, "history_reads_total") for node in nodes)
    answers = sum(metric(node, "recoveries_total") for node in nodes)
    return f"{answers:.0f} recoveries cost {reads:.0f} reads of histories"


def test_nothing_is_lost_in_memory(tmp_path: Path) -> None:
    """One server, which keeps the histories itself."""
    write_config(tmp_path, CONFIG)
    with start_node(tmp_path) as node:
        found = asyncio.run(drop([node.port]))
        report("in memory", *found)
        print(recovered([node]))
        check_log(node)


def test_nothing_is_lost_over_two_nodes(tmp_path: Path) -> None:
    """Two servers on one Valkey; phones come back at whichever has the turn."""
    write_config(tmp_path, CONFIG)
    with (
        ValkeyServer() as valkey,
        start_node(tmp_path, "--redis", valkey.url, name="one") as one,
        start_node(tmp_path, "--redis", valkey.url, name="two") as two,
    ):
        nodes = (one, two)
        found = asyncio.run(drop([node.port for node in nodes]))
        report("two nodes on Valkey", *found)
        print(recovered(nodes))
        for node in nodes:
            check_log(node)
