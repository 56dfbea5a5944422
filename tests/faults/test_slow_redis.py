"""
Redis is far away, behind a narrow way, or gone without a word: nothing is lost.

Of two nodes, one reaches Redis through a relay and suffers; the other is next to it.
Each test prints what was tried and what was lost.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Self

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.relay import Relayed
from realtime.testing.servers import ValkeyServer
from tests.faults.fleet import like
from tests.faults.relays import RunningRelay, running_relay
from tests.faults.support import (
    BASE,
    HTTP,
    Client,
    check_log,
    eventually,
    is_ready,
    start_node,
    value,
    write_config,
)

pytestmark = pytest.mark.slow

LATENCY_S = 0.15  # each way
# Bytes a second, each way: little enough to be felt, and enough to read in TIMEOUT_S
# all that the test publishes, should pub/sub have missed it.
NARROW = 40_000
TIMEOUT_S = 1.0

EVENTS = 300
BATCH = 20
PADDED = 30  # publications on each node
PADDING = 500  # bytes of each

CONFIG = f"""{BASE}
[redis]
timeout = "{TIMEOUT_S:g}s"
probe = "300ms"
""".replace(
    "[namespaces.chat]", '[namespaces.chat]\nhistory_size = 1000\nhistory = "user"'
)


@dataclass(slots=True)
class Site:
    """Two nodes of one Redis; what ``far`` has to say to it goes through the relay."""

    far: NodeProcess
    near: NodeProcess
    relay: RunningRelay

    def change(self, latency_s: float = 0.0, bytes_per_s: float | None = None) -> None:
        """Say how far away Redis is, and how narrow the way."""
        for link in (self.relay.relay.up, self.relay.relay.down):
            link.latency_s, link.bytes_per_s = latency_s, bytes_per_s


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both nodes, which complain of Redis at most."""
    folder = tmp_path_factory.mktemp("slow-redis")
    write_config(folder, CONFIG)
    with ValkeyServer() as valkey, running_relay(valkey.port) as relay:
        far = start_node(folder, "--redis", relay.url, name="far")
        near = start_node(folder, "--redis", valkey.url, name="near")
        with far, near:
            yield Site(far, near, relay)
            check_log(far)
            check_log(near)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """Both nodes with nothing wrong, before and after."""
    eventually(lambda: is_ready(running.far), "all is well")
    yield running
    running.change()


class Publisher:
    """Publishes until each publication is known to be made, with a key of its own."""

    def __init__(self, node: NodeProcess, channel: str, name: str, size: int) -> None:
        self._client = Client(node.ws_url)
        self._client.hello()
        self._channel = channel
        self._name = name
        self._padding = "x" * size
        self._open: set[int] = set()
        self.made: list[str] = []
        self.repeated = 0

    def begin(self, count: int) -> None:
        """Send so many, and wait for none."""
        first = len(self.made) + len(self._open) + 1
        for number in range(first, first + count):
            self._open.add(number)
            self._send(number)

    def finish(self) -> None:
        """Wait until all are made; send again what is said to have failed."""
        while self._open:
            reply = self._client.until("published", "error")
            if reply["type"] == "error":
                assert reply["retry"] != "never", reply
                self.repeated += 1
                self._send(reply["id"])
            else:
                self._open.discard(reply["id"])
                self.made.append(f"{self._name}-{reply['id']}")

    def close(self) -> None:
        """Leave."""
        self._client.close()

    def _send(self, number: int) -> None:
        key = f"{self._name}-{number}"
        data = {"key": key, "padding": self._padding}
        self._client.say(
            "publish",
            channel=self._channel,
            data=data,
            id=number,
            idempotency_key=f"{self._channel}-{key}",
        )


class Watcher:
    """Subscribes once and keeps what it is given."""

    def __init__(self, node: NodeProcess, channel: str) -> None:
        self._client = Client(node.ws_url)
        self._client.hello()
        joined = self._client.ask("subscribe", channel=channel)
        assert joined["type"] == "subscribed", joined
        self.seen: list[str] = []

    def read(self, count: int) -> list[str]:
        """Wait until it has been given so many, and nothing else but these."""
        while len(self.seen) < count:
            push = self._client.until("push", "gap")
            assert push["type"] == "push", "the history has all that is missed"
            self.seen.append(push["data"]["key"])
        answer = self._client.ask("ping")
        assert answer["type"] == "pong", answer
        late = [each for each in self._client.passed if each["type"] == "push"]
        return self.seen + [push["data"]["key"] for push in late]

    def close(self) -> None:
        """Leave."""
        self._client.close()


class Phone:
    """Tracks events until all are acknowledged; sends again what is not taken."""

    def __init__(self, node: NodeProcess, post: str) -> None:
        self._client = Client(node.ws_url)
        self._client.hello(device=f"{post}-phone", secret="0123456789abcdef")
        self._post = post
        self.tracked = 0
        self.slowed_down = 0

    def begin(self) -> None:
        """Send all events, and wait for none."""
        self.tracked += EVENTS
        self._send(self.tracked - EVENTS + 1)

    def finish(self) -> None:
        """Wait until all are acknowledged."""
        acked = 0
        while acked < self.tracked:
            message = self._client.until("ack", "slow_down", "error")
            if message["type"] == "ack":
                assert not message.get("rejected"), message
                acked = message["acked"]
            elif message["type"] == "slow_down":
                self.slowed_down += 1
                time.sleep(message["retry_after_s"])  # as the protocol asks
                self._send(message["first"])
            else:
                # Batches that were under way behind one that was not taken.
                assert message["name"] == "gap", message

    def close(self) -> None:
        """Leave."""
        self._client.close()

    def _send(self, first: int) -> None:
        for number in range(first, self.tracked + 1, BATCH):
            size = min(BATCH, self.tracked + 1 - number)
            self._client.say("track", first=number, events=[like(self._post)] * size)


