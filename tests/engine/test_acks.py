"""Acknowledgements of one settlement leave together, each to its own connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime import native
from realtime.engine import acks
from realtime.engine.acks import Acks
from realtime.engine.outbox import Outbox
from realtime.engine.subscriber import Subscriber
from realtime.wire.frames import FrameKey
from tests.engine.test_deliveries import Wire

SEND: Callable[..., Any] | None = native.built("fanout", "send_all")  # type: ignore[assignment]


@pytest.fixture(autouse=True, params=["native", "pure"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send by the native part, and without it."""
    if request.param == "native" and SEND is None:
        pytest.skip("realtime.native.fanout was not built: there was no compiler")
    send_each = SEND if request.param == "native" else None
    monkeypatch.setattr(acks, "send_each", send_each)


class Turn:
    """What leaves at the end of a turn: *entries*, and then the answers given."""

    def __init__(self, *entries: object) -> None:
        self.entries: Sequence[object] = entries
        self.answers: list[bytes] = []

    def answer(self, subscriber: Subscriber, frame: bytes) -> None:
        self.answers.append(frame)

    def flush(self) -> None:
        self.entries = ()


def opened(
    wires: Sequence[Wire], turn: Turn, frames: Sequence[bytes]
) -> tuple[Acks, list[Outbox]]:
    """Return acknowledgements of *frames*, one for the outbox of each wire."""
    waiting = Acks(turn)
    outboxes = [
        Outbox(wire, 1000, FrameKey.JSON, lambda: None, turn=turn)  # type: ignore[arg-type]
        for wire in wires
    ]
    waiting.outboxes += outboxes
    waiting.frames += frames
    return waiting, outboxes


def test_each_outbox_gets_its_own_frame() -> None:
    """Sockets with and without a descriptor, and those that are full, get theirs."""
    with ExitStack() as stack:
        wires = [Wire(), Wire(plain=False), Wire(), Wire()]
        for wire in wires:
            stack.callback(wire.close)
        waiting, outboxes = opened(wires, Turn(), [b"1", b"22", b"333", b"4444"])
        outboxes[2].paused()
        waiting.flush()

        assert [wire.read() for wire in wires] == [b"1", b"22", b"", b"4444"]
        outboxes[2].resumed()
        assert wires[2].read() == b"333"


def test_nothing_is_sent_twice() -> None:
    """What was sent does not wait any more."""
    with ExitStack() as stack:
        wires = [Wire()]
        stack.callback(wires[0].close)
        waiting, _ = opened(wires, Turn(), [b"once"])
        waiting.flush()
        waiting.flush()

        assert wires[0].read() == b"once"


def test_two_for_one_outbox_stay_in_order() -> None:
    """The second waits with the first, should the kernel not take that."""
    with ExitStack() as stack:
        wires = [Wire(), Wire()]
        for wire in wires:
            stack.callback(wire.close)
        waiting, outboxes = opened(wires, Turn(), [b"1", b"2"])
        waiting.outboxes.append(outboxes[0])
        waiting.frames.append(b"3")
        waiting.flush()

        assert [wire.writes for wire in wires] == [2, 1]
        assert [wire.read() for wire in wires] == [b"13", b"2"]


def test_they_keep_their_place_behind_publications() -> None:
    """While something leaves at the end of the turn, they leave behind it."""
    with ExitStack() as stack:
        wires = [Wire(), Wire()]
        for wire in wires:
            stack.callback(wire.close)
        turn = Turn("a publication")
        waiting, _ = opened(wires, turn, [b"1", b"2"])
        waiting.flush()

        assert turn.answers == [b"1", b"2"]
        assert [wire.read() for wire in wires] == [b"", b""]


def test_a_defect_of_one_is_logged_and_the_others_are_sent() -> None:
    """An exception concerns the connection that raised it."""
    with ExitStack() as stack:
        wires = [Wire(plain=False), Wire(plain=False)]
        for wire in wires:
            stack.callback(wire.close)
        waiting, _ = opened(wires, Turn(), [b"1", b"2"])
        wires[0].send = None  # type: ignore[assignment, method-assign]
        with capture_logs() as logs:
            waiting.flush()

        assert [one["event"] for one in logs] == ["acknowledgement_failed"]
        assert wires[1].read() == b"2"
