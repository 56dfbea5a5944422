"""
Several processes on one port: started together, replaced when one dies, stopped
together.

The supervisor serves nothing itself. It reserves the port and starts every worker as a
process of its own that binds the same port; the kernel spreads new connections over
them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

FIRST_DELAY_S = (
    0.2  # before a worker that died is replaced; doubles while it keeps dying
)
LONGEST_DELAY_S = 10.0
HEALTHY_S = 30.0  # a worker that lived this long starts over with the first delay
STOP_S = 20.0  # how long workers may take to stop before they are killed


class Supervisor:
    """
    Keeps *count* workers alive; *command* is how one is started, given its index.

    A worker says that it serves by a line on its standard output; *started* is called
    when all have. Starting succeeds as a whole or fails as a whole: only later is a
    worker that dies replaced.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        count: int,
        started: Callable[[], None],
    ) -> None:
        self._command = command
        self._count = count
        self._started = started
        self._stopping = asyncio.Event()
        self._workers: dict[int, Process] = {}

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM, or until starting fails; return the code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        code = work.result() if work.done() else 0
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)
        await self._stop_all()
        return code

    async def _work(self) -> int:
        """Start all, then keep all; return the code of one that does not start."""
        # The first one alone, so that what keeps all from starting is said once.
        for group in (range(1), range(1, self._count)):
            workers = [await self._start(index) for index in group]
            codes = await asyncio.gather(*map(_until_ready, workers))
            if any(codes):
                return next(filter(None, codes))
        self._started()
        await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        raise AssertionError("workers are kept for ever")

    async def _keep(self, index: int) -> None:
        delay_s = FIRST_DELAY_S
        worker = self._workers[index]
        while True:
            started = asyncio.get_running_loop().time()
            code = await worker.wait()
            lived_s = asyncio.get_running_loop().time() - started
            if lived_s > HEALTHY_S:
                delay_s = FIRST_DELAY_S
            log.warning("worker_died", worker=index, code=code, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
            worker = await self._start(index)

    async def _start(self, index: int) -> Process:
        # Standard input is never written to: its end tells the worker that we have
        # died.
        worker = await asyncio.create_subprocess_exec(
            sys.executable, *self._command(index), stdin=PIPE, stdout=PIPE
        )
        self._workers[index] = worker
        log.info("worker_started", worker=index, pid=worker.pid)
        return worker

    async def _stop_all(self) -> None:
        workers = [w for w in self._workers.values() if w.returncode is None]
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(worker.wait() for worker in workers))
        except TimeoutError:
            for worker in workers:
                with suppress(ProcessLookupError):
                    worker.kill()
            await asyncio.gather(*(worker.wait() for worker in workers))


async def _until_ready(worker: Process) -> int:
    """Wait until *worker* serves and return 0, or until it ends: then its code."""
    assert worker.stdout is not None
    if await worker.stdout.readline():
        return 0
    code = await worker.wait()
    return code if code > 0 else 1
