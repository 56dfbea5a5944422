"""
Keeping the store's word of who is here true, whatever becomes of the store.

Laws: what this node holds to be there (``Rolls``) is exactly what it has sent to the
store; so the sum that a lease is renewed with tells whether the store has lost or kept
something that it should not. The calls about one member are made one after another,
each in a task that outlives the connection. A departure that the store did not take is
made again when it answers, and lingers then: meanwhile others may have lost what they
knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import Any

import structlog

from realtime.adapters.presence.port import Arrival, Presence
from realtime.clock import Clock, Timer
from realtime.engine.metrics import Metrics
from realtime.engine.rolls import Rolls
from realtime.engine.tasks import Tasks
from realtime.errors import Unavailable
from realtime.types import Channel, ConnectionId, Member

log = structlog.get_logger(__name__)

Tell = Callable[[Channel, Member, bool], None]
"""Called when a member (the first or last of its user) has come, or gone."""

BATCH = 100  # channels that are touched together
RETRY_S = 0.5  # and up to twice that, while the store does not answer
LATE_AT_ONCE = 500  # departures and arrivals that are made again together
CLOSE_S = 3.0  # how long closing waits for what is under way

Key = tuple[Channel, ConnectionId]


class Attendance:
    """
    Joins, leaves, renews and mends on behalf of this node.

    *lease_s* is when the members of a node that died are told as gone, at the latest:
    the store's leases are for three quarters of it, and looked at every quarter.
    """

    def __init__(
        self,
        presence: Presence,
        lease_s: float,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
        tell: Tell,
    ) -> None:
        self._presence = presence
        self._settle_s = lease_s / 2
        self._lease_s = lease_s * 3 / 4
        self._period_s = lease_s / 4
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._tell = tell
        self.rolls = Rolls()
        self._always: list[Channel] = []
        self._under_way: dict[Key, asyncio.Task[None]] = {}
        self._late_joins: dict[Key, Member] = {}
        self._late_leaves: dict[Key, float] = {}
        self._repairing = False
        self._unsettled_until = float("-inf")
        self._looks: dict[tuple[Channel, int], Timer] = {}
        self._random = Random()

    @property
    def late(self) -> int:
        """How many arrivals and departures the store has not taken yet."""
        return len(self._late_joins) + len(self._late_leaves)

    def always(self, channels: Iterable[Channel]) -> None:
        """Look at these channels also while nobody of this node is there."""
        self._always.extend(channels)

    # -- coming and going ----------------------------------------------------------

    async def join(self, channel: Channel, member: Member) -> Arrival:
        """
        Add a member.

        When this is cancelled, it may be added all the same: ``leave`` then.

        Raises:
            Unavailable: If the store did not answer; the member is not there then.
        """
        done = asyncio.get_running_loop().create_future()
        work = partial(self._join, channel, member, done)
        self._begin((channel, member.client), work)
        arrival: Arrival = await done
        return arrival

    def join_later(self, channel: Channel, member: Member) -> None:
        """Add a member in the background, as soon as the store answers."""
        work = partial(self._join, channel, member, None)
        self._begin((channel, member.client), work)

    def leave(
        self, channel: Channel, client: ConnectionId, linger_s: float = 0.0
    ) -> None:
        """Remove a member in the background; harmless if it is none."""
        key = channel, client
        if key in self._under_way or self.rolls.get(*key) is not None:
            self._begin(key, partial(self._leave, channel, client, linger_s))

    def _begin(self, key: Key, work: Callable[[], Any]) -> None:
        """Do *work* when what is under way with the same member has ended."""
        before = self._under_way.get(key)
        task = self._tasks.spawn(_after(before, work))
        self._under_way[key] = task
        task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]

    async def _join(
        self,
        channel: Channel,
        member: Member,
        done: asyncio.Future[Arrival] | None,
    ) -> None:
        key = channel, member.client
        late = self._late_leaves.pop(key, None)
        self._late_joins.pop(key, None)
        self.rolls.add(channel, member)
        try:
            arrival = await self._presence.join(channel, member, self._lease_s)
        except Unavailable as exc:
            if done is None:
                self._be_late(self._late_joins, key, member)
            elif late is not None:
                self._be_late(self._late_leaves, key, late)
            else:
                self.rolls.remove(*key)
            if done is not None and not done.done():
                done.set_exception(exc)
            return
        except Exception:  # a defect of ours, but nobody may wait for ever
            self.rolls.remove(*key)
            if done is not None and not done.done():
                done.set_exception(Unavailable("presence has failed"))
            raise
        self._tell_gone(channel, arrival.gone)
        if arrival.first and late is None:  # else nobody was told that it had gone
            self._tell(channel, member, True)
        if done is not None and not done.done():
            done.set_result(arrival)

    async def _leave(
        self, channel: Channel, client: ConnectionId, linger_s: float
    ) -> None:
        key = channel, client
        never_came = self._late_joins.pop(key, None) is not None
        self._late_leaves.pop(key, None)
        member = self.rolls.remove(*key)
        if member is None:
            return  # it never came
        if self._clock.monotonic() < self._unsettled_until:
            linger_s = max(linger_s, self._settle_s)
        try:
            left = await self._presence.leave(channel, client, member.user, linger_s)
        except Unavailable:
            known = False
        else:
            self._tell_gone(channel, left.gone)
            known = left.known or never_came
        if not known:  # restored with the others of this node, it leaves again
            self.rolls.add(channel, member)
            self._be_late(self._late_leaves, key, linger_s)
            return
        if linger_s > 0 and member.user is not None:
            self._look_after(channel, linger_s)

    def _tell_gone(self, channel: Channel, gone: Sequence[Member]) -> None:
        for member in gone:
            self._tell(channel, member, False)

    # -- what lingers ----------------------------------------------------------------

    def _look_after(self, channel: Channel, delay_s: float) -> None:
        """Look at *channel* when those who linger now may be gone."""
        step_s = max(0.1, delay_s / 20)  # few looks, however many linger
        turn = int((self._clock.monotonic() + delay_s) / step_s) + 1
        key = channel, turn
        if key not in self._looks:
            wait_s = turn * step_s - self._clock.monotonic()
            self._looks[key] = self._clock.call_later(wait_s, partial(self._look, key))

    def _look(self, key: tuple[Channel, int]) -> None:
        del self._looks[key]
        self._tasks.spawn(self._look_at(key[0]))

    async def _look_at(self, channel: Channel) -> None:
        await self._touch([channel])

    # -- leases ----------------------------------------------------------------------

    async def run(self) -> None:
        """Renew all leases, over and over, and hear who is gone."""
        while True:
            batches = list(_batches(self._channels()))
            pause_s = self._period_s / max(len(batches), 1)
            for batch in batches:
                await self._touch(batch)
                await self._clock.sleep(pause_s)
            if not batches:
                await self._clock.sleep(pause_s)

    def reconnected(self) -> None:
        """The store may have lost something: look at everything at once."""
        self._unsettle()
        self._tasks.spawn(self._renew_all())

    async def _renew_all(self) -> None:
        for batch in _batches(self._channels()):
            await self._touch(batch)

    def _channels(self) -> list[Channel]:
        return [*self.rolls, *(one for one in self._always if one not in self.rolls)]

    async def _touch(self, channels: Sequence[Channel]) -> bool:
        """Renew leases, mend what differs; whether the store has answered."""
        sums = [(channel, self.rolls.sum(channel)) for channel in channels]
        try:
            differing, gone = await self._presence.touch(sums, self._lease_s)
            for channel, member in gone:
                self._tell(channel, member, False)
            for channel in differing:
                await self._mend(channel)
        except Unavailable as exc:
            log.info("presence_unavailable", error=str(exc))
            self._unsettle()
            return False
        return True

    async def _mend(self, channel: Channel) -> None:
        """Look again, for members come and go meanwhile; then restore."""
        sums = [(channel, self.rolls.sum(channel))]
        differing, gone = await self._presence.touch(sums, self._lease_s)
        for _, member in gone:
            self._tell(channel, member, False)
        if not differing:
            return
        self._unsettle()
        members = self.rolls.of(channel)
        back = await self._presence.restore(channel, members, self._lease_s)
        self._metrics.presence_restored.inc(len(members))
        for member in back:
            self._tell(channel, member, True)

    def _unsettle(self) -> None:
        """For a while, the store may not know whom other nodes hold to be there."""
        self._unsettled_until = self._clock.monotonic() + self._settle_s

    # -- what the store did not take ---------------------------------------------------

    def _be_late(self, late: dict[Key, Any], key: Key, what: Any) -> None:
        late[key] = what
        self._unsettle()
        if not self._repairing:
            self._repairing = True
            self._tasks.spawn(self._repair())

    async def _repair(self) -> None:
        try:
            while self.late:
                await self._clock.sleep(RETRY_S * (1 + self._random.random()))
                await self._repair_some()
        finally:
            self._repairing = False

    async def _repair_some(self) -> None:
        """Do again what was not taken, if the store answers."""
        leaves = list(islice(self._late_leaves.items(), LATE_AT_ONCE))
        joins = list(islice(self._late_joins.items(), LATE_AT_ONCE))
        some = [key[0] for key, _ in (*leaves, *joins)][:1]
        if not await self._touch(some):
            return
        # Some may have come back, or gone, while the store was asked.
        for key, linger_s in leaves:
            if key in self._late_leaves:
                self.leave(*key, linger_s)
        for key, member in joins:
            if key in self._late_joins:
                self.join_later(key[0], member)
        begun = [self._under_way.get(key) for key, _ in (*leaves, *joins)]
        await _ends(task for task in begun if task is not None)

    async def aclose(self) -> None:
        """Wait for what is under way, within reason; leases end the rest."""
        for look in self._looks.values():
            look.cancel()
        self._looks.clear()
        await _ends(self._under_way.values(), CLOSE_S)


async def _after(before: asyncio.Task[None] | None, work: Callable[[], Any]) -> None:
    if before is not None:
        await asyncio.wait([before])
    await work()


async def _ends(
    tasks: Iterable[asyncio.Task[None]], within_s: float | None = None
) -> None:
    waiting = list(tasks)
    if waiting:
        await asyncio.wait(waiting, timeout=within_s)


def _batches(channels: Sequence[Channel]) -> Iterable[Sequence[Channel]]:
    for start in range(0, len(channels), BATCH):
        yield channels[start : start + BATCH]
