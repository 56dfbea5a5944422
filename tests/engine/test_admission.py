"""Who may come in, what the others are told, and that all counts come to zero."""

from __future__ import annotations

from http import HTTPStatus
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.engine import admission as module
from realtime.engine.admission import Admission, Reason, Refusal
from realtime.engine.metrics import Metrics
from realtime.settings import DrainSettings, LimitSettings
from realtime.testing.clock import ManualClock

BUSY, YOURS = HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS


class Door:
    """A socket that waits, and notes when it is cut."""

    def __init__(self) -> None:
        self.cut = False

    def make_room(self) -> None:
        """Note it."""
        self.cut = True


class Hall:
    """An admission with its clock and its metrics."""

    def __init__(self, **limits: Any) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        settings = LimitSettings(**{"connect_rate": 0, **limits})
        self.admission = Admission(
            settings, DrainSettings(), self.clock, self.metrics, Random(1)
        )

    def come(self, address: str = "192.0.2.1") -> Refusal | None:
        """Ask, and come in if that is allowed."""
        refusal = self.admission.refuse_socket(address)
        if refusal is None:
            self.admission.enter_socket(address)
        return refusal

    def refused(self, reason: Reason) -> float:
        """How many the metrics say were turned away for this."""
        labelled = self.metrics.connections_refused.labels(reason.value)
        return float(labelled._value.get())


# -- WebSockets ------------------------------------------------------------------------


def test_a_full_node_takes_nobody_until_somebody_leaves() -> None:
    """503 beyond max_connections; the place of one who left is free at once."""
    hall = Hall(max_connections=2)
    assert (hall.come("a"), hall.come("b")) == (None, None)
    refusal = hall.come("c")
    assert refusal is not None
    assert (refusal.reason, refusal.status) == (Reason.FULL, BUSY)
    assert 2 <= refusal.retry_after_s <= 10

    hall.admission.leave_socket("a")
    assert hall.come("c") is None
    assert hall.refused(Reason.FULL) == 1


def test_an_address_may_have_so_many_and_others_do_not_suffer() -> None:
    """429 for the address; IPv6 addresses of one network are one."""
    hall = Hall(max_connections_per_address=2)
    assert (hall.come("2001:db8::1"), hall.come("2001:db8::2")) == (None, None)
    refusal = hall.come("2001:db8::3")
    assert refusal is not None
    assert (refusal.reason, refusal.status) == (Reason.ADDRESS_FULL, YOURS)
    assert refusal.text.startswith("2001:db8::3 has 2 connections")

    assert hall.come("2001:db9::1") is None
    hall.admission.leave_socket("2001:db8::1")
    assert hall.come("2001:db8::3") is None


def test_a_crowd_comes_in_at_the_rate_and_is_told_different_times() -> None:
    """Ten at once, and the other hundred over the next ten seconds."""
    hall = Hall(connect_rate=10)
    refusals = [hall.come(str(number)) for number in range(110)]
    assert refusals[:10] == [None] * 10
    told = [refusal.retry_after_s for refusal in refusals[10:] if refusal is not None]
    assert len(told) == 100
    assert {one.status for one in refusals if one is not None} == {BUSY}
    assert all(told.count(second) <= 25 for second in range(1, 14))
    assert 8 <= max(told) <= 14

    hall.clock.advance(1)
    assert [hall.come("late") is None for _ in range(11)] == [True] * 10 + [False]


def test_an_address_that_connects_too_often_is_refused_alone() -> None:
    """429 with a wait, which grows with how often it is refused."""
    hall = Hall(connect_rate_per_address=2)
    assert (hall.come("a"), hall.come("a")) == (None, None)
    refusals = [hall.come("a") for _ in range(20)]
    assert {one.reason for one in refusals if one} == {Reason.ADDRESS_RATE}
    told = [one.retry_after_s for one in refusals if one is not None]
    assert told[0] == 1
    assert told[-1] >= 10

    assert hall.come("b") is None
    hall.clock.advance(0.5)
    assert hall.come("a") is None


def test_who_is_refused_does_not_use_up_the_rate() -> None:
    """What the node allows a second is for those whose address may come in."""
    hall = Hall(connect_rate=5, max_connections_per_address=1)
    assert hall.come("a") is None
    for _ in range(100):
        assert hall.come("a") is not None

    assert [hall.come(str(number)) for number in range(4)] == [None] * 4


def test_a_node_that_drains_takes_nobody() -> None:
    """503, and when to come back: within the time in which the others return."""
    hall = Hall()
    hall.admission.closing = True
    refusals = [hall.come() for _ in range(50)]

    assert {one.reason for one in refusals if one} == {Reason.DRAINING}
    assert all(1 <= one.retry_after_s <= 7 for one in refusals if one)


def test_no_limit_counts_nothing() -> None:
    """Zero lets everybody in, and no address takes memory."""
    hall = Hall()
    assert {hall.come(str(number)) for number in range(5_000)} == {None}

    assert hall.admission.sockets == 5_000
    assert hall.admission.addresses == 0


# -- HTTP ------------------------------------------------------------------------------


