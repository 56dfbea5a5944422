"""
The channels with a history that have subscribers here.

What a read finds is remembered until positions are compared the next time, so that
thousands who come back at once cost the broker a few reads, not thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from realtime.adapters.broker.port import Broker, Keep
from realtime.adapters.redis.backoff import Backoff
from realtime.clock import Clock
from realtime.core.stream_values import Bounds, Entry, Want
from realtime.engine.metrics import Metrics
from realtime.engine.tasks import Tasks
from realtime.engine.tended import Memory, Room, Tended, Tools
from realtime.errors import Unavailable
from realtime.settings import HistorySettings
from realtime.types import Channel, Position, Publication

TOPS = 500
"""Positions that are asked for at once."""

Suspect = tuple[Tended, Position, Position]
"""A channel, where the broker stands, and where the node stood when it asked."""

GRACE_S = 0.5
"""What is published while positions are compared may take this long to arrive."""


class Streams:
    """
    See the module. *pass_on* is given what subscribers here are to get, in order.
    """

    def __init__(
        self,
        broker: Broker,
        settings: HistorySettings,
        clock: Clock,
        metrics: Metrics,
        tasks: Tasks,
        pass_on: Callable[[Publication], None],
    ) -> None:
        self._check_s = settings.check_s
        self._pass_on = pass_on
        self._backoff = Backoff(base_s=0.1, cap_s=2.0)
        self._memory = Memory()
        self._tools = Tools(
            broker,
            Bounds(settings.max_page, settings.max_reply_bytes),
            clock,
            metrics,
            tasks,
            pass_on,
            self._memory,
            self._backoff,
        )
        self._channels: dict[Channel, Tended] = {}

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def remembered_bytes(self) -> int:
        """Of histories, roughly."""
        return self._memory.bytes

    # -- who needs them ----------------------------------------------------------

    def open(self, channel: Channel, keep: Keep) -> None:
        """
        Take note of what arrives on *channel* from now on; before the broker is asked.

        Every ``open`` needs one ``close``.
        """
        tended = self._channels.get(channel)
        if tended is None:
            tended = self._channels[channel] = Tended(channel, keep, self._tools)
        tended.holders += 1

    def close(self, channel: Channel) -> None:
        """Undo one ``open``; harmless on a channel that is not open."""
        tended = self._channels.get(channel)
        if tended is None:
            return
        tended.holders -= 1
        if not tended.holders:
            del self._channels[channel]
            tended.close()

    def receive(self, publication: Publication) -> None:
        """Take what the broker brings, on any channel."""
        # Hot: once per publication that arrives here.
        tended = self._channels.get(publication.channel)
        if tended is None or publication.position is None:
            self._pass_on(publication)
        else:
            tended.receive(publication)

    def entry(self, channel: Channel, want: Want) -> Entry | None:
        """Say how somebody may enter an open channel; None when that takes a read."""
        return self._channels[channel].stream.entry(want)

    def try_enter(
        self, channel: Channel, want: Want, room: Room | None = None
    ) -> Entry | None:
        """The same, if nothing must be waited for. See ``Tended.try_enter``."""
        return self._channels[channel].try_enter(want, room)

    async def enter(
        self, channel: Channel, want: Want, room: Room | None = None
    ) -> Entry:
        """The same, and wait for the read. See ``Tended.enter``."""
        return await self._channels[channel].enter(want, room)

    # -- comparing positions -----------------------------------------------------

    async def run(self) -> None:
        """Compare all positions with the broker's again and again."""
        while True:
            await self._tools.clock.sleep(self._check_s)
            await self._check(GRACE_S)

    async def catch_up(self) -> None:
        """Compare them now, until the broker answers: something may have been lost."""
        failures = 0
        while not await self._check(0.0):
            failures += 1
            await self._tools.clock.sleep(self._backoff.delay_s(failures))

    async def _check(self, grace_s: float) -> bool:
        """
        Compare all positions; return whether the broker has answered.

        Whoever is behind and stays so for *grace_s* is healed.
        """
        complete, suspects = True, list[Suspect]()
        for keep, tended in self._by_keep():
            for some in _chunks(tended, TOPS):
                try:
                    suspects += await self._compare(keep, some)
                except Unavailable:
                    complete = False
        if suspects and grace_s:
            await self._tools.clock.sleep(grace_s)
        for one, top, asked_at in suspects:
            if one.holders:
                one.doubt(top, asked_at)
        return complete

    def _by_keep(self) -> Iterable[tuple[Keep, list[Tended]]]:
        found: dict[Keep, list[Tended]] = {}
        for tended in self._channels.values():
            found.setdefault(tended.keep, []).append(tended)
        return found.items()

    async def _compare(self, keep: Keep, some: Sequence[Tended]) -> list[Suspect]:
        """Return those that do not stand where the broker does, and where they did."""
        for tended in some:
            tended.stream.forget()  # what was remembered has served
            self._memory.drop(tended.stream)
        asked = [
            (tended, tended.stream.position)
            for tended in some
            if tended.stream.position is not None
        ]
        if not asked:
            return []
        names = [tended.channel for tended, _ in asked]
        tops = await self._tools.broker.tops(names, keep)
        self._tools.metrics.position_checks.inc(len(tops))
        return [
            (tended, top, position)
            for (tended, position), top in zip(asked, tops, strict=True)
            if top != tended.stream.position
        ]


def _chunks(items: list[Tended], size: int) -> Iterator[Sequence[Tended]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
