"""
Who in this process needs a thing that must be fetched from outside, such as a channel
of the broker: started for the first, stopped after the last, never both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from realtime.engine.tasks import Tasks, finished

K = TypeVar("K", bound=Hashable)


class _Need:
    """
    One key: how many need it, whether it runs, and the task that reconciles the two.
    """

    __slots__ = ("count", "running", "settled", "task")

    def __init__(self) -> None:
        self.count = 0
        self.running = False
        self.settled: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None


class Interest(Generic[K]):
    """
    Reference counts whose first and last holder start and stop something slow.

    Or something *immediate*: then starting and stopping must not wait, and are done at
    once.

    A start or a stop in flight is waited for before the opposite begins, so that a
    late stop can never undo a newer start.
    """

    def __init__(
        self,
        start: Callable[[K], Coroutine[Any, Any, None]],
        stop: Callable[[K], Coroutine[Any, Any, None]],
        tasks: Tasks,
        immediate: bool = False,
    ) -> None:
        self._start = start
        self._stop = stop
        self._tasks = tasks
        self._immediate = immediate
        self._needs: dict[K, _Need] = {}

    def __len__(self) -> int:
        return len(self._needs)

    async def acquire(self, key: K) -> None:
        """
        Count one more holder; return once the thing runs.

        Every acquire that returned must be released once. One that raised must not;
        the error is the start's own. Cancelling gives the hold back.
        """
        if self.try_acquire(key):
            return
        need = self._needs.get(key)
        if need is None:
            need = self._needs[key] = _Need()
        need.count += 1
        try:
            await asyncio.shield(self._reconcile(key, need))
        except BaseException:
            self._drop(key, need)
            raise

    def try_acquire(self, key: K) -> bool:
        """Do ``acquire`` if nothing must be waited for; say whether it was done."""
        need = self._needs.get(key)
        if need is None and self._immediate:
            finished(self._start(key))
            need = self._needs[key] = _Need()
            need.running = True
        if need is None or not need.running or need.task is not None:
            return False
        need.count += 1
        return True

    def release(self, key: K) -> None:
        """Count one holder less; after the last, stop the thing in the background."""
        self._drop(key, self._needs[key])

    def _drop(self, key: K, need: _Need) -> None:
        need.count -= 1
        if need.count:
            return
        if self._immediate:
            del self._needs[key]
            finished(self._stop(key))
        elif need.running or need.task is not None:
            self._reconcile(key, need)
        else:
            self._needs.pop(key, None)

    def _reconcile(self, key: K, need: _Need) -> asyncio.Future[None]:
        if need.settled is None:
            need.settled = asyncio.get_running_loop().create_future()
            # Nobody may be waiting any more when a start fails: that is no error of
            # ours.
            need.settled.add_done_callback(lambda f: f.cancelled() or f.exception())
            need.task = self._tasks.spawn(self._converge(key, need))
        return need.settled

    async def _converge(self, key: K, need: _Need) -> None:
        """
        Start and stop until what runs is what is needed; then tell those who wait.
        """
        settled = need.settled
        assert settled is not None
        error: BaseException | None = None
        try:
            while need.running != (need.count > 0):
                await (self._stop(key) if need.running else self._start(key))
                need.running = not need.running
        except asyncio.CancelledError as exc:
            error = exc
            raise
        except Exception as exc:
            error = exc
            need.running = False
        finally:
            need.settled = need.task = None
            if not need.count:
                self._needs.pop(key, None)
            self._tell(settled, error)

    @staticmethod
    def _tell(settled: asyncio.Future[None], error: BaseException | None) -> None:
        if settled.done():
            return
        if error is None:
            settled.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            settled.cancel()
        else:
            settled.set_exception(error)