def test_http_connections_have_a_limit_of_their_own() -> None:
    """Requests do not take the places of WebSockets, nor the other way round."""
    hall = Hall(max_http_connections=2, max_connections=1)
    for _ in range(2):
        assert hall.admission.refuse_http("a", vital=False) is None
        hall.admission.enter_http("a")
    refusal = hall.admission.refuse_http("a", vital=False)
    assert refusal is not None
    assert (refusal.reason, refusal.status) == (Reason.HTTP_FULL, BUSY)
    assert hall.come("a") is None

    hall.admission.leave_http("a")
    assert hall.admission.refuse_http("a", vital=False) is None


@pytest.mark.parametrize(
    "limits", [{"max_http_connections": 1}, {"max_connections_per_address": 1}]
)
def test_health_checks_find_a_place_when_there_is_none(limits: dict[str, int]) -> None:
    """Else a busy server would be taken for a dead one; but not without bound."""
    hall = Hall(**limits)
    assert hall.admission.has_room("a")
    hall.admission.enter_http("a")
    for _ in range(module.RESERVED):
        assert not hall.admission.has_room("a")
        assert hall.admission.refuse_http("a", vital=True) is None
        hall.admission.enter_reserved()

    assert hall.admission.requesting == 1 + module.RESERVED
    assert hall.admission.refuse_http("a", vital=True) is not None
    hall.admission.leave_reserved()
    assert hall.admission.refuse_http("a", vital=True) is None
    assert hall.admission.http == 1


def test_requests_count_for_their_address_unless_a_proxy_carries_them() -> None:
    """Together with its WebSockets; a proxy's connections are of many clients."""
    hall = Hall(max_connections_per_address=2)
    hall.admission.enter_http("a")
    assert hall.come("a") is None
    refusal = hall.admission.refuse_http("a", vital=False)
    assert refusal is not None
    assert refusal.reason is Reason.ADDRESS_FULL
    assert hall.come("a") is not None

    assert hall.admission.refuse_http(None, vital=False) is None
    hall.admission.enter_http(None)
    assert hall.admission.addresses == 1


# -- those that wait -------------------------------------------------------------------


def test_the_one_that_waits_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer always finds a place; whoever has spoken is not touched."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    hall = Hall()
    doors = [Door() for _ in range(5)]
    for door in doors[:3]:
        hall.admission.arrive(door)
    hall.admission.go_on(doors[1])
    hall.admission.arrive(doors[3])
    assert not any(door.cut for door in doors)

    hall.admission.arrive(doors[4])
    assert [door.cut for door in doors] == [True, False, False, False, False]
    assert hall.admission.waiting == 3
    assert hall.refused(Reason.SILENT) == 1


# -- all of it -------------------------------------------------------------------------

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["socket", "http", "proxied", "silent", "leave", "wait"]),
        st.sampled_from(["a", "b", "2001:db8::1", "2001:db8::2"]),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(MOVES, st.integers(0, 3), st.integers(0, 4))
def test_whatever_comes_and_goes_the_counts_are_right(
    moves: list[tuple[str, str]], per_address: int, rate: int
) -> None:
    """No limit is ever passed, and when all have gone nothing is left."""
    hall = Hall(
        max_connections=5,
        max_http_connections=4,
        max_connections_per_address=per_address,
        connect_rate=rate,
        connect_rate_per_address=rate,
    )
    admission, inside = hall.admission, []
    for move, address in moves:
        if move == "wait":
            hall.clock.advance(0.3)
        elif move == "leave" and inside:
            _leave(admission, *inside.pop(0))
        elif move == "silent":
            door = Door()
            admission.arrive(door)
            inside.append((move, door))
        elif move == "socket" and hall.come(address) is None:
            inside.append((move, address))
        elif move in ("http", "proxied"):
            whom = address if move == "http" else None
            if admission.refuse_http(whom, vital=False) is None:
                admission.enter_http(whom)
                inside.append((move, whom))
        kinds = [kind for kind, _ in inside]
        assert admission.sockets == kinds.count("socket") <= 5
        assert admission.http == kinds.count("http") + kinds.count("proxied") <= 4
        assert admission.waiting == kinds.count("silent")
    while inside:
        _leave(admission, *inside.pop())
    assert (admission.sockets, admission.http, admission.waiting) == (0, 0, 0)
    assert admission.addresses == 0


def _leave(admission: Admission, kind: str, who: Any) -> None:
    match kind:
        case "socket":
            admission.leave_socket(who)
        case "silent":
            admission.go_on(who)
        case _:
            admission.leave_http(who)


def test_a_storm_is_not_one_of_log_lines() -> None:
    """The first fifty are logged one by one; later lines say how many were not."""
    hall = Hall()
    with capture_logs() as logs:
        for _ in range(1_000):
            hall.admission.log_refused("192.0.2.1", 503)
        hall.clock.advance(1)
        hall.admission.log_refused("192.0.2.1", 503)

    assert len(logs) == 51
    assert logs[0] == {
        "event": "connection_refused",
        "log_level": "info",
        "remote": "192.0.2.1",
        "status": 503,
    }
    assert logs[50]["before_not_logged"] == 950
