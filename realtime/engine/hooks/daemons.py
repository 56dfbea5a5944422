"""
Threads for calls that block, which never keep the process from ending.

The threads of the standard library's executor are joined when Python exits: one call
that never returns would make a shutdown hang. These are left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

Job = Callable[[], None]


class DaemonThreads(ThreadPoolExecutor):
    """
    At most *most* threads, made when they are needed; what finds none free waits.

    It derives from ``ThreadPoolExecutor`` because asyncio takes no other one as a
    loop's default, and has nothing of it but the name.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(max_workers=1)
        self._most = most
        self._name = name
        self._made: list[threading.Thread] = []
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._guard = threading.Lock()
        self._ended = False

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """
        Call *fn* in one of the threads.

        Raises:
            RuntimeError: After ``shutdown``.
        """
        future: Future[T] = Future()
        with self._guard:
            if self._ended:
                raise RuntimeError("no further calls: the threads are shut down")
            self._jobs.put(partial(_work, future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._made) < self._most:
                name = f"{self._name}-{len(self._made) + 1}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._made.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end, each after what it is doing. Never waits."""
        with self._guard:
            if not self._ended:
                self._ended = True
                for _ in self._made:
                    self._jobs.put(None)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                self._idle.release()
                job = self._jobs.get()
            if job is None:
                return
            job()


def _work(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:  # also SystemExit: the thread is not the hook's to end
        future.set_exception(exc)
    else:
        future.set_result(result)
