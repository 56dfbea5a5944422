"""
Live channels: what this node's subscribers watch, kept current and pushed.

Changes arrive from the ledger as absolute values (of one shard's cell); time changes
values too. Whatever the cause, a channel is published at most once per cadence and only
when its value changed. A periodic full read heals what pub/sub lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import structlog

from realtime.adapters.ledger.port import Ledger
from realtime.clock import Clock, Timer
from realtime.core.cells import CellChange
from realtime.core.counters import CounterDefinition, CounterSet
from realtime.core.live import LiveState
from realtime.core.measures import Measure
from realtime.core.naming import LiveName
from realtime.core.pace import Pace
from realtime.engine.interest import Interest
from realtime.engine.tasks import Tasks
from realtime.errors import LedgerUnavailable
from realtime.types import Channel, JSONText

log = structlog.get_logger(__name__)

Push = Callable[[Channel, JSONText], int]
Group = tuple[str, str]  # counter, encoded dims: what the ledger can watch

EARLIEST_S = 0.001
CELLS_AT_ONCE = 2000  # read for healing; building, parsing and merging take some 10 ms


class Watched:
    """One live channel with subscribers here."""

    __slots__ = (
        "boundary",
        "channel",
        "definition",
        "due",
        "missed",
        "open",
        "pace",
        "state",
    )

    def __init__(
        self, channel: Channel, definition: CounterDefinition, name: LiveName
    ) -> None:
        self.channel = channel
        self.definition = definition
        self.state = LiveState(definition, name)
        self.pace = Pace(definition.cadence_s)
        self.due: Timer | None = None  # a publication that waits for the cadence
        self.boundary: Timer | None = None  # the next change that time alone makes
        self.open = False  # from the first reading to the end: it may be published
        self.missed = False  # something changed before it was open

    @property
    def unique(self) -> bool:
        """Whether values must be read, because their cells' state does not travel."""
        return self.definition.measure is Measure.UNIQUE

    def close(self) -> None:
        """Publish no more, and call off both timers."""
        self.open = False
        for timer in (self.due, self.boundary):
            if timer is not None:
                timer.cancel()
        self.due = self.boundary = None


