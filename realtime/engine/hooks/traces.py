"""Tracebacks of the developer's code, without the frames that are ours."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

OURS = str(Path(__file__).parent)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def own_code(problem: BaseException) -> ExcInfo:
    """Return what a log wants as ``exc_info``, beginning where the hook begins."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return type(problem), problem, trace
