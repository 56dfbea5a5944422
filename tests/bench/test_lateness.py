"""What a server has not done in time is not taken for something else."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from typing import TypeVar

import pytest

from realtime.bench import fanout, latency
from realtime.bench.client import Client, End
from realtime.bench.costs import Costs
from realtime.bench.crowd import Share, Worker, clock
from realtime.bench.cuts import Settings, Step, Traveller
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import Value
from realtime.bench.histogram import Histogram
from realtime.bench.returning import Travellers
from realtime.bench.target import Endpoint, Target

W = TypeVar("W", bound=Worker)
NOWHERE = Target((Endpoint(False, "127.0.0.1", 9),))


class Silent:
    """Stands for the sockets: nothing is sent, and nothing comes."""

    def __init__(self) -> None:
        self.opened: list[int] = []

    def open(self, client: Client, due: float) -> None:
        """Keep who."""
        self.opened.append(client.number)

    def send(self, client: Client, payload: bytes) -> None:
        """Nobody hears it."""

    def poll(self, timeout_s: float) -> int:
        """Nothing comes."""
        return 0


def worker_of(kind: type[W], connections: int, settings: object) -> W:
    """Return a worker whose sockets are silent."""
    share = Share(NOWHERE, Native(), connections, b"abcdefgh", "label", settings)
    event = multiprocessing.get_context("spawn").Event()
    worker = kind(share, lambda done: None, event)
    worker.clients.shut()
    worker.clients = Silent()  # type: ignore[assignment]
    return worker


def test_events_of_the_step_before_are_none_of_this_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is behind must not look as if it had answered before its turn."""
    monkeypatch.setattr(latency, "PATIENCE_S", 0.0)
    worker = worker_of(latency.Screens, 2, latency.Settings(1))
    watcher = worker.make(1)
    assert isinstance(watcher, latency.Watcher)
    worker.inside[1] = watcher
    watcher.shown = 100
    start = clock() - 50.0
    first = worker.measure(latency.Load("counter", start, 1.0, 10, 1))
    assert (first.expected, first.latencies.count) == (10, 0)

    start += 20.0
    second = worker.measure(latency.Load("counter", start, 1.0, 5, 1))
    worker.said(watcher, Value(110.0), start + 1.0)  # all of the first step
    assert second.latencies.count == 0

    worker.said(watcher, Value(112.0), start + 3.0)
    assert second.latencies.count == 2
    assert second.latencies.max_ms == pytest.approx(3000.0)


def test_what_cannot_be_published_is_a_failure() -> None:
    """The publisher may be gone; its publications are lost, and the run goes on."""
    worker = worker_of(fanout.Audience, 1, fanout.Settings(1, 1, 100, 0.0))
    heard = worker.measure(fanout.Load(clock() - 1.0, 10.0, 3))

    assert heard.failures == {"not published: the publisher is gone": 3}


@pytest.mark.parametrize(("stopped", "per_s"), [(True, 50.0), (False, 10.0)])
def test_a_run_that_was_stopped_tells_the_rate_until_then(
    stopped: bool, per_s: float
) -> None:
    """Not that of all the time it would have had."""
    latencies = Histogram()
    for _ in range(100):
        latencies.add(0.001)
    load = fanout.Load(1000.0, 10.0, 100)
    heard = fanout.Heard(latencies, Histogram(), 1000, 1002.0, {})
    row = fanout._row(load, [heard], Costs({}, 1.0, None), stopped=stopped)

    assert row["deliveries_per_s"] == pytest.approx(per_s)
    assert row["lost"] == (0 if stopped else 900)


def test_nobody_is_owed_what_a_lost_publisher_would_have_published() -> None:
    """It would look like a defect of the server."""
    worker = worker_of(Travellers, 3, Settings(2, 1, 100))
    found = worker.travel(Step(clock() - 10.0, 10.0, 6))

    assert found.unpublished == set(range(6))


def test_a_publisher_that_is_lost_comes_back() -> None:
    """It is neither cut nor caught up."""
    worker = worker_of(Travellers, 2, Settings(1, 1, 100))
    publisher = worker.make(0)
    assert isinstance(publisher, Traveller)
    worker.inside[0] = publisher
    worker.ended(publisher, End("closed", 1001, "it restarts"), clock())
    assert not worker.inside

    worker._act(clock() + 60.0)
    worker.ready(publisher, clock())

    assert isinstance(worker.clients, Silent)
    assert worker.clients.opened == [0]
    assert worker.inside == {0: publisher}
    assert not worker._caught_up.count
    assert worker._failures == Counter(
        {"a publisher was lost: closed with 1001: it restarts": 1}
    )
