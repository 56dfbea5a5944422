"""A day, a storm, a loss, a push."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bench.simulate.crowd import Clients
from realtime.bench.simulate.day import play_day
from realtime.bench.simulate.load import NODE_CPU, REDIS_CPU, RESOURCES
from realtime.bench.simulate.loss import Death, play_loss
from realtime.bench.simulate.push import play_push
from realtime.bench.simulate.storm import play_storm, usual_load
from tests.bench.simulate.support import COSTS, model

CLIENTS = Clients()


@settings(max_examples=5, deadline=None)
@given(connections=st.integers(1, 2_000_000), seed=st.integers(0, 100))
def test_in_a_day_nobody_is_lost(connections: int, seed: int) -> None:
    """Who is there in a minute was there before or came, and did not go."""
    day = play_day(model(connections, nodes=50), seed)

    assert len(day.minutes) == 1440
    for one, next_one in zip(day.minutes, day.minutes[1:], strict=False):
        assert one.came >= 0
        assert 0 <= one.went <= one.connections
        assert next_one.connections == one.connections + one.came - one.went
        assert one.backlog_s >= 0


def test_a_day_is_busiest_at_its_peak() -> None:
    """And as busy as the load of that many says, but for the noise."""
    one = model(200_000)
    day = play_day(one)

    assert day.busiest.at_s / 3600 == pytest.approx(20.5, abs=1.5)
    assert day.peak(NODE_CPU) == pytest.approx(
        usual_load(one).shares[NODE_CPU], rel=0.25
    )


def test_work_that_is_too_much_waits() -> None:
    """A node that cannot keep up falls behind until the evening is over."""
    day = play_day(model(2_000_000, nodes=8))

    assert day.busiest.load.shares[NODE_CPU] > 1
    assert max(minute.backlog_s for minute in day.minutes) > 60
    assert max(minute.wait_s for minute in day.minutes) > 60


def test_a_day_is_the_same_for_the_same_seed() -> None:
    """Noise included."""
    assert play_day(model(), 4).minutes == play_day(model(), 4).minutes
    assert play_day(model(), 4).minutes != play_day(model(), 5).minutes


def test_after_a_storm_all_of_the_fullest_node_are_back() -> None:
    """That is the mean and the unevenness; the curve ends with all of them."""
    storm = play_storm(model(20_000, nodes=8, uneven=1.2), CLIENTS)

    assert storm.course.clients == 3_000
    assert storm.course.missing == 0
    assert storm.instants[-1].back == 3_000
    backs = [one.back for one in storm.instants]
    assert backs == sorted(backs)
    assert all(one.waiting >= 0 for one in storm.instants)


def test_a_storm_with_admission_never_passes_it() -> None:
    """At a fifth of the core for connects: a second's worth at once, then the rate."""
    rate = 0.2 / (COSTS.connect_us * 1e-6)
    storm = play_storm(model(20_000, connect_rate=rate), CLIENTS)

    entered = storm.course.entered_at
    assert storm.course.missing == 0
    for window_s in (0.5, 1.0, 4.0):
        most = max(
            bisect_right(entered, at + window_s) - number
            for number, at in enumerate(entered)
        )
        assert most <= rate * (1 + window_s) + 1


def test_more_masters_bring_a_storm_back_sooner() -> None:
    """Where Redis is what everybody waits for."""
    slow = replace(COSTS, redis_read_us=20_000.0)
    few = replace(model(), costs=slow)
    many = replace(few, fleet=replace(few.fleet, masters=4, shards=4))

    sooner, later = (
        play_storm(each, CLIENTS).course.back_s(1.0) for each in (many, few)
    )

    assert sooner < later / 2


def test_a_lost_machine_s_clients_are_taken_by_the_others() -> None:
    """Half of the nodes get twice their clients; what was not counted comes again."""
    even = model(20_000, nodes=8, nodes_per_machine=4, uneven=1.0)

    loss = play_loss(even, CLIENTS)

    assert loss.lost_clients == 10_000
    assert loss.survivors == 4
    assert loss.storm.course.clients == 2_500
    assert loss.storm.stayed == 2_500
    assert loss.storm.course.missing == 0
    assert loss.resent_events > 0
    assert loss.after.shares[NODE_CPU] > usual_load(model()).shares[NODE_CPU]


def test_a_silent_loss_is_noticed_by_the_keepalive() -> None:
    """So the clients come back over half a minute, not in a second."""
    killed = play_loss(model(), CLIENTS, Death.KILLED)
    silent = play_loss(model(), CLIENTS, Death.SILENT)

    assert silent.storm.course.back_s(0.5) > 10
    assert killed.storm.course.back_s(0.5) < 10
    assert silent.resent_events > killed.resent_events


def test_a_fleet_of_one_machine_cannot_lose_it() -> None:
    """There is nobody to go to."""
    with pytest.raises(ValueError, match="no other machine"):
        play_loss(model(nodes=4, nodes_per_machine=4), CLIENTS)


def test_a_push_takes_as_long_as_its_frames() -> None:
    """On a busy core longer; then those who open their apps come in."""
    push = play_push(model(20_000, nodes=8, uneven=1.0), CLIENTS, 0.5, 30.0)

    assert push.processor_s == pytest.approx(2_500 * COSTS.frame_lone_us * 1e-6)
    assert push.last_s > push.processor_s
    assert push.opens is not None
    assert push.opens.course.clients == 1_250
    assert 25 < push.opens.course.back_s(1.0) < 60


def test_a_push_that_nobody_opens_brings_nobody() -> None:
    """Then only the frames count."""
    assert play_push(model(), CLIENTS, 0.0, 30.0).opens is None


@pytest.mark.parametrize("name", RESOURCES)
def test_every_resource_has_a_share(name: str) -> None:
    """Of a usual evening; those of Redis, too."""
    assert usual_load(model()).shares[name] > 0
    assert REDIS_CPU in RESOURCES
