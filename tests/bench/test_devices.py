"""Devices of the kit keep what is not acknowledged, and send it again when told to."""

from __future__ import annotations

import multiprocessing

import orjson
import pytest

from realtime.bench.client import Client, End
from realtime.bench.crowd import Share
from realtime.bench.devices import Batch, Device, Devices, schedule
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import Acked, Refused, Said, SlowDown, Welcome
from realtime.bench.target import Endpoint, Target

NOWHERE = Target((Endpoint(False, "127.0.0.1", 9),))
LIKE = {"name": "like"}


class Sent:
    """Stands for the sockets; keeps the number that each message begins with."""

    def __init__(self) -> None:
        self.firsts: list[int] = []

    def send(self, client: Client, payload: bytes) -> None:
        """Keep it."""
        self.firsts.append(orjson.loads(payload)["first"])


class Recorder(Devices):
    """Keeps what is acknowledged."""

    def acknowledged(self, device: Device, batch: Batch, now: float) -> None:
        """Keep it."""
        self.counted.append((batch.first, batch.last, now - batch.due))


class One:
    """A worker with one device that is inside."""

    def __init__(self) -> None:
        share = Share(NOWHERE, Native(), 1, b"abcdefgh", "label")
        event = multiprocessing.get_context("spawn").Event()
        self.worker = Recorder(share, lambda done: None, event)
        self.worker.counted = []  # type: ignore[attr-defined]
        self.worker.clients.shut()
        self.sent = Sent()
        self.worker.clients = self.sent  # type: ignore[assignment]
        device = self.worker.make(0)
        assert isinstance(device, Device)
        self.device = device
        self.worker.inside[0] = device

    def track(self, *, due: float = 0.0, events: int = 1) -> None:
        """Send a batch."""
        self.worker.track(self.device, [LIKE] * events, due)

    def hear(self, *things: Said, now: float = 1.0) -> None:
        """Be told by the server."""
        for said in things:
            self.worker.said(self.device, said, now)

    @property
    def counted(self) -> list[tuple[int, int, float]]:
        """First, last and latency of every batch that was acknowledged."""
        found: list[tuple[int, int, float]] = self.worker.counted  # type: ignore[attr-defined]
        return found


@pytest.fixture
def one() -> One:
    """A device that has sent nothing."""
    return One()


def test_batches_are_numbered_without_holes(one: One) -> None:
    """Each begins after the last number of the one before."""
    one.track(events=3)
    one.track(events=2)
    one.track()

    assert one.sent.firsts == [1, 4, 6]


def test_one_acknowledgement_may_answer_many_batches(one: One) -> None:
    """Latency counts from when each was due."""
    one.track(due=0.25, events=3)
    one.track(due=0.5)
    one.track(due=0.75)
    one.hear(Acked(4), now=1.0)

    assert one.counted == [(1, 3, 0.75), (4, 4, 0.5)]
    assert not one.worker.settled()
    one.hear(Acked(5))
    assert one.worker.settled()


def test_a_batch_that_is_partly_acknowledged_is_not(one: One) -> None:
    """It waits for its last event."""
    one.track(events=3)
    one.hear(Acked(2))

    assert one.counted == []


def test_who_is_told_to_slow_down_rests_and_sends_again(one: One) -> None:
    """In order, with the same numbers, and what was due meanwhile after it."""
    one.track()
    one.track()
    one.hear(SlowDown(1, 2.0), now=10.0)
    one.hear(Refused("gap", "numbers are missing", expected=1), now=10.0)
    one.track()
    one.worker.resume(11.9)
    assert one.sent.firsts == [1, 2]

    one.worker.resume(12.0)

    assert one.sent.firsts == [1, 2, 1, 2, 3]
    assert one.worker.slowed == 1
    assert not one.worker.failures
    one.worker.resume(99.0)
    assert one.sent.firsts == [1, 2, 1, 2, 3]


def test_a_device_goes_on_with_the_numbers_it_has(one: One) -> None:
    """A label that was used before has marks."""
    one.hear(Welcome(41))
    one.track()

    assert one.sent.firsts == [42]


def test_what_is_rejected_is_a_failure(one: One) -> None:
    """It is used up, and told."""
    one.track(events=2)
    one.hear(Acked(2, 1, "bad_properties: why"))

    assert one.worker.failures == {"rejected: bad_properties: why": 1}
    assert len(one.counted) == 1


def test_errors_are_failures(one: One) -> None:
    """A device that may not track would wait for ever otherwise."""
    one.track()
    one.hear(Refused("no_device", "why"))

    assert one.worker.failures == {"no_device: why": 1}


def test_nobody_waits_for_who_is_gone(one: One) -> None:
    """The loss is told, the run goes on."""
    one.track()
    one.worker.ended(one.device, End("lost"), 1.0)

    assert one.worker.settled()
    assert one.worker.failures == {"lost a connection: lost": 1}


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 6, 17])
def test_a_schedule_is_shared_out_completely(count: int, processes: int) -> None:
    """All processes together do each thing once, at the same times as one alone."""
    alone = list(schedule(count, 0.5, 10.0, 5, range(5)))
    parts = [
        list(schedule(count, 0.5, 10.0, 5, range(index, 5, processes)))
        for index in range(processes)
    ]

    assert sorted(one for part in parts for one in part) == alone
    assert [due for due, _ in alone] == [10.0 + 0.5 * place for place in range(count)]
    assert all(part == sorted(part) for part in parts)
