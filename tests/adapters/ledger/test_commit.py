"""What the commit script is told."""

from __future__ import annotations

import msgpack

from realtime.adapters.ledger.commit import CommitArguments, outcomes, parts
from realtime.adapters.redis.keys import LedgerKeys
from realtime.core.ledger import Outcome, Verdict
from realtime.testing.ledger_kit import COUNTERS, key, sub

NOW = 1_700_000_000.0


def pack(*batches: object) -> tuple[list[bytes], list[list[object]]]:
    """The keys and the first five of the packed arrays."""
    arguments = CommitArguments(LedgerKeys("t", 1), 0, COUNTERS, NOW)
    for batch in batches:
        arguments.add(batch)  # type: ignore[arg-type]
    unpacked = msgpack.unpackb(arguments.pack(("PUBLISH", "NUMSUB")))
    return arguments.keys, unpacked[:5]


def test_cells_devices_and_buckets_are_named_once() -> None:
    """However many sub-batches touch them, each is described and keyed once."""
    one, two = key("count", "1"), key("count", "2")
    keys, packed = pack(
        sub("d", 1, 1, {one: (1,)}),
        sub("d", 2, 3, {two: (2,), one: (3,)}),
        sub("e", 1, 1, {two: (4,)}),
    )
    batches, dims_of, bucket_of, members_of, buckets = packed
    assert [name.decode().split("}")[1] for name in keys] == [
        ":m:d",
        ":c:count:0:0",
        ":m:e",
    ]
    assert batches == [
        [1, 1, 1, 3_600_000, [1, 1]],
        [1, 2, 3, 3_600_000, [2, 2, 1, 3]],
        [3, 1, 1, 3_600_000, [2, 4]],
    ]
    assert (dims_of, bucket_of, members_of) == (["1", "2"], [1, 1], [0, 0])
    assert buckets == [[2, 1, 10_000, "~other", 0, "count", 0, 0, 0]]


def test_amounts_beyond_lua_are_text() -> None:
    """From 2**53 on amounts are text, and from 2**63 on the largest there is."""
    cell = key("mean")
    _, packed = pack(sub("d", 1, 1, {cell: (2**53 - 1, 2**53)}))
    assert packed[0][0][4] == [1, 2**53 - 1, str(2**53)]  # type: ignore[index]
    _, packed = pack(sub("d", 1, 1, {cell: (-(2**70), 2**63)}))
    assert packed[0][0][4] == [1, f"-{2**63 - 1}", str(2**63 - 1)]  # type: ignore[index]


def test_cells_that_are_over_are_left_out() -> None:
    """A bucket that nobody needs any more has neither key nor cell."""
    old, new = key("brief", "1", 1, 1_600_000_000), key("brief", "1", 1, int(NOW))
    keys, packed = pack(sub("d", 1, 1, {old: (1,), new: (2,)}))
    assert len(keys) == 2
    assert packed[0][0][4] == [1, 2]  # type: ignore[index]
    assert packed[4][0][4] > NOW  # type: ignore[index, operator]


def test_unique_counts_have_keys_of_their_own() -> None:
    """A unique count's cell has a key beside its bucket's; so has the other cell."""
    keys, packed = pack(sub("d", 1, 1, {key("unique"): frozenset("a")}))
    assert [name.decode().split("}")[1] for name in keys] == [
        ":m:d",
        ":u:unique:0:0:~other",
        ":c:unique:0:0",
        ":u:unique:0:0:1",
    ]
    assert packed[3] == [4]
    assert packed[4] == [[3, 5, 10_000, "~other", 0, "unique", 0, 0, 2]]


def test_parts_keep_the_order_and_the_bounds() -> None:
    """Parts follow each other; none is beyond the bound unless it is one sub-batch."""
    batches = [sub("d", n * 10 + 1, n * 10 + 10) for n in range(7)]
    batches.insert(3, sub("e", 1, 1000))
    split = list(parts(batches, 30))
    assert [len(part) for part in split] == [3, 1, 3, 1]
    assert [batch for part in split for batch in part] == batches
    assert list(parts([], 30)) == []


def test_parts_are_bounded_by_additions_too() -> None:
    """Few events with very many cells are split as well."""
    deltas = {key("count", str(n)): (1,) for n in range(3000)}
    batches = [sub("d", n, n, deltas) for n in range(1, 6)]
    assert [len(part) for part in parts(batches, 2000)] == [2, 2, 1]


def test_outcomes_are_read() -> None:
    """Verdicts, marks and the problem come back as the script says."""
    reply = msgpack.packb([[1, 5, 4, 0]])
    expected = [Outcome(Verdict.APPLIED, 5), Outcome(Verdict.GAP, 0)]
    assert outcomes(reply) == (expected, None)
    assert outcomes(msgpack.packb([[], "oops"])) == ([], "oops")
