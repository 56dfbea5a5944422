"""Sending rows: numbers, lanes, repetition, resuming, pace; to a server made up."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from realtime.cli.remote import RemoteError
from realtime.cli.replay import sender
from realtime.cli.replay.plan import Plan, Speed
from realtime.cli.replay.progress import Progress
from realtime.cli.replay.rows import open_rows
from realtime.cli.replay.sender import replay

pytestmark = pytest.mark.anyio

Fault = Callable[[dict[str, Any]], httpx.Response | None]


class Server:
    """Counts numbered events as the real one does; *fault* may answer in its place."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.requests = 0
        self.largest = 0
        self._fault = fault

    @property
    def count(self) -> int:
        """How many events are counted."""
        return sum(map(len, self.events.values()))

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.method == "GET":
            device = request.url.path.rpartition("/")[2]
            acked = len(self.events.get(device, ()))
            return httpx.Response(200, json={"device": device, "acked": acked})
        self.requests += 1
        body = orjson.loads(request.content)
        refused = self._fault(body) if self._fault is not None else None
        return refused or self._count(body)

    def _count(self, body: dict[str, Any]) -> httpx.Response:
        known = self.events.setdefault(body["device"], [])
        skip = len(known) + 1 - body["first"]
        if skip < 0:
            return refusal(409, "gap", expected=len(known) + 1)
        self.largest = max(self.largest, len(body["events"]))
        known += body["events"][skip:]
        rejected = [
            {"seq": body["first"] + place, "name": "bad_event_name", "reason": "none"}
            for place, event in enumerate(body["events"])
            if not event["name"]
        ]
        return httpx.Response(200, json={"acked": len(known), "rejected": rejected})


def refusal(status: int, name: str, **more: Any) -> httpx.Response:
    """An error as the server answers it."""
    error = {"name": name, "reason": "because", **more}
    return httpx.Response(status, json={"error": error}, headers={"Retry-After": "0"})


def write_rows(folder: Path, count: int = 100) -> Path:
    """Write a file of so many rows, a second between each and the next."""
    path = folder / "rows.csv"
    lines = [f"{1_700_000_000 + n},like,user-{n % 7},{n}" for n in range(count)]
    path.write_text("\n".join(["at,kind,who,number", *lines]) + "\n")
    return path


async def run(path: Path, server: Server, **changed: Any) -> Progress:
    """Replay a file once; return what became of its rows."""
    given: dict[str, Any] = {
        "file": path,
        "event": "kind",
        "name": None,
        "time": None,
        "user": None,
        "properties": None,
        "speed": Speed(None),
        "keep_time": False,
        "limit": None,
        "lanes": 4,
        "batch": 10,
        "again": "",
    }
    plan = Plan.of(argparse.Namespace(**{**given, **changed}))
    transport = httpx.MockTransport(server.answer)
    with open_rows(path) as rows:
        progress = Progress(path.name, rows)
        async with httpx.AsyncClient(
            base_url="http://s", transport=transport
        ) as client:
            await replay(client, plan, rows, progress)
    return progress


def numbers(server: Server) -> list[int]:
    """Which rows were counted, in order of the rows."""
    events = [event for lane in server.events.values() for event in lane]
    return sorted(event["properties"]["number"] for event in events)


async def test_every_row_is_counted_once(tmp_path: Path) -> None:
    """By four devices, in batches of at most ten."""
    server = Server()
    progress = await run(write_rows(tmp_path), server)

    assert numbers(server) == list(range(100))
    assert (len(server.events), server.largest) == (4, 10)
    assert (progress.counted, progress.skipped, progress.rejected) == (100, 0, 0)


async def test_each_lane_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    """A user's rows are in one lane, so their order is kept, too."""
    server = Server()
    await run(write_rows(tmp_path), server, user="who")

    for events in server.events.values():
        order = [event["properties"]["number"] for event in events]
        assert order == sorted(order)
    users = [{event["user"] for event in lane} for lane in server.events.values()]
    assert sum(map(len, users)) == 7


async def test_run_again_it_adds_nothing(tmp_path: Path) -> None:
    """What the server has is skipped, and said to be."""
    server, path = Server(), write_rows(tmp_path)
    await run(path, server)
    requests = server.requests
    progress = await run(path, server)

    assert (server.count, server.requests) == (100, requests)
    assert (progress.counted, progress.skipped) == (0, 100)
    assert "skipped 100 that were counted before" in progress.summary()


async def test_interrupted_it_goes_on(tmp_path: Path) -> None:
    """Where the server says that each lane has stopped."""
    refuse = iter([False] * 4 + [True])

    def fault(body: dict[str, Any]) -> httpx.Response | None:
        return refusal(403, "device_taken") if next(refuse, False) else None

    server, path = Server(fault), write_rows(tmp_path)
    with pytest.raises(RemoteError, match="device_taken"):
        await run(path, server)
    done = server.count
    progress = await run(path, server)

    assert 0 < done < 100
    assert numbers(server) == list(range(100))
    assert (progress.skipped, progress.counted) == (done, 100 - done)


