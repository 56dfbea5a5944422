"""Several nodes on one Valkey: the same counters everywhere, whoever dies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.fleet import Fleet, like
from tests.faults.support import (
    Client,
    check_log,
    eventually,
    logged,
    start_node,
    user_token,
    value,
    write_config,
)
from tests.signing import SECRET

pytestmark = pytest.mark.slow

CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"
anonymous = true

[events]
track = "anyone"

[ledger]
tick = "50ms"

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"

[counters.likes]
event = "like"
by = ["post"]
windows = ["total"]
watch = "anyone"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeProcess]]:
    """Three servers that know nothing of each other but their Valkey."""
    folder = tmp_path_factory.mktemp("nodes")
    write_config(folder, CONFIG)
    with ValkeyServer(appendonly=True, fsync="always") as valkey:
        nodes = [
            start_node(folder, "--redis", valkey.url, name=f"node-{number}")
            for number in range(3)
        ]
        try:
            yield nodes
            for node in nodes:
                check_log(node)
        finally:
            for node in nodes:
                node.kill()


@pytest.fixture
def nodes(cluster: list[NodeProcess]) -> list[NodeProcess]:
    """The same three, all alive."""
    dead = [node for node in cluster if node.pid is None]
    with ThreadPoolExecutor() as pool:
        list(pool.map(NodeProcess.start, dead))
    return cluster


def phone(node: NodeProcess, device: str) -> Client:
    """A client with a device, welcomed."""
    client = Client(node.ws_url)
    client.hello(token=None, device=device, secret="0123456789abcdef")
    return client


def watch_total(client: Client, post: str, total: int) -> None:
    """Watch a counter until it has this value."""
    channel = f"live:likes;post={post};window=total"
    joined = client.ask("subscribe", channel=channel)
    seen = joined["data"]["value"]
    while seen < total:
        seen = client.until("push", channel=joined["number"])["data"]["value"]
    assert seen == total


def test_all_nodes_show_the_same(nodes: list[NodeProcess]) -> None:
    """What is tracked at each node is counted, read and pushed at all of them."""
    watchers = [Client(node.ws_url) for node in nodes]
    names = {watcher.hello(token=None)["node"] for watcher in watchers}
    for number, node in enumerate(nodes):
        with phone(node, f"same-{number}") as client:
            client.say("track", first=1, events=[like("same")] * 10)
            client.until("ack", acked=10)
    for watcher in watchers:
        watch_total(watcher, "same", 30)
        watcher.close()

    assert len(names) == 3
    assert [value(node, "likes", post="same") for node in nodes] == [30] * 3


def test_what_is_published_at_one_node_arrives_at_all(
    nodes: list[NodeProcess],
) -> None:
    """In the order of publishing, the publisher's own node included."""
    readers = [Client(node.ws_url) for node in nodes]
    for reader in readers:
        reader.hello(token=None)
        reader.ask("subscribe", channel="chat:all")
    for number in range(50):
        readers[0].say("publish", channel="chat:all", data=number)
    for reader in readers:
        got = [reader.until("push")["data"] for _ in range(50)]
        reader.close()

        assert got == list(range(50))


def test_a_device_goes_on_at_another_node(nodes: list[NodeProcess]) -> None:
    """Its node is killed with events under way: sent again, they count once."""
    with phone(nodes[1], "nomad") as client:
        client.say("track", first=1, events=[like("nomad")] * 5)
        client.until("ack", acked=5)
        client.say("track", first=6, events=[like("nomad")] * 5)
        nodes[1].kill()
        assert client.closed()[0] == 1006
    with Client(nodes[2].ws_url) as client:
        acked = client.hello(
            token=None, device="nomad", secret="0123456789abcdef", acked=5
        )["acked"]
        assert acked in (5, 10), "a batch counts as a whole"
        client.say("track", first=6, events=[like("nomad")] * 5)
        client.until("ack", acked=10)

    assert [value(node, "likes", post="nomad") for node in nodes[::2]] == [10] * 2


def test_a_fleet_counts_once_while_nodes_are_killed(nodes: list[NodeProcess]) -> None:
    """Devices that wander between nodes which die lose nothing and double nothing."""
    random = Random(1)
    with Client(nodes[0].ws_url) as watcher:
        watcher.hello(token=None)
        fleet = Fleet("fleet", lambda: random.choice(nodes).ws_url)
        for share, victim in ((0.2, nodes[1]), (0.5, nodes[2])):
            fleet.await_share(share)
            victim.kill()
            victim.start()
        fleet.await_end()
        watch_total(watcher, "fleet", fleet.tally.total)

    totals = [value(node, "likes", post="fleet") for node in nodes]
    assert totals == [fleet.tally.total] * 3
    assert fleet.tally.reconnects > 0


def test_a_node_that_is_stopped_commits_and_says_goodbye(
    nodes: list[NodeProcess],
) -> None:
    """SIGTERM: what it has taken is counted, clients are told to go elsewhere."""
    node = nodes[2]
    with phone(node, "late") as client:
        client.say("track", first=1, events=[like("late")] * 3)
        assert client.ask("ping")["type"] == "pong"  # so the events have been taken
        with ThreadPoolExecutor() as pool:
            stopping = pool.submit(node.stop)
            code, _ = client.closed()
            exit_code = stopping.result()

    assert (code, exit_code) == (1001, 0)
    assert value(nodes[0], "likes", post="late") == 3
    logged(node, event="node_stopped")


def test_the_list_of_nodes_drops_the_dead(nodes: list[NodeProcess]) -> None:
    """At once who says goodbye, and after a few seconds who dies without a word."""
    token = user_token(realtime={"subscribe": ["server:stats"]})
    with Client(nodes[0].ws_url) as client:
        own = client.hello(token=token)["node"]
        client.ask("subscribe", channel="server:stats")
        await_nodes(client, 3)
        nodes[2].stop()
        await_nodes(client, 2)
        nodes[1].kill()
        assert await_nodes(client, 1) == [own]


def await_nodes(client: Client, wanted: int) -> list[str]:
    """Wait until the statistics list so many nodes; return their names."""
    names: list[str] = []

    def listed() -> bool:
        names[:] = [one["node"] for one in next_stats(client)["nodes"]]
        return len(names) == wanted

    eventually(listed, f"{wanted} nodes are listed")
    return names


def next_stats(client: Client) -> Any:
    """The next publication of statistics."""
    return client.until("push")["data"]
