"""
The contract of a ledger, last part: arbitrary commits, beside a model of thirty lines.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.core.cells import CellKey, Cells, Delta, State
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.testing.ledger_kit import COUNTERS, Ledgers, key, states, sub

PLAIN = [
    key(counter, dims, grain_s, bucket)
    for counter in ("count", "sum", "min", "max", "mean")
    for dims in ("1", "2")
    for grain_s, bucket in ((0, 0), (300, int(time.time() // 300) + 1))
]
UNIQUE = [key("unique", "1"), key("unique", "2")]
COUNTED = [Cells((PLAIN[0], PLAIN[1])), Cells((PLAIN[2], PLAIN[3])), Cells((PLAIN[0],))]

History = list[tuple[int, list[SubBatch]]]  # a node, and what it commits

_again = st.booleans()
_amounts = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-3, 3)
_counts = st.integers(1, 5)
_members = st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=4)


def _delta(cell: CellKey) -> st.SearchStrategy[Delta]:
    if cell.counter == "unique":
        return _members
    if cell.counter == "mean":
        return st.tuples(_amounts, _counts)
    return st.tuples(_counts if cell.counter == "count" else _amounts)


@st.composite
def _sub_batches(draw: st.DrawFn) -> SubBatch:
    device = draw(st.sampled_from(["a", "b", "c", "d"]))
    first = draw(st.integers(1, 6))
    last = first + draw(st.integers(0, 2))
    cells = draw(st.lists(st.sampled_from(PLAIN + UNIQUE), max_size=4, unique=True))
    batch = sub(device, first, last, {cell: draw(_delta(cell)) for cell in cells})
    return replace(batch, cells=draw(st.lists(st.sampled_from(COUNTED), max_size=3)))


@st.composite
def _histories(draw: st.DrawFn) -> History:
    """Commits with the node that makes them; some are earlier ones sent again."""
    commits: History = []
    for _ in range(draw(st.integers(1, 5))):
        node = draw(st.integers(0, 1))
        batches = draw(st.lists(_sub_batches(), min_size=1, max_size=9))
        if draw(_again) and commits:
            batches = commits[draw(st.integers(0, len(commits) - 1))][1]
        commits.append((node, batches))
    return commits


class Model:
    """What a ledger must do, written as plainly as possible."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.states: dict[CellKey, State] = {}
        self.members: dict[CellKey, frozenset[str]] = {}

    def commit(self, batches: Sequence[SubBatch]) -> list[Outcome]:
        return [self._judge(batch) for batch in batches]

    def _judge(self, batch: SubBatch) -> Outcome:
        mark = self.marks.get(batch.device, 0)
        if batch.first == mark + 1:
            self.marks[batch.device] = batch.last
            for cell, delta in batch.deltas.items():
                self._add(cell, delta)
            for counted in batch.cells:
                for cell in counted.keys:
                    self._add(cell, (1,))
            return Outcome(Verdict.APPLIED, batch.last)
        if batch.last <= mark:
            return Outcome(Verdict.DUPLICATE, mark)
        return Outcome(Verdict.OVERLAP if batch.first <= mark else Verdict.GAP, mark)

    def _add(self, cell: CellKey, delta: Delta) -> None:
        if isinstance(delta, frozenset):
            self.members[cell] = self.members.get(cell, frozenset()) | delta
        else:
            before = self.states.get(cell)
            merge = COUNTERS.merge
            after = merge(cell.counter, before, delta) if before else delta
            self.states[cell] = after


class ModelContract:
    """Whatever is sent, again and by whom: every verdict and every cell is right."""

    @given(history=_histories())
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    async def test_any_history_gives_what_the_model_says(
        self, ledgers: Ledgers, history: History
    ) -> None:
        """Random commits and repetitions by two nodes equal the model in every cell."""
        await ledgers.renew()
        nodes, model = [await ledgers.open(), await ledgers.open()], Model()
        for node, batches in history:
            outcomes = await nodes[node].commit(batches, time.time())
            assert outcomes == model.commit(batches)
        found = await states(nodes[0], PLAIN)
        assert {cell: value for cell, value in found.items() if value} == model.states
        counts = await nodes[1].count_unique([[cell] for cell in UNIQUE])
        expected = [len(model.members.get(cell, ())) for cell in UNIQUE]
        assert [each.count for each in counts] == expected
