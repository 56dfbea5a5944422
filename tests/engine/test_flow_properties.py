"""Whatever happens, what a subscriber gets is a legal result of its flow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.filters import compile_filter
from realtime.core.flow import DIRECT, Flow
from realtime.core.namespaces import Overflow
from realtime.types import ConnectionId, JSONText, Position, Publication
from tests.engine.flow_support import EPOCH, PRICES, Reader, World

NAMES = ["ann", "bob", "eve", "joe", "kim"]
SYMBOLS = ["BTC", "ETH", None]
OUTBOX_BYTES = 400
PICKY = compile_filter({"tag": "symbol", "in": ["BTC"]})

FLOWS = {
    "direct": DIRECT,
    "filtered": Flow(filter=PICKY),
    "batched": Flow(batch_s=0.3),
    "latest": Flow(interval_s=1.0),
    "latest by symbol": Flow(interval_s=1.0, by="symbol"),
    "everything": Flow(PICKY, 1.0, "symbol", 0.3),
}

STEPS = st.one_of(
    st.tuples(
        st.just("publish"), st.sampled_from([*NAMES, None]), st.sampled_from(SYMBOLS)
    ),
    st.tuples(st.sampled_from(["publish", "gap"]), st.none(), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.none()),
    st.tuples(st.just("turn"), st.none(), st.none()),
    st.tuples(
        st.sampled_from(["join", "leave", "pause", "resume"]),
        st.sampled_from(NAMES),
        st.none(),
    ),
)


@dataclass
class Stay:
    """One subscription: what it was to get, and what it got."""

    flow: Flow
    name: str
    reader: Reader
    after: int
    meant: list[Publication] = field(default_factory=list)
    got: list[tuple[str, int]] = field(default_factory=list)
    times: dict[str | None, list[float]] = field(default_factory=dict)

    def offer(self, publication: Publication) -> None:
        """Note a publication that came while it was there."""
        if publication.sender != self.name and self.flow.admits(publication):
            self.meant.append(publication)

    def read(self, now: float) -> None:
        """Take what has arrived, and check that it is in order and nobody else's."""
        meant = {offset_of(one): one for one in self.meant}
        for message in self.reader.take():
            kind, offset = message["type"], message["offset"]
            last = self.got[-1][1] if self.got else self.after
            if kind == "push":
                assert offset > last, "out of order, twice, or from before"
                key = self.flow.key_of(meant[offset])
                self.times.setdefault(key, []).append(now)
            else:
                assert offset >= last, "a gap that goes back"
            self.got.append((kind, offset))

    def check(self, published: list[Publication], *, done: bool) -> None:
        """Fail if something is missing that neither a gap nor a newer one replaces."""
        stands = self.got[-1][1] if self.got else self.after
        arrived = {offset for kind, offset in self.got if kind == "push"}
        for one in self.meant:
            offset = offset_of(one)
            if offset in arrived or (offset > stands and not done):
                continue
            if self.flow.overflow is Overflow.DROP and any(
                kind == "gap" and at >= offset for kind, at in self.got
            ):
                continue
            assert self.flow.interval_s or self.flow.overflow is Overflow.COALESCE
            assert any(
                offset_of(other) > offset
                and self.flow.key_of(other) == self.flow.key_of(one)
                for other in published
            ), f"{offset} is missing, and nothing newer came"


def offset_of(publication: Publication) -> int:
    """Its place in the history."""
    assert publication.position is not None
    return publication.position.offset


