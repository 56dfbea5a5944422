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
    """Keeps *count* workers alive; *command* is how one is started, given its index."""

    def __init__(self, command: Callable[[int], Sequence[str]], count: int) -> None:
        self._command = command
        self._count = count
        self._stopping = asyncio.Event()
        self._workers: dict[int, asyncio.subprocess.Process] = {}

    async def run(self) -> int:
        """Run until SIGINT or SIGTERM; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        keepers = [asyncio.create_task(self._keep(i)) for i in range(self._count)]
        await self._stopping.wait()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await self._stop_all()
        return 0

    async def _keep(self, index: int) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            worker = await self._start(index)
            started = asyncio.get_running_loop().time()
            code = await worker.wait()
            lived_s = asyncio.get_running_loop().time() - started
            if lived_s > HEALTHY_S:
                delay_s = FIRST_DELAY_S
            log.warning("worker_died", worker=index, code=code, again_in_s=delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _start(self, index: int) -> asyncio.subprocess.Process:
        # The pipe is never written to: its end tells the worker that we have died.
        worker = await asyncio.create_subprocess_exec(
            sys.executable, *self._command(index), stdin=asyncio.subprocess.PIPE
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
