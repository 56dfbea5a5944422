"""Who is turned away: what is asked of the copy, and how the copy stays new."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from realtime.adapters.blocks.memory import MemoryBlocks, Shelf
from realtime.adapters.blocks.port import Block, Stored
from realtime.core.access import ANONYMOUS, BACKEND, Grants, Identity, Kind
from realtime.engine.gate import FULL_EVERY, SYNC_S, Gate
from realtime.engine.metrics import Metrics
from realtime.errors import BLOCKED, TOKEN_REVOKED, Unavailable
from realtime.testing.clock import ManualClock, settle
from realtime.types import UserId

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
ANN, BOB = UserId("ann"), UserId("bob")


class Failing(MemoryBlocks):
    """Blocks whose store can be away; ``reads`` counts how often all was read."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf)
        self.away: Exception | None = None
        self.reads = 0

    async def mark(self) -> str:
        if self.away is not None:
            raise self.away
        return await super().mark()

    async def all(self) -> Stored:
        self.reads += 1
        return await super().all()


class Setting:
    """Nodes' gates on one shelf."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.shelf = Shelf(self.clock.monotonic)

    def gate(self) -> tuple[Gate, Failing]:
        """A further node's."""
        blocks = Failing(self.shelf)
        return Gate(blocks, self.clock, Metrics()), blocks


def identity(user: UserId | None = ANN, age_s: float | None = 10) -> Identity:
    """Who has a token that is so old."""
    issued_at = None if age_s is None else NOW - age_s
    kind = Kind.ANONYMOUS if user is None else Kind.USER
    return Identity(user, NOW + 60, Grants(), kind, issued_at=issued_at)


def block(user: UserId | None = ANN, for_s: float = 60) -> Block:
    """An order that a user may not connect."""
    return Block(user, NOW + for_s)


def revocation(user: UserId | None = ANN, before: float = NOW) -> Block:
    """An order that older tokens are refused."""
    return Block(user, NOW + 1000, before)


def told(gate: Gate, whom: Identity) -> str | None:
    """The name of the error, if any."""
    error = gate.refusal(whom)
    return None if error is None else error.code.name


# -- asking ----------------------------------------------------------------------------


async def test_a_blocked_user_is_told_for_how_long() -> None:
    """Until the time is over, and nobody else."""
    setting = Setting()
    gate, _ = setting.gate()
    await gate.put(block(for_s=60))
    setting.clock.advance(20)
    error = gate.refusal(identity())

    assert error is not None
    assert (error.code, error.retry_after_s) == (BLOCKED, 40.0)
    assert told(gate, identity(BOB)) is None
    setting.clock.advance(40)
    assert told(gate, identity()) is None


@pytest.mark.parametrize(
    ("age_s", "refused"), [(10, True), (0.001, True), (0, False), (None, True)]
)
@pytest.mark.parametrize("whose", [ANN, None])
async def test_older_tokens_are_revoked(
    age_s: float | None, refused: bool, whose: UserId | None
) -> None:
    """Those issued before the instant, and those that do not say; of one or of all."""
    gate, _ = Setting().gate()
    await gate.put(revocation(whose))
    error = gate.refusal(identity(age_s=age_s))

    assert (error is not None) is refused
    if error is not None:
        assert (error.code, error.field) == (TOKEN_REVOKED, "token")


async def test_a_revocation_of_one_is_none_of_another() -> None:
    """And tokens that name nobody are hit by those of everybody only."""
    gate, _ = Setting().gate()
    await gate.put(revocation(ANN))
    assert told(gate, identity(BOB)) is None
    assert told(gate, identity(None)) is None
    await gate.put(revocation(None))
    assert told(gate, identity(None)) == "token_revoked"


@pytest.mark.parametrize("whom", [ANONYMOUS, BACKEND])
async def test_who_has_no_token_is_not_revoked(whom: Identity) -> None:
    """Anonymous sessions and API keys have nothing that could be."""
    gate, _ = Setting().gate()
    await gate.put(revocation(None))
    assert told(gate, whom) is None


async def test_a_block_is_told_before_a_revocation() -> None:
    """A new token would not help."""
    gate, _ = Setting().gate()
    await gate.put(revocation())
    await gate.put(block())
    assert told(gate, identity()) == "blocked"


# -- orders ----------------------------------------------------------------------------


async def test_the_newest_order_wins_in_whatever_order_they_come() -> None:
    """A control message may be late, or come twice."""
    setting = Setting()
    gate, _ = setting.gate()
    enforced: list[Block] = []
    gate.enforce = lambda order: enforced.append(order) or 1
    first, _ = await gate.put(block())
    lifted = await gate.lift(ANN, revocation=False)
    assert lifted is not None
    other, _ = setting.gate()
    for order in (lifted, first, lifted):
        other.apply(order)

    assert told(gate, identity()) == told(other, identity()) is None
    assert enforced == [first]


async def test_a_block_that_is_not_there_is_not_lifted() -> None:
    """And who asks is told so; one that another node was given is."""
    setting = Setting()
    here, there = setting.gate()[0], setting.gate()[0]
    assert await here.lift(ANN, revocation=False) is None
    await there.put(block())
    lifted = await here.lift(ANN, revocation=False)

    assert lifted is not None
    assert lifted.lifted
    await there.sync()
    assert told(there, identity()) is None


