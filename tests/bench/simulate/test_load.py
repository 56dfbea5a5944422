"""How busy everything is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.flows import Moment, commits_of, distinct, flows_of
from realtime.bench.simulate.load import (
    MEMORY,
    NODE_CPU,
    PLACES,
    REDIS_CPU,
    RESOURCES,
    Model,
    load_of,
)
from realtime.bench.simulate.traffic import Audience, Kind, Traffic
from tests.bench.simulate.support import COSTS, model


@given(
    connections=st.integers(1, 5_000_000),
    more=st.floats(1.0, 10.0),
    nodes=st.integers(1, 500),
    masters=st.integers(1, 20),
)
def test_more_of_everything_is_never_less_load(
    connections: int, more: float, nodes: int, masters: int
) -> None:
    """
    Of no resource, whether more are there or more come in; no share is below nothing.

    (Both at once may be less: who comes into a fuller room reads nothing from Redis.)
    """
    fleet = Fleet(nodes, masters, shards=masters)
    one = Model(COSTS, Traffic(connections), fleet)
    there, come = float(connections), connections / 600
    few = load_of(one, Moment(there)).shares
    many = load_of(one, Moment(there * more)).shares
    slow = load_of(one, Moment(there, come)).shares
    fast = load_of(one, Moment(there, come * more)).shares

    for name in RESOURCES:
        assert 0 <= few[name] <= many[name] * (1 + 1e-6)
        assert few[name] <= slow[name] <= fast[name] * (1 + 1e-6)


def test_the_parts_add_up() -> None:
    """To the processor time of the node and of Redis."""
    load = load_of(model(), Moment(20_000.0, 30.0, 30.0))

    assert sum(load.node.values()) == pytest.approx(load.shares[NODE_CPU])
    assert sum(load.redis.values()) == pytest.approx(load.shares[REDIS_CPU])


def test_one_message_a_second_to_all_costs_what_its_frames_cost() -> None:
    """Nothing else happens: connections times the price of a frame, and the message."""
    loud = Audience("all", Kind.PLAIN, 1.0, 0, 60 / 10_000)
    traffic = Traffic(10_000, events_per_minute=0.0, slow=0.0, audiences=(loud,))
    fleet = Fleet(nodes=2, uneven=1.0)

    load = load_of(Model(COSTS, traffic, fleet), Moment(10_000.0))

    assert load.frames_per_s == pytest.approx(10_000)
    assert load.node["frames"] == pytest.approx(5_000 * COSTS.frame_lone_us * 1e-6)
    assert load.node["messages"] == pytest.approx(COSTS.publication_us * 1e-6)
    copies_us = COSTS.redis_publish_us + 2 * COSTS.redis_copy_us
    assert load.redis["publications"] == pytest.approx(copies_us * 1e-6)


def test_memory_and_places_are_those_of_the_fullest_node() -> None:
    """Each connection takes its own memory and the kernel's."""
    one = replace(model(uneven=1.5), traffic=Traffic(8_000, slow=0.0))

    load = load_of(one, Moment(8_000.0))

    each_kib = COSTS.connection_kib + COSTS.socket_kib
    kib = COSTS.node_kib + 1_500 * each_kib
    assert load.shares[MEMORY] == pytest.approx(kib / 1024**2 / 2.0)
    assert load.shares[PLACES] == pytest.approx(1_500 / 50_000)


def test_a_value_that_all_nodes_change_and_watch_costs_their_square() -> None:
    """Each node's commit is told to each node: what bounds the size of a fleet."""
    loud = Audience("all", Kind.LIVE, 1.0, 0, 60.0)
    traffic = Traffic(1_000_000, audiences=(loud,))

    def messages(nodes: int) -> float:
        [flow] = flows_of(traffic, Fleet(nodes), Moment(1_000_000.0))
        return flow.copies_per_s

    assert messages(200) / messages(100) == pytest.approx(4.0, rel=0.01)


@given(st.integers(1, 1_000), st.floats(0, 1e6))
def test_copies_are_at_most_the_nodes_and_at_most_the_members(
    nodes: int, members: float
) -> None:
    """One connection is on one node; very many are on all."""
    reached = Fleet(nodes).reached(members)

    assert 0 <= reached <= min(nodes, max(members, 1)) + 1e-9
    assert Fleet(nodes).reached(1) == pytest.approx(1)


def test_things_thrown_at_random_meet() -> None:
    """A hundred on a hundred places leave about 37 empty."""
    assert distinct(100, 100) == pytest.approx(63.4, abs=0.1)
    assert distinct(1, 0) == 0


@given(
    st.integers(1, 10_000_000),
    st.integers(1, 500),
    st.integers(1, 16),
    st.floats(0.01, 2.0),
)
def test_commits_are_bounded_by_ticks_and_by_events(
    connections: int, nodes: int, shards: int, tick_s: float
) -> None:
    """One a tick, node and shard, unless a commit is full; never more than events."""
    fleet = Fleet(nodes, shards=shards, tick_s=tick_s)
    found = commits_of(Traffic(connections), fleet, Moment(float(connections)))
    most = nodes * shards / tick_s

    assert found.commits <= max(most, found.events / 2_000 + most) * (1 + 1e-9)
    assert found.commits <= found.events * (1 + 1e-6)
    assert found.cells <= found.events * Traffic(1).grains * (1 + 1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": 0},
        {"masters": 0},
        {"tick_s": 0.0},
        {"uneven": 0.9},
        {"connect_rate": -1},
    ],
)
def test_a_fleet_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """By the name of what is wrong."""
    [name] = wrong
    with pytest.raises(ValueError, match=name):
        Fleet(**{"nodes": 1, **wrong})  # type: ignore[arg-type]
