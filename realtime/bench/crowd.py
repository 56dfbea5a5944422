"""
A crowd: connections spread over processes, which act together and are added up.

A scenario derives one ``Worker``: what one process does. The methods of it that the
scenario calls are *orders*; all processes carry out the same order at the same time.

    class Readers(Worker):
        def measure(self, start: float, seconds: float) -> Histogram: ...

    with Crowd(Readers, share, processes=2, stop=bench.stop) as crowd:
        with bench.display.step("connecting", n) as step:
            crowd.do("join", on_progress=step)
        found = merged(crowd.do("measure", crowd.soon(), 5.0))

Laws:

- Latency counts from when something was *due*, whatever kept the sender from it
  (coordinated omission): schedules are computed from a common start, never from when
  the last thing was done. ``time.monotonic`` is one clock for all processes of a
  machine.
- Every order is bounded: by ``stop``, which workers look at (``self.stopped``) in
  each turn of their loops, and then answer with what they have; and by *limit_s*.
- Answers are added up, never averaged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from realtime.bench.children import Child
from realtime.bench.client import Client, Clients, End
from realtime.bench.dialects.port import Dialect, Said
from realtime.bench.errors import BenchError
from realtime.bench.machine import raise_file_limit
from realtime.bench.report import counted
from realtime.bench.stop import Stop
from realtime.bench.target import Target

SPARE_FILES = 128  # of a process, beside its connections
SERVER_FILES = 64  # of a server, beside its connections
RAISE = "ulimit -n {}; beyond the hard limit as root, or in /etc/security/limits.conf"
REPORT_S = 0.2
TURN_S = 0.05  # the longest that a worker waits before it looks whether to stop
START_IN_S = 0.1

clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Share:
    """
    What one process is given. *settings* are the scenario's own, picklable.

    *label* names users and devices, so that they differ from those of other runs; *run*
    marks the publications of this one. Process *index* of *processes* has the
    connections ``numbers`` of *connections*.
    """

    target: Target
    dialect: Dialect
    connections: int
    run: bytes
    label: str
    settings: Any = None
    index: int = 0
    processes: int = 1

    @property
    def numbers(self) -> range:
        """The connections of this process: every so-manieth, so that roles mix."""
        return range(self.index, self.connections, self.processes)

    def user(self, number: int) -> str:
        """Return whom connection *number* signs in as."""
        return f"bench-{self.label}-{number}"

    def sign_in(self, client: Client, *, device: bool) -> None:
        """Give a client its token and, if it will send events, its device."""
        user = self.user(client.number)
        client.token = self.target.credentials.token(client.number, user)
        if device:
            client.device = user
            # Without a user, a device is whoever knows its secret.
            client.secret = None if client.token else f"{user}-of-this-benchmark"


class Worker:
    """
    One process of a crowd, and the listener of its clients.

    Derive from it; the methods that ``Crowd.do`` names must return picklable values.
    """

    def __init__(self, share: Share, report: Callable[[float], None], event: Event):
        self.share = share
        self.clients = Clients(share.target, share.dialect, self)
        self._report = report
        self._event = event
        self._reported_at = 0.0

    @property
    def stopped(self) -> bool:
        """Whether to finish now, with what there is."""
        return self._event.is_set()

    def progress(self, done: float) -> None:
        """Say how much of the order is done; may be called as often as one likes."""
        now = clock()
        if now - self._reported_at >= REPORT_S:
            self._reported_at = now
            self._report(done)

    def turn(self, until: float) -> None:
        """Handle what comes until then, or for a moment, whichever is shorter."""
        self.clients.poll(min(until - clock(), TURN_S))

    def wait_until(self, moment: float) -> None:
        """Handle what comes until then."""
        while not self.stopped and clock() < moment:
            self.turn(moment)

    def wait_for(self, done: Callable[[], bool], patience_s: float) -> bool:
        """Handle what comes until *done*; return whether it came to that in time."""
        give_up = clock() + patience_s
        while not done():
            if self.stopped or clock() > give_up:
                return False
            self.turn(give_up)
        return True

    # -- Listener ------------------------------------------------------------------

    def ready(self, client: Client, now: float) -> None:
        """A client is signed in."""

    def said(self, client: Client, said: Said, now: float) -> None:
        """A client has been told something."""

    def ended(self, client: Client, end: End, now: float) -> None:
        """A client has lost its connection."""


W = TypeVar("W", bound=Worker)


@dataclass(frozen=True, slots=True)
class _Done:
    value: Any
    cpu_s: float
    wall_s: float


class Crowd(Generic[W]):
    """
    The parent's side.

    ``busy`` is the share of a core that the busiest process used during the last
    order: near 1, the clients and not the server were measured.
    """

    def __init__(self, kind: type[W], share: Share, processes: int, stop: Stop) -> None:
        self.busy = 0.0
        self._stop = stop
        self._children: list[Child] = []
        _check_files(share.connections, processes)
        _check_files_of_servers(share.target, share.connections)
        try:
            for index in range(processes):
                own = replace(share, index=index, processes=processes)
                self._children.append(Child(_work, kind, own, stop.event))
            for child in self._children:
                child.answer()
        except BaseException:
            self.close()
            raise

    def soon(self) -> float:
        """Return a moment at which all processes can begin."""
        return clock() + START_IN_S

    def do(
        self,
        order: str,
        *arguments: object,
        on_progress: Callable[[float], None] | None = None,
        limit_s: float = 3600.0,
    ) -> list[Any]:
        """
        Have all processes carry out *order*; return their answers.

        *on_progress* is told the sum of what they say is done.

        Raises:
            BenchError: If a process fails, ends, or is not done within *limit_s* (or
                some time after it was asked to stop).
        """
        pipes: dict[Any, int] = {}
        for index, child in enumerate(self._children):
            child.pipe.send((order, *arguments))
            pipes[child.pipe] = index
        done: dict[int, _Done] = {}
        progress = [0.0] * len(self._children)
        give_up = clock() + limit_s
        while len(done) < len(self._children):
            for pipe in wait(list(pipes), REPORT_S):
                index = pipes[pipe]
                said = self._children[index].answer()
                if isinstance(said, _Done):
                    done[index] = said
                    del pipes[pipe]
                else:
                    progress[index] = said
            if on_progress is not None:
                on_progress(sum(progress))
            if self._stop:
                give_up = min(give_up, clock() + 30.0)
            if clock() > give_up:
                raise BenchError(f"{order} is not done within {limit_s:g} s")
        found = [done[index] for index in range(len(self._children))]
        self.busy = max(one.cpu_s / max(one.wall_s, 1e-9) for one in found)
        return [one.value for one in found]

    def close(self) -> None:
        """End all processes."""
        for child in self._children:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def processes_for(connections: int, asked: int | None, *, local: bool) -> int:
    """
    Return how many processes to use: as many as *asked*; else as many as there are
    cores, or half of them where the server is on this machine, too; in any case enough
    for the limit of open files.
    """
    if asked is not None:
        return asked
    cores = os.cpu_count() or 1
    wanted = max(cores // 2, 1) if local else cores
    room = max(raise_file_limit() - SPARE_FILES, 1)
    return max(min(wanted, connections), -(-connections // room), 1)


def _check_files(connections: int, processes: int) -> None:
    if processes < 1:
        raise BenchError(f"--processes is {processes}; it must be 1 or more")
    limit = raise_file_limit()
    needed = -(-connections // processes) + SPARE_FILES
    if needed > limit:
        least = -(-connections // max(limit - SPARE_FILES, 1))
        who = f"{counted(connections, 'connections')} from"
        raise BenchError(
            f"{who} {counted(processes, 'processes')} need {needed} open files each, "
            f"and the limit is {limit}: use --processes {least}, or raise it "
            f"({RAISE.format(needed)})"
        )


def _check_files_of_servers(target: Target, connections: int) -> None:
    """Check that those that were started here can hold all; they have our limit."""
    if not target.is_local:
        return
    limit = raise_file_limit()
    servers = len(target.endpoints)
    needed = -(-connections // servers) + SERVER_FILES
    if needed > limit:
        room = max(limit - SERVER_FILES, 0) * servers
        raise BenchError(
            f"{counted(connections, 'connections')} need {needed} open files (file "
            f"descriptors) in a server that is started here, and the limit is {limit}: "
            f"raise it ({RAISE.format(needed)}), or open no more than {room}"
        )


def _work(pipe: Connection, kind: type[Worker], share: Share, event: Event) -> None:
    raise_file_limit()
    worker = kind(share, pipe.send, event)
    pipe.send("ready")
    while True:
        order, *arguments = pipe.recv()
        wall, cpu = clock(), time.process_time()
        value = getattr(worker, order)(*arguments)
        pipe.send(_Done(value, time.process_time() - cpu, clock() - wall))


def sum_up(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Add counts by their names, as of reasons why something failed."""
    found: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            found[name] = found.get(name, 0) + count
    return found
