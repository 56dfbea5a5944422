"""When a circuit breaker lets calls through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.breaker import Breaker, State


def opened(now: float = 0.0) -> Breaker:
    """A breaker that two failures have opened for ten seconds."""
    breaker = Breaker(2, 10.0)
    for _ in range(2):
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.failed(ticket, now)
    return breaker


def test_failures_in_a_row_open_it():
    """The failure that opens it says so."""
    breaker = Breaker(2, 10.0)
    first, second = breaker.admit(0.0), breaker.admit(0.0)
    assert not breaker.failed(first, 0.0)
    assert breaker.failed(second, 0.0)
    assert breaker.state is State.OPEN
    assert breaker.admit(9.9) is None
    assert breaker.left_s(4.0) == 6.0


def test_an_answer_begins_the_row_anew():
    """Only failures without an answer between them count."""
    breaker = Breaker(2, 10.0)
    for _ in range(5):
        breaker.failed(breaker.admit(0.0), 0.0)
        breaker.succeeded(breaker.admit(0.0))
    assert breaker.state is State.CLOSED


def test_after_the_pause_one_call_is_tried():
    """The others are refused until it has ended."""
    breaker = opened()
    trial = breaker.admit(10.0)
    assert trial is not None
    assert breaker.admit(10.0) is None
    breaker.succeeded(trial)
    assert breaker.state is State.CLOSED
    assert breaker.left_s(10.0) == 0.0


def test_a_trial_that_fails_opens_it_again():
    """For another whole pause, though it is one failure only."""
    breaker = opened()
    assert breaker.failed(breaker.admit(10.0), 12.0)
    assert breaker.admit(21.9) is None
    assert breaker.admit(22.0) is not None


def test_a_trial_that_nobody_waits_for_makes_room_for_another():
    """Or a client that hangs up would keep it open for ever."""
    breaker = opened()
    breaker.abandoned(breaker.admit(10.0))
    assert breaker.admit(10.0) is not None


def test_answers_to_earlier_calls_are_history():
    """Neither do they close it, nor lengthen the pause, nor spoil a trial."""
    breaker = Breaker(1, 10.0)
    early, late, lost = (breaker.admit(0.0) for _ in range(3))
    breaker.failed(early, 0.0)
    breaker.succeeded(late)
    assert breaker.state is State.OPEN
    trial = breaker.admit(10.0)
    assert not breaker.failed(lost, 10.0)
    assert breaker.state is State.TRYING
    breaker.succeeded(trial)
    assert breaker.state is State.CLOSED


@given(st.lists(st.sampled_from(["ask", "ok", "fail", "leave", "wait"]), max_size=60))
def test_it_is_never_stuck(steps: list[str]):
    """Whatever happens, once all calls have ended it lets one through after a pause."""
    breaker, now, tickets = Breaker(2, 10.0), 0.0, []
    for step in steps:
        if step == "ask" and (ticket := breaker.admit(now)) is not None:
            tickets.append(ticket)
        elif step == "wait":
            now += 4.0
        elif tickets:
            ticket = tickets.pop(0)
            if step == "ok":
                breaker.succeeded(ticket)
            elif step == "fail":
                breaker.failed(ticket, now)
            else:
                breaker.abandoned(ticket)
    for ticket in tickets:
        breaker.abandoned(ticket)
    assert breaker.admit(now + 10.0) is not None
