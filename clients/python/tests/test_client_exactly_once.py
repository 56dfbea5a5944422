"""Whatever the network, the server and the process do, every event is counted once."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from client_support.ledger_model import Ledger, Message, ModelSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from realtime_client import MemoryQueue, NumbersLost, SQLiteQueue
from realtime_client.errors import CommandError, Retry
from realtime_client.queue import EventQueue
from realtime_client.sender import Sender, TrackFrame
from realtime_client.values import Limits, Notice

LIMITS = Limits(262144, 32768, 4, 65536, 512)
EVENT = b'{"name":"e","properties":{"n":%d}}'


class World:
    """One device, its server and the network between; every step is chosen outside."""

    def __init__(self, open_queue: Callable[[], EventQueue]) -> None:
        self.open_queue = open_queue
        self.ledger = Ledger()
        self.notices: list[Notice] = []
        self.tracked = 0
        self.now = 0.0
        self.ids = count(1)
        self.up: deque[TrackFrame] = deque()
        self.down: deque[Message] = deque()
        self.session: ModelSession | None = None
        self.orphans: list[ModelSession] = []
        self.start()

    def start(self) -> None:
        """The process starts."""
        self.queue = self.open_queue()
        # No acknowledgement gets lost on a connection that lives, so no timeout may be
        # needed: it would only hide what else goes wrong.
        self.sender = Sender(
            self.queue,
            max_in_flight=3,
            ack_timeout_s=1e9,
            on_notice=self.notices.append,
        )

    # -- steps -------------------------------------------------------------------------

    def track(self) -> None:
        self.queue.put(EVENT % self.tracked)
        self.tracked += 1

    def connect(self) -> None:
        if self.session is None:
            hello = {"device": self.queue.device, "acked": self.queue.acked}
            self.session = ModelSession(self.ledger, hello)
            self.sender.welcomed(self.session.mark, LIMITS, 1000)

    def cut(self) -> None:
        """The network breaks; the server may still commit what it has taken."""
        if self.session is not None:
            self.orphans.append(self.session)
            self.session = None
            self.up.clear()
            self.down.clear()
            self.sender.disconnected()

    def send(self) -> None:
        frame = self.sender.poll(self.now, self.ids)
        if frame is not None:
            assert self.session is not None
            self.up.append(frame)

    def take(self, *, busy: bool = False) -> None:
        if self.session is not None and self.up:
            said = self.session.track(as_message(self.up.popleft()), busy=busy)
            if said is not None:
                self.down.append(said)

    def refuse(self) -> None:
        self.take(busy=True)

    def repeat(self) -> None:
        """The frame at the head arrives twice."""
        if self.up:
            self.up.appendleft(self.up[0])

    def tick(self) -> None:
        if self.session is not None:
            self.down.extend(self.session.tick())

    def late(self) -> None:
        """A former connection's node commits at last."""
        if self.orphans:
            self.orphans.pop().tick()

    def forget(self) -> None:
        """A former connection's node dies with what it had taken."""
        if self.orphans:
            self.orphans.pop()

    def hear(self) -> None:
        if self.down:
            hear(self.sender, self.down.popleft(), self.now)

    def echo(self) -> None:
        """What the server said last is heard twice."""
        if self.down:
            self.down.append(self.down[-1])

    def wait(self) -> None:
        self.now += 0.7

    def restart(self) -> None:
        """The process dies and starts again."""
        self.cut()
        self.queue.close()
        self.start()

    def settle(self) -> None:
        """Let everything work until nothing is left to do."""
        for _ in range(1000):
            if not self.queue.count:
                return
            self.connect()
            for step in (self.send, self.take, self.tick, self.hear, self.hear):
                step()
            self.wait()
        raise AssertionError(f"{self.queue.count} events were never acknowledged")


def as_message(frame: TrackFrame) -> Message:
    """Return what the server reads."""
    events: list[Any] = [json.loads(event) for event in frame.events]
    head = {"type": "track", "id": frame.id, "first": frame.first}
    return {**head, "lost": frame.lost, "events": events}


def hear(sender: Sender, said: Message, now: float) -> None:
    """Tell the sender what the session would tell it."""
    if said["type"] == "ack":
        sender.acknowledged(said["acked"])
    elif said["type"] == "slow_down":
        sender.slow_down(said["first"], said["retry_after_s"], now)
    else:
        error = CommandError(112, "gap", Retry.RESEND, "gap", expected=said["expected"])
        sender.refused(said.get("id"), error, now)


STEPS = (
    ["track"] * 6
    + ["connect", "send", "take", "tick", "hear"] * 4
    + [
        "cut",
        "refuse",
        "repeat",
        "echo",
        "late",
        "forget",
        "wait",
        "send",
        "send",
        "take",
    ]
)
PLANS = st.lists(st.sampled_from(STEPS), max_size=120)
PLANS_WITH_RESTARTS = st.lists(st.sampled_from([*STEPS, "restart"]), max_size=80)


def follow(world: World, plan: list[str]) -> None:
    """Do the steps of *plan*, then let everything settle."""
    for step in plan:
        getattr(world, step)()
    world.settle()


@settings(max_examples=200, deadline=None)
@given(PLANS)
def test_every_event_is_counted_once(plan: list[str]) -> None:
    """Cuts, duplicates, late commits, lost commits and refusals change no count."""
    world = World(MemoryQueue)
    follow(world, plan)
    assert world.ledger.counted == dict.fromkeys(range(world.tracked), 1)
    assert world.ledger.lost == 0
    assert world.notices == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS_WITH_RESTARTS)
def test_every_event_is_counted_once_over_restarts(plan: list[str]) -> None:
    """A process that starts again with its file goes on where the former one was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.sqlite3"
        world = World(lambda: SQLiteQueue(path))
        follow(world, plan)
        world.queue.close()
    assert world.ledger.counted == dict.fromkeys(range(world.tracked), 1)
    assert world.notices == []


@settings(max_examples=100, deadline=None)
@given(PLANS, st.integers(0, 30), st.booleans(), PLANS)
def test_what_the_ledger_forgets_is_reported_and_nothing_else_suffers(
    before: list[str], forgotten: int, connected: bool, after: list[str]
) -> None:
    """A ledger that falls back loses what it had counted, and learns of the hole."""
    world = World(MemoryQueue)
    follow(world, before)
    device, tracked = world.queue.device, world.tracked
    mark = world.ledger.marks.get(device, 0)
    kept = max(mark - forgotten, 0)
    for n in range(kept, tracked):
        del world.ledger.counted[n]
    if not connected:
        world.cut()
    world.orphans.clear()
    if mark:
        world.ledger.marks[device] = kept
    world.track()
    follow(world, after)
    survivors = [*range(kept), *range(tracked, world.tracked)]
    assert world.ledger.counted == dict.fromkeys(survivors, 1)
    assert world.ledger.lost == mark - kept
    hole = [NumbersLost(kept + 1, mark)] if mark > kept else []
    assert world.notices == hole


@pytest.mark.parametrize(
    "steps", ["track connect send cut late connect send take tick"]
)
def test_a_commit_that_comes_after_the_reconnect_counts_once(steps: str) -> None:
    """Two nodes that commit the same event at different times count it once."""
    world = World(MemoryQueue)
    follow(world, steps.split())
    assert world.ledger.counted == {0: 1}
