"""
The thread in which a developer's functions run, with an event loop of its own.

Laws: the server's loop never waits for this thread, whatever runs in it; what runs in
it can end neither the thread nor the process; a thread that never comes back is left
behind, not joined.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import Any

import structlog

from realtime.engine.hooks.asker import Outcome
from realtime.engine.hooks.daemons import DaemonThreads
from realtime.engine.hooks.functions import Function

log = structlog.get_logger(__name__)

MAX_THREADS = 32
"""For functions that are no coroutines: so many of them run at once."""


class HookThread:
    """
    One such thread. All methods are called from the server's loop and return at once.

    Before any call, *first* is called, and after the last one *last*.
    """

    def __init__(self, first: Function | None, last: Function | None) -> None:
        self._first = first
        self._last = last
        self._server = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._pool = DaemonThreads(MAX_THREADS, "realtime-hook")
        self._loop.set_default_executor(self._pool)
        self._calls: set[asyncio.Task[None]] = set()
        self._ready = asyncio.Event()  # these two are of the thread's loop
        self._stopping = asyncio.Event()
        self.started: asyncio.Future[Outcome] = self._server.create_future()
        self.ended: asyncio.Future[Outcome] = self._server.create_future()
        threading.Thread(target=self._run, name="realtime-hooks", daemon=True).start()

    # -- the server's side ---------------------------------------------------------

    def call(self, function: Function, *arguments: object) -> asyncio.Future[Outcome]:
        """
        Begin a call. The future is of the server's loop; cancelling it cancels the
        call, as far as what runs there can be cancelled.
        """
        future: asyncio.Future[Outcome] = self._server.create_future()
        begun: list[asyncio.Task[None]] = []
        self._post(self._begin, function, arguments, future, begun)
        future.add_done_callback(partial(self._call_off, begun))
        return future

    def stop(self) -> None:
        """Cancel what runs and end, when what blocks lets it. ``ended`` is set then."""
        self._post(self._stopping.set)

    def _call_off(
        self, begun: list[asyncio.Task[None]], future: asyncio.Future[Outcome]
    ) -> None:
        if future.cancelled():
            self._post(_cancel, begun)

    def _post(self, callback: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the thread has ended
            self._loop.call_soon_threadsafe(callback, *arguments)

    # -- the thread's side ---------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._live())
        finally:
            self._pool.shutdown()
            self._loop.close()
            self._settle(self.ended, (None, None))

    async def _live(self) -> None:
        self._settle(self.started, await _outcome(self._first, ()))
        self._ready.set()
        await self._stopping.wait()
        await _end(self._calls)
        _, problem = await _outcome(self._last, ())
        if problem is not None:
            log.error("hook_failed", point="on_stop", exc_info=problem)
        await _end(asyncio.all_tasks() - {asyncio.current_task()})
        await self._loop.shutdown_asyncgens()

    def _begin(
        self,
        function: Function,
        arguments: tuple[object, ...],
        future: asyncio.Future[Outcome],
        begun: list[asyncio.Task[None]],
    ) -> None:
        call = self._call(function, arguments, future)
        task = self._loop.create_task(call)
        begun.append(task)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(
        self,
        function: Function,
        arguments: tuple[object, ...],
        future: asyncio.Future[Outcome],
    ) -> None:
        await self._ready.wait()
        self._settle(future, await _outcome(function, arguments))

    def _settle(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        def settle() -> None:
            if not future.done():
                future.set_result(outcome)

        with suppress(RuntimeError):  # the server's loop is closed: nobody waits
            self._server.call_soon_threadsafe(settle)


async def _outcome(function: Function | None, arguments: tuple[object, ...]) -> Outcome:
    """
    Call *function*, if there is one; nothing that it raises leaves this.

    What raises SystemExit would otherwise end the thread's loop.
    """
    if function is None:
        return None, None
    try:
        if function.blocks:
            loop = asyncio.get_running_loop()
            call = partial(_caught, function.call, arguments)
            result, problem = await loop.run_in_executor(None, call)
        else:
            result, problem = function.call(*arguments), None
        if isawaitable(result):
            result = await result
    except BaseException as exc:
        return None, exc
    return result, problem


def _caught(call: Callable[..., Any], arguments: tuple[object, ...]) -> tuple[Any, Any]:
    """Call; asyncio cannot carry every exception from a thread (StopIteration)."""
    try:
        return call(*arguments), None
    except BaseException as exc:
        return None, exc


def _cancel(begun: list[asyncio.Task[None]]) -> None:
    for task in begun:
        task.cancel()


async def _end(tasks: set[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
