"""
Question: what would a fleet do that is larger than what one can try?

Method: the measured cost of each thing (a delivery, a connect, an event, a commit ...)
is played through in virtual time, without a server: a day with its peak; a storm, in
which everybody is cut off and comes back by the clients' rules and the server's; the
loss of a machine; one message to everybody, after which people open their apps. Told is
how busy the busiest node and the busiest master of Redis are, how long messages wait,
when everybody is back, and what is at its end first. --fleet auto looks for the least
fleet that keeps the --target. Chance comes from --seed: the same options, the same
answer. Nothing is loaded.

What is estimated: waits are those of an M/G/1 queue (percentiles by an exponential
tail); nodes are alike but for --uneven; who subscribes to what is spread at random.
Unique counts, presence, webhooks and compression are not counted.

examples:
  PROGRAM --connections 1000000 --fleet auto --plot million.html
      how many nodes and masters a million phones need, and what they would do
  PROGRAM --connections 200000 --fleet 8 --masters 1 --play storm --no-jitter
      what happens when clients do not keep to the rules
  PROGRAM --costs costs.toml --costs fanout.json ...
      with costs measured on your own machine
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

from realtime.bench.errors import BenchError
from realtime.bench.program import parameters_of
from realtime.bench.result import Result, Row, Series
from realtime.bench.simulate import reports
from realtime.bench.simulate.crowd import Clients
from realtime.bench.simulate.day import play_day
from realtime.bench.simulate.files import read_costs, read_traffic
from realtime.bench.simulate.fleet import Fleet
from realtime.bench.simulate.load import Model
from realtime.bench.simulate.loss import Death, play_loss
from realtime.bench.simulate.push import play_push
from realtime.bench.simulate.sizing import Target, TooMuch, size
from realtime.bench.simulate.storm import play_storm

SMOKE: Mapping[str, object] = {"connections": 20_000, "fleet": "auto"}
NEEDS_TARGET = False
PLAYS = ("day", "storm", "loss", "push")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the scenario's own options."""
    _add_traffic(parser)
    _add_fleet(parser)
    _add_play(parser)
    _add_people(parser)


def _add_play(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--play",
        action="append",
        choices=PLAYS,
        help="what to play; may be given several times (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default 0)")
    parser.add_argument(
        "--costs",
        action="append",
        default=[],
        metavar="FILE",
        help="costs instead of the measured ones of the project: TOML or JSON by name, "
        "or what another benchmark wrote with --json; later files win",
    )


def _add_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-jitter",
        action="store_true",
        help="clients come back at once, and after fixed delays",
    )
    parser.add_argument(
        "--death",
        choices=[each.value for each in Death],
        default=Death.KILLED.value,
        help="how the machine is lost: its clients are told by the kernel, or notice "
        "by their keepalive (default killed)",
    )
    parser.add_argument(
        "--opens",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="how many open their apps after a push, of those connected (default 0.2)",
    )
    parser.add_argument(
        "--within",
        type=float,
        default=60.0,
        metavar="S",
        help="in how many seconds they do (default 60)",
    )


