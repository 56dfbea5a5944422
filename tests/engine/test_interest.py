"""
A thing is started for its first holder, stopped after its last, never both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from realtime.engine.interest import Interest
from realtime.engine.tasks import Tasks, finished

pytestmark = pytest.mark.anyio


class Slow:
    """Something whose starts and stops end when the test says so."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def start(self, key: str) -> None:
        self.log.append(f"start {key}")
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def stop(self, key: str) -> None:
        self.log.append(f"stop {key}")
        await self.gate.wait()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """The owner of the background work."""
    owner = Tasks()
    yield owner
    await owner.aclose()


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_second_holder_does_not_start_again(tasks: Tasks) -> None:
    """One start serves all holders."""
    slow = Slow()
    interest = Interest(slow.start, slow.stop, tasks)
    await interest.acquire("a")
    await interest.acquire("a")

    assert slow.log == ["start a"]


async def test_holders_that_come_while_it_starts_wait_for_the_same_start(
    tasks: Tasks,
) -> None:
    """Nobody gets past acquire before the thing runs."""
    slow = Slow()
    slow.gate.clear()
    interest = Interest(slow.start, slow.stop, tasks)
    waiting = [asyncio.create_task(interest.acquire("a")) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)

    slow.gate.set()
    await asyncio.gather(*waiting)

    assert slow.log == ["start a"]


async def test_the_last_release_stops_it(tasks: Tasks) -> None:
    """It runs until nobody holds it, and nothing is kept of it then."""
    slow = Slow()
    interest = Interest(slow.start, slow.stop, tasks)
    await interest.acquire("a")
    await interest.acquire("a")
    interest.release("a")
    await settle()
    assert slow.log == ["start a"]

    interest.release("a")
    await settle()

    assert slow.log == ["start a", "stop a"]
    assert len(interest) == 0


async def test_a_late_stop_never_undoes_a_newer_start(tasks: Tasks) -> None:
    """Who comes while it stops waits until it has been started anew."""
    slow = Slow()
    interest = Interest(slow.start, slow.stop, tasks)
    await interest.acquire("a")
    slow.gate.clear()
    interest.release("a")
    await settle()
    newcomer = asyncio.create_task(interest.acquire("a"))
    await settle()
    assert slow.log == ["start a", "stop a"]

    slow.gate.set()
    await newcomer

    assert slow.log == ["start a", "stop a", "start a"]


async def test_a_failed_start_is_told_to_every_waiter(tasks: Tasks) -> None:
    """The error is the start's own, and the next holder tries again."""
    slow = Slow()
    slow.error = ValueError("no")
    interest = Interest(slow.start, slow.stop, tasks)
    results = await asyncio.gather(
        interest.acquire("a"), interest.acquire("a"), return_exceptions=True
    )
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert len(interest) == 0

    slow.error = None
    await interest.acquire("a")

    assert slow.log == ["start a", "start a"]


async def test_cancelling_gives_the_hold_back(tasks: Tasks) -> None:
    """A waiter that gives up does not keep the thing running."""
    slow = Slow()
    slow.gate.clear()
    interest = Interest(slow.start, slow.stop, tasks)
    waiter = asyncio.create_task(interest.acquire("a"))
    await settle()
    waiter.cancel()
    await settle()
    slow.gate.set()
    await settle()

    assert slow.log == ["start a", "stop a"]
    assert len(interest) == 0


async def test_only_what_runs_is_had_without_waiting(tasks: Tasks) -> None:
    """Not what is being started or stopped; and it counts as a holder."""
    slow = Slow()
    interest = Interest(slow.start, slow.stop, tasks)
    assert not interest.try_acquire("a")
    await interest.acquire("a")
    assert interest.try_acquire("a")
    interest.release("a")
    await settle()
    assert slow.log == ["start a"]

    interest.release("a")
    assert not interest.try_acquire("a")
    await settle()
    assert slow.log == ["start a", "stop a"]
    assert not interest.try_acquire("a")
    assert len(interest) == 0


async def test_what_is_immediate_is_started_and_stopped_without_a_task(
    tasks: Tasks,
) -> None:
    """For the first holder and after the last, in the same step."""
    slow = Slow()
    interest = Interest(slow.start, slow.stop, tasks, immediate=True)
    assert interest.try_acquire("a")
    assert interest.try_acquire("a")
    interest.release("a")
    assert slow.log == ["start a"]

    interest.release("a")
    assert slow.log == ["start a", "stop a"]
    assert len(interest) == 0
    assert len(tasks) == 0


async def test_what_is_immediate_and_fails_is_not_held(tasks: Tasks) -> None:
    """The error is the start's own, and the next one tries again."""
    slow = Slow()
    slow.error = ValueError("no")
    interest = Interest(slow.start, slow.stop, tasks, immediate=True)
    with pytest.raises(ValueError, match="no"):
        interest.try_acquire("a")
    assert len(interest) == 0
    slow.error = None
    assert interest.try_acquire("a")


def test_who_waits_although_he_must_not_is_told() -> None:
    """A mistake of ours is heard, and nothing is left pending."""

    async def wait() -> None:
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="waits"):
        finished(wait())