class Trial:
    """Everybody who takes part, on a channel and a post of their own."""

    def __init__(self, site: Site, name: str, padding: int = 0) -> None:
        self._site = site
        self._name = name
        channel = f"chat:{name}"
        with ExitStack() as stack:
            self.watchers = [Watcher(node, channel) for node in (site.far, site.near)]
            self.publishers = [
                Publisher(site.far, channel, "far", padding),
                Publisher(site.near, channel, "near", padding),
            ]
            self.phone = Phone(site.far, name)
            self.pinger = Client(site.far.ws_url)
            self.pinger.hello()
            for close in (
                *(watcher.close for watcher in self.watchers),
                *(publisher.close for publisher in self.publishers),
                self.phone.close,
                self.pinger.close,
            ):
                stack.callback(close)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, count: int) -> None:
        """Send *count* publications on each node, and the events."""
        for publisher in self.publishers:
            publisher.begin(count)
        self.phone.begin()

    @contextmanager
    def pinging(self) -> Iterator[None]:
        """Ping the far node all the time; fail if a tenth of the answers are slow."""
        over = threading.Event()
        took: list[float] = []

        def ping() -> None:
            while not over.wait(0.01):
                began = time.perf_counter()
                self.pinger.ask("ping")
                took.append(time.perf_counter() - began)

        thread = threading.Thread(target=ping)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        slow_s = quantiles(took, n=10)[-1]
        print(
            f"\n{len(took)} pings: median {median(took) * 1e3:.1f} ms, nine of ten"
            f" within {slow_s * 1e3:.1f} ms, all within {max(took) * 1e3:.1f} ms"
        )
        assert slow_s < LATENCY_S, "a ping does not wait for Redis"

    def finish(self) -> None:
        """Wait until everything sent is made and acknowledged."""
        for publisher in self.publishers:
            publisher.finish()
        self.phone.finish()

    def settle(self, what: str) -> None:
        """Print what came of *what*; fail if anything is lost, doubled or swapped."""
        made = [key for publisher in self.publishers for key in publisher.made]
        kept = self._history(len(made))
        seen = [watcher.read(len(made)) for watcher in self.watchers]
        lost = sum((Counter(made) - Counter(each)).total() for each in seen)
        doubled = sum((Counter(each) - Counter(made)).total() for each in seen)
        eventually(self._is_counted, "all is counted on both nodes")
        repeated = sum(publisher.repeated for publisher in self.publishers)
        print(
            f"\n{what}: {len(made)} publications to 2 subscribers ({repeated} sent"
            f" again), {self.phone.tracked} events ({self.phone.slowed_down} times"
            f" slow_down); lost {lost}, doubled {doubled}"
        )
        assert sorted(kept) == sorted(made)
        assert seen == [kept, kept]
        eventually(lambda: is_ready(self._site.far), "readiness is green")

    def _history(self, count: int) -> list[str]:
        with Client(self._site.near.ws_url) as client:
            client.hello()
            channel = f"chat:{self._name}"
            answer = client.ask("history", channel=channel, limit=count + 1)
        return [each["data"]["key"] for each in answer["publications"]]

    def _is_counted(self) -> bool:
        found = [
            value(node, "likes", post=self._name, window="total")
            for node in (self._site.far, self._site.near)
        ]
        assert max(found) <= self.phone.tracked, "counted twice"
        return found == [self.phone.tracked] * 2


def complaints(node: NodeProcess) -> dict[str, str]:
    """Return what readiness says is wrong; nothing if it is green."""
    answer = HTTP.get(f"{node.url}/readyz")
    checks = answer.json()["checks"]
    found = {name: said for name, said in checks.items() if said != "ok"}
    assert bool(found) == (answer.status_code == 503)
    return found


def test_redis_is_far_away(site: Site) -> None:
    """150 ms each way cost time and nothing else; readiness stays green."""
    with Trial(site, "far-away") as trial:
        site.change(latency_s=LATENCY_S)
        with trial.pinging():
            trial.begin(15)
            trial.finish()
        said = complaints(site.far)
        trial.settle(f"Redis is {LATENCY_S * 1e3:g} ms away, each way")

    assert said == {}, "everything is delivered"


def test_the_way_to_redis_is_narrow(site: Site) -> None:
    """Little fits through at a time, and all of it arrives in the end."""
    with Trial(site, "narrow", padding=PADDING) as trial:
        site.change(bytes_per_s=NARROW)
        began = time.monotonic()
        with trial.pinging():
            trial.begin(PADDED)
            trial.finish()
        took_s = time.monotonic() - began
        said = complaints(site.far)
        site.change()
        trial.settle(f"the way to Redis carries {NARROW / 1e3:g} kB/s")

    print(f"readiness at its end: {said or 'green'}")
    assert took_s > PADDED * PADDING / NARROW, "it was narrow"


def test_redis_is_gone_without_a_word(site: Site) -> None:
    """Half-open connections are noticed, told of by readiness, and replaced."""
    with Trial(site, "half-open") as trial:
        trial.begin(10)
        trial.finish()
        gone = site.relay.do(Relayed.lose_server)
        with trial.pinging():
            trial.begin(10)
            said = eventually(lambda: complaints(site.far), "readiness turns red")
            trial.finish()
        open_now = site.relay.relay.connections
        eventually(lambda: not set(gone) & set(open_now), "all are replaced")
        eventually(lambda: is_ready(site.far), "readiness turns green")
        trial.begin(10)
        trial.finish()
        trial.settle(f"{len(gone)} connections to Redis are open on one side only")

    print(f"readiness meanwhile: {said}")
