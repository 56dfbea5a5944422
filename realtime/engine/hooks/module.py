"""
The developer's module, asked in a thread; what to do when the thread is stuck.

A coroutine function that blocks (``time.sleep``) blocks its loop and so all others. The
thread cannot be killed. If it does not react, it is left alone and another one takes
its place; should that be stuck too, nothing more can be done until one of them comes
back: threads are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set
from functools import partial

import structlog

from realtime.clock import Clock
from realtime.core.hook_answers import HookFailed
from realtime.engine.hooks.asker import Outcome
from realtime.engine.hooks.functions import Function, HookFunctions
from realtime.engine.hooks.thread import HookThread
from realtime.engine.hooks.traces import own_code
from realtime.errors import ConfigError
from realtime.hooks import Point

log = structlog.get_logger(__name__)

START_S = 30.0
"""For ``on_start``, which may connect to something slow."""

STOP_S = 3.0
"""For ``on_stop`` and for what is under way."""

STUCK_S = 1.0
"""A thread that does not react for so long, after a call has timed out, is stuck."""

MAX_STUCK = 1
"""So many threads are left alone at most."""


class ModuleAsker:
    """
    Runs the hooks of a module. You must ``start`` it before use, ``aclose`` it after.
    """

    def __init__(self, functions: HookFunctions, clock: Clock) -> None:
        self._functions = functions
        self._clock = clock
        self._thread: HookThread | None = None
        self._stuck: set[HookThread] = set()
        self._reaction: asyncio.Future[Outcome] | None = None

    @property
    def points(self) -> Set[Point]:
        """The functions that the module has."""
        return self._functions.points.keys()

    @property
    def place(self) -> str:
        """The module's name."""
        return self._functions.module

    async def start(self) -> None:
        """
        Start the thread, and in it ``on_start``.

        Raises:
            ConfigError: If that raises something, or takes too long.
        """
        self._thread = self._new_thread()
        await asyncio.wait([self._thread.started], timeout=START_S)
        if not self._thread.started.done():
            raise ConfigError(
                "hooks.module", f"on_start has not returned within {START_S:.0f} s"
            )
        _, problem = self._thread.started.result()
        if problem is not None:
            _tell_problem(self._thread.started)
            said = f"{type(problem).__name__}: {problem}"
            raise ConfigError("hooks.module", f"on_start failed: {said}") from problem

    def begin(self, point: Point, request: object) -> asyncio.Future[Outcome]:
        """Call the function of *point*."""
        if self._thread is None:
            stopped: asyncio.Future[Outcome] = asyncio.Future()
            stopped.set_result((None, HookFailed("the server is shutting down")))
            return stopped
        return self._thread.call(self._functions.points[point], request)

    def timed_out(self) -> None:
        """Find out whether the thread still reacts."""
        thread = self._thread
        if thread is None or self._reaction is not None:
            return
        self._reaction = thread.call(Function(_react, self._functions.block))
        self._clock.call_later(STUCK_S, partial(self._judge, thread, self._reaction))

    async def aclose(self) -> None:
        """Stop the thread; one that is stuck is left behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            await asyncio.wait([thread.ended], timeout=STOP_S)
            if not thread.ended.done():
                log.warning("hooks_left_behind", module=self.place)

    def _new_thread(self) -> HookThread:
        thread = HookThread(self._functions.on_start, self._functions.on_stop)
        thread.ended.add_done_callback(lambda _: self._stuck.discard(thread))
        return thread

    def _judge(self, thread: HookThread, reaction: asyncio.Future[Outcome]) -> None:
        self._reaction = None
        if reaction.done() or thread is not self._thread:
            return
        reaction.cancel()
        if len(self._stuck) >= MAX_STUCK:
            log.error("hooks_stuck", module=self.place, replaced=False)
            return
        log.error("hooks_stuck", module=self.place, replaced=True)
        self._stuck.add(thread)
        thread.stop()
        self._thread = self._new_thread()
        self._thread.started.add_done_callback(_tell_problem)


def _react() -> None:
    """Do nothing, in the thread."""


def _tell_problem(started: asyncio.Future[Outcome]) -> None:
    if not started.cancelled() and (problem := started.result()[1]) is not None:
        log.error("hook_failed", point="on_start", exc_info=own_code(problem))
