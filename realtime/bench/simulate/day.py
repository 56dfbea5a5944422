"""
A day: the population rises and falls, and everything with it.

People come and go one by one, so that their number is always whole and nobody is lost.
Work that a node cannot do in its minute waits for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from realtime.bench.simulate.flows import Moment
from realtime.bench.simulate.load import NODE_CPU, Load, Model, load_of
from realtime.bench.simulate.traffic import DAY_S

STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Minute:
    """What one minute was like."""

    at_s: float  # its beginning, after midnight
    connections: int
    came: int
    went: int
    load: Load
    backlog_s: float  # of the busiest node's work, at the end of the minute

    @property
    def wait_s(self) -> float:
        """What 99 of 100 messages do not wait longer than, before the node."""
        return self.load.p99_s + self.backlog_s


@dataclass(frozen=True, slots=True)
class Day:
    """All of it, minute by minute."""

    minutes: Sequence[Minute]

    @property
    def busiest(self) -> Minute:
        """The minute in which something was nearest to its end."""
        return max(self.minutes, key=lambda one: max(one.load.shares.values()))

    def peak(self, resource: str) -> float:
        """Return the greatest share of *resource* that was in use."""
        return max(minute.load.shares[resource] for minute in self.minutes)


def play_day(model: Model, seed: int = 0) -> Day:
    """Play 24 hours from midnight; the same *seed*, the same day."""
    random, traffic = Random(seed), model.traffic
    connections = round(traffic.population(0.0))
    backlog_s, minutes = 0.0, []
    for number in range(round(DAY_S / STEP_S)):
        at_s = number * STEP_S
        came, went = _moves(model, connections, at_s, random)
        activity = random.lognormvariate(0.0, traffic.noise)
        moment = Moment(
            connections=connections,
            connects_per_s=came / STEP_S,
            disconnects_per_s=went / STEP_S,
            activity=activity,
        )
        load = load_of(model, moment)
        backlog_s = max(0.0, backlog_s + (load.shares[NODE_CPU] - 1.0) * STEP_S)
        minutes.append(Minute(at_s, connections, came, went, load, backlog_s))
        connections += came - went
    return Day(minutes)


def _moves(
    model: Model, connections: int, at_s: float, random: Random
) -> tuple[int, int]:
    """Return how many come and go in a minute."""
    traffic = model.traffic
    ended = connections * STEP_S / traffic.session_s
    went = min(connections, max(0, round(random.gauss(ended, ended**0.5))))
    wanted = round(traffic.population(at_s + STEP_S))
    came = max(0, wanted - (connections - went))
    return came, min(connections, max(went, connections + came - wanted))
