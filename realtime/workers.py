"""
Several processes on one port: started together, replaced when one dies, stopped
together.

The supervisor serves nothing itself. It reserves the port and starts every worker as a
process of its own that binds the same port; the kernel spreads new connections over
them. SIGTERM and SIGINT stop all; SIGHUP replaces all, one after the other.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

FIRST_DELAY_S = (
    0.2  # before a worker that died is replaced; doubles while it keeps dying
)
LONGEST_DELAY_S = 10.0
START_S = 60.0  # how long a worker may take that is to replace another
HEALTHY_S = 30.0  # a worker that lived this long starts over with the first delay


class Supervisor:
    """
    Keeps *count* workers alive; *command* is how one is started, given its index.

    A worker says that it serves by a line on its standard output; *started* is called
    when all have. Starting succeeds as a whole or fails as a whole: only later is a
    worker that dies replaced. A worker that has not stopped within *stop_s* is killed.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        count: int,
        started: Callable[[], None],
        stop_s: float,
    ) -> None:
        self._command = command
        self._count = count
        self._started = started
        self._stop_s = stop_s
        self._stopping = asyncio.Event()
        self._replacing = asyncio.Event()
        self._changing = asyncio.Lock()  # who the workers are
        self._workers: dict[int, Process] = {}
        self._alive: set[Process] = set()  # these, and those that are on their way out

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM, or until starting fails; return the code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._replacing.set)
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        code = work.result() if work.done() else 0
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
        self._stopping.set()
        await self._stop(self._alive, signal.SIGTERM)
        return code

    def _asked_to_stop(self) -> None:
        """Stop; asked once more, let the workers know that there is a hurry."""
        if self._stopping.is_set():
            _signal(self._alive, signal.SIGTERM)
        self._stopping.set()

    async def _work(self) -> int:
        """Start all, then keep all; return the code of one that does not start."""
        # The first one alone, so that what keeps all from starting is said once.
        for group in (range(1), range(1, self._count)):
            workers = [await self._start(index) for index in group]
            codes = await asyncio.gather(*map(_until_ready, workers))
            if any(codes):
                return next(filter(None, codes))
            self._workers.update(zip(group, workers, strict=True))
        self._started()
        kept = [self._keep(index) for index in range(self._count)]
        await asyncio.gather(self._replace_all(), *kept)
        raise AssertionError("workers are kept for ever")

    async def _keep(self, index: int) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            worker = self._workers[index]
            started = asyncio.get_running_loop().time()
            code = await worker.wait()
            self._alive.discard(worker)
            if self._workers[index] is not worker:
                continue  # it was replaced
            lived_s = asyncio.get_running_loop().time() - started
            if lived_s > HEALTHY_S:
                delay_s = FIRST_DELAY_S
            log.warning("worker_died", worker=index, code=code, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
            async with self._changing:
                if self._workers[index] is worker:
                    self._workers[index] = await self._start(index)

    # -- replacing -----------------------------------------------------------------

    async def _replace_all(self) -> None:
        """Replace all workers whenever that is asked for."""
        while True:
            await self._replacing.wait()
            self._replacing.clear()
            for index in range(self._count):
                if not await self._replace(index):
                    break
            else:
                log.info("workers_replaced", count=self._count)

    async def _replace(self, index: int) -> bool:
        """Start another worker in the place of one, then let that one leave."""
        async with self._changing:
            worker = await self._start(index)
            try:
                async with asyncio.timeout(START_S):
                    code = await _until_ready(worker)
            except TimeoutError:
                _signal([worker], signal.SIGKILL)
                code = await worker.wait()
            if code:
                self._alive.discard(worker)
                log.error("worker_not_replaced", worker=index, code=code)
                return False
            old, self._workers[index] = self._workers[index], worker
        # It closes its port first: its share of new connections goes to the others.
        await self._stop({old}, signal.SIGHUP)
        return True

    # -- processes -----------------------------------------------------------------

    async def _start(self, index: int) -> Process:
        # Standard input is never written to: its end tells the worker that we have
        # died. In a session of its own it is not told twice of a terminal's Ctrl-C.
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command(index),
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
        )
        self._alive.add(worker)
        log.info("worker_started", worker=index, pid=worker.pid)
        return worker

    async def _stop(self, workers: set[Process], number: int) -> None:
        """Send this signal and wait for the end; make one if it does not come."""
        waited_for = list(workers)
        _signal(waited_for, number)
        try:
            async with asyncio.timeout(self._stop_s):
                await asyncio.gather(*(worker.wait() for worker in waited_for))
        except TimeoutError:
            pids = [one.pid for one in waited_for if one.returncode is None]
            log.warning("workers_killed", pids=pids, after_s=self._stop_s)
            _signal(waited_for, signal.SIGKILL)
            await asyncio.gather(*(worker.wait() for worker in waited_for))
        self._alive.difference_update(waited_for)


def _signal(workers: Collection[Process], number: int) -> None:
    for worker in workers:
        if worker.returncode is None:
            with suppress(ProcessLookupError):
                worker.send_signal(number)


async def _until_ready(worker: Process) -> int:
    """Wait until *worker* serves and return 0, or until it ends: then its code."""
    assert worker.stdout is not None
    if await worker.stdout.readline():
        return 0
    code = await worker.wait()
    return code if code > 0 else 1
