"""
Question: what do other push servers need for the same work, on this machine?

Method: one after the other, each server of the list below is started anew, is measured,
and ends; that is repeated --turns times, each time beginning with another one, and what
is printed is the median of the turns (latencies: of all turns together). Always the
same client, the same payload, the same number of subscribers of one channel:

    publish -> receive   --watchers subscribers, --rate publications a second
    connect              the other subscribers come in, as fast as they can: processor
                         time of the server for each, from the TCP connection until it
                         has subscribed; the first watchers have warmed the server up
    idle                 private memory of the server for each of them, and processor
                         time for each and second while it is only pinged
    fan-out              --rounds publications, one every --gap, to all subscribers:
                         processor time for each frame that was delivered, and how late
                         it came

Ratios are to ours in the same deployment: alone, or with a Redis (a Valkey of its own
for each, started here), which several servers would be joined by. Redis' own time is
beside it. Processor time is that of the server's process and its children, user and
system, on all threads. Latencies are from when a publication was due until a subscriber
has read it, so they include the client's own reading, which is the same for all: they
compare, but they are not the server's alone. Time of processors survives a busy
machine, latencies do not.

Servers that cannot run here are named in the table, with what they need. The peers in
Python come with the extra 'peers'; --npm-install fetches Socket.IO from npm into
--npm-dir; a binary of Centrifugo is given by --centrifugo.

"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from realtime.bench.costs import memory_kib
from realtime.bench.crowd import Crowd, sum_up
from realtime.bench.errors import BenchError
from realtime.bench.histogram import Histogram, merged
from realtime.bench.peers import catalogue, npm
from realtime.bench.peers.audience import Audience, Heard
from realtime.bench.peers.catalogue import OURS, PEERS, Peer, Surroundings
from realtime.bench.peers.table import COLUMNS, Measured, curves, ratios, row_of
from realtime.bench.program import Bench, doubts, opened
from realtime.bench.report import counted
from realtime.bench.result import Result, Row, Series
from realtime.bench.target import Target

__doc__ += (catalogue.__doc__ or "").partition("\n\n")[2].strip()
__doc__ += """

examples:
  PROGRAM
      whoever is installed, with 1,000 subscribers
  PROGRAM --npm-install --centrifugo ./centrifugo --plot compare.html
      everybody, as a picture
  PROGRAM --only realtime,Centrifugo,websockets --turns 7
      some of them, more precisely
