"""What the plays have found, as rows for a table and curves for plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from realtime.bench.result import Cell, Row, Series
from realtime.bench.simulate.day import Day
from realtime.bench.simulate.load import NODE_CPU, REDIS_CPU, RESOURCES, US, Model
from realtime.bench.simulate.loss import Loss
from realtime.bench.simulate.push import Push
from realtime.bench.simulate.sizing import growth
from realtime.bench.simulate.storm import Storm, redis_s_of, usual_load

COLUMNS = {"play": "play", "what": "what", "value": "value", "remark": "remark"}
PERCENT = 100.0
BUSY_AT_MOST = 0.9  # while a crowd comes in

Found = tuple[list[Row], list[Series]]


def row(play: str, what: str, value: Cell, remark: str = "") -> Row:
    """Return one row."""
    return {"play": play, "what": what, "value": value, "remark": remark}


def percent(share: float) -> str:
    """Return a share as text."""
    if share and share < 0.001:
        return f"{share:.3%}"
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def seconds(value_s: float) -> str:
    """Return a time as text, in the unit that suits it."""
    if value_s == inf:
        return "never"
    if value_s < 1:
        return f"{value_s * 1e3:.1f} ms"
    return f"{value_s:.1f} s"


# -- the fleet ---------------------------------------------------------------------


def of_fleet(model: Model, fleets: int, whole: str = "") -> list[Row]:
    """Return what is played."""
    fleet, people = model.fleet, model.traffic.connections
    why = f"one fleet for all is not enough: {whole}" if whole else ""
    return [
        row("fleet", "fleets", fleets, why if fleets > 1 else ""),
        row("fleet", "connections of a fleet", people),
        row(
            "fleet", "nodes of a fleet", fleet.nodes, f"{fleets * fleet.nodes:,} in all"
        ),
        row("fleet", "connections of the fullest node", round(_here(model))),
        row("fleet", "masters of a fleet", fleet.masters),
        row("fleet", "connect_rate that it bears", _rate(model), _slower(model)),
    ]


def _here(model: Model) -> float:
    return model.traffic.connections / model.fleet.nodes * model.fleet.uneven


def _rates(model: Model) -> tuple[float, float]:
    """Return how many connects a second a node bears at the peak: its own, Redis'."""
    usual = usual_load(model).shares
    free = [max(0.0, BUSY_AT_MOST - usual[name]) for name in (NODE_CPU, REDIS_CPU)]
    node = free[0] * model.fleet.cores / (model.costs.connect_us * US)
    beside = max(0.02, 1.0 - usual[REDIS_CPU])  # what redis_s_of counts with
    each_s = redis_s_of(model, model.fleet.nodes) * beside
    return node, free[1] / each_s if each_s else inf


def _rate(model: Model) -> int:
    return round(min(_rates(model)))


def _slower(model: Model) -> str:
    node, redis = _rates(model)
    name = "Redis" if redis < node else "the node"
    return f"at the peak, until {name} is used to {BUSY_AT_MOST:.0%}"


# -- a day -------------------------------------------------------------------------


def of_day(model: Model, day: Day) -> Found:
    """Return the peaks of a day, and its curves."""
    busiest = day.busiest
    when = f"{int(busiest.at_s // 3600):02d}:{int(busiest.at_s % 3600 // 60):02d}"
    rows = [
        row("day", f"{name} at the peak", percent(day.peak(name)), _parts(day, name))
        for name in RESOURCES
    ]
    first = busiest.load.first
    times = growth(model, first)
    limit = round(model.traffic.connections * times)
    rows += [
        row("day", "frames/s", round(busiest.load.frames_per_s), f"at {when}"),
        row("day", "events/s", round(busiest.load.events_per_s)),
        row("day", "wait for a node, p50", seconds(busiest.load.p50_s), "M/G/1"),
        row("day", "wait for a node, p99", seconds(busiest.wait_s)),
        row("day", "at its end first", first, f"with {limit:,} connections"),
    ]
    return rows, _day_series(day)


