"""
Questions to hooks, guarded: each has a time limit, few wait, and what fails rests.

Laws: an answer comes within ``hooks.timeout``, or none does; beyond
``hooks.max_waiting`` under way and while a point rests after failures, nothing is asked
and the caller knows at once. A question that failed says so in the log, at most once a
second for each point, and never with what was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

import structlog

from realtime.clock import Clock
from realtime.core.breaker import Breaker
from realtime.core.hook_answers import HookFailed
from realtime.engine.hooks.asker import Asker, Outcome
from realtime.engine.hooks.traces import own_code
from realtime.engine.metrics import Metrics
from realtime.errors import HookUnavailable
from realtime.hooks import Deny, Point
from realtime.settings import HookSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")

LOG_S = 1.0
RETRY_S = 1.0  # after a failure that has not opened the breaker; up to twice that


class _Line:
    """One point: who answers it, its breaker, and when it was last complained of."""

    __slots__ = ("asker", "breaker", "logged_at", "unlogged")

    def __init__(self, asker: Asker, breaker: Breaker) -> None:
        self.asker = asker
        self.breaker = breaker
        self.logged_at = float("-inf")
        self.unlogged = 0


class Calls:
    """Asks the askers; no point is answered by two of them."""

    def __init__(
        self,
        askers: Sequence[Asker],
        settings: HookSettings,
        clock: Clock,
        metrics: Metrics,
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._random = random or Random()
        self._lines: Mapping[Point, _Line] = {
            point: _Line(asker, Breaker(settings.failures, settings.pause_s))
            for asker in askers
            for point in asker.points
        }
        self.waiting = 0

    def __contains__(self, point: Point) -> bool:
        return point in self._lines

    def resting(self, point: Point) -> bool:
        """Whether *point* is not asked at the moment, because it has failed."""
        line = self._lines.get(point)
        return line is not None and line.breaker.left_s(self._clock.monotonic()) > 0

    async def ask(
        self, point: Point, request: object, read: Callable[[object], T]
    ) -> T:
        """
        Return the answer of *point*'s hook, as *read* understands it.

        Raises:
            Deny: If that is the answer.
            HookUnavailable: If there is none.
        """
        line = self._lines[point]
        ticket = self._admit(point, line)
        started = self._clock.monotonic()
        self.waiting += 1
        try:
            answer = read(await self._answer(line.asker, point, request))
        except Deny:
            self._answered(point, line, ticket, denied=True)
            raise
        except HookFailed as exc:
            self._failed(point, line, ticket, exc)
            raise self._unavailable(point, line, "does not answer") from exc
        except BaseException:  # cancelled, or a defect; or it were never asked again
            line.breaker.abandoned(ticket)
            raise
        finally:
            self.waiting -= 1
            elapsed_s = self._clock.monotonic() - started
            self._metrics.hook_seconds.labels(point).observe(elapsed_s)
        self._answered(point, line, ticket, denied=answer is False)
        return answer

    def _admit(self, point: Point, line: _Line) -> int:
        if self.waiting >= self._settings.max_waiting:
            self._count(point, "skipped")
            raise self._unavailable(point, line, f"is late: {self.waiting} calls wait")
        ticket = line.breaker.admit(self._clock.monotonic())
        if ticket is None:
            self._count(point, "skipped")
            raise self._unavailable(point, line, "rests after failures")
        return ticket

    async def _answer(self, asker: Asker, point: Point, request: object) -> object:
        """Wait for the answer, as long as is allowed."""
        asked = asker.begin(point, request)
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            asked.cancel()

        timer = self._clock.call_later(self._settings.timeout_s, give_up)
        try:
            return _returned(await asked)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not late or (task is not None and task.cancelling()):
                raise
            asker.timed_out()
            raise _TimedOut(self._settings.timeout_s) from None
        finally:
            timer.cancel()

    def _answered(
        self, point: Point, line: _Line, ticket: int, *, denied: bool
    ) -> None:
        line.breaker.succeeded(ticket)
        self._count(point, "denied" if denied else "answered")

    def _failed(self, point: Point, line: _Line, ticket: int, exc: HookFailed) -> None:
        now = self._clock.monotonic()
        self._count(point, "timed_out" if isinstance(exc, _TimedOut) else "failed")
        opened = line.breaker.failed(ticket, now)
        if now - line.logged_at < LOG_S:
            line.unlogged += 1
        else:
            cause = exc.__cause__
            log.error(
                "hook_failed",
                point=point.value,
                place=line.asker.place,
                problem=exc.problem,
                unlogged=line.unlogged,
                exc_info=None if cause is None else own_code(cause),
            )
            line.logged_at, line.unlogged = now, 0
        if opened:
            log.warning("hook_rests", point=point.value, seconds=self._settings.pause_s)

    def _unavailable(self, point: Point, line: _Line, problem: str) -> HookUnavailable:
        rest_s = line.breaker.left_s(self._clock.monotonic())
        retry_s = max(rest_s, RETRY_S) * (1 + self._random.random())
        return HookUnavailable(f"the hook {point} {problem}", round(retry_s, 3))

    def _count(self, point: Point, outcome: str) -> None:
        self._metrics.hook_calls.labels(point, outcome).inc()


class _TimedOut(HookFailed):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"no answer within {timeout_s:g} s")


def _returned(outcome: Outcome) -> object:
    """Return the answer, or raise what came instead."""
    answer, problem = outcome
    if problem is None:
        return answer
    if isinstance(problem, Deny | HookFailed):
        raise problem
    raise HookFailed("it raised an exception") from problem
