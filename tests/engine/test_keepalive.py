"""How a silent client is found out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from realtime.engine.keepalive import Keepalive, Watch
from realtime.engine.wheel import Wheel
from realtime.errors import KEEPALIVE_TIMEOUT
from realtime.settings import LimitSettings
from realtime.testing.clock import ManualClock
from realtime.testing.transport import RecordingSocket

LIMITS = LimitSettings(
    keepalive_default_s=25.0,
    keepalive_min_s=5.0,
    keepalive_max_s=1800.0,
    pong_timeout_s=10.0,
)


class Client:
    """A watched socket, with the clock that rules it."""

    keepalive: Any = None

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.wheel = Wheel(self.clock)
        self.wheel.schedule(lambda: None, 100_000)  # others are connected too
        self.service = Keepalive(self.wheel, LIMITS)
        self.socket = RecordingSocket()
        self.socket.last_received = self.wheel.now

    def talk(self) -> None:
        """Let something arrive."""
        self.socket.last_received = self.wheel.now


def a_client(wanted_s: float | None = None) -> Client:
    """Return a client that is watched."""
    client = Client()
    client.service.start(client, wanted_s)
    return client


def test_a_silent_client_is_pinged_and_then_closed() -> None:
    """After 25 s a ping, 10 s later 4002, and then nothing more."""
    client = a_client()
    seen: list[tuple[float, tuple[int, object]]] = []
    for tenth in range(1, 1000):
        client.clock.advance(0.1)
        now = (client.socket.pings, client.socket.closed_with)
        if not seen or seen[-1][1] != now:
            seen.append((round(tenth / 10, 1), now))

    code, reason = KEEPALIVE_TIMEOUT.code, KEEPALIVE_TIMEOUT.meaning
    assert [what for _, what in seen] == [(0, None), (1, None), (1, (code, reason))]
    assert 25 <= seen[1][0] <= 25.4
    assert 10 <= seen[2][0] - seen[1][0] <= 10.4
    assert not client.keepalive.scheduled


def test_a_client_that_answers_lives() -> None:
    """A pong, which only shows as something received, starts the silence anew."""
    client = a_client()
    for _ in range(10):
        client.clock.advance(25.5)
        client.talk()
        client.clock.advance(1)

    assert client.socket.pings == 10
    assert client.socket.closed_with is None


def test_a_client_that_talks_is_never_pinged() -> None:
    """Any traffic counts, so a busy connection costs one look per interval."""
    client = a_client()
    for _ in range(1000):
        client.clock.advance(1)
        client.talk()

    assert client.socket.pings == 0


def test_an_answer_within_the_step_of_the_ping_counts() -> None:
    """Time is coarse: a pong that is stamped like the ping came after it."""
    client = a_client()
    while not client.socket.pings:
        client.clock.advance(0.01)
    client.talk()
    client.clock.advance(11)

    assert client.socket.closed_with is None


def test_silence_is_counted_from_the_latest_traffic() -> None:
    """The ping comes one interval after the last thing heard, not after a look."""
    client = a_client()
    client.clock.advance(20)
    client.talk()
    client.clock.advance(24.5)
    assert client.socket.pings == 0
    client.clock.advance(1)
    assert client.socket.pings == 1


def test_stopping_ends_the_watch() -> None:
    """Nothing happens afterwards; stopping may be repeated."""
    client = a_client()
    client.keepalive.stop()
    client.keepalive.stop()
    client.clock.advance(100)

    assert client.socket.pings == 0
    assert len(client.wheel) == 1


def test_starting_again_replaces_the_watch() -> None:
    """A client that asks for another interval is watched once, by the new one."""
    client = a_client(100)
    first = client.keepalive
    assert client.service.start(client, 10) == 10

    assert client.keepalive is not first
    assert not first.scheduled
    client.clock.advance(10.5)
    assert client.socket.pings == 1


@pytest.mark.parametrize(
    "wanted_s, granted_s",
    [
        (None, 25.0),
        (60.0, 60.0),
        (0.0, 5.0),
        (-1.0, 5.0),
        (5.0, 5.0),
        (1e9, 1800.0),
        (math.inf, 1800.0),
        (-math.inf, 5.0),
        (math.nan, 25.0),
    ],
)
def test_the_client_chooses_within_bounds(
    wanted_s: float | None, granted_s: float
) -> None:
    """Too little would cost the server, too much would keep the dead."""
    client = Client()

    assert client.service.start(client, wanted_s) == granted_s
    assert isinstance(client.keepalive, Watch)
    assert client.keepalive.silence_s == granted_s
