"""
Moving connections elsewhere: all of a node that stops, and the old ones of a node that
stays.

Laws: who is asked to leave is told when to come back, each another time. Nobody is
closed while something of his is under way, for as long as can be borne: what he has
sent is committed and acknowledged first. Nothing here is slower than it must be: few
connections leave at once, and where nobody is, nobody is waited for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Protocol

import structlog

from realtime.clock import Clock
from realtime.engine.metrics import Metrics
from realtime.errors import GOING_AWAY, ROTATED, CloseCode
from realtime.settings import DrainSettings

log = structlog.get_logger(__name__)

STEP_S = 0.1
AT_ONCE = 100
"""So many leave at once, and a second, however long the goodbyes may take."""

SETTLE_S = 3.0
"""How long a connection may take to get its acknowledgements before it is closed."""

SPREAD = 0.25  # of the greatest age: by so much it differs between connections
LOOKS = 50  # within the greatest age, the old ones are looked for so many times
LOOK_S = (0.25, 1.0)  # but this often


class Leaver(Protocol):
    """Who can be asked to leave: a connection or a stream. Hashable."""

    @property
    def quiet(self) -> bool:
        """Whether nothing that it has sent waits for an answer."""

    def goodbye(self, after_s: float, reason: str) -> None:
        """Tell it to come back in *after_s* seconds, if its protocol can say so."""

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin to close it."""


class Aging(Leaver, Protocol):
    """Who can be asked to leave because of his age."""

    @property
    def id(self) -> str:
        """Its name: random, in hexadecimal."""

    @property
    def opened_at(self) -> float:
        """When it was opened: monotonic seconds."""


class Farewells:
    """Those who were told goodbye, until each can be closed."""

    def __init__(
        self,
        settings: DrainSettings,
        clock: Clock,
        metrics: Metrics,
        code: CloseCode,
        random: Random,
    ) -> None:
        self._return_s = settings.return_s
        self._clock = clock
        self._goodbyes = metrics.goodbyes.labels(code.name)
        self._code = code
        self._random = random
        self._leaving: dict[Leaver, float] = {}  # until when each is waited for

    def __len__(self) -> int:
        """How many are still to be closed."""
        return len(self._leaving)

    def __contains__(self, leaver: Leaver) -> bool:
        """Whether *leaver* was told goodbye and is still to be closed."""
        return leaver in self._leaving

    def say(self, leavers: Iterable[Leaver]) -> None:
        """Tell each when to come back, and close those who wait for nothing."""
        until = self._clock.monotonic() + SETTLE_S
        for leaver in leavers:
            after_s = round(self._random.uniform(0.0, self._return_s), 3)
            leaver.goodbye(after_s, self._code.meaning)
            self._goodbyes.inc()
            self._leaving[leaver] = until
        self.close()

    def close(self) -> int:
        """Close whoever can be closed by now; return how many were still waiting."""
        now = self._clock.monotonic()
        cut = 0
        for leaver, until in list(self._leaving.items()):
            quiet = leaver.quiet
            if quiet or now >= until:
                cut += not quiet
                del self._leaving[leaver]
                leaver.close(self._code)
        return cut

    async def finish(self) -> int:
        """Close the rest as it becomes quiet; return how many could not be awaited."""
        cut = self.close()
        while self._leaving:
            await self._clock.sleep(STEP_S)
            cut += self.close()
        return cut


class Drain:
    """Says goodbye to everybody on a node that stops. Run it once."""

    def __init__(
        self,
        settings: DrainSettings,
        clock: Clock,
        metrics: Metrics,
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random = random or Random()
        self._farewells = Farewells(settings, clock, metrics, GOING_AWAY, self._random)

    async def run(
        self, groups: Collection[Collection[Leaver]], shut: Callable[[], None]
    ) -> None:
        """
        Wait for the notice, *shut* the doors, then say goodbye to all, and close them.

        *groups* are live: who leaves by himself must vanish from them. After *shut*,
        nobody may join them any more.
        """
        if self._settings.notice_s > 0 and any(groups):
            log.info("drain_announced", notice_s=self._settings.notice_s)
            await self._clock.sleep(self._settings.notice_s)
        shut()
        leavers = [(leaver, group) for group in groups for leaver in group]
        if not leavers:
            return
        started = self._clock.monotonic()
        log.info("drain_begun", connections=len(leavers))
        self._random.shuffle(leavers)
        told = 0
        while told < len(leavers):
            elapsed_s = self._clock.monotonic() - started
            until = due(len(leavers), self._settings.over_s, elapsed_s)
            batch, told = leavers[told:until], until
            self._farewells.say(leaver for leaver, group in batch if leaver in group)
            if told < len(leavers):
                await self._clock.sleep(STEP_S)
        cut = await self._farewells.finish()
        seconds = round(self._clock.monotonic() - started, 3)
        log.info("drain_ended", seconds=seconds, unacknowledged=cut)


def due(count: int, over_s: float, elapsed_s: float) -> int:
    """Return how many of *count* are to be told by the end of the step that begins."""
    if count <= AT_ONCE or over_s <= STEP_S:
        return count
    rate = max(count / over_s, AT_ONCE)
    # By the time, not by the step: on a busy machine steps are longer than they are.
    return min(math.ceil(rate * (elapsed_s + STEP_S)), count)


class Rotation:
    """Moves connections that have grown old, so that a new node fills up too."""

    def __init__(
        self,
        settings: DrainSettings,
        clock: Clock,
        metrics: Metrics,
        connections: Collection[Aging],
        random: Random | None = None,
    ) -> None:
        self._max_age_s = settings.max_age_s
        self._clock = clock
        self._connections = connections
        self._told: set[Aging] = set()  # of those that are not gone yet
        self._farewells = Farewells(
            settings, clock, metrics, ROTATED, random or Random()
        )

    async def run(self) -> None:
        """Look for the old until cancelled; return at once when age does not matter."""
        if self._max_age_s <= 0:
            return
        shortest, longest = LOOK_S
        period_s = min(max(self._max_age_s / LOOKS, shortest), longest)
        while True:
            await self._clock.sleep(period_s)
            self._told.intersection_update(self._connections)
            old = self._old(period_s)
            self._told.update(old)
            self._farewells.say(old)
            await self._farewells.finish()

    def _old(self, period_s: float) -> list[Aging]:
        """Return those whose time has come, but not a crowd at once."""
        now, max_age_s = self._clock.monotonic(), self._max_age_s
        young = now - max_age_s * (1 - SPREAD)
        old = [
            one
            for one in self._connections
            if one.opened_at <= young
            and now - one.opened_at >= age_s(one.id, max_age_s)
            and one not in self._told
        ]
        usual = len(self._connections) * period_s / self._max_age_s
        return old[: math.ceil(max(AT_ONCE * period_s, 2 * usual))]


def age_s(id: str, max_age_s: float) -> float:
    """Return how old the connection *id* may grow: the same whenever it is asked."""
    chance = int(id[-4:], 16) / 0xFFFF
    return max_age_s * (1 - SPREAD + 2 * SPREAD * chance)