async def test_another_label_counts_once_more(tmp_path: Path) -> None:
    """On purpose."""
    server, path = Server(), write_rows(tmp_path)
    await run(path, server)
    await run(path, server, again="twice")

    assert server.count == 200


async def test_a_limit_ends_the_file_early_and_can_be_raised(tmp_path: Path) -> None:
    """The rows after it have numbers of their own."""
    server, path = Server(), write_rows(tmp_path)
    await run(path, server, limit=30)
    first = server.count
    await run(path, server)

    assert (first, numbers(server)) == (30, list(range(100)))


async def test_a_busy_server_is_asked_again(
    tmp_path: Path, delays: list[float]
) -> None:
    """With the same numbers, after the delay that it names, and longer each time."""
    busy = iter([429, 503, 503])

    def fault(body: dict[str, Any]) -> httpx.Response | None:
        status = next(busy, None)
        return None if status is None else refusal(status, "busy")

    server = Server(fault)
    progress = await run(write_rows(tmp_path), server, lanes=1, batch=100)

    assert (server.count, progress.retries) == (100, 3)
    assert delays == sorted(delays)
    assert len(delays) == 3


async def test_a_batch_whose_answer_is_lost_is_not_counted_twice(
    tmp_path: Path, delays: list[float]
) -> None:
    """The server counted it, and died before it could say so."""
    lose = iter([True])
    server = Server()

    def fault(body: dict[str, Any]) -> httpx.Response | None:
        if next(lose, False):
            server._count(body)
            raise httpx.ReadError("lost")
        return None

    server._fault = fault
    await run(write_rows(tmp_path), server)

    assert numbers(server) == list(range(100))
    assert len(delays) == 1


async def test_a_batch_that_is_too_large_is_halved(tmp_path: Path) -> None:
    """Rows differ in size; the numbers stay what they were."""

    def fault(body: dict[str, Any]) -> httpx.Response | None:
        large = len(body["events"]) > 6
        return refusal(413, "body_too_large") if large else None

    server = Server(fault)
    progress = await run(write_rows(tmp_path), server, lanes=1, batch=50)

    assert (progress.counted, server.largest) == (100, 6)
    assert numbers(server) == list(range(100))


async def test_a_server_that_has_forgotten_is_told_apart(tmp_path: Path) -> None:
    """Its mark is behind what it has acknowledged: what to do is said."""

    def fault(body: dict[str, Any]) -> httpx.Response | None:
        forgotten = body["first"] > 20
        return refusal(409, "gap", expected=1) if forgotten else None

    with pytest.raises(RemoteError, match="run this again"):
        await run(write_rows(tmp_path), Server(fault), lanes=1)


async def test_rejected_rows_are_counted_by_reason(tmp_path: Path) -> None:
    """The others are not held up."""
    path = tmp_path / "rows.csv"
    path.write_text("kind,number\nlike,1\n,2\nlike,3\n,4\n")
    progress = await run(path, Server())

    assert (progress.counted, progress.rejected) == (2, 2)
    assert "2 x bad_event_name: none" in progress.summary()


async def test_the_times_of_the_file_are_kept_if_wanted(tmp_path: Path) -> None:
    """Otherwise events are dated when they arrive."""
    kept, dated = Server(), Server()
    path = write_rows(tmp_path, 10)
    await run(path, kept, time="at", keep_time=True, lanes=1)
    await run(path, dated, time="at", lanes=1)

    [events] = kept.events.values()
    assert [event["at"] - 1_700_000_000 for event in events] == list(range(10))
    [events] = dated.events.values()
    assert not any("at" in event for event in events)


async def test_a_speed_paces_the_rows(tmp_path: Path, delays: list[float]) -> None:
    """At a hundredth of the speed, a second of the file takes a hundred."""
    server = Server()
    await run(write_rows(tmp_path, 11), server, time="at", speed=Speed(0.01), lanes=1)

    [events] = server.events.values()
    gaps = [later["at"] - event["at"] for event, later in pairwise(events)]
    assert gaps == pytest.approx([100.0] * 10, abs=1e-3)
    assert 900 < max(delays) <= 1000


async def test_rows_that_are_skipped_are_not_waited_for(
    tmp_path: Path, delays: list[float]
) -> None:
    """Going on with a slow replay does not begin with the time it has taken."""
    server, path = Server(), write_rows(tmp_path, 20)
    await run(path, server, time="at", limit=10, lanes=1)
    delays.clear()
    await run(path, server, time="at", speed=Speed(1.0), lanes=1)

    assert numbers(server) == list(range(20))
    assert max(delays) <= 9.0


async def test_a_row_without_a_time_is_named(tmp_path: Path) -> None:
    """When a time is needed."""
    path = tmp_path / "rows.csv"
    path.write_text("kind,at\nlike,never\n")
    with pytest.raises(RemoteError, match="at: 'never' is no time"):
        await run(path, Server(), time="at", keep_time=True)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep what would be slept, and do not sleep."""
    kept: list[float] = []
    sleep = sender.asyncio.sleep

    async def note(delay_s: float) -> None:
        if delay_s:
            kept.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(sender.asyncio, "sleep", note)
    return kept
