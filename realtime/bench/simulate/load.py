"""
How busy everything is at one moment: the busiest node, the busiest master.

Everything is told as a share of what there is: 1.0 is saturated, and above 1.0 is
what would be needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from realtime.bench.simulate.costs import Costs
from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.flows import Flow, Moment, commits_of, flows_of
from realtime.bench.simulate.queueing import Work, utilisation, wait_s
from realtime.bench.simulate.traffic import Kind, Traffic

US = 1e-6
KIB_PER_GIB = 1024 * 1024
BITS_PER_MBIT = 1e6 / 8

NODE_CPU, REDIS_CPU = "node CPU", "Redis CPU"
NODE_NETWORK, REDIS_NETWORK = "node network", "Redis network"
MEMORY, PLACES = "node memory", "max_connections"

RESOURCES = (NODE_CPU, REDIS_CPU, NODE_NETWORK, REDIS_NETWORK, MEMORY, PLACES)


@dataclass(frozen=True, slots=True)
class Model:
    """All that does not change while time passes."""

    costs: Costs
    traffic: Traffic
    fleet: Fleet


@dataclass(frozen=True, slots=True)
class Load:
    """
    How busy everything is.

    *node* and *redis* are what the processor time goes to, each as a share of a core.
    """

    shares: Mapping[str, float]  # by resource
    node: Mapping[str, float]
    redis: Mapping[str, float]
    frames_per_s: float  # of the whole fleet
    events_per_s: float
    p50_s: float  # a message waits for a node
    p99_s: float

    @property
    def first(self) -> str:
        """The resource that is nearest to its end."""
        return max(self.shares, key=lambda name: self.shares[name])


def load_of(model: Model, moment: Moment) -> Load:
    """Return how busy everything is at *moment*."""
    fleet, flows = model.fleet, list(flows_of(model.traffic, model.fleet, moment))
    works = _node_works(model, moment, flows)
    redis = _redis(model, moment, flows)
    every = [work for some in works.values() for work in some]
    node = {name: utilisation(some) for name, some in works.items()}
    shares = {
        NODE_CPU: sum(node.values()),
        REDIS_CPU: sum(redis.values()),
        NODE_NETWORK: _node_mbit(model, moment, flows) / fleet.node_mbit,
        REDIS_NETWORK: _redis_mbit(model, flows) / fleet.redis_mbit,
        MEMORY: _memory_gib(model, moment) / fleet.memory_gib,
        PLACES: _on_a_node(model, moment) / fleet.max_connections,
    }
    return Load(
        shares=shares,
        node=node,
        redis=redis,
        frames_per_s=sum(flow.frames_per_s for flow in flows),
        events_per_s=commits_of(model.traffic, fleet, moment).events,
        p50_s=wait_s(every, 0.5),
        p99_s=wait_s(every, 0.99),
    )


def _on_a_node(model: Model, moment: Moment) -> float:
    return moment.connections / model.fleet.nodes * model.fleet.uneven


# -- a node ------------------------------------------------------------------------


def _node_works(
    model: Model, moment: Moment, flows: list[Flow]
) -> Mapping[str, list[Work]]:
    """Return what the busiest node does, as work that comes at random times."""
    costs, fleet, traffic = model.costs, model.fleet, model.traffic
    part = fleet.uneven / fleet.nodes
    speed = US / fleet.cores
    commits = commits_of(traffic, fleet, moment)
    batch_s = traffic.batch * costs.event_us(traffic.batch) * speed
    pings = moment.connections * part / traffic.keepalive_s
    connects = moment.connects_per_s * part
    disconnects = moment.disconnects_per_s * part
    return {
        "frames": [_sends(model, flow) for flow in flows],
        "messages": [_takes(model, flow) for flow in flows],
        "events": [Work(commits.frames * part, batch_s)],
        "keepalive": [Work(pings, costs.ping_us * speed)],
        "connects": [
            Work(connects, costs.connect_us * speed),
            Work(disconnects, costs.disconnect_us * speed),
        ],
        "idle": [Work(1000.0, costs.node_idle_us / 1000.0 * speed)],
    }


def _takes(model: Model, flow: Flow) -> Work:
    """Return the taking of one audience's messages from Redis."""
    live = flow.audience.kind is Kind.LIVE
    one_us = model.costs.value_us if live else model.costs.publication_us
    per_s = flow.copies_per_s / model.fleet.nodes
    return Work(per_s, one_us * US / model.fleet.cores)


def _sends(model: Model, flow: Flow) -> Work:
    """Return the writing of one audience's frames on the busiest node, in turns."""
    fleet = model.fleet
    here = flow.members / flow.copies * fleet.uneven
    times = flow.channels * flow.pushes_per_s * flow.copies / fleet.nodes
    at_once = min(here, float(fleet.turn))
    frame_us = model.costs.frame_us(flow.audience.joined)
    return Work(times * here / at_once, at_once * frame_us * US / fleet.cores)


