"""
The contract of brokers, last part: whatever is done, beside a small model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.adapters.broker.port import (
    History,
    HistoryQuery,
    Keep,
    Placed,
    PublishOptions,
)
from realtime.testing.contracts_broker import Brokers, Received
from realtime.testing.ledger_kit import eventually
from realtime.types import Channel, JSONText, Position, Publication

TTL_S = 100.0
KEY_TTL_S = 50.0
META_TTL_S = 300.0

_numbers = count()


@dataclass(frozen=True)
class Put:
    """Publish so many bytes from one of two nodes."""

    node: int
    size: int
    key: str | None = None
    version: tuple[str, int] | None = None


@dataclass(frozen=True)
class Get:
    """Read since an offset (counted back from the top, or of a wrong epoch)."""

    back: int | None
    limit: int
    reverse: bool
    max_bytes: int
    wrong: bool = False


@dataclass(frozen=True)
class Pass:
    """Let time pass; only brokers on a manual clock are asked to."""

    seconds: float


@dataclass(frozen=True)
class Forget:
    """Let go of what is kept."""


Step = Put | Get | Pass | Forget

_puts = st.builds(
    Put,
    node=st.integers(0, 1),
    size=st.integers(0, 30),
    key=st.none() | st.sampled_from("ab"),
    version=st.none() | st.tuples(st.sampled_from("xy"), st.integers(0, 4)),
)
_gets = st.builds(
    Get,
    back=st.none() | st.integers(-2, 9),
    limit=st.integers(0, 6),
    reverse=st.booleans(),
    max_bytes=st.integers(1, 90),
    wrong=st.sampled_from([False] * 5 + [True]),
)
_passes = st.builds(Pass, seconds=st.sampled_from([20.0, 60.0, 110.0, 310.0]))
_steps = st.lists(
    st.one_of(_puts, _puts, _puts, _gets, _gets, _passes, st.just(Forget())),
    min_size=5,
    max_size=40,
)


@dataclass
class Model:
    """What a channel must do, written as plainly as possible."""

    size: int
    now: float = 0.0
    epochs: list[str] = field(default_factory=list)
    offset: int = 0
    kept: list[tuple[int, bytes, float]] = field(default_factory=list)
    keys: dict[str, tuple[float, Position]] = field(default_factory=dict)
    version: tuple[str, int] | None = None
    used_at: float | None = None

    def use(self) -> None:
        """Forget what is over; called before whatever is done."""
        if self.used_at is not None and self.now - self.used_at >= META_TTL_S:
            self.offset, self.kept, self.version = 0, [], None
            self.epochs.append("")
        self.used_at = self.now
        self.kept = [one for one in self.kept if self.now - one[2] < TTL_S]

    def put(self, step: Put, data: bytes) -> tuple[str | None, int | None]:
        """Return why it is not made, and its offset."""
        if step.key is not None and step.key in self.keys:
            made_at, position = self.keys[step.key]
            if self.now - made_at < KEY_TTL_S:
                return "duplicate", position.offset
        self.use()
        if step.version is not None:
            last = self.version
            if last and last[0] == step.version[0] and step.version[1] <= last[1]:
                return "stale", None
            self.version = step.version
        self.offset += 1
        self.kept = [*self.kept, (self.offset, data, self.now)][-self.size :]
        if step.key is not None:
            self.keys[step.key] = (self.now, Position(self.offset, ""))
        return None, self.offset

    def get(self, since: int | None, step: Get) -> tuple[list[bytes], bool, bool]:
        """Return the data, whether they are complete, and whether there are more."""
        self.use()
        chosen, complete = list(self.kept), True
        if step.wrong or (since is not None and since > self.offset):
            complete = False
        elif since is not None and step.reverse:
            chosen = [one for one in chosen if one[0] < since]
            complete = bool(chosen) or since <= 1
        elif since is not None:
            after = [one for one in chosen if one[0] > since]
            complete = len(after) == self.offset - since
            chosen = after if complete else chosen
        if step.reverse:
            chosen.reverse()
        taken: list[bytes] = []
        for _, data, _ in chosen[: step.limit]:
            if taken and sum(map(len, taken)) + len(data) > step.max_bytes:
                break
            taken.append(data)
        return taken, complete, len(taken) < len(chosen)


class BrokerModelContract:
    """Whatever is done, by whom and when: every answer is the model's."""

    @given(size=st.integers(1, 6), steps=_steps)
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    async def test_anything_does_what_the_model_does(
        self, brokers: Brokers, size: int, steps: list[Step]
    ) -> None:
        """Random publications, reads and waits equal the model at every step."""
        nodes = await _nodes(brokers)
        run = _Run(brokers, nodes, size)
        for node in nodes:
            await node.broker.subscribe(run.channel)
        for step in steps:
            await run.do(step)
        for node in nodes:
            expected = run.made
            await eventually(lambda n=node: len(n.on(run.channel)) >= len(run.made), "")  # type: ignore[misc]
            assert node.on(run.channel) == expected
            await node.broker.unsubscribe(run.channel)


