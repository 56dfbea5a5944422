"""
The contract of a broker. Proved for every form by the suite in realtime/testing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from realtime.types import Channel, Position, Publication

OnPublication = Callable[[Publication], None]


@dataclass(frozen=True, slots=True)
class Keep:
    """
    What a channel keeps: the last *size* publications, none longer than *ttl_s*.

    *meta_ttl_s* is how long an unused channel keeps its offset and epoch.
    """

    size: int
    ttl_s: float
    meta_ttl_s: float


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """
    How one publication is made.

    *keep*: append it to the history; without it, it has no position. *idempotency_key*:
    a publication on this channel with a key that was seen within *idempotency_ttl_s* is
    not made again. *version*: one that is not greater than the last made on this
    channel is not made; one of another *version_epoch* than the last always is. It is
    between 0 and 2**63 - 1, and needs *keep*. *local*: if it is certain that it cannot
    travel, it is handed to this node's own subscribers alone. That is for what is worth
    something to them even if nobody else ever hears of it; of what is kept, or has a
    key, it means nothing, since neither could be noted.

    Raises:
        ValueError: If there is a version without *keep*, or outside its range.
    """

    keep: Keep | None = None
    idempotency_key: str | None = None
    idempotency_ttl_s: float = 300.0
    version: int | None = None
    version_epoch: str = ""
    local: bool = False

    def __post_init__(self) -> None:
        if self.version is not None:
            if self.keep is None:
                raise ValueError("a version needs a channel that keeps its history")
            if not 0 <= self.version < 2**63:
                raise ValueError(f"version is {self.version}, not in 0 to 2**63 - 1")


PLAIN = PublishOptions()


@dataclass(frozen=True, slots=True)
class Placed:
    """
    What became of a publication.

    ``position`` is its place in the history; of a duplicate, that of the first one; of
    what is stale, None. ``skipped`` says why it was not made: "duplicate" (its key was
    seen before) or "stale" (its version was); None when it was. ``local``: only this
    node's own subscribers were given it, for it could not travel.
    """

    position: Position | None = None
    skipped: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """
    Which publications to read: at most *limit* after *since* (exclusive), or before it
    with *reverse*; from the oldest (the newest) when there is no *since*. A *limit* of
    0 asks for the top position alone. *max_bytes* bounds their data; one is always
    returned if there is any and *limit* allows it.
    """

    since: Position | None = None
    limit: int = 100
    reverse: bool = False
    max_bytes: int = 512 * 1024


@dataclass(frozen=True, slots=True)
class History:
    """
    A part of a channel's history, read at one instant.

    ``top`` is the position of the newest publication ever made (offset 0: none yet).
    ``complete``: nothing is missing between ``since`` and the first publication, and
    the epochs agree. False means that what lies between has been trimmed, or that
    ``since`` was told by a server that has lost it; then reading began at the next one
    that is kept (with reverse, there may be none). Or it means that ``since`` is of
    another epoch, or beyond ``top``; then reading began as if it had not been given.
    ``more``: there are further ones in this direction beyond limit or bytes.
    """

    publications: Sequence[Publication]
    top: Position
    complete: bool = True
    more: bool = False


class Broker(ABC):
    """
    Carries publications to every node that has subscribers, and keeps their history.

    Delivery is at most once per node; publications of one channel by one node arrive in
    the order of publishing. Those with a position arrive in the order of offsets, or
    not at all: numbering and sending are one atomic step. Offsets grow by one. Only
    where the store may have lost the newest ones (a replica took over, a server came
    back) some are left out, so that none is given out twice; a read since the last
    one before them says whether anything is missing. A channel's *epoch* changes when
    its offsets start anew (the store has lost them).
    The publishing node receives its own publications through the same path, once.
    ``on_publication`` is called synchronously on the event loop and must not raise.
    """

    on_publication: OnPublication
    immediate: bool = False
    """Whether nothing here waits: reading, subscribing and ending end in one step."""

    @abstractmethod
    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable when there is nobody to connect to."""

    @abstractmethod
    async def publish(
        self, publication: Publication, options: PublishOptions = PLAIN
    ) -> Placed:
        """
        Hand over one publication; its own ``position`` is ignored.

        With an idempotency key or a version it may be repeated; otherwise it must not.
        With ``options.local``, what certainly has not been handed over is delivered
        here, in the order of publishing, before this returns; no node gets it a second
        time. Where that is uncertain, it is not.

        Raises:
            BrokerUnavailable: If it may not have been handed over.
        """

    @abstractmethod
    async def history(
        self, channel: Channel, query: HistoryQuery, keep: Keep
    ) -> History:
        """
        Read a part of what *channel*, which keeps *keep*, has kept.

        A channel that nobody has published on gets its epoch by being read, so that
        its position may be told.

        Raises:
            BrokerUnavailable: If it cannot be read.
        """

    @abstractmethod
    async def tops(self, channels: Sequence[Channel], keep: Keep) -> Sequence[Position]:
        """
        Return the top position of each channel, in few round trips.

        Raises:
            BrokerUnavailable: If they cannot be read.
        """

    @abstractmethod
    async def forget(self, channel: Channel) -> None:
        """
        Remove the kept publications; offset and epoch stay.

        Raises:
            BrokerUnavailable: If they may not have been removed.
        """

    @abstractmethod
    async def subscribe(self, channel: Channel) -> None:
        """
        Have this channel's publications delivered here.

        When it returns, publications made from now on will arrive (as far as pub/sub
        can promise). Subscribing twice is harmless. After a reconnect the broker
        resubscribes by itself.

        Raises:
            BrokerUnavailable: If that is not certain in time. A channel that was not
                subscribed before is then not subscribed.
        """

    @abstractmethod
    async def unsubscribe(self, channel: Channel) -> None:
        """Stop it. Harmless when not subscribed."""

    @abstractmethod
    async def probe(self) -> bool:
        """
        Prove delivery: publish to a channel of this node's own and see it come back.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections and tasks. Closing twice is harmless."""
