"""
The network of all phones is gone for two seconds, again and again, while somebody keeps
publishing: everything arrives, once and in order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.relay import Relay
from realtime.testing.servers import ValkeyServer
from tests.faults.drop_kit import Network, Phone, Publisher, Tally
from tests.faults.support import check_log, metric, start_node, write_config

pytestmark = pytest.mark.slow

PHONES = 200
CUTS = 10
DOWN_S = 2.0
UP_S = 1.6
PAUSE_S = 0.04
SWALLOWED = 8
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


@dataclass
class Trial:
    """Who took part, and what became of them."""

    phones: list[Phone]
    publisher: Publisher
    network: Network
    tally: Tally


Trouble = Callable[[Network], Awaitable[None]]


async def suffer(ports: Sequence[int], phones: int, trouble: Trouble) -> Trial:
    """Let phones come, make trouble while somebody publishes, wait for the end."""
    tally, publisher = Tally(), Publisher(ports, CHANNELS)
    async with Network(ports) as network:
        trial = Trial(
            [Phone(network, CHANNELS, tally, Random(n)) for n in range(phones)],
            publisher,
            network,
            tally,
        )
        running = [asyncio.create_task(phone.run()) for phone in trial.phones]
        async with asyncio.timeout(30):
            while not all(stands(phone) for phone in trial.phones):
                await asyncio.sleep(0.05)
        publishing = asyncio.create_task(publisher.run(PAUSE_S))
        await trouble(network)
        publisher.stopped.set()
        await publishing
        await arrival(trial.phones, publisher.made)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return trial


async def drop(network: Network) -> None:
    """Cut everybody off, again and again."""
    for _ in range(CUTS):
        await asyncio.sleep(UP_S)
        network.fail()
        await asyncio.sleep(DOWN_S)
        network.down = False
    await asyncio.sleep(UP_S)


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


def report(title: str, trial: Trial) -> None:
    """Say what was tried and what was lost; fail unless that is nothing."""
    made, tally = trial.publisher.made, trial.tally
    wanted = list(range(made))
    feeds = [feed for phone in trial.phones for feed in phone.feeds.values()]
    missing = sum(len(set(wanted) - set(feed.seen)) for feed in feeds)
    twice = sum(len(feed.seen) - len(set(feed.seen)) for feed in feeds)
    disorder = sum(feed.seen != sorted(feed.seen) for feed in feeds)
    expected = made * len(feeds)
    print(
        f"\n{title}: {len(trial.phones)} phones, {trial.network.cut} connections cut, "
        f"{tally.connections} made; {made} publications on each of {len(CHANNELS)} "
        f"channels: {expected - missing} of {expected} arrived "
        f"({(expected - missing) / expected:.2%}), {tally.replies} of them in replies, "
        f"{tally.pages} pages; {missing} missing, {twice} twice, "
        f"{disorder} feeds out of order, {tally.lost} losses told"
    )
    assert (missing, twice, disorder, tally.lost) == (0, 0, 0, 0)
    assert tally.strange == []


def check_cuts(trial: Trial) -> None:
    """Fail unless it was as hard as it should have been."""
    assert trial.network.cut >= PHONES * CUTS * 0.9
    assert trial.tally.replies > 0


def recovered(nodes: Sequence[NodeProcess]) -> str:
    """What the servers say of it."""
    reads = sum(metric(node, "history_reads_total") for node in nodes)
    answers = sum(metric(node, "recoveries_total") for node in nodes)
    return f"{answers:.0f} recoveries cost {reads:.0f} reads of histories"


def test_nothing_is_lost_in_memory(tmp_path: Path) -> None:
    """One server, which keeps the histories itself."""
    write_config(tmp_path, CONFIG)
    with start_node(tmp_path) as node:
        trial = asyncio.run(suffer([node.port], PHONES, drop))
        report(f"in memory, {CUTS} cuts of {DOWN_S:g} s", trial)
        print(recovered([node]))
        check_cuts(trial)
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
        trial = asyncio.run(suffer([one.port, two.port], PHONES, drop))
        report(f"two nodes on Valkey, {CUTS} cuts of {DOWN_S:g} s", trial)
        print(recovered(nodes))
        check_cuts(trial)
        for node in nodes:
            check_log(node)


def test_what_pubsub_loses_is_filled_in(tmp_path: Path) -> None:
    """
    The nodes' pub/sub connections swallow what they carry, and break; the phones stay
    connected and notice nothing.
    """
    write_config(tmp_path, CONFIG)
    nodes = []

    async def swallow(relay: Relay) -> None:
        for _ in range(SWALLOWED):
            await asyncio.sleep(0.6)
            deaf = relay.which_sent(b"SUBSCRIBE")
            for connection in deaf:
                connection.deaf = True
            await asyncio.sleep(0.4)
            for connection in deaf:
                connection.cut()
        await asyncio.sleep(1.0)

    async def run(port: int) -> Trial:
        async with Relay(port) as relay:
            url = f"redis://127.0.0.1:{relay.port}/0"
            for name in ("one", "two"):
                node = start_node(tmp_path, "--redis", url, name=name)
                nodes.append(await asyncio.to_thread(node.start))
            ports = [node.port for node in nodes]
            return await suffer(ports, 40, lambda _: swallow(relay))

    with ValkeyServer() as valkey:
        try:
            trial = asyncio.run(run(valkey.port))
            healed = sum(metric(node, "publication_gaps_total") for node in nodes)
            report(f"pub/sub swallows {SWALLOWED} times", trial)
            print(f"{healed:.0f} gaps healed")
            assert healed >= SWALLOWED
            assert trial.tally.connections == len(trial.phones)
        finally:
            for node in nodes:
                node.kill()
