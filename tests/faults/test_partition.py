"""
The network splits: one of two nodes is silently cut off from Valkey and the other.

Each node is in a network namespace of its own. Nothing is closed and nothing refused:
what is sent is gone, and connections look open, until the cable is plugged in again.
Where namespaces cannot be made (they need root, Linux and ``ip``), this is skipped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import pytest

from realtime.testing.netns import Host, NetnsError, Network
from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.support import (
    API_KEY,
    HTTP,
    PATIENCE_S,
    Client,
    check_log,
    eventually,
    is_ready,
    start_node,
    user_token,
    value,
    write_config,
)
from tests.signing import SECRET

pytestmark = pytest.mark.slow

T = TypeVar("T")

LEASE_S = 3.0
FEED = "feed:1"
ROOM = "room:1"
LIKES = "live:likes;window=total"
KEY = {"X-API-Key": API_KEY}

CONFIG = f"""
[auth]
hmac_secret = "{SECRET}"

[api_keys.shop]
key = "{API_KEY}"

[redis]
timeout = "1s"
probe = "300ms"

[ledger]
tick = "20ms"

[presence]
lease = "{LEASE_S:g}s"

[namespaces.feed]
subscribe = "user"
publish = "user"
history_size = 1000

[namespaces.room]
subscribe = "user"
members = "user"
presence = true
join_leave = true

