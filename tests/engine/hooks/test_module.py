"""The thread of the developer's functions, and what happens when it is stuck."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.engine.hooks import Function, HookFunctions, ModuleAsker
from realtime.engine.hooks import module as module_room
from realtime.engine.hooks.daemons import DaemonThreads
from realtime.engine.hooks.thread import HookThread
from realtime.errors import ConfigError
from realtime.hooks import Point
from realtime.testing.clock import ManualClock, settle
from tests.engine.hooks.support import until

pytestmark = pytest.mark.anyio

ASKED = Point.ON_PUBLISH


@asynccontextmanager
async def asking(
    hook: Callable[..., Any], **life: Callable[..., Any]
) -> AsyncIterator[tuple[ModuleAsker, ManualClock]]:
    """A module with this one hook."""
    clock = ManualClock()
    functions = HookFunctions(
        "myapp.hooks",
        {ASKED: Function.of(hook)},
        **{name: Function.of(function) for name, function in life.items()},
    )
    asker = ModuleAsker(functions, clock)
    await asker.start()
    try:
        yield asker, clock
    finally:
        await asker.aclose()


async def test_hooks_run_in_a_thread_of_their_own() -> None:
    """Coroutine functions on one loop; others in threads, many at once."""

    async def slow(request: object) -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    async with asking(slow) as (asker, _):
        assert await asker.begin(ASKED, 1) == ("realtime-hooks", None)

    barrier = threading.Barrier(4)

    def blocking(request: object) -> str:
        barrier.wait(20)  # all four are here at the same time
        return threading.current_thread().name

    async with asking(blocking) as (asker, _):
        names = await asyncio.gather(*(asker.begin(ASKED, n) for n in range(4)))
        assert len({name for name, _ in names}) == 4


async def test_whatever_a_hook_raises_ends_nothing() -> None:
    """Also what would end a loop or a thread elsewhere."""

    async def fails(kind: type[BaseException]) -> None:
        raise kind

    def fails_too(kind: type[BaseException]) -> None:
        raise kind

    kinds = (ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
    for hook in (fails, fails_too):
        async with asking(hook) as (asker, _):
            for kind in (*kinds, StopIteration, GeneratorExit):
                _, problem = await asker.begin(ASKED, kind)
                assert problem is not None
                assert isinstance(problem, kind | RuntimeError)


async def test_a_function_may_return_something_to_await() -> None:
    """As a partial or a decorated coroutine function does."""

    async def inner(request: object) -> object:
        return request

    async with asking(lambda request: inner(request)) as (asker, _):
        assert await asker.begin(ASKED, 7) == (7, None)


async def test_a_call_that_is_given_up_is_cancelled_there() -> None:
    """The hook may clean up."""
    begun, ended = threading.Event(), threading.Event()

    async def hangs(request: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asking(hangs) as (asker, _):
        asked = asker.begin(ASKED, 1)
        await until(begun.is_set)
        asked.cancel()
        await until(ended.is_set)


async def test_life_frames_all_calls() -> None:
    """on_start has ended before the first call, on_stop comes after the last."""
    told: list[str] = []

    async def on_start() -> None:
        await asyncio.sleep(0.01)
        told.append("start")

    async def hook(request: object) -> None:
        told.append("call")

    def on_stop() -> None:
        told.append("stop")

    async with asking(hook, on_start=on_start, on_stop=on_stop) as (asker, _):
        await asker.begin(ASKED, 1)
    assert told == ["start", "call", "stop"]


async def test_a_start_that_fails_stops_the_server() -> None:
    """Before anything is asked."""

    async def on_start() -> None:
        raise OSError("the database is away")

    async def hook(request: object) -> None: ...

    with pytest.raises(ConfigError, match="on_start failed: OSError: the database"):
        async with asking(hook, on_start=on_start):
            raise AssertionError("never")


async def test_a_thread_that_is_stuck_is_replaced_once() -> None:
    """And again when it has come back; the server's loop never waits for it."""
    begun, release = threading.Event(), threading.Event()
    starts: list[str] = []

    async def blocks(request: object) -> object:
        if request == "block":
            begun.set()
            release.wait(60)
        return request

    async def on_start() -> None:
        starts.append(threading.current_thread().name)

    async with asking(blocks, on_start=on_start) as (asker, clock):
        with capture_logs() as logs:
            await block(asker, begun)
            await clock.elapse(module_room.STUCK_S)
            assert await asker.begin(ASKED, "again") == ("again", None)
            await block(asker, begun)  # the second one, too
            await clock.elapse(module_room.STUCK_S)
            unheard = asker.begin(ASKED, "nobody is left")
            await settle()
            assert not unheard.done()
        told = [line["replaced"] for line in logs if line["event"] == "hooks_stuck"]
        assert told == [True, False]
        assert len(starts) == 2
        release.set()
        assert await unheard == ("nobody is left", None)
        await until(lambda: not asker._stuck)


