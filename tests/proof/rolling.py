"""
A rolling restart under load: two nodes, a balancer, thousands of clients, a ledger.

Each node is told to stop while everybody is connected, and started again; then it must
be true that no publication was lost or repeated, that every acknowledged event was
counted once, and that no node took more connections in a second than it is allowed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson

from realtime.testing.lean import LeanSocket
from realtime.testing.processes import NodeProcess
from realtime.testing.servers import HOST, ValkeyServer, free_port
from tests.proof.rider import Rider, Tally
from tests.signing import SECRET, token

CONFIG = """
[auth]
hmac_secret = "{secret}"
anonymous = true

[events]
track = "anyone"

[limits]
connect_rate = {connect_rate}
publish_rate = 0

[drain]
notice = "{notice_s}s"
over = "{over_s}s"
return = "{return_s}s"

[namespaces.news]
subscribe = "anyone"
publish = "user"
history_size = 1000
history_ttl = "10m"

[counters.likes]
event = "like"
by = ["post"]
windows = ["total"]
watch = "anyone"

[logs]
format = "json"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many, how fast, and what the nodes are allowed."""

    clients: int
    channels: int
    connect_rate: int
    over_s: float
    return_s: float
    notice_s: float = 1.0  # the balancer asks five times a second
    event_s: float = 5.0  # between the events of one client
    publish_s: float = 1.0  # between the publications on a channel
    patience_s: float = 60.0
    seed: int = 1


@dataclass(slots=True)
class Result:
    """What happened."""

    plan: Plan
    tally: Tally = field(default_factory=Tally)
    publications: int = 0
    behind: int = 0  # clients that do not have the last publication of their channel
    counted: int = 0
    left_over: int = 0  # events that were never acknowledged
    drains: list[dict[str, Any]] = field(default_factory=list)
    connects: list[int] = field(default_factory=list)  # the most in a second, by node
    defects: list[str] = field(default_factory=list)  # errors in the nodes' logs
    seconds: float = 0.0

    @property
    def faults(self) -> dict[str, int]:
        """Everything that must not be, by name; only what is."""
        tally = self.tally
        over = [n for n in self.connects if n > self.plan.connect_rate]
        found = {
            "publications lost": tally.lost,
            "publications repeated": tally.repeated,
            "publications wrong": tally.wrong,
            "not recovered": tally.unrecovered,
            "clients behind": self.behind,
            "events never acknowledged": self.left_over,
            "events rejected": tally.rejected,
            "events miscounted": abs(self.counted - tally.made),
            "seconds with too many connects": len(over),
            "errors in the logs": len(self.defects),
        }
        return {name: count for name, count in found.items() if count}


Report = Callable[[str, Result, int], None]  # phase, so far, connected


class Deploy:
    """One run of *plan*; the files are in *folder*."""

    def __init__(self, plan: Plan, folder: Path, report: Report | None = None) -> None:
        self.plan = plan
        self.result = Result(plan)
        self._folder = folder
        self._report = report
        self._phase = "starting"
        self._nodes: list[NodeProcess] = []
        self._riders: list[Rider] = []
        self._channels = [f"news:{number}" for number in range(plan.channels)]
        self._port = free_port()

    def run(self) -> Result:
        """Do it, from an empty Valkey to the comparison."""
        started = time.monotonic()
        with ExitStack() as stack:
            valkey = stack.enter_context(ValkeyServer(appendonly=True, fsync="always"))
            self._start_nodes(stack, valkey)
            stack.enter_context(self._balancer())
            runner = asyncio.Runner(loop_factory=_loop_factory())
            with runner:
                runner.run(self._ride())
        self._read_logs()
        self.result.seconds = time.monotonic() - started
        return self.result

    # -- servers -------------------------------------------------------------------

    def _start_nodes(self, stack: ExitStack, valkey: ValkeyServer) -> None:
        plan = self.plan
        config = self._folder / "realtime.toml"
        text = CONFIG.format(
            secret=SECRET,
            connect_rate=plan.connect_rate,
            notice_s=plan.notice_s,
            over_s=plan.over_s,
            return_s=plan.return_s,
        )
        config.write_text(text, "utf-8")
        for index in range(2):
            arguments = ["--config", str(config), "--redis", valkey.url]
            log = self._folder / f"node-{index}.log"
            node = stack.enter_context(NodeProcess(arguments, log))
            self._nodes.append(node)

    @contextmanager
    def _balancer(self) -> Iterator[None]:
        ports = [str(self._port), *(str(node.port) for node in self._nodes)]
        command = [sys.executable, "-m", "realtime.testing.balancer", *ports]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), "the balancer has not started"
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    # -- clients -------------------------------------------------------------------

    async def _ride(self) -> None:
        plan, random = self.plan, Random(self.plan.seed)
        for number in range(plan.clients):
            channel = self._channels[number % plan.channels]
            self._riders.append(
                Rider(
                    number,
                    channel,
                    self._port,
                    plan.event_s,
                    self.result.tally,
                    random,
                )
            )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tell())]
            await self._get_on(group, tasks)
            publisher = Publisher(self._channels, self._port, plan.publish_s)
            publishing = group.create_task(publisher.run())
            await self._deploy()
            self._phase = "finishing"
            for rider in self._riders:
                rider.stop_making()
            publisher.enough = True
            await publishing
            self.result.publications = publisher.made * plan.channels
            await self._settle(publisher.made)
            self.result.counted = await asyncio.to_thread(self._count)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*(rider.get_off() for rider in self._riders))

    async def _get_on(
        self, group: asyncio.TaskGroup, tasks: list[asyncio.Task[None]]
    ) -> None:
        """Connect everybody, no faster than one node may take them."""
        self._phase = "connecting"
        pause_s = 1.0 / self.plan.connect_rate
        for rider in self._riders:
            tasks.append(group.create_task(rider.run()))
            await asyncio.sleep(pause_s)
        await self._until(self._all_connected, "everybody is connected")

    async def _deploy(self) -> None:
        """Restart the nodes one after the other, as a deploy does."""
        for index, node in enumerate(self._nodes):
            self._phase = f"draining node {index}"
            await asyncio.sleep(self.plan.publish_s)
            await asyncio.to_thread(node.stop)
            self._phase = f"starting node {index}"
            await asyncio.to_thread(node.start)
            await self._until(self._all_connected, "everybody is back")

    def _all_connected(self) -> bool:
        return all(rider.connected for rider in self._riders)

    async def _settle(self, last: int) -> None:
        """Wait for what is under way; what does not come is missing."""

        def done() -> bool:
            return all(
                rider.last == last and rider.acked == rider.made
                for rider in self._riders
            )

        with suppress(TimeoutError):
            await self._until(done, "all is acknowledged and heard")
        self.result.behind = sum(rider.last != last for rider in self._riders)
        self.result.left_over = sum(one.made - one.acked for one in self._riders)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.plan.patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {self.plan.patience_s:g} s: {what}")
            await asyncio.sleep(0.05)

    async def _tell(self) -> None:
        while True:
            if self._report is not None:
                connected = sum(rider.connected for rider in self._riders)
                self._report(self._phase, self.result, connected)
            await asyncio.sleep(0.5)

    # -- what came of it -----------------------------------------------------------

    def _count(self) -> int:
        """Add up what the ledger has counted."""
        cells = httpx.get(
            f"{self._nodes[0].url}/v1/counters/likes/cells",
            params={"window": "total"},
            headers={"Authorization": f"Bearer {_token()}"},
        )
        return sum(cell["value"] for cell in cells.raise_for_status().json()["cells"])

    def _read_logs(self) -> None:
        for node in self._nodes:
            lines = [orjson.loads(line) for line in node.log.splitlines()]
            opened = [
                datetime.fromisoformat(line["timestamp"]).timestamp()
                for line in lines
                if line["event"] == "connection_opened"
            ]
            self.result.connects.append(most_in_a_second(opened))
            self.result.drains += [
                line for line in lines if line["event"] == "drain_ended"
            ]
            self.result.defects += [
                line["event"] for line in lines if line["level"] == "error"
            ]


class Publisher:
    """
    Publishes 1, 2, 3 ... on each of *channels*, over one connection at a time.

    A round is repeated, with the same idempotency keys, until all of it is answered.
    """

    def __init__(self, channels: list[str], port: int, period_s: float) -> None:
        self.made = 0  # rounds
        self.enough = False
        self._channels = channels
        self._port = port
        self._period_s = period_s
        self._waiting: set[int] = set()
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Publish until that is enough."""
        socket: LeanSocket | None = None
        while not self.enough:
            number = self.made + 1
            self._waiting = set(range(len(self._channels)))
            while self._waiting:
                if socket is None or socket.ended.done():
                    socket = await self._connect()
                if socket is not None:
                    await self._publish(socket, number)
            self.made = number
            await asyncio.sleep(self._period_s)
        if socket is not None:
            socket.cut()
            await socket.ended

    async def _connect(self) -> LeanSocket | None:
        socket = LeanSocket(self._hear)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: socket, HOST, self._port
            )
        except OSError:
            await asyncio.sleep(0.1)
            return None
        socket.say({"type": "hello", "token": _token()})
        return socket

    async def _publish(self, socket: LeanSocket, number: int) -> None:
        """Send what is not answered yet, and wait for the answers or the end."""
        self._answered.clear()
        for index in sorted(self._waiting):
            channel = self._channels[index]
            socket.say(
                {
                    "type": "publish",
                    "id": index,
                    "channel": channel,
                    "data": number,
                    "idempotency_key": f"{channel}-{number}",
                }
            )
        answered = asyncio.create_task(self._answered.wait())
        await asyncio.wait(
            [answered, socket.ended], timeout=5, return_when=asyncio.FIRST_COMPLETED
        )
        answered.cancel()
        if self._waiting:
            await asyncio.sleep(0.1)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "published":
            self._waiting.discard(message["id"])
            if not self._waiting:
                self._answered.set()


def most_in_a_second(times: list[float]) -> int:
    """Return how many of these instants lie within the fullest second there is."""
    times = sorted(times)
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def _token() -> str:
    now = int(time.time())
    return token(sub="publisher", iat=now, exp=now + 3_600)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
