"""
Everybody at once: the whole fleet's clients are cut off and come back.

Nodes are alike, so one is played, the one with most clients; what all of them ask of
Redis is this one's times their number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from realtime.bench.simulate.crowd import Clients, Course, Crowd, Door
from realtime.bench.simulate.flows import Moment
from realtime.bench.simulate.load import NODE_CPU, REDIS_CPU, US, Load, Model, load_of

SAMPLES = 200  # of a course, for its curves


@dataclass(frozen=True, slots=True)
class Instant:
    """One point of the curves of a storm; rates are those of one node."""

    at_s: float
    back: int  # of this node's clients
    attempts_per_s: float
    admitted_per_s: float
    waiting: int
    node_cpu: float
    redis_cpu: float


@dataclass(frozen=True, slots=True)
class Storm:
    """A return, and what it did to the node and to Redis."""

    course: Course
    stayed: int  # clients of this node who were connected all the time
    instants: Sequence[Instant]

    def peak(self, name: str) -> float:
        """Return the greatest value of one of the curves."""
        return max((getattr(one, name) for one in self.instants), default=0.0)


def play_storm(model: Model, clients: Clients, seed: int = 0) -> Storm:
    """Cut everybody off at the same moment."""
    count = ceil(model.traffic.connections / model.fleet.nodes * model.fleet.uneven)
    return play_return(model, clients, [0.0] * count, 0, model.fleet.nodes, seed)


def play_return(
    model: Model,
    clients: Clients,
    cut_at: Sequence[float],
    stayed: int,
    nodes: int,
    seed: int,
) -> Storm:
    """
    Let those who were *cut_at* these times come to one node of *nodes*, where *stayed*
    are connected.
    """
    quiet = load_of(model, Moment(0.0)).shares[NODE_CPU]
    each = _each(model, nodes)
    door = Door(
        connect_s=model.costs.connect_us * US / model.fleet.cores,
        refuse_s=model.costs.refuse_us * US / model.fleet.cores,
        redis_s=redis_s_of(model, nodes),
        connect_rate=model.fleet.connect_rate,
        room=max(0, model.fleet.max_connections - stayed),
        accept_queue=model.fleet.accept_queue,
        busy=quiet + each * stayed,
        busy_each=each,
    )
    course = Crowd(door, clients, cut_at, Random(seed)).play()
    course.admitted_at.sort()
    return Storm(course, stayed, _instants(model, course, door, stayed, nodes))


def redis_s_of(model: Model, nodes: int) -> float:
    """
    Return how long the busiest master takes for one connect on every one of *nodes*,
    beside what it does at the peak of a day.
    """
    usual = usual_load(model).shares[REDIS_CPU]
    people = float(model.traffic.connections)
    without = load_of(model, Moment(people)).shares[REDIS_CPU]
    rate = 1.0
    some = load_of(model, Moment(people, rate, returns_per_s=rate)).shares[REDIS_CPU]
    return (some - without) / rate * nodes / max(0.02, 1.0 - usual)


def _each(model: Model, nodes: int) -> float:
    """Return the share of a core that one connected client takes."""
    count = model.traffic.connections
    usual = load_of(model, Moment(float(count))).shares[NODE_CPU]
    usual -= load_of(model, Moment(0.0)).shares[NODE_CPU]
    return usual / (count / nodes * model.fleet.uneven)


def _instants(
    model: Model, course: Course, door: Door, stayed: int, nodes: int
) -> Sequence[Instant]:
    """Sample the course."""
    last = max([1.0, *course.admitted_at[-1:], *course.attempts_at[-1:]])
    step_s = max(last / SAMPLES, 0.05)
    courses = [
        sorted(course.attempts_at),
        sorted(course.entered_at),  # the node's work, which Redis comes after
        sorted(course.refused_at),
    ]
    found = []
    for number in range(ceil(last / step_s) + 1):
        at_s = number * step_s
        came, entered, refused = (
            _between(times, at_s, at_s + step_s) / step_s for times in courses
        )
        back = bisect_right(course.admitted_at, at_s)
        back_per_s = _between(course.admitted_at, at_s, at_s + step_s) / step_s
        busy = door.busy + door.busy_each * back
        busy += entered * door.connect_s + refused * door.refuse_s
        moment = Moment(
            connections=(stayed + back) * nodes / model.fleet.uneven,
            connects_per_s=back_per_s * nodes / model.fleet.uneven,
            returns_per_s=back_per_s * nodes / model.fleet.uneven,
        )
        redis = load_of(model, moment).shares[REDIS_CPU]
        waiting = _at(course.queues, at_s)
        found.append(Instant(at_s, back, came, back_per_s, waiting, busy, redis))
    return found


def _between(times: Sequence[float], start: float, end: float) -> int:
    return bisect_right(times, end) - bisect_right(times, start)


def _at(sizes: Sequence[tuple[float, int]], at_s: float) -> int:
    """Return the size that held at a time."""
    found = bisect_right(sizes, (at_s, 1 << 60))
    return sizes[found - 1][1] if found else 0


def usual_load(model: Model) -> Load:
    """Return how busy everything is at the peak of a usual day."""
    traffic = model.traffic
    churn = traffic.connections / traffic.session_s
    return load_of(model, Moment(float(traffic.connections), churn, churn))
