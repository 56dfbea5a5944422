"""Telling who comes and goes: the last word is true, and nothing is told twice."""

from __future__ import annotations

import asyncio

import pytest

from realtime.adapters.presence.memory import MemoryPresence
from realtime.engine import notices
from realtime.engine.metrics import Metrics
from realtime.engine.notices import Notices
from realtime.engine.tasks import Tasks
from realtime.errors import Unavailable
from realtime.testing.clock import ManualClock, settle
from realtime.types import Channel, ConnectionId, Member, NodeId, UserId

pytestmark = pytest.mark.anyio

ROOM = Channel("room:42")


def member(user: str | None = "anna", client: str = "c1") -> Member:
    """Make a member."""
    return Member(ConnectionId(client), None if user is None else UserId(user))


class Teller:
    """Notices of a channel, and what they have told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryPresence(NodeId("n1"))
        self.metrics = Metrics()
        self.tasks = Tasks()
        self.told: list[bool] = []
        self.failing = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.notices = Notices(
            self.store, self.clock, self.tasks, self.metrics, self._announce
        )

    async def _announce(self, channel: Channel, one: Member, there: bool) -> None:
        await self.gate.wait()
        if self.failing:
            self.failing -= 1
            raise Unavailable("not now")
        self.told.append(there)

    def tell(self, there: bool, one: Member | None = None) -> None:
        self.notices.tell(ROOM, one or member(), there)


@pytest.fixture
async def teller() -> Teller:
    """Notices with a store of their own."""
    return Teller()


async def test_what_is_so_is_told_once(teller: Teller) -> None:
    """Looking afterwards confirms it, and that is all."""
    await teller.store.join(ROOM, member(), 60)
    teller.tell(True)
    await settle()
    assert teller.told == [True]
    assert len(teller.notices) == 0


async def test_what_is_so_no_more_is_taken_back(teller: Teller) -> None:
    """Another node may have told it before us: the last word must be true."""
    teller.tell(True)
    await settle()
    assert teller.told == [True, False]
    await teller.store.join(ROOM, member(), 60)
    teller.tell(False)
    await settle()
    assert teller.told == [True, False, False, True]


async def test_what_changes_while_it_is_told_is_told_after_it(teller: Teller) -> None:
    """In the order in which it happened."""
    teller.gate.clear()
    teller.tell(True)
    await settle()
    teller.tell(False)
    teller.gate.set()
    await settle()
    assert teller.told == [True, False]


async def test_what_changes_back_before_it_is_told_is_not_told(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who has gone and come within a moment has done nothing."""
    await teller.store.join(ROOM, member(), 60)
    teller.tell(False)
    teller.tell(True)
    await settle()
    assert teller.told == []


async def test_what_cannot_be_told_now_is_told_later(teller: Teller) -> None:
    """As long as it takes."""
    await teller.store.join(ROOM, member(), 60)
    teller.failing = 20
    teller.tell(True)
    await teller.clock.elapse(30)
    assert teller.told == [True]


async def test_a_member_without_a_user_is_not_looked_for(teller: Teller) -> None:
    """It comes once, and goes once."""
    teller.tell(True, member(None))
    teller.tell(True, member(None, "c2"))
    await settle()
    teller.tell(False, member(None))
    await settle()
    assert teller.told == [True, True, False]


async def test_too_many_are_counted(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not told is at least known."""
    monkeypatch.setattr(notices, "MAX_WAITING", 2)
    teller.gate.clear()
    for number in range(5):
        teller.tell(True, member(None, f"c{number}"))
    teller.gate.set()
    await settle()
    assert teller.told == [True, True]
    assert teller.metrics.total(teller.metrics.presence_notices_lost) == 3


async def test_closing_waits_for_what_is_told(teller: Teller) -> None:
    """So that a node that stops says who has left it."""
    teller.gate.clear()
    for number in range(100):
        teller.tell(False, member(None, f"c{number}"))
    asyncio.get_running_loop().call_soon(teller.gate.set)
    await teller.notices.aclose()
    assert len(teller.told) == 100


async def test_one_that_fails_does_not_stop_the_others(teller: Teller) -> None:
    """A mistake of ours is logged, and told of one user only."""

    async def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a mistake")

    teller.store.connections = fail  # type: ignore[assignment, method-assign]
    teller.tell(True)
    teller.tell(True, member(None))
    await settle()
    assert teller.told == [True, True]
    assert len(teller.notices) == 0