class Model:
    """A world, who is subscribed, and everything that was published."""

    def __init__(self, flow: Flow, *, joins: bool = False) -> None:
        self.world = World(joins=joins)
        self.world.hub.fanout.turn = 2
        self.flow = flow
        self.offset = 0
        self.published: list[Publication] = []
        self.stays: dict[str, Stay] = {}
        self.over: list[Stay] = []

    def publish(self, sender: str | None, symbol: str | None) -> None:
        """Give the hub the next publication."""
        self.offset += 1
        publication = Publication(
            PRICES,
            JSONText(b"%d" % self.offset),
            Position(self.offset, EPOCH),
            None if symbol is None else {"symbol": symbol},
            None if sender is None else ConnectionId(sender),
        )
        self.published.append(publication)
        for stay in self.stays.values():
            stay.offer(publication)
        self.world.hub.broadcast(publication)

    def gap(self, *_: Any) -> None:
        """Lose three publications upstream."""
        self.offset += 3
        self.world.gap(self.offset)

    def join(self, name: str, _: Any) -> None:
        """Subscribe where the hub stands."""
        if name not in self.stays:
            reader = self.world.reader(
                self.flow, name=name, after=self.offset, max_bytes=OUTBOX_BYTES
            )
            self.stays[name] = Stay(self.flow, name, reader, self.offset)

    def leave(self, name: str, _: Any) -> None:
        """Unsubscribe: nothing may follow."""
        if name in self.stays:
            stay = self.stays.pop(name)
            self.world.hub.leave(PRICES, stay.reader.outbox)
            self.read(stay)
            self.over.append(stay)

    def pause(self, name: str, _: Any) -> None:
        """Let a reader be slow."""
        if name in self.stays:
            self.stays[name].reader.outbox.paused()

    def resume(self, name: str, _: Any) -> None:
        """Let it read again."""
        if name in self.stays:
            self.stays[name].reader.outbox.resumed()

    def turn(self, *_: Any) -> None:
        """Serve a part of a crowd."""
        self.world.turn()

    def let_pass(self, seconds: float, _: Any) -> None:
        """Let time pass."""
        self.world.clock.advance(seconds)

    def read(self, stay: Stay) -> None:
        """Check one subscription as it is now."""
        stay.read(self.world.clock.monotonic())
        stay.check(self.published, done=False)

    def look(self) -> None:
        """Check all; who was given up leaves, as its connection would."""
        for name, stay in list(self.stays.items()):
            assert stay.reader.outbox.waiting_bytes <= OUTBOX_BYTES
            self.read(stay)
            if stay.reader.lost:
                assert self.flow.overflow is not Overflow.DROP
                self.leave(name, None)

    def finish(self) -> None:
        """Let everybody read to the end, and check that nothing is missing."""
        for _ in range(3):
            for stay in self.stays.values():
                stay.reader.outbox.resumed()
            self.world.clock.advance(2.0)
            self.look()
        for stay in self.stays.values():
            stay.check(self.published, done=True)
        for name in list(self.stays):
            self.leave(name, None)
        for stay in self.over:
            assert stay.reader.take() == [], "something followed the goodbye"
        assert len(self.world.hub) == 0
        assert self.world.clock.pending == 0


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("name", FLOWS)
@settings(max_examples=50)
@given(steps=st.lists(STEPS, max_size=60), joins=st.booleans())
def test_what_arrives_is_a_legal_result_of_the_flow(
    name: str, overflow: Overflow, steps: list[tuple[str, Any, Any]], joins: bool
) -> None:
    """
    In order, once, nobody's own; missing is only what a gap or a newer one replaces.
    """
    model = Model(replace(FLOWS[name], overflow=overflow), joins=joins)
    for one in NAMES[:3]:
        model.join(one, None)
    for step, *arguments in steps:
        getattr(model, {"pass": "let_pass"}.get(step, step))(*arguments)
        model.look()
    model.finish()


@pytest.mark.parametrize("name", ["latest", "latest by symbol", "everything"])
@given(steps=st.lists(STEPS.filter(lambda step: step[0] != "gap"), max_size=60))
def test_at_most_one_of_each_key_arrives_per_interval(
    name: str, steps: list[tuple[str, Any, Any]]
) -> None:
    """While the reader is quick: however many come, and whenever."""
    model = Model(FLOWS[name])
    model.world.hub.fanout.turn = 100
    for one in NAMES[:3]:
        model.join(one, None)
    stays = list(model.stays.values())
    for step, *arguments in steps:
        if step in ("publish", "join", "leave"):
            getattr(model, step)(*arguments)
        elif step == "pass":
            for _ in range(4):
                model.let_pass(arguments[0] / 4, None)
                model.look()
        model.look()
        stays += [stay for stay in model.stays.values() if stay not in stays]
    for stay in stays:
        for times in stay.times.values():
            gaps = [later - one for one, later in pairwise(times)]
            # Read a quarter of a step after it came, at most.
            assert all(gap >= 1.0 - 0.5 for gap in gaps)
