"""
How many nodes and masters are enough, and what is first in the way of more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.load import (
    MEMORY,
    NODE_CPU,
    NODE_NETWORK,
    PLACES,
    REDIS_CPU,
    REDIS_NETWORK,
    US,
    Model,
)
from realtime.bench.simulate.storm import redis_s_of, usual_load

MOST_NODES = 20_000
MOST_MASTERS = 500
MOST_FLEETS = 1_000
ROUNDS = 6
SPARE = 1.3
OF_NODES = (NODE_CPU, NODE_NETWORK, MEMORY, PLACES)
OF_REDIS = (REDIS_CPU, REDIS_NETWORK)


@dataclass(frozen=True, slots=True)
class Target:
    """
    What must hold.

    At the peak of a day no resource is used by more than *share*. With one machine
    gone it is *share_lost*. After a storm everybody is back within *back_s*.
    """

    share: float = 0.6
    share_lost: float = 0.8
    back_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """
    What is enough: *fleets* that know nothing of each other, each like *fleet*, for
    so many *connections* each. *whole* says why one for all is not enough, if it is
    not.
    """

    fleet: Fleet
    fleets: int
    connections: int
    whole: str = ""

    @property
    def nodes(self) -> int:
        """All of them."""
        return self.fleet.nodes * self.fleets


class TooMuch(ValueError):
    """No fleet keeps the target; the sentence says what is in the way."""


def size(model: Model, target: Target) -> Size:
    """
    Return the fleets that keep *target* with the fewest nodes in all, or with up to
    ``SPARE`` times as many nodes if these are fewer fleets: numbers are counted in each
    fleet apart.

    Raises:
        TooMuch: If a thousand fleets are not enough.
    """
    whole, found, least = "", list[Size](), 0
    for fleets in _counts(MOST_FLEETS):
        connections = -(-model.traffic.connections // fleets)
        traffic = replace(model.traffic, connections=connections)
        try:
            fleet = size_one(replace(model, traffic=traffic), target)
        except TooMuch as exc:
            whole = whole or str(exc)
            continue
        found.append(Size(fleet, fleets, connections, whole))
        least = min(one.nodes for one in found)
        if fleets * fleet.nodes > 2 * least or fleets * 2 > least:
            break  # from here on, more fleets are only more nodes
    for one in found:
        if one.nodes <= SPARE * least:
            return one
    raise TooMuch(f"{MOST_FLEETS} fleets are not enough: for one, {whole}")


def size_one(model: Model, target: Target) -> Fleet:
    """
    Return the least fleet that keeps *target*: nodes first, then masters.

    More masters take a ledger of as many shards. More nodes are no remedy for
    everything: each of them is told of everything that somebody on it watches.

    Raises:
        TooMuch: If there is none.
    """
    fleet = replace(model.fleet, masters=1, shards=1)
    for _ in range(ROUNDS):  # each side depends on the other's number
        before = fleet
        nodes = _least(partial(_nodes_do, model, target, fleet), MOST_NODES)
        if nodes is None:
            raise TooMuch(_reason(model, target, fleet, OF_NODES))
        fleet = replace(fleet, nodes=nodes)
        masters = _least(partial(_masters_do, model, target, fleet), MOST_MASTERS)
        if masters is None:
            most = _with(fleet, MOST_MASTERS)
            raise TooMuch(_reason(model, target, most, OF_REDIS))
        fleet = _with(fleet, masters)
        if fleet == before:
            break
    return fleet


def growth(model: Model, resource: str, most: float = 1e4) -> float:
    """
    Return how many times the connections *resource* could take, all else being equal.

    *most* is the greatest answer.
    """
    low, high = 0.0, most
    for _ in range(50):
        middle = (low + high) / 2
        count = max(1, round(model.traffic.connections * middle))
        traffic = replace(model.traffic, connections=count)
        if usual_load(replace(model, traffic=traffic)).shares[resource] > 1:
            high = middle
        else:
            low = middle
    return low


def _with(fleet: Fleet, masters: int) -> Fleet:
    return replace(fleet, masters=masters, shards=masters)


def _nodes_do(model: Model, target: Target, fleet: Fleet, nodes: int) -> bool:
    if nodes <= fleet.nodes_per_machine:
        return False  # one machine is none when it is lost
    fleet = replace(fleet, nodes=nodes)
    after = replace(fleet, nodes=nodes - fleet.nodes_per_machine)
    usual = usual_load(replace(model, fleet=fleet)).shares
    lost = usual_load(replace(model, fleet=after)).shares
    return (
        max(usual[name] for name in OF_NODES) <= target.share
        and max(lost[name] for name in OF_NODES) <= target.share_lost
        and _back_s(model, fleet, usual[NODE_CPU]) <= target.back_s
    )


def _back_s(model: Model, fleet: Fleet, busy: float) -> float:
    """Return about how long everybody takes to come back; the storm is the truth."""
    here = model.traffic.connections / fleet.nodes * fleet.uneven
    by_cpu = here * model.costs.connect_us * US / fleet.cores / max(0.02, 1 - busy)
    by_rate = here / fleet.connect_rate if fleet.connect_rate else 0.0
    return max(by_cpu, by_rate)


def _back_by_redis_s(model: Model, fleet: Fleet) -> float:
    here = model.traffic.connections / fleet.nodes * fleet.uneven
    return here * redis_s_of(replace(model, fleet=fleet), fleet.nodes)


def _masters_do(model: Model, target: Target, fleet: Fleet, masters: int) -> bool:
    fleet = _with(fleet, masters)
    shares = usual_load(replace(model, fleet=fleet)).shares
    return (
        max(shares[name] for name in OF_REDIS) <= target.share
        and _back_by_redis_s(model, fleet) <= target.back_s
    )


def _counts(most: int) -> Iterator[int]:
    """Yield 1, 2, 3 ..., then steps of a tenth."""
    count = 1
    while count <= most:
        yield count
        count = max(count + 1, round(count * 1.1))


def _least(enough: Callable[[int], bool], most: int) -> int | None:
    """
    Return the least number that is *enough*; None if none up to *most* is.

    What is enough may be followed by what is too many; a stretch of enough ones that
    is shorter than a tenth may be passed over.
    """
    low = 0
    for high in _counts(most):
        if enough(high):
            break
        low = high
    else:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high


def _reason(
    model: Model, target: Target, fleet: Fleet, resources: tuple[str, ...]
) -> str:
    """Say what is in the way, in the fleet that comes nearest."""
    found = [fleet]
    if resources is OF_NODES:
        found = [replace(fleet, nodes=count) for count in _counts(MOST_NODES)]
    loads = [usual_load(replace(model, fleet=each)) for each in found]
    best = min(
        range(len(loads)),
        key=lambda at: max(loads[at].shares[name] for name in resources),
    )
    load, nodes = loads[best], found[best].nodes
    name = max(resources, key=lambda one: load.shares[one])
    share = f"{name} is used to {load.shares[name]:.0%} with {nodes:,} nodes"
    if name not in (NODE_CPU, REDIS_CPU):
        return f"{share}, where {target.share:.0%} is the target"
    parts = load.redis if name == REDIS_CPU else load.node
    part = max(parts, key=lambda one: parts[one])
    return f"{share}, most of it by {part}, where {target.share:.0%} is the target"