class _Run:
    """One example: the brokers' channel and the model of it."""

    def __init__(self, brokers: Brokers, nodes: list[Received], size: int) -> None:
        self.channel = Channel(f"model:{next(_numbers)}")
        self.made: list[bytes] = []
        self._brokers = brokers
        self._nodes = nodes
        self._keep = Keep(size, TTL_S, META_TTL_S)
        self._model = Model(size)
        self._epoch: str | None = None

    async def do(self, step: Step) -> None:
        match step:
            case Put():
                await self._put(step)
            case Get():
                await self._get(step)
            case Pass() if self._brokers.is_manual:
                self._model.now += step.seconds
                await self._brokers.pass_s(step.seconds)
            case Forget():
                self._model.kept = []
                await self._nodes[0].broker.forget(self.channel)

    async def _put(self, step: Put) -> None:
        data = (b"%d;" % len(self.made)).ljust(step.size, b".")
        epoch, version = step.version or ("", None)
        options = PublishOptions(self._keep, step.key, KEY_TTL_S, version, epoch)
        publication = Publication(self.channel, JSONText(data))
        skipped, offset = self._model.put(step, data)
        placed = await self._nodes[step.node].broker.publish(publication, options)
        if skipped is None:
            self.made.append(data)
        self._check_placed(placed, skipped, offset)

    def _check_placed(
        self, placed: Placed, skipped: str | None, offset: int | None
    ) -> None:
        assert placed.skipped == skipped
        found = placed.position
        assert (found.offset if found else None) == offset
        if found is not None and skipped is None:
            self._check_epoch(found)

    def _check_epoch(self, position: Position) -> None:
        """An epoch changes when the model has begun anew, and only then."""
        if self._model.epochs:
            assert position.epoch != self._epoch
            self._model.epochs.clear()
        elif self._epoch is not None:
            assert position.epoch == self._epoch
        self._epoch = position.epoch

    async def _get(self, step: Get) -> None:
        broker = self._nodes[1].broker
        # The position must be known before one can read since a place.
        (top,) = await broker.tops([self.channel], self._keep)
        self._model.use()
        self._check_epoch(top)
        assert top.offset == self._model.offset
        since = None
        if step.back is not None or step.wrong:
            offset = max(0, self._model.offset - (step.back or 0))
            since = Position(offset, "wrong" if step.wrong else top.epoch)
        query = HistoryQuery(since, step.limit, step.reverse, step.max_bytes)
        found = await broker.history(self.channel, query, self._keep)
        asked = None if since is None else since.offset
        self._check_found(found, top, self._model.get(asked, step))

    def _check_found(
        self, found: History, top: Position, expected: tuple[list[bytes], bool, bool]
    ) -> None:
        data = [bytes(one.data) for one in found.publications]
        assert (data, found.complete, found.more) == expected
        assert found.top == top
        offsets = {offset: data for offset, data, _ in self._model.kept}
        for one in found.publications:
            assert one.position is not None
            assert one.position.epoch == top.epoch
            assert offsets[one.position.offset] == one.data


async def _nodes(brokers: Brokers) -> list[Received]:
    """Two nodes, the same for all examples."""
    known: list[Received] | None = getattr(brokers, "_model_nodes", None)
    if known is None:
        known = [Received(await brokers.open()) for _ in range(2)]
        brokers._model_nodes = known  # type: ignore[attr-defined]
    for node in known:
        node.publications.clear()
    return known