def _parts(day: Day, name: str) -> str:
    """Return what the processor time goes to, the most first."""
    load = day.busiest.load
    parts = {NODE_CPU: load.node, REDIS_CPU: load.redis}.get(name)
    if parts is None:
        return ""
    most = sorted(parts, key=lambda one: -parts[one])[:3]
    return ", ".join(f"{one} {percent(parts[one])}" for one in most)


def _day_series(day: Day) -> list[Series]:
    def line(chart: str, name: str, y: str, values: Sequence[float]) -> Series:
        hours = [minute.at_s / 3600 for minute in day.minutes]
        # A point every ten minutes is enough for the eye.
        points = tuple(zip(hours[::10], values[::10], strict=True))
        return Series(chart, name, "hour of the day", y, points)

    shares = [
        line(
            "A day: what is in use",
            name,
            "% of what there is",
            [minute.load.shares[name] * PERCENT for minute in day.minutes],
        )
        for name in RESOURCES
    ]
    people = [float(minute.connections) for minute in day.minutes]
    return [*shares, line("A day: connections", "connected", "connections", people)]


# -- a storm -----------------------------------------------------------------------


def of_storm(name: str, storm: Storm) -> Found:
    """Return what a return was like, for one node, and its curves."""
    course = storm.course
    rows = [
        row(name, "clients of a node", course.clients),
        row(name, "half are back", seconds(course.back_s(0.5))),
        row(name, "99 of 100 are back", seconds(course.back_s(0.99))),
        row(name, "all are back", seconds(course.back_s(1.0))),
        row(name, "attempts of a client", len(course.attempts_at) / course.clients),
        row(name, "refused", len(course.refused_at), "and told when to come back"),
        row(name, "gave up", len(course.gave_up_at), "no answer in time"),
        row(name, "longest accept queue", course.longest_queue, "in the kernel"),
        row(name, "SYNs dropped", len(course.dropped_at), "the queue was full"),
        row(name, "node CPU at most", percent(storm.peak("node_cpu"))),
        row(name, "Redis CPU at most", percent(storm.peak("redis_cpu"))),
    ]
    return rows, _storm_series(name, storm)


def _storm_series(name: str, storm: Storm) -> list[Series]:
    def line(chart: str, label: str, y: str, field: str, times: float = 1.0) -> Series:
        points = tuple(
            (one.at_s, getattr(one, field) * times) for one in storm.instants
        )
        return Series(f"{name.capitalize()}: {chart}", label, "seconds", y, points)

    return [
        line("one node", "back", "clients", "back"),
        line("one node", "wait in the kernel", "clients", "waiting"),
        line("rates of one node", "attempts", "a second", "attempts_per_s"),
        line("rates of one node", "back", "a second", "admitted_per_s"),
        line("what is in use", "node CPU", "% of a core", "node_cpu", PERCENT),
        line("what is in use", "Redis CPU", "% of a core", "redis_cpu", PERCENT),
    ]


def of_loss(loss: Loss) -> Found:
    """Return what the loss of a machine was like."""
    rows, series = of_storm("loss", loss.storm)
    after = loss.after
    more = [
        row("loss", "clients that lost their node", loss.lost_clients),
        row("loss", "nodes left", loss.survivors),
        row("loss", "events sent again or late", round(loss.resent_events)),
        row("loss", "histories read", round(loss.reads)),
        row("loss", f"{after.first} afterwards", percent(after.shares[after.first])),
    ]
    return [*more, *rows], series


def of_push(push: Push) -> Found:
    """Return what one message to everybody was like."""
    rows = [
        row(
            "push", "written by a node in", seconds(push.processor_s), "on a free core"
        ),
        row(
            "push", "the last one has it after", seconds(push.last_s), "beside the rest"
        ),
        row("push", "the node's network needs", seconds(push.network_s)),
        row("push", "its master of Redis needs", seconds(push.redis_s)),
    ]
    if push.opens is None:
        return rows, []
    found, series = of_storm("push", push.opens)
    names = {"clients of a node": "open their apps, on a node"}
    renamed = [
        {**one, "what": names.get(str(one["what"]), one["what"])} for one in found
    ]
    titled = [
        replace(one, chart=one.chart.replace("Push", "After a push")) for one in series
    ]
    return [*rows, *renamed], titled
