"""
One channel with a history, as one node has it: where it stands and what it passes on.

A node has one position per channel, and everybody who is subscribed here stands there.

* What continues the position is passed on; what lies before it has been seen.
* What jumps ahead is held, and the stream is *behind*: a read of the history closes the
  gap in order, or the gap is told.
* A subscriber enters at the position, with what it missed before it.

Laws: nobody is passed a publication twice, or out of order, or after a hole that was
not told. What is held is bounded in bytes; dropping it costs another read, never a
publication. Reads are made one at a time: ``next_read`` says which, ``merge`` takes
what was found; one that failed is just asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence

from realtime.core.recent import Recent, Run, cost_of
from realtime.core.stream_values import (
    Bounds,
    Entry,
    Found,
    Read,
    Reason,
    Want,
    offset_of,
)
from realtime.types import Channel, JSONText, Position, Publication, PublicationKind

MAX_DEAD = 8  # epochs remembered that are no more

FORWARD = (Reason.RECOVER, Reason.HEAL)


class Stream:
    """See the module. Nothing is passed on before the first read is merged."""

    __slots__ = (
        "_again",
        "_asked_at",
        "_bounds",
        "_channel",
        "_dead",
        "_heard",
        "_held",
        "_held_at_read",
        "_held_bytes",
        "_lost_below",
        "_nothing_kept",
        "_read",
        "_wants",
        "behind",
        "position",
        "recent",
    )

    def __init__(self, channel: Channel, bounds: Bounds) -> None:
        self._channel = channel
        self._bounds = bounds
        self.position: Position | None = None
        self.behind = False  # something is missing, or may be
        self.recent = Recent()
        self._heard: Position | None = None  # of what came last by itself
        self._held: list[Publication] = []
        self._held_bytes = 0
        self._lost_below = 0  # what follows a smaller offset is not kept any more
        self._nothing_kept = False  # nothing was, before what the tail has
        self._dead: tuple[str, ...] = ()  # epochs that are no more
        # Of the read that is under way:
        self._read: Read | None = None
        self._wants: Sequence[Want] = ()
        self._asked_at: Position | None = None  # where the node stood
        self._held_at_read = 0  # how many were held
        self._again = False  # whatever it finds, another one is needed

    # -- what arrives ------------------------------------------------------------

    def receive(self, publication: Publication) -> Sequence[Publication]:
        """Take what the broker brought; return what is to be passed on, in order."""
        came, stands = publication.position, self.position
        assert came is not None
        heard, self._heard = self._heard, came
        if stands is None:
            self._hold(publication)
            return ()
        if came.epoch != stands.epoch or came.offset > stands.offset + 1:
            self._hold(publication)
            self.behind = True
            return ()
        if came.offset == stands.offset + 1:
            self._advance(publication)
            return [publication, *self._release()] if self._held else (publication,)
        if heard is None or heard.epoch != came.epoch or came.offset > heard.offset:
            return ()  # a read was ahead of it
        return self._heard_again(publication)

    def _heard_again(self, publication: Publication) -> Sequence[Publication]:
        """
        An offset came a second time: the store may have lost the end of its stream
        and number from there again, as a replica does that takes over too early.
        """
        self.behind = self._again = True  # reading the position will tell
        offset, tail = offset_of(publication), self.recent.tail
        known = None if tail is None else tail.at(offset)
        if known is None or known.data == publication.data:
            return ()
        assert self.position is not None
        gap = self._begin_again(Position(offset - 1, self.position.epoch))
        self._advance(publication)
        return (gap, publication)

    def doubt(self, top: Position, asked_at: Position) -> None:
        """
        Take the broker's *top*, asked for when the node stood at *asked_at*: whoever
        does not stand there by now has missed something.
        """
        stands = self.position
        assert stands is not None
        behind = top.epoch != stands.epoch or top.offset > stands.offset
        if behind or top.offset < asked_at.offset:
            self.behind = self._again = True

    def _advance(self, publication: Publication) -> None:
        self.position = publication.position
        self.recent.add(publication)

    def _hold(self, publication: Publication) -> None:
        cost = cost_of(publication)
        if self._held and self._held_bytes + cost > self._bounds.held_bytes:
            self._let_go()
            self._again = True
        self._held.append(publication)
        self._held_bytes += cost

    def _let_go(self) -> Sequence[Publication]:
        if not self._held:
            return ()
        held, self._held = self._held, []
        self._held_bytes = self._held_at_read = 0
        return held

    def _release(
        self, settled: bool = False, told: bool = False
    ) -> Sequence[Publication]:
        """
        Return what of the held continues now, and hold the rest.

        With *settled*, a read has reached the top: whatever came before it was begun
        and still does not fit is of another store than this node reads, and dropped
        with a notice, unless one was *told* for the same.
        """
        before, held, start = self._held_at_read, self._let_go(), self.position
        passed, stray = [], False
        for index, publication in enumerate(held):
            came, stands = publication.position, self.position
            assert came is not None
            assert stands is not None
            same = came.epoch == stands.epoch
            if same and came.offset <= stands.offset:
                continue
            if same and came.offset == stands.offset + 1:
                self._advance(publication)
                passed.append(publication)
            elif settled and index < before:
                stray = True
            else:
                self._hold(publication)
        if stray and not told:
            assert start is not None
            passed.insert(0, self._gap(start))
        return passed

    def _gap(self, position: Position) -> Publication:
        null = JSONText(b"null")
        return Publication(self._channel, null, position, kind=PublicationKind.GAP)

    def _begin_again(self, position: Position) -> Publication:
        """Stand somewhere else, and return the notice of what is lost by it."""
        stands = self.position
        if stands is not None and stands.epoch != position.epoch:
            self._bury(stands.epoch)
            self._lost_below = 0
        self.position = position
        self._heard = self._read = None
        self.forget()
        self.recent.begin(position.offset)
        return self._gap(position)

    def _bury(self, epoch: str) -> None:
        if epoch not in self._dead:
            self._dead = (*self._dead[1 - MAX_DEAD :], epoch)

    def forget(self) -> None:
        """Remember nothing of the history, unless a read is under way."""
        if self._read is None:
            self.recent.clear()
            self._nothing_kept = False

    # -- entering ----------------------------------------------------------------

    def entry(self, want: Want) -> Entry | None:
        """Say how somebody enters now; None when that needs a read first."""
        since, stands = want.since, self.position
        if stands is None:
            return None
        if since is None:
            return self._enter(want, None)
        if self._is_lost(want, since, stands):
            return self._enter(want, False)
        if self._is_ahead(since, stands):
            return None
        if since.offset == stands.offset:
            return Entry(stands, True)
        run = self.recent.find(since.offset)
        if run is None:
            return None
        size = self._bounds.page_bytes
        room = size if want.room is None else min(want.room, size)
        missed = run.after(since.offset, self._bounds.page, room)
        last = missed[-1].position
        assert last is not None
        if last == stands:
            return Entry(stands, True, missed)
        return Entry(last, None, missed, more=True)

    def _enter(self, want: Want, recovered: bool | None) -> Entry | None:
        """Enter with nothing but the newest publication, if that is wanted."""
        assert self.position is not None
        if not want.latest:
            return Entry(self.position, recovered)
        tail = self.recent.tail
        if tail is not None and tail.publications:
            newest = tail.publications[-1]
            return Entry(self.position, recovered, latest=newest)
        return Entry(self.position, recovered) if self._nothing_kept else None

    @staticmethod
    def _is_ahead(since: Position, stands: Position) -> bool:
        """Whether who comes from there may know more than this node does."""
        return since.epoch != stands.epoch or since.offset > stands.offset

    def _is_lost(self, want: Want, since: Position, stands: Position) -> bool:
        if not self._is_ahead(since, stands):
            return since.offset < self._lost_below
        if since.epoch in self._dead and since.epoch != stands.epoch:
            return True
        if not want.tried or self.behind:
            return False
        if since.epoch != stands.epoch:
            self._bury(since.epoch)  # the next one need not ask
        return True

    # -- reading -----------------------------------------------------------------

    def next_read(self, wants: Sequence[Want]) -> Read | None:
        """
        Say what is to be read to heal, or for those who want to enter; None: nothing.

        It counts as begun. ``merge`` marks the wants as tried.
        """
        stands = self.position
        read = _first_read(wants) if stands is None else self._choose(wants, stands)
        self._read, self._wants = read, tuple(wants)
        self._asked_at = stands
        self._held_at_read = len(self._held)
        self._again = False
        if read is not None and stands is not None:
            self.recent.begin(stands.offset)
        return read

    def _choose(self, wants: Sequence[Want], stands: Position) -> Read | None:
        waiting = [want for want in wants if self.entry(want) is None]
        places = []
        for want in waiting:
            since = want.since
            if since is None or self._is_lost(want, since, stands):
                continue
            if self._is_ahead(since, stands):
                return Read(Reason.HEAL, stands)
            places.append(since)
        if self.behind:
            return Read(Reason.HEAL, stands)
        if places:
            return Read(Reason.RECOVER, _lowest(places))
        return Read(Reason.LATEST) if waiting else None

    def merge(self, read: Read, found: Found) -> Sequence[Publication]:
        """
        Take what *read* has found; return what is to be passed on to those who are
        subscribed already, gap notices among it.
        """
        if read is not self._read:
            return ()  # the stream has begun again since
        self._read = None
        told = self._move(read, found)
        first = self._asked_at is None
        if read.reason is Reason.HEAL:
            self.behind = found.more
        at_top = first or (read.reason in FORWARD and not found.more)
        gaps = any(each.kind is PublicationKind.GAP for each in told)
        told += self._release(at_top and not self._again, gaps)
        if self._again or self._held:
            self.behind = True
        for want in self._wants:
            want.tried = True
        self._wants = ()
        return told

    def _move(self, read: Read, found: Found) -> list[Publication]:
        stands, asked_at, top = self.position, self._asked_at, found.top
        if stands is None:
            self._stand(read, found)
            return []
        assert asked_at is not None
        if top.epoch != stands.epoch:
            return self._change_epoch(read, found)
        if top.offset < asked_at.offset:  # the store has lost the end of its stream
            return [self._begin_again(top)]
        if read.reason in FORWARD:
            return self._fill(read, found, stands)
        self._learn_latest(found)
        return []

    def _stand(self, read: Read, found: Found) -> None:
        """Take the first position."""
        since, top = read.since, found.top
        self.position = top
        self.recent.begin(top.offset)
        if since is None:
            if read.reason is Reason.LATEST:
                self._learn_latest(found)
            return
        if since.epoch != top.epoch:
            self._bury(since.epoch)
        if found.complete:
            self.recent.learn(Run(since.offset, found.publications))
        else:
            self._lost_below = found.oldest
            self.recent.learn(Run(found.oldest, found.publications))

    def _change_epoch(self, read: Read, found: Found) -> list[Publication]:
        """The store has forgotten this channel: everything in it now is new."""
        if read.reason is not Reason.HEAL:
            self._again = True
            return []
        gap = self._begin_again(Position(found.oldest, found.top.epoch))
        self._lost_below = found.oldest
        for publication in found.publications:
            self._advance(publication)
        return [gap, *found.publications]

    def _fill(self, read: Read, found: Found, stands: Position) -> list[Publication]:
        """Pass on what the history has and this node had not."""
        assert read.since is not None
        low, told = read.since.offset, []
        if not found.complete:
            low = found.oldest
            self._lost_below = max(self._lost_below, low)
        if low > stands.offset:  # what followed our own place is not kept any more
            told.append(self._begin_again(Position(low, stands.epoch)))
        for publication in found.publications:
            assert self.position is not None
            if offset_of(publication) > self.position.offset:
                self._advance(publication)
                told.append(publication)
        self.recent.learn(Run(low, found.publications))
        return told

    def _learn_latest(self, found: Found) -> None:
        assert self.position is not None
        if not found.publications:
            self._nothing_kept = True
            return
        newest = found.publications[0]
        ahead = offset_of(newest) - self.position.offset
        if ahead == 0:
            self.recent.learn(Run(offset_of(newest) - 1, [newest]))
        elif ahead > 0:  # pub/sub is late, or has lost it
            self._again = True


def _first_read(wants: Sequence[Want]) -> Read:
    places = [want.since for want in wants if want.since is not None]
    if places:
        return Read(Reason.RECOVER, _lowest(places))
    latest = any(want.latest for want in wants)
    return Read(Reason.LATEST if latest else Reason.TOP)


def _lowest(places: Sequence[Position]) -> Position:
    """Return the furthest back of those that are of the first one's epoch."""
    epoch = places[0].epoch
    return min(
        (place for place in places if place.epoch == epoch),
        key=lambda place: place.offset,
    )