[counters.likes]
event = "like"
windows = ["total"]
cadence = "20ms"
watch = "user"
"""


class Side:
    """One node in its namespace, and how to get there."""

    def __init__(self, host: Host, node: NodeProcess) -> None:
        self.host = host
        self.node = node

    def __call__(self, ask: Callable[..., T], *arguments: Any) -> T:
        """Ask the node something, from its own host."""
        with self.host.inside():
            return ask(self.node, *arguments)

    def client(self, user: str, **hello: Any) -> Client:
        """A user at the node; the socket stays in the namespace."""
        with self.host.inside():
            client = Client(self.node.ws_url)
        client.hello(token=user_token(user), **hello)
        return client


class Split:
    """Two nodes on one Valkey: ``near`` stays with it, ``far`` is cut off."""

    def __init__(self, network: Network, near: Side, far: Side) -> None:
        self._network = network
        self.near = near
        self.far = far

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Cut the far node off; heal at the end, and wait until it delivers again."""
        self._network.cut(1)
        started = time.monotonic()
        try:
            yield
        finally:
            self._network.heal(1)
        healed = time.monotonic()
        eventually(lambda: self.far(is_ready), "readiness turns green")
        took_s = time.monotonic() - healed
        print(f"cut off for {healed - started:.1f} s, ready {took_s:.1f} s later")

    def await_red(self) -> None:
        """Wait until the far node says that it delivers nothing."""
        eventually(lambda: not self.far(is_ready), "readiness turns red")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A switch, where Valkey is, and two hosts."""
    with ExitStack() as stack:
        try:
            network = stack.enter_context(Network(2))
        except NetnsError as exc:
            pytest.skip(f"this machine does not let tests make networks: {exc}")
        yield network


@pytest.fixture(scope="module")
def split(
    tmp_path_factory: pytest.TempPathFactory, network: Network
) -> Iterator[Split]:
    """Both nodes, started; at the end, neither has logged anything but warnings."""
    folder = tmp_path_factory.mktemp("partition")
    write_config(folder, CONFIG)
    address = network.SWITCH_ADDRESS
    options = [("bind", f"127.0.0.1 {address}"), ("protected-mode", "no")]
    with ExitStack() as stack:
        with network.switch.inside():
            valkey = stack.enter_context(ValkeyServer(options=options))
        url = f"redis://{address}:{valkey.port}/0"
        sides = []
        for host, name in zip(network.hosts, ("near", "far"), strict=True):
            with host.inside():
                node = start_node(folder, "--redis", url, name=name)
                stack.enter_context(node)
            sides.append(Side(host, node))
        yield Split(network, *sides)
        for side in sides:
            check_log(side.node)


# -- publications ----------------------------------------------------------------------


def test_publications_cross_the_split_after_healing(split: Split) -> None:
    """All arrive once and in one order; who is cut off is told that it is."""
    near, far = split.near.client("ned"), split.far.client("fay")
    with near, far:
        for client in (near, far):
            client.ask("subscribe", channel=FEED)
        publish(near, *range(10))
        with split.cut():
            refused = [far_publication(far, 0)]  # while nobody knows of the cut
            publish(near, *range(10, 60))
            split.await_red()
            assert split.near(is_ready)
            refused.append(far_publication(far, 1))
            early = [one["data"] for one in far.passed if one["type"] == "push"]
        repeated = [far_publication(far, number) for number in range(2)]
        publish(near, *range(60, 70), "end")
        heard = [until_end(client) for client in (near, far)]

    assert not set(early) & set(range(10, 60))
    assert [one["name"] for one in refused] == ["unavailable"] * 2
    assert [one["type"] for one in repeated] == ["published"] * 2
    assert heard[0] == heard[1]
    assert [one for one in heard[0] if isinstance(one, int)] == list(range(70))
    assert Counter(heard[0])["far-0"] == Counter(heard[0])["far-1"] == 1


def publish(client: Client, *items: object) -> None:
    """Publish each of these, and wait until it is."""
    for item in items:
        answer = client.ask("publish", channel=FEED, data=item)
        assert answer["type"] == "published", answer


def far_publication(client: Client, number: int) -> dict[str, Any]:
    """Try to publish what may be tried again; return the answer."""
    name = f"far-{number}"
    return client.ask("publish", channel=FEED, data=name, idempotency_key=name)


def until_end(client: Client) -> list[Any]:
    """Return what was pushed until now and is up to the last publication."""
    while not any(one.get("data") == "end" for one in client.passed):
        client.passed.append(client.until("push", "gap"))
    pushed = [one for one in client.passed if one["type"] == "push"]
    assert [one["type"] for one in client.passed if one["type"] == "gap"] == []
    offsets = [one["offset"] for one in pushed]
    assert offsets == list(range(1, len(offsets) + 1))
    return [one["data"] for one in pushed]


# -- events ----------------------------------------------------------------------------


def test_events_of_the_cut_off_side_count_once(split: Split) -> None:
    """None is acknowledged before it is counted: they wait, or are slowed down."""
    watcher = split.near.client("wes")
    phone = split.far.client("phil", device="phil-phone")
    with watcher, phone:
        watcher.ask("subscribe", channel=LIKES)
        phone.track(1, *["like"] * 5)
        phone.until("ack", acked=5)
        with split.cut():
            first, last = track_until_slowed_down(phone, 6)
            split.await_red()
            assert phone.ask("ping")["type"] == "pong"
            assert [one for one in phone.passed if one["type"] == "ack"] == []
            assert split.near(value, "likes") == 5
        print(f"{first - 6} events taken while cut off, then slowed down")
        resend(phone, first, last)
        while watcher.until("push")["data"]["value"] < last:
            pass

    assert 6 <= first <= last
    assert [split.near(value, "likes"), split.far(value, "likes")] == [last, last]


def track_until_slowed_down(phone: Client, first: int) -> tuple[int, int]:
    """Track single events; return which one was not taken, and which was the last."""
    deadline = time.monotonic() + PATIENCE_S
    number = first
    while time.monotonic() < deadline:
        phone.track(number, "like")
        try:
            message = phone.hear(0.05)
        except TimeoutError:
            number += 1
            continue
        assert message["type"] == "slow_down", message
        return message["first"], number
    pytest.fail("no slow_down")


def resend(phone: Client, first: int, last: int) -> None:
    """Do as slow_down says, until all are acknowledged."""
    acked = 0
    while acked < last:
        phone.track(first, *["like"] * (last - first + 1))
        message = phone.until("ack", "slow_down")
        while message["type"] == "ack" and (acked := message["acked"]) < last:
            message = phone.until("ack", "slow_down")
        if message["type"] == "slow_down":
            time.sleep(message["retry_after_s"] / 4)


# -- members ---------------------------------------------------------------------------


def test_members_of_the_cut_off_side_are_gone_and_back(split: Split) -> None:
    """Told as gone after the lease and as back after healing, each once."""
    crowd = [f"guest-{number}" for number in range(3)]
    with ExitStack() as stack:
        watchers = [
            stack.enter_context(member(side, "watcher", join_leave=True))
            for side in (split.near, split.far)
        ]
        for user in (*crowd, "both"):
            stack.enter_context(member(split.far, user))
        leaving = stack.enter_context(member(split.near, "leaving"))
        for user in ("both", "ned"):
            stack.enter_context(member(split.near, user))
        everybody = sorted([*crowd, "both", "leaving", "ned", "watcher"])
        eventually(lambda: split.near(users) == everybody, "all are there")
        for watcher in watchers:
            told(watcher)
        with split.cut():
            leaves = [("leave", user) for user in crowd]
            took_s = await_told(watchers[0], leaves)
            leaving.close()
            split.await_red()
            present = split.near(users)
            asked = watchers[1].ask("presence", channel=ROOM)
        joins = [("join", user) for user in crowd]
        await_told(watchers[0], [("leave", "leaving"), *joins])
        everybody.remove("leaving")
        eventually(lambda: split.near(users) == everybody, "all are back, near")
        eventually(lambda: split.far(users) == everybody, "all are back, far")
        time.sleep(LEASE_S)  # in which nothing more must be told
        heard = told(watchers[0])
        far_heard = told(watchers[1])

    assert present == ["both", "ned", "watcher"]
    assert took_s < LEASE_S + 0.5  # of the test's own doings
    assert asked["name"] == "unavailable"
    expected = [*leaves, ("leave", "leaving"), *joins]
    assert Counter(heard) == Counter(expected)
    assert not {("leave", "ned"), ("leave", "both")} & set(far_heard)


def member(side: Side, user: str, **fields: Any) -> Client:
    """A user in the room."""
    client = side.client(user)
    answer = client.ask("subscribe", channel=ROOM, **fields)
    assert answer["type"] == "subscribed", answer
    return client


def users(node: NodeProcess) -> list[str]:
    """Who is in the room, each once."""
    found = HTTP.get(f"{node.url}/v1/channels/{ROOM}/presence", headers=KEY)
    members = found.raise_for_status().json()["members"]
    return sorted({one["user"] for one in members})


def told(client: Client) -> list[tuple[str, str]]:
    """Return who was told to have come and gone, and begin anew."""
    client.ask("ping")
    heard = [one for one in client.passed if one["type"] in ("join", "leave")]
    client.passed.clear()
    return [(one["type"], one["member"]["user"]) for one in heard]


def await_told(client: Client, expected: list[tuple[str, str]]) -> float:
    """Wait until these are told, and keep them; return how long it took."""
    started = time.monotonic()
    missing = set(expected)
    while missing:
        message = client.until("join", "leave")
        client.passed.append(message)
        missing.discard((message["type"], message["member"]["user"]))
    return time.monotonic() - started
