"""
The contract of a ledger, first part: marks, verdicts and claims.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from realtime.adapters.ledger.port import DeviceTaken, Ledger
from realtime.core.ledger import Outcome, Verdict
from realtime.testing.ledger_kit import TTL_S, Ledgers, key, state, sub
from realtime.types import DeviceId

APPLIED, DUPLICATE = Verdict.APPLIED, Verdict.DUPLICATE
OVERLAP, GAP = Verdict.OVERLAP, Verdict.GAP

DEVICE = DeviceId("phone")


async def _claim(ledger: Ledger, *proofs: str, acked: int = 0) -> int:
    return await ledger.claim(DEVICE, proofs or ("me",), acked, TTL_S)


class MarksContract:
    """Whose events count, and how often: exactly once."""

    @pytest.mark.parametrize(
        ("first", "last", "verdict", "mark", "count"),
        [
            (6, 8, APPLIED, 8, 8),
            (6, 6, APPLIED, 6, 6),
            (1, 5, DUPLICATE, 5, 5),
            (2, 4, DUPLICATE, 5, 5),
            (5, 5, DUPLICATE, 5, 5),
            (5, 6, OVERLAP, 5, 5),
            (1, 9, OVERLAP, 5, 5),
            (7, 9, GAP, 5, 5),
            (1000, 1000, GAP, 5, 5),
        ],
    )
    async def test_a_sub_batch_is_judged_against_its_mark(
        self,
        ledgers: Ledgers,
        first: int,
        last: int,
        verdict: Verdict,
        mark: int,
        count: int,
    ) -> None:
        """With the mark at 5, only what begins at 6 counts, and moves the mark."""
        ledger, now = await ledgers.open(), time.time()
        await ledger.commit([sub("phone", 1, 5)], now)
        assert await ledger.commit([sub("phone", first, last)], now) == [
            Outcome(verdict, mark)
        ]
        assert await state(ledger, key("count")) == (count,)
        assert await _claim(ledger) == mark

    async def test_an_unknown_device_begins_at_one(self, ledgers: Ledgers) -> None:
        """A device that nobody knows has the mark 0."""
        ledger, now = await ledgers.open(), time.time()
        outcomes = await ledger.commit([sub("a", 2, 2), sub("b", 1, 1)], now)
        assert outcomes == [Outcome(GAP, 0), Outcome(APPLIED, 1)]

    async def test_sub_batches_of_one_device_are_judged_in_order(
        self, ledgers: Ledgers
    ) -> None:
        """Each sub-batch of a commit sees the mark that those before it have left."""
        ledger, now = await ledgers.open(), time.time()
        numbers = [(1, 2), (3, 4), (6, 6), (1, 4), (4, 5), (5, 5), (5, 5)]
        outcomes = await ledger.commit([sub("phone", *pair) for pair in numbers], now)
        assert outcomes == [
            Outcome(APPLIED, 2),
            Outcome(APPLIED, 4),
            Outcome(GAP, 4),
            Outcome(DUPLICATE, 4),
            Outcome(OVERLAP, 4),
            Outcome(APPLIED, 5),
            Outcome(DUPLICATE, 5),
        ]
        assert await state(ledger, key("count")) == (5,)

    async def test_a_commit_that_is_repeated_counts_once(
        self, ledgers: Ledgers
    ) -> None:
        """The same commit again is answered as duplicates and adds nothing."""
        ledger, now = await ledgers.open(), time.time()
        batches = [sub(f"phone-{n}", 1, n) for n in range(1, 30)]
        first = await ledger.commit(batches, now)
        again = await ledger.commit(batches, now)
        assert first == [Outcome(APPLIED, n) for n in range(1, 30)]
        assert again == [Outcome(DUPLICATE, n) for n in range(1, 30)]
        assert await state(ledger, key("count")) == (sum(range(1, 30)),)

    async def test_numbers_that_add_nothing_are_used_up(self, ledgers: Ledgers) -> None:
        """Rejected and lost numbers move the mark without any addition."""
        ledger, now = await ledgers.open(), time.time()
        outcomes = await ledger.commit(
            [sub("phone", 1, 1_000_000, {}), sub("phone", 1_000_001, 1_000_001)], now
        )
        assert outcomes == [Outcome(APPLIED, 1_000_000), Outcome(APPLIED, 1_000_001)]
        assert await state(ledger, key("count")) == (1,)

    async def test_numbers_reach_far(self, ledgers: Ledgers) -> None:
        """Marks are exact up to 2**53 - 1."""
        ledger, now, far = await ledgers.open(), time.time(), 2**53 - 2
        await _claim(ledger, acked=far)
        outcomes = await ledger.commit(
            [sub("phone", far, far), sub("phone", far + 1, far + 1)], now
        )
        assert outcomes == [Outcome(DUPLICATE, far), Outcome(APPLIED, far + 1)]

    async def test_nothing_is_committed_by_an_empty_commit(
        self, ledgers: Ledgers
    ) -> None:
        """A commit of no sub-batches has no outcomes."""
        assert await (await ledgers.open()).commit([], time.time()) == []

    async def test_any_string_names_a_device(self, ledgers: Ledgers) -> None:
        """Names of devices are not interpreted, whatever is in them."""
        ledger, now = await ledgers.open(), time.time()
        names = ["{a}", "}{", "a:b|c", "\0\n\r ", "%s%d", "ü€🙂", "*", "x" * 500]
        outcomes = await ledger.commit([sub(name, 1, 1) for name in names], now)
        assert outcomes == [Outcome(APPLIED, 1)] * len(names)
        outcomes = await ledger.commit([sub(name, 2, 2) for name in names], now)
        assert outcomes == [Outcome(APPLIED, 2)] * len(names)

    async def test_two_nodes_that_send_the_same_count_it_once(
        self, ledgers: Ledgers
    ) -> None:
        """Commits of the same numbers by two ledgers at once are applied once."""
        one, two = await ledgers.open(), await ledgers.open()
        now = time.time()

        async def send(ledger: Ledger, step: int) -> None:
            for start in range(0, 20, step):
                batches = [
                    sub(f"phone-{device}", number, number)
                    for device in range(10)
                    for number in range(start + 1, min(start + step, 20) + 1)
                ]
                await ledger.commit(batches, now)

        await asyncio.gather(send(one, 3), send(two, 7), send(one, 4), send(two, 20))
        assert await state(one, key("count")) == (200,)

    async def test_an_unknown_device_is_recorded(self, ledgers: Ledgers) -> None:
        """A device's first claim sets its mark to what it saw acknowledged."""
        ledger = await ledgers.open()
        assert await _claim(ledger, "me", acked=7) == 7
        assert await ledger.commit([sub("phone", 8, 8)], time.time()) == [
            Outcome(APPLIED, 8)
        ]

    async def test_a_known_mark_does_not_move(self, ledgers: Ledgers) -> None:
        """What a known device says it saw acknowledged does not move its mark."""
        ledger = await ledgers.open()
        await _claim(ledger, "me", acked=7)
        assert await _claim(ledger, "me", acked=3) == 7
        assert await _claim(ledger, "me", acked=9) == 7

    async def test_a_device_belongs_to_who_first_used_it(
        self, ledgers: Ledgers
    ) -> None:
        """Without the first proof a claim is refused, on every node, and is no harm."""
        one, two = await ledgers.open(), await ledgers.open()
        await _claim(one, "me", "also me", acked=7)
        for proofs in (["you"], ["also me"], [""], ["me "]):
            with pytest.raises(DeviceTaken):
                await two.claim(DEVICE, proofs, 1, TTL_S)
        assert await _claim(two, "me") == 7

    async def test_any_proof_will_do(self, ledgers: Ledgers) -> None:
        """A known device may be claimed by any of several proofs, in any order."""
        ledger = await ledgers.open()
        await _claim(ledger, "secret", acked=2)
        assert await _claim(ledger, "user", "secret") == 2
        with pytest.raises(DeviceTaken):  # it has not changed hands
            await _claim(ledger, "user")

    async def test_a_device_without_owner_goes_to_the_first_claim(
        self, ledgers: Ledgers
    ) -> None:
        """A mark made by commits alone is kept, and belongs to who claims it first."""
        ledger = await ledgers.open()
        await ledger.commit([sub("phone", 1, 4)], time.time())
        assert await _claim(ledger, "me", acked=1) == 4
        with pytest.raises(DeviceTaken):
            await _claim(ledger, "you")

    async def test_commits_do_not_change_the_owner(self, ledgers: Ledgers) -> None:
        """A device keeps its owner when its mark moves."""
        ledger = await ledgers.open()
        await _claim(ledger, "me")
        await ledger.commit([sub("phone", 1, 4)], time.time())
        with pytest.raises(DeviceTaken):
            await _claim(ledger, "you")
        assert await _claim(ledger, "me") == 4

    async def test_a_claim_needs_a_proof(self, ledgers: Ledgers) -> None:
        """Nobody can own a device without any proof."""
        ledger = await ledgers.open()
        with pytest.raises(ValueError, match="proofs"):
            await ledger.claim(DEVICE, [], 0, TTL_S)

    async def test_a_silent_device_is_forgotten(self, ledgers: Ledgers) -> None:
        """After the time of its mark a device starts anew, for whoever comes."""
        ledger = await ledgers.open()
        await ledger.claim(DEVICE, ["me"], 5, 0.02)
        deadline = time.monotonic() + 5
        mark = 5
        while mark == 5 and time.monotonic() < deadline:
            await asyncio.sleep(0.025)  # each claim that is answered renews the time
            try:
                mark = await ledger.claim(DEVICE, ["you"], 1, 0.02)
            except DeviceTaken:
                continue
        assert mark == 1

    async def test_a_commit_renews_the_mark(self, ledgers: Ledgers) -> None:
        """The time of a mark counts from the last commit that moved it."""
        ledger = await ledgers.open()
        await ledger.claim(DEVICE, ["me"], 5, 0.25)
        await ledger.commit([sub("phone", 6, 6)], time.time())
        await asyncio.sleep(0.26)
        assert await _claim(ledger, "me") == 6
