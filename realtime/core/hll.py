"""
HyperLogLog: how many different members there were, in 16 KiB at most, within 0.81 %.

Every member is hashed; 14 bits of the hash choose one of 16,384 registers, which keeps
the largest *rank* it saw: one more than the number of zero bits that the other 50 end
with. Merging takes the larger register, so neither order nor repetition matters. The
estimate is O. Ertl's improved one (arXiv:1702.01284), good for any cardinality without
tables of corrections.

Redis and Valkey use the same registers and the same estimate, but another hash: their
registers may be merged with each other (``registers_of_redis``), never with ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

PRECISION = 14
REGISTERS = 1 << PRECISION
MAX_RANK = 64 - PRECISION + 1
STANDARD_ERROR = 1.04 / math.sqrt(REGISTERS)  # 0.81 %

# A dict of this many entries is smaller than the registers; one more doubles its table.
SPARSE_MAX = 170

_INDEX = REGISTERS - 1
_SENTINEL = 1 << (64 - PRECISION)  # ends a run of zeros that reaches the top
_ALPHA = 0.5 / math.log(2)
_TOP_BITS = int.from_bytes(b"\x80" * REGISTERS, "little")


class HyperLogLog:
    """A growing set of which only the size is known; a small one takes few bytes."""

    __slots__ = ("_dense", "_sparse")

    def __init__(self) -> None:
        self._sparse: dict[int, int] = {}  # of registers that are not 0, until _dense
        self._dense: bytearray | None = None

    def add(self, member: str) -> bool:
        """Add *member*; return whether any register changed."""
        return self.update((member,))

    def update(self, members: Iterable[str]) -> bool:
        """Add all *members*; return whether any register changed."""
        return self._raise([_place(member) for member in members])

    def merge(self, other: HyperLogLog) -> bool:
        """Add all that *other* has seen; return whether any register changed."""
        if other._dense is None:
            return self._raise(other._sparse.items())
        before = self._densify()
        self._dense = merge_registers((before, other._dense))
        return self._dense != before

    def count(self) -> int:
        """Estimate how many different members were added."""
        if self._dense is not None:
            return estimate(self._dense)
        histogram = [0] * (MAX_RANK + 1)
        histogram[0] = REGISTERS - len(self._sparse)
        for rank in self._sparse.values():
            histogram[rank] += 1
        return _estimate(histogram)

    def _raise(self, places: Iterable[tuple[int, int]]) -> bool:
        """Raise registers to at least the given ranks."""
        changed = False
        for index, rank in places:
            dense = self._dense
            if dense is not None:
                if rank > dense[index]:
                    dense[index] = rank
                    changed = True
            elif rank > self._sparse.get(index, 0):
                self._sparse[index] = rank
                changed = True
                if len(self._sparse) > SPARSE_MAX:
                    self._densify()
        return changed

    def _densify(self) -> bytearray:
        if self._dense is None:
            self._dense = bytearray(REGISTERS)
            for index, rank in self._sparse.items():
                self._dense[index] = rank
            self._sparse = {}
        return self._dense


def estimate(registers: bytes | bytearray) -> int:
    """Estimate the cardinality that 16,384 registers of one byte stand for."""
    histogram = []
    left = REGISTERS
    for rank in range(MAX_RANK + 1):
        registers_of_rank = registers.count(rank) if left else 0
        histogram.append(registers_of_rank)
        left -= registers_of_rank
    if left:
        raise ValueError(f"there must be {REGISTERS} registers of at most {MAX_RANK}")
    return _estimate(histogram)


def merge_registers(parts: Iterable[bytes | bytearray]) -> bytearray:
    """Return the larger register of all *parts*, at every place."""
    merged = 0
    for part in parts:
        other = int.from_bytes(part, "little")
        # All 16,384 bytes at once, as one large integer (40 times faster than a loop).
        # Registers stay below 128, so with the top bits set no byte borrows from the
        # next, and a top bit that is left says that merged >= other in its byte.
        larger = ((merged | _TOP_BITS) - other) & _TOP_BITS
        mask = larger - (larger >> 7)
        merged = (merged & mask) | (other & ~mask)
    return bytearray(merged.to_bytes(REGISTERS, "little"))


def registers_of_redis(data: bytes) -> bytearray:
    """
    Unpack the string that Redis or Valkey keep for a HyperLogLog key.

    It begins with 16 bytes: ``HYLL``, the encoding (0 dense, 1 sparse), 3 unused, and 8
    with a cached cardinality. *Dense* registers follow as 6 bits each, from the lowest
    bit of the first byte on. *Sparse* ones follow as runs: ``00nnnnnn`` is n + 1 zeros,
    ``01nnnnnn nnnnnnnn`` is n + 1 zeros, ``1vvvvvnn`` is n + 1 registers of v + 1.
    The empty string (no such key) is the empty set.

    Raises:
        ValueError: If *data* is nothing of this kind.
    """
    if not data:
        return bytearray(REGISTERS)
    if data[:4] != b"HYLL" or len(data) < 16 or data[4] > 1:
        raise ValueError("not a HyperLogLog of Redis")
    unpack = _unpack_sparse if data[4] else _unpack_dense
    registers = unpack(data[16:])
    if len(registers) != REGISTERS:
        raise ValueError(f"a HyperLogLog with {len(registers)} registers")
    return registers


def _place(member: str) -> tuple[int, int]:
    # A lone surrogate is no reason to fail; it is a member like any other.
    data = member.encode("utf-8", "surrogatepass")
    bits = int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
    rest = bits >> PRECISION | _SENTINEL
    return bits & _INDEX, (rest & -rest).bit_length()


def _unpack_dense(packed: bytes) -> bytearray:
    """Three bytes hold four registers; every first, second, ... one is done at once."""
    size = REGISTERS * 6 // 8
    if len(packed) < size:
        raise ValueError("a HyperLogLog that is cut short")
    first, second, third = (packed[start:size:3] for start in range(3))
    registers = bytearray(REGISTERS)
    registers[0::4] = _bits(first, 0, 6, 0)
    registers[1::4] = _both(_bits(first, 6, 2, 0), _bits(second, 0, 4, 2))
    registers[2::4] = _both(_bits(second, 4, 4, 0), _bits(third, 0, 2, 4))
    registers[3::4] = _bits(third, 2, 6, 0)
    return registers


def _bits(data: bytes, start: int, width: int, shift: int) -> bytes:
    """Take *width* bits of every byte, from bit *start* on, to bit *shift*."""
    mask = (1 << width) - 1
    return data.translate(bytes((code >> start & mask) << shift for code in range(256)))


def _both(low: bytes, high: bytes) -> bytes:
    union = int.from_bytes(low, "little") | int.from_bytes(high, "little")
    return union.to_bytes(len(low), "little")


def _unpack_sparse(packed: bytes) -> bytearray:
    registers = bytearray()
    codes = iter(packed)
    for code in codes:
        if code & 0x80:
            registers += bytes(((code >> 2 & 31) + 1,)) * ((code & 3) + 1)
        elif code & 0x40:
            registers += bytes(((code & 63) << 8 | next(codes, 0)) + 1)
        else:
            registers += bytes((code & 63) + 1)
    return registers


def _estimate(histogram: Sequence[int]) -> int:
    """Ertl's improved raw estimator; ``histogram[k]`` registers have rank k."""
    z = REGISTERS * _tau(1 - histogram[MAX_RANK] / REGISTERS)
    for registers in reversed(histogram[1:MAX_RANK]):
        z = (z + registers) / 2
    z += REGISTERS * _sigma(histogram[0] / REGISTERS)
    # Registers that are all full cannot tell how many there were: all hashes, at most.
    return round(_ALPHA * REGISTERS * REGISTERS / z) if z else 2**64


def _sigma(x: float) -> float:
    """What empty registers add: x + sum of x**(2**k) * 2**(k - 1) over k >= 1."""
    if x == 1.0:
        return math.inf
    total, weight = x, 1.0
    while True:
        x *= x
        before = total
        total += x * weight
        weight *= 2
        if total == before:
            return total


def _tau(x: float) -> float:
    """What full registers add: (1 - x - sum of (1 - x**(2**-k))**2 / 2**k) / 3."""
    if x in (0.0, 1.0):
        return 0.0
    total, weight = 1 - x, 1.0
    while True:
        x = math.sqrt(x)
        before = total
        weight /= 2
        total -= (1 - x) ** 2 * weight
        if total == before:
            return total / 3
