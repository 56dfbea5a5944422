"""A crowd of processes does what it is told, and ends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from realtime.bench.crowd import (
    Crowd,
    Share,
    Worker,
    clock,
    processes_for,
    sum_up,
)
from realtime.bench.dialects.native import Native
from realtime.bench.errors import BenchError
from realtime.bench.stop import Stop
from realtime.bench.target import Endpoint, Target

NOWHERE = Target((Endpoint(False, "127.0.0.1", 9),))
CONNECTIONS = 10


class Hands(Worker):
    """Does little."""

    def numbers(self) -> list[int]:
        """Return whose connections these are."""
        return list(self.share.numbers)

    def work(self, seconds: float) -> float:
        """Keep the processor busy; say that it is done."""
        until = clock() + seconds
        while clock() < until:
            pass
        self.progress(1.0)
        return seconds

    def wait(self) -> bool:
        """Wait until somebody wants an end."""
        return self.wait_for(lambda: False, 60.0)

    def fail(self) -> None:
        """Fail as a program does."""
        raise ValueError("something is wrong")

    def refuse(self) -> None:
        """Fail with a sentence."""
        raise BenchError("this cannot be")

    def die(self) -> None:
        """End without a word."""
        os._exit(1)


@pytest.fixture
def stop() -> Stop:
    """Nobody wants an end yet."""
    return Stop()


@pytest.fixture
def crowd(stop: Stop) -> Iterator[Crowd[Hands]]:
    """Two processes."""
    share = Share(NOWHERE, Native(), CONNECTIONS, b"abcdefgh", "label")
    with Crowd(Hands, share, 2, stop) as made:
        yield made


def test_connections_are_shared_out_by_turns(crowd: Crowd[Hands]) -> None:
    """So that each process has some of every role."""
    assert crowd.do("numbers") == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_progress_is_summed_up(crowd: Crowd[Hands]) -> None:
    """Over all processes."""
    told: list[float] = []

    crowd.do("work", 0.0, on_progress=told.append)

    assert told[-1] == 2.0


def test_how_busy_the_busiest_is(crowd: Crowd[Hands]) -> None:
    """Waiting is not being busy."""
    crowd.do("work", 0.3)
    working = crowd.busy
    crowd.do("numbers")

    assert working > 0.0
    assert working != crowd.busy


def test_who_is_asked_to_stop_answers(crowd: Crowd[Hands], stop: Stop) -> None:
    """With what there is."""
    answers = crowd.do("wait", on_progress=lambda done: stop.ask("interrupted"))

    assert answers == [False, False]
    assert stop.reason == "interrupted"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("fail", "ValueError: something is wrong"),
        ("refuse", "^this cannot be$"),
        ("die", "has died"),
    ],
)
def test_failures_end_the_run(crowd: Crowd[Hands], order: str, words: str) -> None:
    """With a traceback where it is a fault of ours."""
    with pytest.raises(BenchError, match=words):
        crowd.do(order)


def test_orders_are_bounded(crowd: Crowd[Hands]) -> None:
    """A process that hangs does not hang the run."""
    with pytest.raises(BenchError, match=r"wait is not done within 0\.1 s"):
        crowd.do("wait", limit_s=0.1)


def test_local_targets_are_left_some_cores() -> None:
    """Half of them; and never more processes than connections."""
    cores = os.cpu_count() or 1

    assert processes_for(1000, None, local=False) == cores
    assert processes_for(1000, None, local=True) == max(cores // 2, 1)
    assert processes_for(1, None, local=False) == 1
    assert processes_for(1000, 7, local=True) == 7


def test_the_limit_of_open_files_makes_more_processes() -> None:
    """A million connections do not fit into a few."""
    assert processes_for(10**9, None, local=False) > (os.cpu_count() or 1)


def test_a_server_needs_open_files_too(
    monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    """Of a server that is started here, before anybody waits for it in vain."""
    monkeypatch.setattr("realtime.bench.crowd.raise_file_limit", lambda: 200)
    here = Target(NOWHERE.endpoints, processes={"node 1": os.getpid()})
    share = Share(here, Native(), 500, b"0" * 16, "test")

    with pytest.raises(BenchError, match=r"need 564 .*limit is 200: .*ulimit -n 564"):
        Crowd(Hands, share, 10, stop)


def test_counts_are_added_by_name() -> None:
    """Reasons of several processes become one list."""
    assert sum_up([{"a": 1}, {"a": 2, "b": 1}, {}]) == {"a": 3, "b": 1}
