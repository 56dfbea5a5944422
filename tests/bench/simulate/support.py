"""Models of a sane size for tests of the simulator."""

from __future__ import annotations

from dataclasses import replace

from realtime.bench.simulate.files import read_costs
from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.load import Model
from realtime.bench.simulate.traffic import Traffic

COSTS = read_costs([])


def model(connections: int = 20_000, nodes: int = 8, **fleet: object) -> Model:
    """A fleet of eight nodes on two machines, and its phones."""
    made = replace(Fleet(nodes), **fleet)  # type: ignore[arg-type]
    return Model(COSTS, Traffic(connections), made)
