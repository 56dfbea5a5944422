"""Presence in memory: what no other form has, a storage without an expiry."""

from __future__ import annotations

import pytest

from realtime.adapters.presence.memory import Board, MemoryPresence
from realtime.testing.clock import ManualClock
from realtime.testing.presence_kit import ROOM, SHORT_S, member, sum_of
from realtime.types import NodeId

pytestmark = pytest.mark.anyio

ANN = member("c1", "ann")
BOB = member("c2", "bob")


async def test_nothing_is_left_of_who_went_with_the_lease_and_then_left() -> None:
    """The node slept too long, and its members have left before it touched again."""
    clock = ManualClock()
    board = Board(clock.monotonic)
    presence = MemoryPresence(NodeId("one"), board)
    for each in (ANN, BOB):
        await presence.join(ROOM, each, SHORT_S)
    clock.advance(2 * SHORT_S)

    left = await presence.leave(ROOM, ANN.client, ANN.user)
    assert (left.known, sorted(left.gone, key=str)) == (True, [ANN, BOB])
    assert list(board.rooms) == [ROOM]  # the node may come back with the other
    left = await presence.leave(ROOM, BOB.client, BOB.user)
    assert (left.known, left.gone) == (True, [])
    assert board.rooms == {}


async def test_who_did_not_leave_is_back_when_the_node_is() -> None:
    """Although another member has left meanwhile."""
    clock = ManualClock()
    presence = MemoryPresence(NodeId("one"), Board(clock.monotonic))
    for each in (ANN, BOB):
        await presence.join(ROOM, each, SHORT_S)
    clock.advance(2 * SHORT_S)
    await presence.leave(ROOM, ANN.client, ANN.user)

    differing, _ = await presence.touch([(ROOM, sum_of([BOB]))], SHORT_S)
    assert differing == [ROOM]
    assert await presence.restore(ROOM, [BOB], SHORT_S) == [BOB]