"""

SMOKE: Mapping[str, object] = {
    "subscribers": 20,
    "watchers": 5,
    "turns": 1,
    "rounds": 3,
    "seconds": 0.2,
    "idle_s": 0.1,
    "processes": 1,
}
SETTLE_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario."""
    names = ", ".join(dict.fromkeys(peer.name for peer in PEERS))
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help=f"compare ours with these, with commas between: {names}",
    )
    parser.add_argument(
        "--centrifugo", metavar="PATH", help="the binary of a Centrifugo, version 6"
    )
    parser.add_argument(
        "--npm-dir",
        metavar="DIR",
        help="where the packages from npm are (default: realtime/bench-npm in the "
        "user's cache directory)",
    )
    parser.add_argument(
        "--npm-install",
        action="store_true",
        help="install them there first, with npm, from its registry",
    )
    for name, kind, default, meaning in (
        ("subscribers", int, 1000, "of the one channel"),
        ("turns", int, 3, "how often each is measured"),
        ("rounds", int, 40, "publications to all subscribers, in a turn"),
        ("gap", float, 0.1, "seconds between them"),
        ("watchers", int, 20, "subscribers while publish -> receive is measured"),
        ("rate", float, 100.0, "publications a second meanwhile"),
        ("seconds", float, 3.0, "for how long"),
        ("idle-s", float, 5.0, "seconds of pings only"),
        ("keepalive", float, 5.0, "every so many seconds, all servers ping"),
        ("size", int, 100, "characters of the payload"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=default, help=f"{meaning} ({default:g})"
        )


def run(options: argparse.Namespace) -> Result:
    """Measure."""
    _check(options)
    folder = Path(options.npm_dir) if options.npm_dir else npm.default_folder()
    binary = options.centrifugo and str(Path(options.centrifugo).absolute())
    where = Surroundings(options.keepalive, folder.absolute(), binary)
    chosen = _chosen(options.only)
    nobody = Target(())
    with opened(options, "compare", nobody) as bench:
        if options.npm_install:
            bench.display.say(f"installing packages from npm into {where.npm_folder}")
            npm.install(where.npm_folder)
        versions = {peer.title: peer.version(where) for peer in chosen}
        present = [peer for peer in chosen if versions[peer.title] is not None]
        found, failed = _turns(bench, where, present)
        return _result(bench, chosen, versions, found, failed)


def _check(options: argparse.Namespace) -> None:
    if options.url or options.nodes != 1 or options.redis:
        raise BenchError(
            "compare starts its servers itself: no --url, --nodes, --redis"
        )
    if not 1 <= options.watchers < options.subscribers:
        raise BenchError(
            f"--watchers is {options.watchers}; it must be 1 or more, and less than "
            f"--subscribers ({options.subscribers})"
        )
    for name in ("turns", "rounds", "rate", "gap"):
        if getattr(options, name) <= 0:
            raise BenchError(
                f"--{name} is {getattr(options, name)}; it must be above 0"
            )


def _chosen(only: str | None) -> list[Peer]:
    """Return who is compared; ours always is, in each deployment of the others."""
    if only is None:
        return list(PEERS)
    asked = {name.strip().lower() for name in only.split(",")}
    known = {peer.name.lower() for peer in PEERS}
    if not asked <= known:
        wrong = ", ".join(sorted(asked - known))
        raise BenchError(f"--only: there is no {wrong!r}; there are {sorted(known)}")
    others = [peer for peer in PEERS if peer.name.lower() in asked]
    deployments = {peer.redis for peer in others}
    return [
        peer
        for peer in PEERS
        if peer in others or (peer.name == OURS and peer.redis in deployments)
    ]


# -- measuring -------------------------------------------------------------------------


def _turns(
    bench: Bench, where: Surroundings, peers: Sequence[Peer]
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Return what was measured by title, and why others failed."""
    found: dict[str, list[Measured]] = {peer.title: [] for peer in peers}
    failed: dict[str, str] = {}
    turns = bench.options.turns
    with bench.display.step("comparing", turns * len(peers)) as step:
        done = 0
        for turn in range(turns):
            at = turn * len(peers) // turns
            for peer in (*peers[at:], *peers[:at]):
                if bench.stop:
                    return found, failed
                step(done, f"turn {turn + 1} of {turns}: {peer.title}")
                done += 1
                if peer.title in failed:
                    continue
                try:
                    measured = _measure(bench, where, peer)
                except BenchError as exc:
                    if not bench.stop:
                        failed[peer.title] = str(exc)
                    continue
                if not bench.stop:  # half a visit is none
                    found[peer.title].append(measured)
    return found, failed


def _measure(bench: Bench, where: Surroundings, peer: Peer) -> Measured:
    """Start a server, measure it, end it."""
    options = bench.options
    with peer.serve(where) as target:
        here = replace(bench, target=target, dialect=peer.dialect(where))
        crowd = here.crowd(Audience, options.subscribers, options.size, target)
        with crowd:
            return _Visit(here, crowd, peer.title).measure()


class _Visit:
    """One server while it is measured."""

    def __init__(self, bench: Bench, crowd: Crowd[Audience], title: str) -> None:
        self._bench = bench
        self._crowd = crowd
        self._title = title
        self._figures: dict[str, float] = {}
        self._warnings: list[str] = []

    def measure(self) -> Measured:
        options = self._bench.options
        self._join(options.watchers)
        rounds = max(int(options.rate * options.seconds), 1)
        latency = self._publish("latency", rounds, 1 / options.rate)
        self._connect()
        self._idle()
        fanout = self._publish("fanout", options.rounds, options.gap)
        return Measured(self._figures, fanout, latency, self._warnings)

    def _join(self, until: int) -> int:
        for why, times in sum_up(self._crowd.do("join", until)).items():
            failed = counted(times, "connections failed")
            self._warnings.append(f"{self._title}: {failed}: {why}")
        return self._inside(SETTLE_S)

    def _inside(self, seconds: float) -> int:
        return sum(self._crowd.do("stay", seconds))

    def _connect(self) -> None:
        bench, before = self._bench, self._inside(SETTLE_S)
        kib, costs = memory_kib(bench.target), bench.costs()
        failures = sum_up(self._crowd.do("join", bench.options.subscribers))
        for why, times in failures.items():
            self._warnings.append(f"{self._title}: {times} times: {why}")
        costs = bench.costs() - costs
        came = self._inside(SETTLE_S) - before
        after = memory_kib(bench.target)
        us = costs.node_us_per(came)
        if us is not None and kib is not None and after is not None:
            self._figures |= {"connect_us": us, "idle_kib": (after - kib) / came}

    def _idle(self) -> None:
        bench, costs = self._bench, self._bench.costs()
        inside = self._inside(bench.options.idle_s)
        costs = bench.costs() - costs
        us = costs.node_us_per(inside * costs.wall_s)
        if us is not None:
            self._figures["idle_us"] = us

    def _publish(self, what: str, rounds: int, gap_s: float) -> Histogram:
        bench, costs = self._bench, self._bench.costs()
        inside = self._inside(0.0)
        heard: list[Heard] = self._crowd.do(
            "measure", self._crowd.soon(), rounds, gap_s
        )
        costs = bench.costs() - costs
        frames = sum(one.frames for one in heard)
        if frames < inside * rounds:
            lost = inside * rounds - frames
            self._warnings.append(
                f"{self._title}: {lost} of {inside * rounds} frames did not come"
            )
        if what == "fanout":
            self._warnings += doubts(self._crowd.busy, costs)
            for name, value in (
                ("frame_us", costs.node_us_per(frames)),
                ("redis_us", costs.redis_us_per(rounds)),
            ):
                if value is not None:
                    self._figures[name] = value
        return merged(one.latencies for one in heard)


# -- telling ---------------------------------------------------------------------------


def _result(
    bench: Bench,
    peers: Sequence[Peer],
    versions: Mapping[str, str | None],
    found: Mapping[str, Sequence[Measured]],
    failed: Mapping[str, str],
) -> Result:
    rows, series, warnings = list[Row](), list[Series](), list[str]()
    ours: Row = {}
    for peer in peers:
        measured, version = found.get(peer.title, ()), versions[peer.title]
        if peer.name == OURS:
            ours = {}  # of another deployment until now
        if version is None:
            note = f"not installed: {peer.install}"
            rows.append({"server": peer.title, "version": None, "note": note})
            continue
        if peer.title in failed:
            note = "failed, see the warning"
            rows.append({"server": peer.title, "version": version, "note": note})
            warnings.append(f"{peer.title} failed: {failed[peer.title]}")
            continue
        if not measured:
            continue  # stopped before its first turn
        row = row_of(peer, version, measured)
        ours = row if peer.name == OURS else ours
        rows.append({**row, **ratios(row, ours)})
        series += curves(peer, measured)
        warnings += [warning for one in measured for warning in one.warnings]
    return bench.result(COLUMNS, rows, series, warnings)
