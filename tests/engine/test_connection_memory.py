"""What is left of a connection that has ended: nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from realtime.engine.outbox import Outbox
from realtime.testing.transport import RecordingSocket
from realtime.wire.frames import FrameKey
from tests.engine.support import TICK_S, phone, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_an_ended_connection_is_freed_at_once() -> None:
    """No collection of garbage is needed, however much it did."""
    async with running() as (node, clock):
        client = await phone(node)
        await client.say("subscribe", channel="live:likes;post=7;window=total")
        await client.track(1, "like")
        await clock.elapse(TICK_S)
        peer = weakref.ref(client.peer)
        client.lose()
        del client

        assert peer() is None


def test_a_closed_outbox_keeps_nothing_and_tells_nobody() -> None:
    """Whoever still writes to it writes into the void."""
    overflows: list[bool] = []
    socket = RecordingSocket()
    outbox = Outbox(socket, 10, FrameKey.JSON, lambda: overflows.append(True))
    outbox.paused()
    outbox.push(b"12345")
    outbox.close()
    assert outbox.waiting_bytes == 0

    outbox.push(b"12345678901")

    assert overflows == []
