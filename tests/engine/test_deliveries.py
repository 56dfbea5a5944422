"""One frame handed to many: the same by the native part and by its twin in Python."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime import native
from realtime.engine import deliveries
from realtime.engine.deliveries import Plain, Value, hand
from realtime.engine.outbox import Outbox
from realtime.testing.transport import RecordingSocket
from realtime.wire.frames import FrameKey

NATIVE: Callable[..., Any] | None = native.built("fanout", "send_all")  # type: ignore[assignment]


@pytest.fixture(params=["native", "pure"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hand frames out by the native part, and by its twin."""
    use(request.param, monkeypatch)
    return str(request.param)


def use(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose one of them."""
    if way == "native" and NATIVE is None:
        pytest.skip("realtime.native.fanout was not built")
    monkeypatch.setattr(deliveries, "send_all", NATIVE if way == "native" else None)


class Wire:
    """
    A socket as the native part sees it, on a pair of real ones.

    What the kernel does not take stays in ``held``, as in a transport.
    """

    def __init__(self, *, plain: bool = True) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.fd = self.ours.fileno() if plain else -1
        self._transport = self
        self.held = bytearray()
        self.writes = 0

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self.held)

    def send(self, frame: bytes) -> None:
        """Write as a transport does."""
        self.writes += 1
        self.held += frame
        self.flush()

    def flush(self) -> None:
        """Give the kernel what it takes."""
        try:
            while self.held:
                del self.held[: self.ours.send(self.held)]
        except (BlockingIOError, BrokenPipeError):
            pass

    def read(self) -> bytes:
        """Return all that has been sent."""
        found = b""
        try:
            while data := self.theirs.recv(1 << 20):
                found += data
                self.flush()
        except BlockingIOError:
            pass
        return found

    def fill(self) -> None:
        """Let the kernel take no more."""
        try:
            while True:
                self.ours.send(b"." * 65536)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    """Three open sockets."""
    with ExitStack() as stack:
        found = [Wire() for _ in range(3)]
        for wire in found:
            stack.callback(wire.close)
        yield found


def outbox(wire: Any) -> Outbox:
    """An outbox on *wire*."""
    return Outbox(wire, 1 << 30, FrameKey.JSON, lambda: None)


def test_all_get_the_frame(way: str, wires: list[Wire]) -> None:
    """Natively without a call of the socket's own ``send``."""
    hand(Plain(b"frame"), tuple(map(outbox, wires)))

    assert [wire.read() for wire in wires] == [b"frame"] * 3
    assert [wire.writes for wire in wires] == [int(way == "pure")] * 3


def test_what_waits_is_not_overtaken(way: str, wires: list[Wire]) -> None:
    """In the outbox, and in the transport."""
    boxes = tuple(map(outbox, wires))
    boxes[0].paused()
    boxes[0].push(b"first ")
    wires[1].fill()
    wires[1].send(b"first ")
    hand(Plain(b"second"), boxes)
    boxes[0].resumed()

    assert wires[0].read() == b"first second"
    assert wires[1].read().lstrip(b".") == b"first second"
    assert wires[2].read() == b"second"


def test_what_the_kernel_takes_in_part_is_completed(
    way: str, wires: list[Wire]
) -> None:
    """The rest is the transport's."""
    big = bytes(range(256)) * 40_000
    hand(Plain(big), tuple(map(outbox, wires)))

    assert wires[0].held
    assert [wire.read() for wire in wires] == [big] * 3


def test_nothing_gets_between_the_parts_of_a_frame(way: str, wires: list[Wire]) -> None:
    """Not even what leaves because somebody else is given up on."""
    big = bytes(range(256)) * 40_000
    first = outbox(wires[0])
    slow: Any = wires[1]
    lost = Outbox(slow, 10, FrameKey.JSON, lambda: first.push(b"next"))
    lost.paused()
    hand(Plain(big), (first, lost))

    assert wires[0].read() == big + b"next"


def test_a_slow_reader_of_values_keeps_the_latest(way: str, wires: list[Wire]) -> None:
    """What must wait does so in the manner of its kind."""
    boxes = tuple(map(outbox, wires))
    boxes[1].paused()
    for value in (b"1", b"2"):
        hand(Value(7, value), boxes)
    boxes[1].resumed()

    assert [wire.read() for wire in wires] == [b"12", b"2", b"12"]


def test_sockets_without_a_descriptor_send_by_themselves(
    way: str, wires: list[Wire]
) -> None:
    """Under TLS, and those that are none; other subscribers, too."""
    tls, recording = Wire(plain=False), RecordingSocket()
    subscribers = (outbox(tls), outbox(recording), outbox(wires[0]))
    hand(Plain(b"frame"), subscribers)

    assert (tls.read(), recording.frames, wires[0].read()) == (
        b"frame",
        [b"frame"],
        b"frame",
    )
    tls.close()


def test_a_socket_that_has_ended_is_nobody_elses_problem(
    way: str, wires: list[Wire]
) -> None:
    """Its transport is told, as by any write."""
    wires[1].theirs.close()
    hand(Plain(b"frame"), tuple(map(outbox, wires)))

    assert wires[0].read() == wires[2].read() == b"frame"
    assert wires[1].held == b"frame"


def test_a_transport_that_fails_is_nobody_elses_problem(
    way: str, wires: list[Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it raises is logged, where it is not asked for its size only."""

    def fail(*_: object) -> int:
        raise RuntimeError("a defect")

    monkeypatch.setattr(wires[1], "get_write_buffer_size", fail)
    monkeypatch.setattr(wires[1], "send", fail)
    with capture_logs() as logs:
        hand(Plain(b"frame"), tuple(map(outbox, wires)))

    assert [one["event"] for one in logs] == ["delivery_failed"]
    assert [wires[0].read(), wires[2].read()] == [b"frame"] * 2


@pytest.mark.skipif(NATIVE is None, reason="realtime.native.fanout was not built")
@pytest.mark.parametrize(
    "arguments",
    [(), ([], b"", Outbox), ((), "text", Outbox), ((), b"", 1), ((), b"", Outbox, 1)],
)
def test_other_arguments_are_refused(arguments: tuple[object, ...]) -> None:
    """Never a crash."""
    assert NATIVE is not None
    with pytest.raises(TypeError, match="a tuple, bytes, a class"):
        NATIVE(*arguments)


@pytest.mark.skipif(NATIVE is None, reason="realtime.native.fanout was not built")
def test_what_is_no_outbox_is_left_to_python() -> None:
    """Whatever it is."""
    assert NATIVE is not None
    others = (1, None, object())
    assert NATIVE(others, b"x", Outbox) == [(one, b"x") for one in others]


STEPS = st.one_of(
    st.tuples(st.just("hand"), st.integers(0, 300_000), st.booleans()),
    st.tuples(st.sampled_from(["pause", "resume", "read"]), st.integers(0, 2)),
    st.tuples(st.just("reply"), st.integers(0, 2)),
)


@pytest.mark.skipif(NATIVE is None, reason="realtime.native.fanout was not built")
@settings(deadline=None)  # through real sockets
@given(steps=st.lists(STEPS, max_size=30))
def test_both_ways_send_the_same(steps: list[tuple[Any, ...]]) -> None:
    """Whatever waits wherever: the same bytes in the same order."""
    sent = []
    for way in ("native", "pure"):
        with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
            use(way, patch)
            sent.append(_play(steps, stack))
    assert sent[0] == sent[1]


def _play(steps: list[tuple[Any, ...]], stack: ExitStack) -> list[bytes]:
    wires = [Wire() for _ in range(3)]
    for wire in wires:
        stack.callback(wire.close)
    boxes = tuple(map(outbox, wires))
    got = [b""] * 3
    for number, (step, one, *more) in enumerate(steps):
        text = b"%d" % (number % 10)
        if step == "hand":
            hand(Value(number, text * one) if more[0] else Plain(text * one), boxes)
        elif step == "read":
            got[one] += wires[one].read()
        elif step == "reply":
            boxes[one].reply(text)
        else:
            getattr(boxes[one], {"pause": "paused", "resume": "resumed"}[step])()
    for at, box in enumerate(boxes):
        box.resumed()
        got[at] += wires[at].read()
    return got
