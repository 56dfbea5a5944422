"""
What one audience makes of its connections: channels, messages between nodes, frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import expm1, log1p

from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.traffic import Audience, Kind, Traffic
from realtime.settings import LedgerSettings

MAX_EVENTS = float(LedgerSettings().max_commit_events)
MAX_DEVICES = 2_000.0  # of one commit: adapters/ledger


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What goes on: how many are *connections*, how many come and go.

    *activity* is by how much events and publications are above the usual;
    *resent_per_s* are events that come again, and *returns_per_s* the part of those
    who come that names a position.
    """

    connections: float
    connects_per_s: float = 0.0
    disconnects_per_s: float = 0.0
    returns_per_s: float = 0.0
    resent_per_s: float = 0.0
    activity: float = 1.0


@dataclass(frozen=True, slots=True)
class Flow:
    """The channels of one audience at one moment; rates are those of each channel."""

    audience: Audience
    channels: float
    members: float
    pushes_per_s: float  # to a subscriber
    messages_per_s: float  # from Redis to each node that has subscribers
    copies: float  # how many nodes that are

    @property
    def frames_per_s(self) -> float:
        """How many frames all of its subscribers get."""
        return self.channels * self.members * self.pushes_per_s

    @property
    def copies_per_s(self) -> float:
        """How many messages Redis hands to nodes."""
        return self.channels * self.messages_per_s * self.copies


@dataclass(frozen=True, slots=True)
class Commits:
    """What reaches the ledger in a second, in all shards together."""

    events: float
    frames: float  # with events; each is of one device
    commits: float
    cells: float  # changed, once for each commit


def events_per_s(traffic: Traffic, moment: Moment) -> float:
    """Return how many events all nodes take, those that come again among them."""
    usual = moment.connections * traffic.events_per_minute / 60
    return usual * moment.activity + moment.resent_per_s


def commits_of(traffic: Traffic, fleet: Fleet, moment: Moment) -> Commits:
    """Return how many commits there are, and what is in them."""
    events = events_per_s(traffic, moment)
    lanes = fleet.nodes * fleet.shards
    each = events * fleet.tick_s / lanes
    cuts = max(1.0, each / MAX_EVENTS, each / traffic.batch / MAX_DEVICES)
    busy = lanes * distinct(1.0, each)
    combinations = traffic.combinations * distinct(1.0, each / traffic.combinations)
    return Commits(
        events=events,
        frames=events / traffic.batch,
        commits=busy * cuts / fleet.tick_s,
        cells=lanes * traffic.grains * combinations / fleet.tick_s,
    )


def distinct(places: float, things: float) -> float:
    """Return how many of *places* get at least one of *things* thrown at random."""
    if places <= 1:
        # Less than one thing on average: whether there is any (Poisson).
        return -expm1(-things)
    # Not 1 - (1 - 1 / places) ** things: of few things, no digits would be left.
    return -places * expm1(things * log1p(-1 / places))


def flows_of(traffic: Traffic, fleet: Fleet, moment: Moment) -> Iterator[Flow]:
    """Yield what each audience makes of the moment."""
    lanes = fleet.nodes * fleet.shards
    for audience in traffic.audiences:
        channels = audience.channels(moment.connections)
        if not channels:
            continue
        members = audience.on_each(moment.connections)
        changes = members * audience.per_minute / 60 * moment.activity
        messages = changes
        if audience.kind is Kind.LIVE:  # one a commit that changes it
            in_tick = distinct(lanes, changes * fleet.tick_s)
            messages = min(changes, in_tick / fleet.tick_s)
        yield Flow(
            audience=audience,
            channels=channels,
            members=members,
            pushes_per_s=audience.pushes_per_s(changes),
            messages_per_s=messages,
            copies=fleet.reached(members),
        )