class Live:
    """Every live channel that somebody on this node watches."""

    def __init__(
        self,
        ledger: Ledger,
        counters: CounterSet,
        clock: Clock,
        push: Push,
        heal_s: float,
    ) -> None:
        self._ledger = ledger
        self._counters = counters
        self._clock = clock
        self._push = push
        self._heal_s = heal_s
        self._tasks = Tasks()
        self._watched: dict[Channel, Watched] = {}
        self._groups: dict[Group, dict[Channel, Watched]] = {}
        self._interest: Interest[LiveName] = Interest(
            self._start, self._stop, self._tasks
        )
        self._hearing: Interest[Group] = Interest(
            lambda group: ledger.watch(*group),
            lambda group: ledger.unwatch(*group),
            self._tasks,
        )
        self._stale: dict[Channel, Watched] = {}  # unique counts that must be read
        self._reading = False
        self._failing = False
        ledger.on_change = self._changed

    def __len__(self) -> int:
        return len(self._watched)

    async def open(self, name: LiveName) -> None:
        """
        Keep the channel current from now on; call ``close`` once for every ``open``.

        Raises:
            LedgerUnavailable: If the current value cannot be read.
        """
        await self._interest.acquire(name)

    def try_open(self, name: LiveName) -> bool:
        """Do ``open`` if others watch it already; say whether it was done."""
        return self._interest.try_acquire(name)

    def close(self, name: LiveName) -> None:
        """One watcher less."""
        self._interest.release(name)

    def current(self, channel: Channel) -> JSONText:
        """The value now of a channel that is open."""
        return self._watched[channel].state.current(self._clock.time()).encode()

    async def _start(self, name: LiveName) -> None:
        definition = self._counters.get(name.counter)
        assert definition is not None, "names are parsed against the definitions"
        watched = Watched(name.channel, definition, name)
        group = (name.counter, name.dims)
        # Hear before reading: what changes meanwhile is applied by its rev.
        await self._hearing.acquire(group)
        self._groups.setdefault(group, {})[name.channel] = watched
        try:
            await self._load([watched])
        except BaseException:
            self._leave_group(name)
            raise
        watched.state.publications(self._clock.time())  # subscribers are told by reply
        self._watched[name.channel] = watched
        watched.open = True
        if watched.missed:
            self._touch(watched)
        self._arm(watched)

    async def _stop(self, name: LiveName) -> None:
        self._watched.pop(name.channel).close()
        self._stale.pop(name.channel, None)
        self._leave_group(name)

    def _leave_group(self, name: LiveName) -> None:
        group = (name.counter, name.dims)
        channels = self._groups[group]
        del channels[name.channel]
        if not channels:
            del self._groups[group]
        self._hearing.release(group)

    # -- what changes ------------------------------------------------------------

    def _changed(self, change: CellChange) -> None:
        group = self._groups.get((change.key.counter, change.key.dims))
        if group is None:
            return
        now = self._clock.time()
        for watched in group.values():
            if watched.state.apply(change, now):
                watched.pace.changed(now)
                self._touch(watched)

    def _touch(self, watched: Watched) -> None:
        """Something may have changed: publish as soon as the cadence allows."""
        if not watched.open:
            watched.missed = True
            return
        if watched.due is not None:
            return
        clock = self._clock
        delay_s = watched.pace.delay_s(clock.monotonic(), clock.time())
        watched.due = clock.call_later(delay_s, lambda: self._publish(watched))

    def _publish(self, watched: Watched) -> None:
        watched.due = None
        if watched.unique:
            self._stale[watched.channel] = watched
            self._read_stale()
        else:
            self._emit(watched)

    def _emit(self, watched: Watched) -> None:
        values = watched.state.publications(self._clock.time())
        for value in values:
            self._push(watched.channel, value.encode())
        if values:
            watched.pace.published(self._clock.monotonic(), self._clock.time())
        self._arm(watched)

    def _arm(self, watched: Watched) -> None:
        """Set the timer for the next instant at which time alone changes the value."""
        if watched.boundary is not None:
            watched.boundary.cancel()
            watched.boundary = None
        now = self._clock.time()
        at = watched.state.next_boundary(now)
        if at is not None:
            watched.boundary = self._clock.call_later(
                max(at - now, EARLIEST_S), lambda: self._at_boundary(watched)
            )

    def _at_boundary(self, watched: Watched) -> None:
        watched.boundary = None
        self._touch(watched)

    # -- reading -----------------------------------------------------------------

    def _read_stale(self) -> None:
        if not self._reading:
            self._reading = True
            self._tasks.spawn(self._drain_stale())

    async def _drain_stale(self) -> None:
        """Read and publish unique counts; those that go stale meanwhile are next."""
        try:
            while self._stale:
                batch = list(self._stale.values())
                self._stale.clear()
                await self._heard(self._load(batch), batch)
        finally:
            self._reading = False

    async def _heard(self, load: Awaitable[None], batch: Iterable[Watched]) -> None:
        try:
            await load
        except LedgerUnavailable as exc:
            if not self._failing:
                log.warning("live_read_failed", error=str(exc))
            self._failing = True
            return
        except Exception:  # a defect of ours, which must not end all healing
            if not self._failing:
                log.exception("live_read_failed")
            self._failing = True
            return
        self._failing = False
        for watched in batch:
            if watched.open:  # else it was closed meanwhile, and perhaps opened anew
                self._emit(watched)

    async def _load(self, batch: Sequence[Watched]) -> None:
        now = self._clock.time()
        plain = [watched for watched in batch if not watched.unique]
        if plain:
            keys = [key for watched in plain for key in watched.state.keys(now)]
            known = [watched.state.revs() for watched in plain]
            readings = await self._ledger.read(keys)
            for watched, revs in zip(plain, known, strict=True):
                watched.state.load(readings, now, revs)
        for watched in batch:
            if watched.unique:
                await self._load_unique(watched, now)

    async def _load_unique(self, watched: Watched, now: float) -> None:
        unions = watched.state.unions(now)
        known = watched.state.revs()
        counts = await self._ledger.count_unique([keys for _, keys in unions])
        ends = [end for end, _ in unions]
        watched.state.load_counts(list(zip(ends, counts, strict=True)), now, known)

    async def run(self) -> None:
        """Heal: read everything watched in full, again and again, until cancelled."""
        while True:
            await self._clock.sleep(self._heal_s)
            await self.heal()

    async def heal(self) -> None:
        """Read everything watched in full and publish what had been missed."""
        for part in self._parts():
            await self._heard(self._load(part), part)

    def _parts(self) -> Iterator[list[Watched]]:
        """Part what is watched, so that reading a part holds up nobody for long."""
        part: list[Watched] = []
        cells, now = 0, self._clock.time()
        for watched in list(self._watched.values()):
            part.append(watched)
            cells += watched.state.size(now)
            if cells >= CELLS_AT_ONCE:
                yield part
                part, cells = [], 0
        if part:
            yield part

    async def aclose(self) -> None:
        """Stop timers and tasks."""
        for watched in self._watched.values():
            watched.close()
        await self._tasks.aclose()
