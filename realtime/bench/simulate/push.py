"""
One publication to everybody: breaking news.

Its frames are written by all nodes at the same time; what limits are the processor and
the network of each. Then people open their apps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from random import Random

from realtime.bench.simulate.crowd import Clients
from realtime.bench.simulate.flows import Moment
from realtime.bench.simulate.load import BITS_PER_MBIT, NODE_CPU, US, Model, load_of
from realtime.bench.simulate.storm import Storm, play_return


@dataclass(frozen=True, slots=True)
class Push:
    """What it takes, and what follows."""

    processor_s: float  # of the busiest node, for its frames
    last_s: float  # until the last subscriber has it, beside the usual work
    network_s: float  # the same by the node's network
    redis_s: float  # of the master that carries it, for its copies
    opens: Storm | None


def play_push(
    model: Model, clients: Clients, share: float, within_s: float, seed: int = 0
) -> Push:
    """
    Publish to everybody at the busiest hour; then as many people as are *share* of
    those connected open their apps besides, evenly *within_s* seconds.
    """
    costs, fleet, traffic = model.costs, model.fleet, model.traffic
    here = traffic.connections / fleet.nodes * fleet.uneven
    busy = load_of(model, Moment(float(traffic.connections))).shares[NODE_CPU]
    processor_s = here * costs.frame_lone_us * US
    free = max(0.0, 1.0 - busy) * fleet.cores
    copies = fleet.reached(float(traffic.connections))
    random = Random(seed + 2)
    opening = [random.random() * within_s for _ in range(ceil(here * share))]
    opens = None
    if opening:
        opens = play_return(model, clients, opening, ceil(here), fleet.nodes, seed)
    return Push(
        processor_s=processor_s,
        last_s=processor_s / free if free else float("inf"),
        network_s=here * costs.frame_bytes / BITS_PER_MBIT / fleet.node_mbit,
        redis_s=(costs.redis_publish_us + copies * costs.redis_copy_us) * US,
        opens=opens,
    )