async def block(asker: ModuleAsker, begun: threading.Event) -> None:
    """Ask what blocks the thread, and give it up."""
    begun.clear()
    asked = asker.begin(ASKED, "block")
    await until(begun.is_set)
    asked.cancel()
    asker.timed_out()


async def test_a_thread_that_reacts_is_not_replaced() -> None:
    """A hook that merely waits too long for something is no reason."""

    async def waits(request: object) -> None:
        await asyncio.sleep(60)

    async with asking(waits) as (asker, clock):
        thread = asker._thread
        asked = asker.begin(ASKED, 1)
        asked.cancel()
        asker.timed_out()
        reaction = asker._reaction
        assert reaction is not None
        await reaction
        await clock.elapse(module_room.STUCK_S)
        assert asker._thread is thread


async def test_closing_does_not_wait_for_a_thread_that_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is left behind after a while."""
    monkeypatch.setattr(module_room, "STOP_S", 0.2)
    begun, release = threading.Event(), threading.Event()

    async def blocks(request: object) -> None:
        begun.set()
        release.wait(60)

    started = time.monotonic()
    with capture_logs() as logs:
        async with asking(blocks) as (asker, _):
            asker.begin(ASKED, 1)
            await until(begun.is_set)
    assert time.monotonic() - started < 10
    assert "hooks_left_behind" in [line["event"] for line in logs]
    release.set()


async def test_after_the_end_nothing_is_asked() -> None:
    """The answer is a failure, at once."""

    async def hook(request: object) -> None: ...

    async with asking(hook) as (asker, _):
        pass
    _, problem = await asker.begin(ASKED, 1)
    assert "shutting down" in str(problem)


async def test_what_a_hook_leaves_running_is_cancelled_at_the_end() -> None:
    """Tasks of its own, after on_stop."""
    ended: list[str] = []

    async def on_start() -> None:
        hold.append(asyncio.create_task(works()))

    async def works() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    async def on_stop() -> None:
        ended.append("stop")

    async def hook(request: object) -> None: ...

    hold: list[asyncio.Task[None]] = []
    async with asking(hook, on_start=on_start, on_stop=on_stop) as (asker, _):
        await asker.begin(ASKED, 1)
    assert ended == ["stop", "task"]


async def test_threads_of_blocking_hooks_do_not_hold_the_process() -> None:
    """They are daemons, as many as are needed and no more than allowed."""
    pool = DaemonThreads(2, "test")
    release = threading.Event()
    held = [pool.submit(release.wait, 60) for _ in range(3)]
    await until(lambda: len(pool._made) == 2)
    assert all(thread.daemon for thread in pool._made)
    assert not held[2].running()
    release.set()
    assert [await asyncio.wrap_future(future) for future in held] == [True] * 3
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(print)
    for thread in pool._made:
        thread.join(20)
        assert not thread.is_alive()


async def test_an_idle_thread_is_used_again() -> None:
    """One call after another needs one thread."""
    pool = DaemonThreads(8, "test")
    for _ in range(20):
        await asyncio.wrap_future(pool.submit(int))
        await until(lambda: pool._idle._value == 1)
    assert len(pool._made) == 1
    pool.shutdown()


async def test_a_stopped_thread_says_so() -> None:
    """And lets nothing of it be waited for."""
    thread = HookThread(None, None)
    thread.stop()
    assert await thread.ended == (None, None)
    thread.stop()
