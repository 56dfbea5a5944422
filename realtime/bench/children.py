"""
Parts of a benchmark in processes of their own, which never outlive it.

A child is a function that is given one end of a pipe. It ends when the pipe does.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Concatenate, Self

from realtime.bench.errors import BenchError

_spawn = multiprocessing.get_context("spawn")

ANSWER_S = 300.0  # longer than any measurement that went well


class Child:
    """A child that answers questions, one at a time. ``pipe`` is our end."""

    def __init__(
        self, target: Callable[Concatenate[Connection, ...], None], *arguments: object
    ) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(
            target=_run, args=(target, theirs, *arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, *question: object) -> Any:
        """Ask, and wait for the answer."""
        self.pipe.send(question)
        return self.answer()

    def answer(self) -> Any:
        """
        Return what the child says next.

        Raises:
            BenchError: If it has failed, ended, or says nothing.
        """
        if not self.pipe.poll(ANSWER_S):
            raise BenchError(f"no answer within {ANSWER_S:g} s")
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            raise BenchError("a process of the benchmark has died") from None
        if isinstance(answer, Failed):
            raise BenchError(answer.sentence)
        return answer

    def close(self) -> None:
        """End it and wait until it has ended."""
        self.pipe.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Failed:
    """Stands for the answer when there is none."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence


def answer_with(pipe: Connection, handle: Callable[..., object]) -> None:
    """Answer each question with *handle*, until the pipe ends."""
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        pipe.send(handle(*question))


def _run(
    target: Callable[Concatenate[Connection, ...], None],
    pipe: Connection,
    *arguments: object,
) -> None:
    # Ctrl-C reaches the whole group; only the parent answers it, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        target(pipe, *arguments)
    except (EOFError, BrokenPipeError):
        sys.exit(0)
    except BenchError as exc:
        pipe.send(Failed(str(exc)))
        sys.exit(1)
    except Exception:
        trace = traceback.format_exc()
        pipe.send(Failed(f"a process of the benchmark failed:\n{trace}"))
        sys.exit(1)
