"""
Whatever is published, lost, trimmed or forgotten, whoever comes and goes meanwhile:
everybody sees each publication once and in order, or is told what is lost.

The store is the one that the memory broker uses; what is between it and the node loses
publications, and a read takes as long as the machine likes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from realtime.core.history import Ring
from realtime.core.stream import Stream
from realtime.core.stream_values import Bounds, Found, Read, Reason, Want
from realtime.types import Channel, JSONText, Position, Publication, PublicationKind

CHANNEL = Channel("chat:a")
BOUNDS = Bounds(page=3, page_bytes=24, held_bytes=1_000)


@dataclass(eq=False)
class Reader:
    """Somebody who notes where they stand and complains of what cannot be."""

    position: Position | None = None
    want: Want | None = None


class Streams(RuleBasedStateMachine):
    """One store, one node, some readers."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring("e0")
        self.epochs = 0
        self.made: dict[Position, JSONText] = {}
        self.lossy = False  # whether the store has ever let go of anything
        self.wire: deque[Publication] = deque()
        self.stream = Stream(CHANNEL, BOUNDS)
        self.entered: list[Reader] = []
        self.waiting: list[Reader] = []
        self.away: list[Reader] = []
        self.read: Read | None = None
        self.found: Found | None = None
        self.asked: tuple[Position, Position] | None = None

    # -- the store -------------------------------------------------------------

    @rule(count=st.integers(1, 5), size=st.integers(1, 12))
    def publish(self, count: int, size: int) -> None:
        """Number publications, keep them, and send them off."""
        for _ in range(count):
            data = JSONText(b"%d" % len(self.made) + b" " * size)
            placed = self.ring.append(Publication(CHANNEL, data), 0.0)
            assert placed.position is not None
            self.made[placed.position] = data
            self.wire.append(placed)

    @rule(keep=st.integers(0, 6))
    def trim(self, keep: int) -> None:
        """Let go of the oldest."""
        before = len(self.ring)
        self.ring.trim(keep, 1.0, 0.0)
        self.lossy |= len(self.ring) < before

    @rule(flushed=st.booleans())
    def restart(self, flushed: bool) -> None:
        """Lose everything; what is on its way may be lost, too."""
        self.epochs += 1
        self.ring = Ring(f"e{self.epochs}")
        self.lossy = True
        if flushed:
            self.wire.clear()

    # -- the way ---------------------------------------------------------------

    @precondition(lambda self: self.wire)
    @rule(count=st.integers(1, 6))
    def deliver(self, count: int) -> None:
        """Let some arrive, in order."""
        for _ in range(min(count, len(self.wire))):
            self.pass_on(self.stream.receive(self.wire.popleft()))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Lose one on the way."""
        del self.wire[data.draw(st.integers(0, len(self.wire) - 1))]

    # -- readers ---------------------------------------------------------------

    @rule(latest=st.booleans())
    def come(self, latest: bool) -> None:
        """Somebody new comes."""
        self.waiting.append(Reader(want=Want(latest=latest)))
        self.let_in()

    @precondition(lambda self: self.entered)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Somebody loses the connection, and knows where."""
        index = data.draw(st.integers(0, len(self.entered) - 1))
        self.away.append(self.entered.pop(index))

    @precondition(lambda self: self.away)
    @rule(data=st.data(), latest=st.booleans())
    def come_back(self, data: st.DataObject, latest: bool) -> None:
        """They return with their position."""
        reader = self.away.pop(data.draw(st.integers(0, len(self.away) - 1)))
        reader.want = Want(reader.position, latest)
        self.waiting.append(reader)
        self.let_in()

    @rule(data=st.data())
    def come_from_elsewhere(self, data: st.DataObject) -> None:
        """Somebody comes who stood at another node, maybe further on than ours."""
        places = sorted(self.made, key=lambda place: (place.epoch, place.offset))
        if places:
            place = data.draw(st.sampled_from(places))
            self.waiting.append(Reader(place, Want(place)))
            self.let_in()

    # -- reading ---------------------------------------------------------------

    @precondition(lambda self: self.read is None)
    @rule()
    def begin_read(self) -> None:
        """Ask the stream what it needs, as after every change."""
        wants = [reader.want for reader in self.waiting if reader.want]
        if self.stream.position is not None or wants:
            self.read = self.stream.next_read(wants)
        if self.read is None:  # what has arrived may have helped as well
            self.let_in()

    @precondition(lambda self: self.read is not None and self.found is None)
    @rule()
    def answer_read(self) -> None:
        """The store answers; the answer is on its way."""
        assert self.read is not None
        self.found = self.look_up(self.read)

    @precondition(lambda self: self.found is not None)
    @rule()
    def merge(self) -> None:
        """The answer arrives."""
        assert self.read is not None
        assert self.found is not None
        read, found, self.read, self.found = self.read, self.found, None, None
        self.pass_on(self.stream.merge(read, found))
        self.let_in()

    @precondition(lambda self: self.read is not None)
    @rule()
    def fail(self) -> None:
        """The store does not answer."""
        self.read = self.found = None

    @precondition(lambda self: self.stream.position is not None)
    @rule()
    def ask_top(self) -> None:
        """Ask where the store stands, from where we stand."""
        assert self.stream.position is not None
        self.asked = (self.ring.top, self.stream.position)

    @precondition(lambda self: self.asked is not None)
    @rule()
    def hear_top(self) -> None:
        """The answer to that arrives."""
        assert self.asked is not None
        top, asked_at = self.asked
        self.asked = None
        self.stream.doubt(top, asked_at)

    @rule()
    def forget(self) -> None:
        """Time passes."""
        self.stream.forget()

    # -- what must be ----------------------------------------------------------

    @invariant()
    def all_stand_together(self) -> None:
        """Who is subscribed stands where the node does."""
        for reader in self.entered:
            assert reader.position == self.stream.position

    def teardown(self) -> None:
        """In the end everybody has everything."""
        while self.wire:
            self.pass_on(self.stream.receive(self.wire.popleft()))
        if self.stream.position is None and not self.waiting:
            return
        if self.stream.position is not None:
            self.stream.doubt(self.ring.top, self.stream.position)
        self.read = self.found = None
        for _ in range(3 * len(self.made) + 20):
            self.begin_read()
            if self.read is None:
                break
            self.answer_read()
            self.merge()
        assert self.read is None, "the stream never stops reading"
        assert self.waiting == []
        assert self.stream.position == self.ring.top
        self.all_stand_together()

    # -- helpers ---------------------------------------------------------------

    def look_up(self, read: Read) -> Found:
        """What the broker would answer."""
        limit = {Reason.TOP: 0, Reason.LATEST: 1}.get(read.reason, BOUNDS.page)
        page = self.ring.read(
            read.since,
            limit,
            BOUNDS.page_bytes,
            reverse=read.reason is Reason.LATEST,
        )
        return Found(page.publications, self.ring.top, page.complete, page.more)

    def pass_on(self, publications: list[Publication]) -> None:
        """Everybody subscribed takes what the stream passes on."""
        for publication in publications:
            for reader in self.entered:
                self.take(reader, publication)

    def take(self, reader: Reader, publication: Publication) -> None:
        """One more publication: the next one, or a gap that is no step back."""
        came, stood = publication.position, reader.position
        assert came is not None
        assert stood is not None
        if publication.kind is PublicationKind.GAP:
            assert self.lossy, "a gap was told and nothing is lost"
            assert came.epoch != stood.epoch or came.offset >= stood.offset
        else:
            assert came == Position(stood.offset + 1, stood.epoch)
            assert publication.data == self.made[came]
        reader.position = came

    def let_in(self) -> None:
        """Who can enter does, or takes a page and asks for the next one."""
        for reader in tuple(self.waiting):
            while reader.want is not None and self.enter(reader, reader.want):
                pass

    def enter(self, reader: Reader, want: Want) -> bool:
        """Let one in, or give it a page; return whether that was possible."""
        entry = self.stream.entry(want)
        if entry is None:
            return False
        if entry.recovered is False:
            assert self.lossy, "nothing is lost, and it was not recovered"
            assert entry.publications == ()
        if entry.recovered is False or want.since is None:
            reader.position = entry.position
        for publication in entry.publications:
            self.take(reader, publication)
        assert reader.position == entry.position
        self.check_latest(want, entry.latest)
        if entry.more:
            reader.want = Want(entry.position, want.latest)
        else:
            self.waiting.remove(reader)
            reader.want = None
            self.entered.append(reader)
        return True

    def check_latest(self, want: Want, latest: Publication | None) -> None:
        """The newest publication is the one at the node's position."""
        if latest is not None:
            assert want.latest
            assert latest.position == self.stream.position


def test_everybody_has_everything_or_is_told() -> None:
    """Whatever happens, in whatever order."""
    steps = settings(max_examples=150, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(Streams, settings=steps)  # type: ignore[no-untyped-call]
