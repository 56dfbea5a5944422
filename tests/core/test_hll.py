"""HyperLogLog: within its error, in any order, and the same as the server's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.core.hll import (
    MAX_RANK,
    REGISTERS,
    SPARSE_MAX,
    STANDARD_ERROR,
    HyperLogLog,
    estimate,
    merge_registers,
    registers_of_redis,
)
from realtime.testing.servers import ValkeyServer

MEMBERS = st.lists(st.text(max_size=5), max_size=400)


def hll_of(members: Iterator[str] | list[str]) -> HyperLogLog:
    """Return a HyperLogLog that has seen *members*."""
    hll = HyperLogLog()
    hll.update(members)
    return hll


def registers_of(hll: HyperLogLog) -> bytearray:
    """Return its registers, whichever way it keeps them."""
    dense = HyperLogLog()
    dense.merge(hll)
    return bytearray(dense._densify())


@pytest.mark.parametrize(
    "size", [0, 1, 2, 10, 100, SPARSE_MAX, SPARSE_MAX + 1, 1_000, 20_000, 100_000]
)
def test_the_estimate_is_within_three_standard_errors(size: int) -> None:
    """Any number of members is estimated within 2.4 %; a few are counted exactly."""
    count = hll_of([f"user-{i}" for i in range(size)]).count()
    assert abs(count - size) <= 3 * STANDARD_ERROR * size
    assert size > 10 or count == size


def test_the_error_is_that_of_sixteen_thousand_registers() -> None:
    """Over many sets, the error's deviation is near 0.81 % and it has no bias."""
    errors = []
    for trial in range(60):
        count = hll_of([f"{trial}:{i}" for i in range(3_000)]).count()
        errors.append(count / 3_000 - 1)
    deviation = math.sqrt(sum(error**2 for error in errors) / len(errors))
    assert deviation < 1.5 * STANDARD_ERROR
    assert abs(sum(errors) / len(errors)) < 3 * STANDARD_ERROR / math.sqrt(len(errors))


def test_adding_a_member_again_changes_nothing() -> None:
    """The second time is reported as no change, in both representations."""
    hll = HyperLogLog()
    assert hll.add("ann")
    assert not hll.add("ann")
    hll.update([str(i) for i in range(1000)])
    assert not hll.add("ann")
    assert not hll.add("999")


@settings(max_examples=30)
@given(MEMBERS, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(
    members: list[str], random: object
) -> None:
    """The registers depend on the set of members only."""
    shuffled = members + members[::2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert registers_of(hll_of(shuffled)) == registers_of(hll_of(members))


@settings(max_examples=30)
@given(MEMBERS, MEMBERS)
def test_merging_is_seeing_both(one: list[str], other: list[str]) -> None:
    """A merge has the registers of the union, and says whether anything was new."""
    merged, both = hll_of(one), hll_of(one + other)
    before = registers_of(merged)
    changed = merged.merge(hll_of(other))
    assert registers_of(merged) == registers_of(both)
    assert changed == (registers_of(both) != before)
    assert merged.count() == both.count()


def test_sparse_and_dense_estimate_the_same() -> None:
    """The representation does not show in the estimate."""
    sparse = hll_of([str(i) for i in range(SPARSE_MAX - 5)])
    assert sparse._dense is None
    assert sparse.count() == estimate(registers_of(sparse))


def test_a_member_may_be_any_string() -> None:
    """Even a lone surrogate is a member."""
    assert hll_of(["\ud800", "\ud801", "", "é"]).count() == 4


REGISTER_BYTES = st.lists(st.integers(0, MAX_RANK), min_size=64, max_size=64)


@given(REGISTER_BYTES, REGISTER_BYTES)
def test_merged_registers_are_the_larger_ones(one: list[int], other: list[int]) -> None:
    """All registers are compared at once, and each as if alone."""
    repeat = REGISTERS // 64
    merged = merge_registers([bytes(one) * repeat, bytes(other) * repeat])
    assert merged == bytes(map(max, one, other)) * repeat


def test_merging_nothing_is_the_empty_set() -> None:
    """No parts, and parts of nothing, are estimated as 0."""
    assert estimate(merge_registers([])) == 0
    assert estimate(merge_registers([registers_of_redis(b"")])) == 0


def test_full_registers_are_a_huge_number() -> None:
    """The estimate is defined up to the last register."""
    nearly = bytes([MAX_RANK - 1]) * REGISTERS
    assert 2**60 < estimate(nearly) < estimate(bytes([MAX_RANK]) * REGISTERS)


@pytest.mark.parametrize("registers", [b"", bytes(100), bytes([60]) * REGISTERS])
def test_what_are_no_registers_is_refused(registers: bytes) -> None:
    """There must be 16,384 registers of at most 51."""
    with pytest.raises(ValueError, match="16384 registers of at most 51"):
        estimate(registers)


@given(st.lists(st.integers(0, 63), min_size=8, max_size=8))
def test_dense_registers_are_six_bits_each(ranks: list[int]) -> None:
    """Packing from the lowest bit on and unpacking gives the same registers."""
    packed = sum(rank << 6 * place for place, rank in enumerate(ranks))
    data = packed.to_bytes(6, "little") * (REGISTERS // 8)
    header = b"HYLL\x00\x00\x00\x00" + bytes(8)
    assert registers_of_redis(header + data) == bytes(ranks) * (REGISTERS // 8)


def test_sparse_registers_are_runs() -> None:
    """Long and short runs of zeros, and runs of one rank, are unpacked."""
    #        7 zeros  two of 5     16375 zeros
    codes = bytes((0b00000110, 0b10010001, 0b01111111, 0b11110110))
    header = b"HYLL\x01\x00\x00\x00" + bytes(8)
    registers = registers_of_redis(header + codes)
    assert registers == bytes(7) + bytes([5, 5]) + bytes(16375)


@pytest.mark.parametrize(
    "data",
    [
        b"HYLL",
        b"hello, this is no HyperLogLog",
        b"HYLL\x02" + bytes(11),
        b"HYLL\x00" + bytes(11) + bytes(100),
        b"HYLL\x01" + bytes(11) + b"\x7f",
    ],
)
def test_what_is_no_hyperloglog_of_redis_is_refused(data: bytes) -> None:
    """A string of another kind, or one that is cut short, is not misread."""
    with pytest.raises(ValueError, match="HyperLogLog"):
        registers_of_redis(data)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_registers_or_refused(tail: bytes) -> None:
    """Unpacking raises nothing but ValueError."""
    for encoding in (b"\x00", b"\x01"):
        data = b"HYLL" + encoding + bytes(11) + tail
        try:
            assert len(registers_of_redis(data)) == REGISTERS
        except ValueError:
            continue


def test_registers_and_estimate_are_those_of_the_server() -> None:
    """What a real server packs, sparse and dense, is read and estimated as it does."""
    with ValkeyServer() as server:
        keys = []
        for size in (0, 1, 100, 700, 5_000, 30_000):
            keys.append(f"hll:{size}")
            members = [f"{size}-{i}" for i in range(size)]
            for start in range(0, max(size, 1), 5_000):
                server.command("PFADD", keys[-1], *members[start : start + 5_000])
        strings = [server.command("GET", key) for key in keys]
        registers = [registers_of_redis(data) for data in strings]
        counts = [server.command("PFCOUNT", key) for key in keys]
        union = server.command("PFCOUNT", *keys)
    assert {data[4] for data in strings} == {0, 1}, "both encodings must be tried"
    assert [estimate(each) for each in registers] == counts
    assert estimate(merge_registers(registers)) == union
