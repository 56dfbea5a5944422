"""
A machine is lost with all its nodes: their clients come to the others.

What was not acknowledged comes again, and what was tracked meanwhile comes late; who
names a position is sent what it missed, read from Redis once for each channel and node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import ceil
from random import Random

from realtime.bench.simulate.crowd import Clients
from realtime.bench.simulate.flows import Moment, events_per_s, flows_of
from realtime.bench.simulate.load import Load, Model, first_here, load_of
from realtime.bench.simulate.storm import Storm, play_return
from realtime.bench.simulate.traffic import Kind

PONG_S = 10.0  # how long a client waits for an answer to its ping


class Death(Enum):
    """How a machine is lost."""

    KILLED = "killed"  # its kernel ends the connections: clients know at once
    SILENT = "silent"  # nobody is told: clients notice by their keepalive


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of it."""

    storm: Storm  # of one of the nodes that are left
    lost_clients: int  # of the whole fleet
    survivors: int
    resent_events: float  # in all: unacknowledged, and tracked meanwhile
    reads: float  # of histories, in all
    after: Load  # with everybody on the nodes that are left


def play_loss(
    model: Model, clients: Clients, death: Death = Death.KILLED, seed: int = 0
) -> Loss:
    """
    Lose one machine at the busiest hour.

    Raises:
        ValueError: If no other machine is there.
    """
    fleet, traffic = model.fleet, model.traffic
    survivors = fleet.nodes - fleet.nodes_per_machine
    if survivors < 1:
        raise ValueError(
            f"a fleet of {fleet.nodes} nodes, {fleet.nodes_per_machine} to a machine, "
            "has no other machine"
        )
    mean = traffic.connections / fleet.nodes * fleet.uneven
    lost = round(traffic.connections / fleet.nodes * fleet.nodes_per_machine)
    newcomers = ceil(lost / survivors * fleet.uneven)
    random = Random(seed + 1)
    longest_s = traffic.keepalive_s + PONG_S if death is Death.SILENT else 0.0
    cut_at = [random.random() * longest_s for _ in range(newcomers)]
    left = replace(model, fleet=replace(fleet, nodes=survivors))
    storm = play_return(left, clients, cut_at, ceil(mean), survivors, seed)
    away_s = sum(storm.course.admitted_at) / max(1, len(storm.course.admitted_at))
    rate = events_per_s(traffic, Moment(float(lost)))
    return Loss(
        storm=storm,
        lost_clients=lost,
        survivors=survivors,
        resent_events=rate * (away_s + fleet.tick_s / 2),
        reads=lost * _reads_each(left),
        after=load_of(left, _everybody(model)),
    )


def _everybody(model: Model) -> Moment:
    churn = model.traffic.connections / model.traffic.session_s
    return Moment(float(model.traffic.connections), churn, churn)


def _reads_each(model: Model) -> float:
    """Return how many histories are read for a client that comes back."""
    flows = flows_of(model.traffic, model.fleet, _everybody(model))
    return first_here(model.fleet, flows, Kind.KEPT)
