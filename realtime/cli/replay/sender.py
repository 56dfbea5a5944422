"""Sending: rows are read once, paced, dealt to lanes, and each lane keeps its order."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from realtime.cli.remote import RemoteError, ask
from realtime.cli.replay.plan import Plan
from realtime.cli.replay.progress import Progress
from realtime.cli.replay.rows import Rows

QUEUE_BATCHES = 2  # batches that may wait in a lane while one is on its way
LONGEST_WAIT_S = 10.0
GIVE_UP_S = 120.0  # without any success

TOO_LARGE = 413
FORGOTTEN = (
    "the server has forgotten what it had counted: it was restarted without Redis, or "
    "another replay of the same file is under way; run this again"
)


class Lane:
    """One device: numbers its rows, and sends them in batches of what is there."""

    def __init__(
        self, client: httpx.AsyncClient, plan: Plan, index: int, progress: Progress
    ) -> None:
        self._client = client
        self._plan = plan
        self._device = plan.device(index)
        self._progress = progress
        self._queue: asyncio.Queue[dict[str, object] | None] = asyncio.Queue(
            plan.batch * QUEUE_BATCHES
        )
        self._seen = 0
        self._acked = 0

    async def open(self) -> None:
        """Ask how far an earlier run has come."""
        answer = await self._patiently("GET", f"/v1/devices/{self._device}", None)
        self._acked = answer["acked"]

    def skips(self) -> bool:
        """Whether an earlier run has sent the next row of this lane."""
        self._seen += 1
        if self._seen > self._acked:
            return False
        self._progress.skip()
        return True

    async def put(self, event: dict[str, object]) -> None:
        """Take the next row."""
        await self._queue.put(event)

    async def end(self) -> None:
        """Say that no rows follow."""
        await self._queue.put(None)

    async def run(self) -> None:
        """Send until the end."""
        first = self._acked + 1
        more = True
        while more:
            batch, more = await self._next_batch()
            if not batch:
                return
            await self._send(first, batch)
            first += len(batch)

    async def _send(self, first: int, batch: list[dict[str, object]]) -> None:
        body = {"device": self._device, "first": first, "events": batch}
        try:
            answer = await self._patiently("POST", "/v1/events", body)
        except RemoteError as exc:
            if exc.expected is not None:
                raise RemoteError(FORGOTTEN, exc.status, exc.expected) from exc
            if exc.status != TOO_LARGE or len(batch) == 1:
                raise
            half = len(batch) // 2
            await self._send(first, batch[:half])
            await self._send(first + half, batch[half:])
            return
        reasons = [f"{r['name']}: {r['reason']}" for r in answer["rejected"]]
        self._progress.count(len(batch) - len(reasons), reasons)

    async def _next_batch(self) -> tuple[list[dict[str, object]], bool]:
        event = await self._queue.get()
        batch: list[dict[str, object]] = []
        while event is not None:
            batch.append(event)
            if len(batch) == self._plan.batch or self._queue.empty():
                return batch, True
            event = self._queue.get_nowait()
        return batch, False

    async def _patiently(self, method: str, path: str, body: object) -> Any:
        """Repeat a request while the server is busy or away: the numbers protect it."""
        deadline = time.monotonic() + GIVE_UP_S
        delay_s = 0.0
        while True:
            try:
                return await ask(self._client, method, path, body)
            except RemoteError as exc:
                if exc.retry_after_s is None or time.monotonic() > deadline:
                    raise
                delay_s = min(max(delay_s * 2, exc.retry_after_s), LONGEST_WAIT_S)
                self._progress.retries += 1
                await asyncio.sleep(delay_s)


class Pace:
    """When each row is due, and what its event's time is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._began_at = time.time()
        self._origin: float | None = None

    async def date(self, row: Any) -> float | None:
        """Wait until *row* is due; return its time, None for when it arrives."""
        plan = self._plan
        if plan.time is None:
            return None
        moment = plan.moment(row)
        factor = plan.speed.factor
        if factor is None:
            return moment if plan.keep_time else None
        if self._origin is None:
            self._origin = moment
        due_s = (moment - self._origin) / factor
        await asyncio.sleep(max(due_s - (time.monotonic() - self._began), 0))
        return moment if plan.keep_time else self._began_at + due_s


async def replay(
    client: httpx.AsyncClient, plan: Plan, rows: Rows, progress: Progress
) -> None:
    """
    Send all rows and wait until they are counted.

    Raises:
        RemoteError: If the server refuses, or stays away for two minutes.
    """
    plan.check(rows.columns)
    lanes = [Lane(client, plan, index, progress) for index in range(plan.lanes)]
    await asyncio.gather(*(lane.open() for lane in lanes))
    try:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane.run())
            group.create_task(_deal(plan, rows, lanes))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _deal(plan: Plan, rows: Rows, lanes: list[Lane]) -> None:
    pace = Pace(plan)
    for number, row in enumerate(rows):
        if plan.limit is not None and number >= plan.limit:
            break
        lane = lanes[plan.lane(row, number)]
        if not lane.skips():
            at = await pace.date(row)
            await lane.put(plan.encode(row, at))
    for lane in lanes:
        await lane.end()