def _node_mbit(model: Model, moment: Moment, flows: list[Flow]) -> float:
    """Return what the busiest node sends or receives, whichever is more."""
    costs, traffic, fleet = model.costs, model.traffic, model.fleet
    part = fleet.uneven / fleet.nodes
    commits = commits_of(traffic, fleet, moment)
    pings = moment.connections / traffic.keepalive_s
    out = (
        sum(flow.frames_per_s for flow in flows) * costs.frame_bytes
        + commits.frames * costs.ack_bytes
        + pings * costs.ping_bytes
        + moment.connects_per_s * costs.connect_bytes
    ) * part
    came = (
        commits.events * costs.event_bytes + commits.frames * costs.frame_in_bytes
    ) * part
    came += sum(flow.copies_per_s for flow in flows) / fleet.nodes * costs.message_bytes
    return max(out, came) / BITS_PER_MBIT


def _memory_gib(model: Model, moment: Moment) -> float:
    """Return the memory of the busiest node, with the kernel's for its sockets."""
    costs, traffic = model.costs, model.traffic
    each_kib = costs.connection_kib + costs.socket_kib
    each_kib += traffic.slow * traffic.max_outbox_kib
    kib = costs.node_kib + _on_a_node(model, moment) * each_kib
    return kib / KIB_PER_GIB


# -- Redis -------------------------------------------------------------------------


def _redis(model: Model, moment: Moment, flows: list[Flow]) -> Mapping[str, float]:
    """Return what the busiest master does, as shares of its core."""
    costs, fleet = model.costs, model.fleet
    ledger = _busiest(fleet.shards, fleet.masters)
    even = 1 / fleet.masters
    commits = commits_of(model.traffic, fleet, moment)
    live = [flow for flow in flows if flow.audience.kind is Kind.LIVE]
    kept = [flow for flow in flows if flow.audience.kind is Kind.KEPT]
    notices = sum(flow.channels * flow.messages_per_s for flow in live)
    copied = sum(flow.copies_per_s for flow in live)
    new = moment.connects_per_s - moment.returns_per_s
    listening = sum(flow.channels * flow.copies for flow in live) / fleet.heal_s
    checking = sum(flow.channels * flow.copies for flow in kept) / fleet.check_s
    values_us = notices * costs.redis_notice_us + copied * costs.redis_copy_us
    first_us = first_here(fleet, flows) * costs.redis_subscribe_us
    read_us = first_here(fleet, flows, Kind.LIVE, Kind.KEPT) * costs.redis_read_us
    return {
        "commits": commits.commits * ledger * costs.redis_commit_us * US,
        "marks": commits.frames * ledger * costs.redis_mark_us * US,
        "cells": commits.cells * ledger * costs.redis_cell_us * US,
        "values": values_us * ledger * US,
        "publications": sum(_published(costs, fleet, flow) for flow in flows) * US,
        "hellos": moment.connects_per_s * ledger * costs.redis_hello_us * US,
        "subscribing": (moment.connects_per_s * first_us + new * read_us) * even * US,
        "recovery": moment.returns_per_s * read_us * even * US,
        "checks": (listening * costs.redis_read_us + checking * costs.redis_check_us)
        * (even * US),
    }


def _busiest(things: float, masters: int) -> float:
    """Return the share of the master that has most of some things that are alike."""
    return ceil(things / masters) / things if things >= 1 else 1.0


def _published(costs: Costs, fleet: Fleet, flow: Flow) -> float:
    """Return the microseconds a second that publishing costs the busiest master."""
    if flow.audience.kind is Kind.LIVE:
        return 0.0
    kept = flow.audience.kind is Kind.KEPT
    one_us = costs.redis_append_us if kept else costs.redis_publish_us
    one_us += flow.copies * costs.redis_copy_us
    share = _busiest(flow.channels, fleet.masters)
    return flow.channels * flow.messages_per_s * one_us * share


def first_here(fleet: Fleet, flows: Iterable[Flow], *kinds: Kind) -> float:
    """
    Return for how many channels of these *kinds* (none: of all) a newcomer is the first
    of its node: it must listen to Redis, and read, for them; others share that.
    """
    return sum(
        flow.audience.share * float((1 - 1 / fleet.nodes) ** max(flow.members - 1, 0.0))
        for flow in flows
        if not kinds or flow.audience.kind in kinds
    )


def _redis_mbit(model: Model, flows: list[Flow]) -> float:
    """Return what the busiest master sends to nodes."""
    fleet, bytes_per_s = model.fleet, 0.0
    for flow in flows:
        things = flow.channels
        if flow.audience.kind is Kind.LIVE:
            things = fleet.shards
        sent = flow.copies_per_s * model.costs.message_bytes
        bytes_per_s += sent * _busiest(things, fleet.masters)
    return bytes_per_s / BITS_PER_MBIT
