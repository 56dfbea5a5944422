"""
Nodes die, sleep and stop, Valkey forgets everything: who is there is right all the
time, and whoever listens is told once.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.support import (
    API_KEY,
    HTTP,
    Client,
    check_log,
    eventually,
    is_ready,
    start_node,
    user_token,
    write_config,
)
from tests.signing import SECRET

pytestmark = pytest.mark.slow

LEASE_S = 3.0
LINGER_S = 2.0
ROOM = "room:1"
KEY = {"X-API-Key": API_KEY}

CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"

[redis]
timeout = "1s"
probe = "300ms"

[api_keys.shop]
key = "{API_KEY}"

[presence]
lease = "{LEASE_S:g}s"

[users]
online = true
linger = "{LINGER_S:g}s"
channel = "status:{{user}}"

[limits]
max_connections_per_user = 3

[drain]
over = "200ms"

[namespaces.room]
subscribe = "user"
members = "user"
presence = true
join_leave = true
linger = "{LINGER_S:g}s"

[namespaces.status]
subscribe = "user"
last_value = true
"""


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server that forgets everything when it dies."""
    with ValkeyServer() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer
) -> Iterator[list[NodeProcess]]:
    """Three servers on it."""
    folder = tmp_path_factory.mktemp("presence")
    write_config(folder, CONFIG)
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
    """The same three, all alive, and nobody on them."""
    dead = [node for node in cluster if node.pid is None]
    with ThreadPoolExecutor() as pool:
        list(pool.map(NodeProcess.start, dead))
    eventually(lambda: stats(cluster[0]) == (0, 0), "the room is empty")
    return cluster


def guest(node: NodeProcess, user: str) -> Client:
    """A user in the room."""
    client = Client(node.ws_url)
    client.hello(token=user_token(user))
    answer = client.ask("subscribe", channel=ROOM)
    assert answer["type"] == "subscribed", answer
    return client


class Watcher:
    """Somebody in the room who is told who comes and goes, and who is online."""

    def __init__(self, node: NodeProcess, name: str) -> None:
        self.client = Client(node.ws_url)
        self.client.hello(token=user_token(name))
        self.client.ask("subscribe", channel=ROOM, join_leave=True)
        self.told: list[tuple[str, str]] = []

    def follow(self, *friends: str) -> None:
        """Be told when these are online."""
        for friend in friends:
            self.client.ask("subscribe", channel=f"status:{friend}")
        self.drain()

    def await_told(self, *expected: tuple[str, str]) -> None:
        """Wait until all of these have been told."""
        missing = Counter(expected) - Counter(self.told)
        while missing:
            self.hear(self.client.until("join", "leave", "push"))
            missing = Counter(expected) - Counter(self.told)

    def hear(self, message: dict[str, Any]) -> None:
        """Note what one message tells of others than the watchers."""
        if message["type"] == "push":
            word = "online" if message["data"]["online"] else "offline"
            self.told.append((word, message["data"]["user"]))
        elif not message["member"]["user"].startswith("watcher"):
            self.told.append((message["type"], message["member"]["user"]))

    def drain(self) -> list[tuple[str, str]]:
        """Return all that has been told until now, and begin anew."""
        self.client.ask("ping")
        for message in self.client.passed:
            if message["type"] in ("join", "leave", "push"):
                self.hear(message)
        self.client.passed.clear()
        told, self.told = self.told, []
        return told


@pytest.fixture
def watchers(nodes: list[NodeProcess]) -> Iterator[list[Watcher]]:
    """One on the second and one on the third node."""
    found = [
        Watcher(node, f"watcher-{number}") for number, node in enumerate(nodes[1:])
    ]
    yield found
    for watcher in found:
        watcher.client.close()


def stats(node: NodeProcess) -> tuple[int, int]:
    """How many connections and users are in the room."""
    found = HTTP.get(f"{node.url}/v1/channels/{ROOM}/presence/stats", headers=KEY)
    counts = found.raise_for_status().json()
    return counts["clients"], counts["users"]


def users(node: NodeProcess) -> list[str]:
    """Who is in the room, but for the watchers."""
    found = HTTP.get(f"{node.url}/v1/channels/{ROOM}/presence", headers=KEY)
    members = found.raise_for_status().json()["members"]
    names = [member["user"] for member in members]
    return sorted(name for name in names if not name.startswith("watcher"))


def is_online(node: NodeProcess, *names: str) -> list[bool]:
    """Whether each of these users is online."""
    body = {"users": list(names)}
    found = HTTP.post(f"{node.url}/v1/users/online", json=body, headers=KEY)
    online = found.raise_for_status().json()["online"]
    return [online[name] for name in names]


def test_the_members_of_a_killed_node_are_gone_within_the_lease(
    nodes: list[NodeProcess], watchers: list[Watcher]
) -> None:
    """SIGKILL: each departure is told once; who has another connection has not left."""
    for watcher in watchers:
        watcher.follow("anna", "ben")
    crowd = [f"guest-{number}" for number in range(40)]
    clients = [guest(nodes[0], user) for user in (*crowd, "anna", "ben")]
    clients.append(guest(nodes[1], "ben"))
    for watcher in watchers:
        watcher.await_told(*(("join", user) for user in (*crowd, "anna", "ben")))
        watcher.drain()
    nodes[0].kill()
    killed_at = time.monotonic()

    expected = [("leave", user) for user in (*crowd, "anna")] + [("offline", "anna")]
    for watcher in watchers:
        watcher.await_told(*expected)
    took_s = time.monotonic() - killed_at
    assert took_s < LEASE_S + 0.5  # of the test's own doings
    assert users(nodes[1]) == ["ben"]
    assert is_online(nodes[2], "anna", "ben") == [False, True]
    time_passes(2 * LEASE_S)
    heard = [Counter(watcher.drain()) for watcher in watchers]
    assert heard == [Counter(expected)] * 2
    print(f"node killed with 42 members: 41 told as gone after {took_s:.2f} s, once")
    close(clients)


def test_a_node_that_slept_is_back(
    nodes: list[NodeProcess], watchers: list[Watcher]
) -> None:
    """SIGSTOP for longer than the lease: told as gone, and as there again."""
    for watcher in watchers:
        watcher.follow("carl")
    client = guest(nodes[0], "carl")
    for watcher in watchers:
        watcher.await_told(("join", "carl"), ("online", "carl"))
        watcher.drain()
    assert nodes[0].pid is not None
    os.kill(nodes[0].pid, signal.SIGSTOP)
    for watcher in watchers:
        watcher.await_told(("leave", "carl"), ("offline", "carl"))
    assert users(nodes[1]) == []
    os.kill(nodes[0].pid, signal.SIGCONT)
    for watcher in watchers:
        watcher.await_told(("join", "carl"), ("online", "carl"))
        assert len(watcher.drain()) == 4
    assert users(nodes[1]) == ["carl"]
    assert is_online(nodes[1], "carl") == [True]
    print("node asleep for longer than the lease: gone and back, each told once")
    close([client])


def test_what_valkey_forgot_comes_back(
    nodes: list[NodeProcess], watchers: list[Watcher], valkey: ValkeyServer
) -> None:
    """Killed and started empty: everybody is there again, and nothing is told."""
    for watcher in watchers:
        watcher.follow("dave", "eve")
    names = ("dave", "eve", "fay")
    clients = [guest(nodes[n], name) for n, name in enumerate(names)]
    for watcher in watchers:
        watcher.await_told(*(("join", name) for name in names))
        watcher.await_told(("online", "dave"), ("online", "eve"))
        watcher.drain()
    valkey.kill()
    clients.pop().abort()  # fay is gone while nobody can be told
    valkey.start()
    started_at = time.monotonic()
    eventually(lambda: all(map(is_ready, nodes)), "all nodes are ready")
    for node in nodes:
        eventually(lambda node=node: "dave" in users(node), "dave is there")
        eventually(lambda node=node: "eve" in users(node), "eve is there")
    took_s = time.monotonic() - started_at

    for watcher in watchers:
        watcher.await_told(("leave", "fay"))
    assert users(nodes[0]) == ["dave", "eve"]
    assert is_online(nodes[0], "dave", "eve", "fay") == [True, True, False]
    time_passes(2 * LEASE_S)
    assert [watcher.drain() for watcher in watchers] == [[("leave", "fay")]] * 2
    print(f"Valkey killed, started empty: all back after {took_s:.2f} s, none told")
    close(clients)


def test_flaps_are_hidden(nodes: list[NodeProcess], watchers: list[Watcher]) -> None:
    """Cut off and back on another node, over and over: nobody is told anything."""
    for watcher in watchers:
        watcher.follow("gus")
    client = guest(nodes[0], "gus")
    for watcher in watchers:
        watcher.await_told(("join", "gus"), ("online", "gus"))
        watcher.drain()
    for number in range(12):
        client.abort()
        client.close()
        client = guest(nodes[number % 3], "gus")
    time_passes(LINGER_S + 1)
    assert [watcher.drain() for watcher in watchers] == [[], []]
    assert users(nodes[2]) == ["gus"]
    client.abort()
    for watcher in watchers:
        watcher.await_told(("leave", "gus"), ("offline", "gus"))
        assert len(watcher.drain()) == 2
    print("cut off and back 12 times: nothing told; then gone for good: told once")
    client.close()


def test_a_deploy_is_hidden(nodes: list[NodeProcess], watchers: list[Watcher]) -> None:
    """SIGTERM: the clients of the node that stops move, and were never away."""
    for watcher in watchers:
        watcher.follow("hal")
    client = guest(nodes[0], "hal")
    for watcher in watchers:
        watcher.await_told(("join", "hal"), ("online", "hal"))
        watcher.drain()
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(nodes[0].stop)
        assert client.closed()[0] == 1001
        moved = guest(nodes[1], "hal")
        assert stopping.result() == 0
    time_passes(LEASE_S + LINGER_S)
    assert [watcher.drain() for watcher in watchers] == [[], []]
    assert users(nodes[1]) == ["hal"]
    print("node stopped: its member moved, and nobody was told")
    close([client, moved])


def test_no_user_has_more_connections_than_allowed(nodes: list[NodeProcess]) -> None:
    """On all nodes together, also when they come all at once."""
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(visit, [nodes[n % 3] for n in range(12)]))
    admitted = [client for client in codes if isinstance(client, Client)]
    assert len(admitted) == 3
    refused = [code for code in codes if not isinstance(code, Client)]
    assert refused == [4008] * len(refused)
    close(admitted)


def visit(node: NodeProcess) -> Client | int:
    """Come as one user among many; return the client, or why it was refused."""
    client = Client(node.ws_url)
    client.say("hello", id=1, token=user_token("dora"))
    try:
        client.until("welcome")
    except Exception:
        return client.closed()[0]
    return client


def test_nothing_is_left_in_valkey(
    nodes: list[NodeProcess], valkey: ValkeyServer
) -> None:
    """When everybody has gone, so have their keys."""
    close([guest(nodes[n % 3], f"guest-{n}") for n in range(30)])

    def keys() -> list[bytes]:
        # What calls were answered is kept for seconds, the sleep of a node for an hour.
        found = valkey.command("KEYS", "{realtime:p:*")
        return [key for key in found if b"}:r:" not in key and b"}:e:" not in key]

    eventually(lambda: not keys(), "no key of presence is left")


def time_passes(seconds: float) -> None:
    """Let something happen that should not."""
    time.sleep(seconds)


def close(clients: list[Client]) -> None:
    """Let everybody leave as they should."""
    for client in clients:
        client.close()