async def test_what_is_in_force_is_counted() -> None:
    """Neither lifted orders nor those that are over."""
    setting = Setting()
    gate, _ = setting.gate()
    await gate.put(block(ANN))
    await gate.put(block(BOB, for_s=10))
    await gate.put(block(UserId("eve")))
    await gate.lift(UserId("eve"), revocation=False)
    setting.clock.advance(10)

    assert [order.user for order in gate.in_force()] == [ANN]


# -- the copy --------------------------------------------------------------------------


async def test_what_was_not_heard_comes_within_seconds() -> None:
    """The copy is compared with the store, and what is new is enforced."""
    setting = Setting()
    gate, blocks = setting.gate()
    hit: list[Block] = []
    gate.enforce = lambda order: hit.append(order) or 1
    task = asyncio.create_task(gate.run())
    stored = await blocks.put(block(), NOW)
    assert told(gate, identity()) is None
    await setting.clock.elapse(SYNC_S)

    assert told(gate, identity()) == "blocked"
    assert hit == [stored]
    task.cancel()


async def test_nothing_is_read_while_nothing_changes() -> None:
    """But for now and then, in case the mark should lie."""
    setting = Setting()
    gate, blocks = setting.gate()
    await gate.sync()
    task = asyncio.create_task(gate.run())
    await setting.clock.elapse(SYNC_S * (FULL_EVERY - 1))
    assert blocks.reads == 1
    await setting.clock.elapse(SYNC_S)
    assert blocks.reads == 2
    task.cancel()


async def test_a_store_that_is_away_leaves_the_copy_as_it_is() -> None:
    """Users stay blocked; it is said once, and gone on with when it is back."""
    setting = Setting()
    gate, blocks = setting.gate()
    await gate.put(block(for_s=1000))
    task = asyncio.create_task(gate.run())
    blocks.away = Unavailable("down")
    with capture_logs() as logs:
        await setting.clock.elapse(3 * SYNC_S)
    assert [line["event"] for line in logs] == ["blocks_unavailable"]
    assert told(gate, identity()) == "blocked"

    await MemoryBlocks(setting.shelf).put(block(BOB, for_s=1000), NOW)
    blocks.away = None
    await setting.clock.elapse(SYNC_S)
    assert told(gate, identity(BOB)) == "blocked"
    task.cancel()


async def test_a_defect_does_not_end_the_comparison() -> None:
    """It is logged once; afterwards the copy is made new again."""
    setting = Setting()
    gate, blocks = setting.gate()
    task = asyncio.create_task(gate.run())
    blocks.away = ZeroDivisionError("a mistake")
    with capture_logs() as logs:
        await setting.clock.elapse(2 * SYNC_S)
    assert [line["event"] for line in logs] == ["blocks_failed"]
    blocks.away = None
    await blocks.put(block(for_s=1000), NOW)
    await setting.clock.elapse(SYNC_S)
    assert told(gate, identity()) == "blocked"
    task.cancel()


async def test_what_the_store_has_lost_is_put_back() -> None:
    """From the copies of the nodes, whichever come first; a later node finds it."""
    setting = Setting()
    gates = [setting.gate()[0] for _ in range(2)]
    await gates[0].put(block(for_s=1000))
    await gates[0].put(revocation(None))
    await gates[1].sync()
    setting.shelf.lose()
    with capture_logs() as logs:
        for gate in gates:
            await gate.sync()
    newcomer, _ = setting.gate()
    await newcomer.sync()

    assert [line["event"] for line in logs] == ["blocks_restored"]
    assert told(newcomer, identity()) == "blocked"
    assert told(newcomer, identity(BOB)) == "token_revoked"


async def test_an_old_copy_does_not_bring_back_what_was_lifted() -> None:
    """A node that was cut off meanwhile has a block that was taken back, and loses."""
    setting = Setting()
    here, cut_off = setting.gate()[0], setting.gate()[0]
    await here.put(block(for_s=1000))
    await cut_off.sync()
    await here.lift(ANN, revocation=False)
    setting.shelf.lose()
    await cut_off.sync()
    assert told(cut_off, identity()) == "blocked"  # it knows no better
    await here.sync()
    await cut_off.sync()

    assert told(here, identity()) == told(cut_off, identity()) is None


async def test_what_is_over_is_forgotten() -> None:
    """Copies do not grow for ever."""
    setting = Setting()
    gate, _ = setting.gate()
    for number in range(50):
        await gate.put(block(UserId(str(number)), for_s=10))
    await setting.clock.elapse(11)
    await gate.put(block(for_s=60))
    await gate.sync()

    assert len(gate._orders) == 1


async def test_a_copy_says_how_old_it_is() -> None:
    """Readiness stays green without the store; this metric does not."""
    clock, metrics = ManualClock(NOW), Metrics()
    blocks = Failing(Shelf(clock.monotonic))
    gate = Gate(blocks, clock, metrics)
    await gate.put(replace(block(), user=BOB))
    await gate.sync()
    await clock.elapse(42)
    await settle()

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"realtime_{name}")

    assert (value("blocks"), value("blocks_age_seconds")) == (1, 42)