def _add_traffic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections",
        type=int,
        default=1_000_000,
        help="at the busiest hour of the day (default 1,000,000)",
    )
    parser.add_argument(
        "--traffic",
        metavar="FILE",
        help="TOML: what the users do (default: one number that all see, half of them "
        "in rooms of 500, some in chats, an inbox each, two events a minute)",
    )


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    usual, target = Fleet(1), Target()
    parser.add_argument(
        "--fleet",
        default="auto",
        metavar="N|auto",
        help="how many nodes (processes); auto: as few as keep the target, in several "
        "fleets where these are much fewer nodes (default auto)",
    )
    options: Sequence[tuple[str, type, object, str]] = (
        ("--masters", int, 1, "of Redis, each with one shard; auto finds its own"),
        ("--machine", int, usual.nodes_per_machine, "nodes of a machine"),
        ("--cores", float, usual.cores, "of a core that a node has to itself"),
        ("--memory", float, usual.memory_gib, "GiB of a node"),
        ("--node-mbit", float, usual.node_mbit, "Mbit/s of a node"),
        ("--redis-mbit", float, usual.redis_mbit, "Mbit/s of a master"),
        ("--uneven", float, usual.uneven, "the fullest node, times the mean"),
        ("--tick", float, usual.tick_s, "seconds: ledger.tick"),
        ("--connect-rate", float, usual.connect_rate, "limits.connect_rate; 0: none"),
        ("--max-connections", int, usual.max_connections, "limits.max_connections"),
        ("--accept-queue", int, usual.accept_queue, "net.core.somaxconn"),
        ("--target", float, target.share, "share in use at the peak, for auto"),
        ("--target-lost", float, target.share_lost, "the same with a machine gone"),
        ("--target-back", float, target.back_s, "seconds, until all are back"),
    )
    for name, kind, default, what in options:
        text = f"{what} (default {default:g})" if default else what
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)


def run(options: argparse.Namespace) -> Result:
    """
    Play, and put the result together.

    Raises:
        BenchError: If an option or a file is wrong, or no fleet keeps the target.
    """
    try:
        model, rows, series = _model(options), list[Row](), list[Series]()
        model, about = _sized(model, options)
        rows += about
        for name in options.play or PLAYS:
            found, curves = _play(name, model, options)
            rows += found
            series += curves
    except ValueError as exc:
        raise BenchError(str(exc)) from exc
    return Result(
        scenario="simulate",
        columns=reports.COLUMNS,
        rows=tuple(rows),
        series=tuple(series),
        parameters=parameters_of(options),
    )


def _model(options: argparse.Namespace) -> Model:
    nodes = 1 if options.fleet == "auto" else _whole(options.fleet)
    fleet = Fleet(
        nodes=nodes,
        masters=options.masters,
        shards=options.masters,
        cores=options.cores,
        nodes_per_machine=options.machine,
        memory_gib=options.memory,
        node_mbit=options.node_mbit,
        redis_mbit=options.redis_mbit,
        uneven=options.uneven,
        tick_s=options.tick,
        connect_rate=options.connect_rate,
        max_connections=options.max_connections,
        accept_queue=options.accept_queue,
    )
    traffic = read_traffic(options.traffic, options.connections)
    return Model(read_costs(options.costs), traffic, fleet)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BenchError(f"--fleet is {text!r}; it must be a number or auto") from None


def _sized(model: Model, options: argparse.Namespace) -> tuple[Model, list[Row]]:
    """Return the model of one fleet, and the rows that say what it is."""
    if options.fleet != "auto":
        return model, reports.of_fleet(model, 1)
    target = Target(options.target, options.target_lost, options.target_back)
    try:
        found = size(model, target)
    except TooMuch as exc:
        raise BenchError(f"no fleet keeps the target: {exc}") from exc
    traffic = replace(model.traffic, connections=found.connections)
    model = replace(model, fleet=found.fleet, traffic=traffic)
    return model, reports.of_fleet(model, found.fleets, found.whole)


def _play(
    name: str, model: Model, options: argparse.Namespace
) -> tuple[list[Row], list[Series]]:
    clients = Clients(jitter=not options.no_jitter)
    if name == "day":
        return reports.of_day(model, play_day(model, options.seed))
    if name == "storm":
        return reports.of_storm("storm", play_storm(model, clients, options.seed))
    if name == "push":
        push = play_push(model, clients, options.opens, options.within, options.seed)
        return reports.of_push(push)
    if model.fleet.nodes <= model.fleet.nodes_per_machine:
        return [reports.row("loss", "not played", None, "there is one machine")], []
    death = Death(options.death)
    return reports.of_loss(play_loss(model, clients, death, options.seed))
