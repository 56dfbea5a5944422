"""The guards around every question to a hook, on a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.core.hook_answers import HookFailed, decision_of
from realtime.engine.hooks.asker import Outcome
from realtime.engine.hooks.calls import Calls
from realtime.engine.metrics import Metrics
from realtime.errors import HookUnavailable
from realtime.hooks import Deny, Point
from realtime.settings import HookSettings
from realtime.testing.clock import ManualClock, settle

pytestmark = pytest.mark.anyio

ASKED = Point.AUTHORISE_SUBSCRIBE
SETTINGS = HookSettings(timeout_s=2.0, failures=3, pause_s=10.0, max_waiting=5)
PAYLOAD = "payload-that-must-not-be-logged"


class ByHand:
    """An asker that answers when the test says so."""

    points = frozenset({ASKED, Point.ON_PUBLISH})
    place = "myapp.hooks"

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Outcome]] = []
        self.late = 0

    async def start(self) -> None: ...

    def begin(self, point: Point, request: object) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.asked.append(future)
        return future

    def timed_out(self) -> None:
        self.late += 1

    async def aclose(self) -> None: ...


class World:
    """Calls to an asker by hand."""

    def __init__(self, **settings: Any) -> None:
        self.asker = ByHand()
        self.clock = ManualClock()
        self.metrics = Metrics()
        changed = replace(SETTINGS, **settings)
        self.calls = Calls([self.asker], changed, self.clock, self.metrics)

    def ask(self, point: Point = ASKED) -> Coroutine[Any, Any, bool | None]:
        """Ask, with something that must not be logged."""
        return self.calls.ask(point, PAYLOAD, decision_of)

    async def outcome(
        self, answer: object, problem: BaseException | None = None
    ) -> object:
        """What comes of a question that is answered so."""
        task = asyncio.ensure_future(self.ask())
        await settle()
        if not task.done():
            self.asker.asked[-1].set_result((answer, problem))
        [result] = await asyncio.gather(task, return_exceptions=True)
        return result

    def counted(self, outcome: str, point: Point = ASKED) -> float:
        """How often the metrics say that this came of it."""
        return self.metrics.hook_calls.labels(point, outcome)._value.get()


async def test_answers_are_handed_on() -> None:
    """Whatever they say; refusals are counted apart."""
    world = World()
    assert await world.outcome(True) is True
    assert await world.outcome(None) is None
    assert await world.outcome(False) is False
    denied = await world.outcome(None, Deny("no"))
    assert isinstance(denied, Deny)
    assert denied.reason == "no"
    assert (world.counted("answered"), world.counted("denied")) == (2, 2)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("rubbish", None),
        (None, HookFailed("it answered with status 500")),
        (None, ValueError(f"not {PAYLOAD[:0]}good")),
        (None, SystemExit(1)),
        (None, asyncio.CancelledError()),
        (None, StopIteration()),
    ],
    ids=repr,
)
async def test_what_is_no_answer_is_unavailable(answer, problem) -> None:
    """And logged with the point, but not with what was asked."""
    world = World()
    with capture_logs() as logs:
        failed = await world.outcome(answer, problem)
    assert isinstance(failed, HookUnavailable)
    assert "authorise_subscribe" in str(failed)
    assert 1.0 <= failed.retry_after_s <= 2.0
    [line] = [line for line in logs if line["event"] == "hook_failed"]
    assert (line["point"], line["place"]) == ("authorise_subscribe", "myapp.hooks")
    assert PAYLOAD not in str(logs)
    assert world.counted("failed") == 1


async def test_a_call_has_a_time_limit() -> None:
    """After it the call is given up, and the asker knows."""
    world = World()
    task = asyncio.ensure_future(world.ask())
    await world.clock.elapse(1.9)
    assert not task.done()
    await world.clock.elapse(0.2)
    with pytest.raises(HookUnavailable):
        await task
    assert world.asker.asked[0].cancelled()
    assert (world.asker.late, world.counted("timed_out")) == (1, 1)
    assert world.calls.waiting == 0
    assert world.clock.pending == 0


async def test_failures_in_a_row_open_the_breaker() -> None:
    """For a pause, in which nothing is asked; then one call is tried."""
    world = World()
    for _ in range(3):
        assert isinstance(await world.outcome("rubbish"), HookUnavailable)
    assert world.calls.resting(ASKED)
    refused = await world.outcome(True)
    assert isinstance(refused, HookUnavailable)
    assert 10.0 <= refused.retry_after_s <= 20.0
    assert len(world.asker.asked) == 3
    assert world.counted("skipped") == 1
    await world.clock.elapse(10.0)
    trial = asyncio.ensure_future(world.ask())
    await settle()
    assert isinstance(await world.outcome(True), HookUnavailable)
    world.asker.asked[-1].set_result((True, None))
    assert await trial is True
    assert not world.calls.resting(ASKED)
    assert await world.outcome(True) is True


async def test_each_point_has_a_breaker_of_its_own() -> None:
    """One hook that fails does not silence the others."""
    world = World()
    for _ in range(3):
        await world.outcome("rubbish")
    other = asyncio.ensure_future(world.ask(Point.ON_PUBLISH))
    await settle()
    world.asker.asked[-1].set_result((True, None))
    assert await other is True


async def test_only_so_many_calls_wait() -> None:
    """Further ones fail at once; that is no failure of the hook's."""
    world = World(failures=1)
    waiting = [asyncio.ensure_future(world.ask()) for _ in range(5)]
    await settle()
    with pytest.raises(HookUnavailable, match="5 calls wait"):
        await world.ask()
    assert not world.calls.resting(ASKED)
    for asked in world.asker.asked:
        asked.set_result((True, None))
    assert await asyncio.gather(*waiting) == [True] * 5
    assert await world.outcome(True) is True


async def test_who_goes_away_gives_the_call_up() -> None:
    """It proves nothing about the hook, but leaves nothing behind."""
    world = World(failures=1)
    await world.outcome("rubbish")
    await world.clock.elapse(10.0)
    trial = asyncio.ensure_future(world.ask())
    await settle()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert world.asker.asked[-1].cancelled()
    assert (world.calls.waiting, world.clock.pending) == (0, 0)
    assert await world.outcome(True) is True


async def test_a_hook_that_always_fails_does_not_fill_the_log() -> None:
    """A line a second for each point, with the number of those left out."""
    world = World(failures=1_000)
    with capture_logs() as logs:
        for _ in range(50):
            await world.outcome("rubbish")
        await world.clock.elapse(1.0)
        await world.outcome("rubbish")
    assert [line["unlogged"] for line in logs] == [0, 49]


async def test_the_traceback_is_that_of_the_hook() -> None:
    """It begins where the developer's code begins."""

    def hook() -> None:
        raise KeyError("post")

    world = World()
    try:
        hook()
    except KeyError as exc:
        problem = exc
    with capture_logs() as logs:
        await world.outcome(None, problem)
    kind, _, trace = logs[0]["exc_info"]
    assert kind is KeyError
    assert trace.tb_frame.f_code.co_filename == __file__


async def test_a_defect_of_an_asker_does_not_keep_it_from_being_asked() -> None:
    """The trial after a rest is another's then."""
    world = World()
    for _ in range(SETTINGS.failures):
        await world.outcome("rubbish")
    world.clock.advance(SETTINGS.pause_s)
    trial = asyncio.ensure_future(world.ask())
    await settle()
    world.asker.asked[-1].set_exception(UnicodeError("label too long"))
    with pytest.raises(UnicodeError):
        await trial

    assert await world.outcome(True) is True
