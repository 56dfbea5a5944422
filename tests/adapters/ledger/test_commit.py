"""What the commit script is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgpack

from realtime.adapters.ledger.attempts import Attempt, Reply
from realtime.adapters.ledger.commit import CommitArguments, parts, read_reply, weight
from realtime.adapters.redis.keys import LedgerKeys
from realtime.core.ledger import Outcome, SubBatch, Verdict
from realtime.core.totals import total
from realtime.testing.ledger_kit import COUNTERS, key, sub

NOW = 1_700_000_000.0
TTL_MS = 3_600_000


def pack(
    *batches: SubBatch, expected: Sequence[bool] | None = None
) -> tuple[list[str], list[object]]:
    """The keys without their tag, and the packed arrays."""
    arguments = CommitArguments(LedgerKeys("t", 1), 0, COUNTERS, NOW)
    attempt = Attempt(batches, expected)
    totals = total(attempt.counted, COUNTERS)
    unpacked = msgpack.unpackb(arguments.pack(attempt, totals, ("PUBLISH", "NUMSUB")))
    return [name.decode().split("}")[1] for name in arguments.keys], unpacked


def only_bucket(packed: list[object]) -> list[Any]:
    """The only bucket of the only group."""
    ((*_, (bucket,)),) = cast("list[list[Any]]", packed[6])
    return cast("list[Any]", bucket)


def test_marks_come_first_and_cells_by_bucket() -> None:
    """However many sub-batches add to them, cells and buckets are named once."""
    one, two = key("count", "1"), key("count", "2")
    keys, packed = pack(
        sub("d", 1, 1, {one: (1,)}),
        sub("e", 1, 2, {two: (2,), one: (3,)}),
        sub("f", 7, 9, {two: (4,)}),
    )
    assert keys == [":m:d", ":m:e", ":m:f", ":c:count:0:0"]
    bucket = [4, 0, 0, 0, [4, 6], [], 0]
    group = ["count", 1, 10_000, "~other", ["1", "2"], [bucket]]
    numbers = [["0", "0", "6"], ["1", "2", "9"]]
    assert packed[:7] == [*numbers, TTL_MS, 0, 0, 3, [group]]
    assert packed[13] == 0


def test_buckets_with_the_same_cells_are_a_group() -> None:
    """Cells that are the same in all grains of a counter are named once."""
    later = int(NOW // 300)
    one, two = (
        {key("count", dims): (1,), key("count", dims, 300, later): (1,)}
        for dims in ("1", "2")
    )
    late = {key("count", "1", 300, later - 1): (1,), key("sum", "1"): (1,)}
    _, packed = pack(sub("d", 1, 1, one), sub("e", 1, 1, two), sub("f", 1, 1, late))
    groups = cast("list[list[Any]]", packed[6])
    assert [(group[0], group[4], len(group[5])) for group in groups] == [
        ("count", ["1", "2"], 2),
        ("count", ["1"], 1),
        ("sum", ["1"], 1),
    ]


def test_devices_are_named_once() -> None:
    """Several sub-batches of a device have one mark, and say which."""
    keys, packed = pack(sub("d", 1, 1), sub("e", 1, 1), sub("d", 2, 3))
    assert keys == [":m:d", ":m:e", ":c:count:0:0"]
    assert packed[3] == [1, 2, 1]
    assert packed[5] == 2


def test_marks_that_are_kept_for_different_times() -> None:
    """Each sub-batch has a time of its own where one for all does not do."""
    _, packed = pack(sub("d", 1, 1, ttl_s=1), sub("e", 1, 1, ttl_s=0.0001))
    assert packed[2] == 0
    assert packed[13] == [1000, 1]


def test_what_is_not_expected_to_be_new_adds_nothing() -> None:
    """Its numbers are sent to be judged, without its additions."""
    batches = sub("d", 1, 1), sub("e", 5, 9), sub("f", 1, 1)
    keys, packed = pack(*batches, expected=[True, False, True])
    assert keys == [":m:d", ":m:e", ":m:f", ":c:count:0:0"]
    assert packed[4] == [1, 0, 1]
    assert only_bucket(packed)[4] == [2]


def test_amounts_beyond_lua_are_text() -> None:
    """From 2**53 on amounts are text, and from 2**63 on the largest there is."""
    cell = key("mean")
    _, packed = pack(sub("d", 1, 1, {cell: (2**53 - 1, 2**53)}))
    assert only_bucket(packed)[4:6] == [[2**53 - 1], [str(2**53)]]
    _, packed = pack(sub("d", 1, 1, {cell: (-(2**70), 2**63)}))
    assert only_bucket(packed)[4:6] == [[f"-{2**63 - 1}"], [str(2**63 - 1)]]


def test_cells_that_are_over_are_left_out() -> None:
    """A bucket that nobody needs any more has neither key nor cell."""
    old, new = key("brief", "1", 1, 1_600_000_000), key("brief", "1", 1, int(NOW))
    keys, packed = pack(sub("d", 1, 1, {old: (1,), new: (2,)}))
    assert keys == [":m:d", f":c:brief:1:{int(NOW)}"]
    bucket = only_bucket(packed)
    assert bucket[1] > NOW
    assert bucket[4] == [2]


def test_unique_counts_have_keys_of_their_own() -> None:
    """A unique count's cell has a key beside its bucket's; so has the other cell."""
    keys, packed = pack(sub("d", 1, 1, {key("unique"): frozenset("a")}))
    assert keys == [
        ":m:d",
        ":u:unique:0:0:~other",
        ":c:unique:0:0",
        ":u:unique:0:0:1",
    ]
    bucket = [3, 0, 0, 0, [["a"]], [4], 2]
    assert packed[6] == [["unique", 5, 10_000, "~other", ["1"], [bucket]]]


def test_parts_keep_the_order_and_the_bounds() -> None:
    """Parts follow each other; none is beyond the bound unless it is one sub-batch."""
    batches = [sub("d", n * 10 + 1, n * 10 + 10) for n in range(7)]
    batches.insert(3, sub("e", 1, 1000))
    split = list(parts(batches, 30))
    assert [len(part) for part in split] == [3, 1, 3, 1]
    assert [batch for part in split for batch in part] == batches
    assert list(parts([], 30)) == []
    many = [sub(f"d{n}", 1, 1) for n in range(4500)]
    assert [len(part) for part in parts(many, 9999)] == [2000, 2000, 500]


def test_the_weight_of_a_total() -> None:
    """A cell weighs 1, but that of a unique count as much as it has members."""
    batch = sub("d", 1, 1, {key("count"): (9,), key("unique"): frozenset("abc")})
    assert weight(batch.deltas) == 4
    assert weight({}) == 0


def test_replies_are_read() -> None:
    """Verdicts, marks and the problem come back as the script says."""
    expected = [Outcome(Verdict.APPLIED, 5), Outcome(Verdict.GAP, 0)]
    reply = msgpack.packb([0, [1, 5, 4, 0]])
    assert read_reply(reply) == (Reply(False, expected), None)
    assert read_reply(msgpack.packb([1, 0, "oops"])) == (Reply(True, None), "oops")
