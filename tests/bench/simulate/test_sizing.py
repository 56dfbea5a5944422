"""How many are enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.bench.simulate.crowd import Clients
from realtime.bench.simulate.load import NODE_CPU, PLACES, RESOURCES
from realtime.bench.simulate.sizing import Target, TooMuch, growth, size, size_one
from realtime.bench.simulate.storm import play_storm, usual_load
from tests.bench.simulate.support import COSTS, model

TARGET = Target()


@settings(max_examples=8, deadline=None)
@given(st.integers(1_000, 300_000))
def test_a_fleet_that_is_found_keeps_the_target(connections: int) -> None:
    """Of every resource, also when a machine is gone."""
    one = model(connections)
    fleet = size_one(one, TARGET)
    lost = replace(fleet, nodes=fleet.nodes - fleet.nodes_per_machine)

    usual = usual_load(replace(one, fleet=fleet)).shares
    after = usual_load(replace(one, fleet=lost)).shares

    assert all(usual[name] <= TARGET.share for name in RESOURCES)
    assert after[NODE_CPU] <= TARGET.share_lost


def test_one_node_less_would_not_keep_it() -> None:
    """The fleet is the least."""
    one = model(300_000)
    fleet = size_one(one, Target(share_lost=10.0, back_s=1e6))

    less = replace(fleet, nodes=fleet.nodes - 1)
    assert max(usual_load(replace(one, fleet=less)).shares.values()) > TARGET.share


def test_more_people_need_more_nodes_in_all() -> None:
    """In one fleet or several."""
    counts = [
        size(model(count), TARGET).nodes for count in (10_000, 100_000, 1_000_000)
    ]

    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_fleets_share_the_people_evenly() -> None:
    """All are served, and one for all is told to be too much where it is."""
    found = size(model(20_000_000), TARGET)

    assert found.fleets > 1
    assert found.fleets * found.connections >= 20_000_000
    assert "node CPU" in found.whole


def test_a_storm_is_over_in_about_the_time_that_was_aimed_at() -> None:
    """The estimate of the sizing is not far from the play."""
    one = model(400_000)
    target = Target(back_s=30.0)
    fleet = size_one(one, target)

    storm = play_storm(replace(one, fleet=fleet), Clients())

    assert storm.course.back_s(0.99) <= 2 * target.back_s


def test_what_no_fleet_can_do_is_refused_with_the_reason() -> None:
    """A single frame that takes longer than there is time for."""
    slow = replace(model(), costs=replace(COSTS, node_idle_us=2e6))

    with pytest.raises(TooMuch, match="node CPU"):
        size(slow, TARGET)


def test_growth_is_how_many_more_there_is_room_for() -> None:
    """Twice as many places let twice as many in."""
    few = growth(model(max_connections=10_000), PLACES)
    many = growth(model(max_connections=20_000), PLACES)

    assert many / few == pytest.approx(2.0, rel=0.01)
    assert few == pytest.approx(10_000 * 8 / 1.1 / 20_000, rel=0.01)
