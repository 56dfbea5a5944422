"""
One timer for all connections: a wheel that turns in steps and stops when it is empty.

A connection needs two or three timeouts, most of which are called off. A timer of the
event loop for each costs a heap operation and an object that lives until it would have
been due; here both scheduling and cancelling are one dictionary operation. The price is
the resolution: a timer never fires early, and up to one step late.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog

from realtime.clock import Clock
from realtime.clock import Timer as ClockTimer

log = structlog.get_logger(__name__)


class _Step:
    """What falls due together. All entries of a step have this one object for it."""

    __slots__ = ("entries", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.entries: dict[Entry, None] = {}  # ordered: first in, first out


class Entry:
    """
    What can lie in a wheel; a subclass says in ``fire`` what is to be done.

    An entry lies in at most one wheel, once.
    """

    __slots__ = ("_step",)

    def __init__(self) -> None:
        self._step: _Step | None = None

    @property
    def scheduled(self) -> bool:
        """Whether it waits in a wheel."""
        return self._step is not None

    def fire(self) -> None:
        """Do what was due. The entry has left the wheel and may be scheduled again."""
        raise NotImplementedError


class Timer(Entry):
    """An entry that calls a function; see ``Wheel.schedule``."""

    __slots__ = ("_callback", "_wheel")

    def __init__(self, wheel: Wheel, callback: Callable[[], None]) -> None:
        super().__init__()
        self._wheel = wheel
        self._callback = callback

    def fire(self) -> None:
        """Call the function."""
        self._callback()

    def cancel(self) -> None:
        """Call it off; harmless when it has run or was called off before."""
        self._wheel.take(self)


class Wheel:
    """
    Entries by the step in which they fall due.

    *resolution_s* is the length of a step, 0.25 s by default. ``now`` is monotonic time
    as of the latest step: reading it costs nothing, so that every received chunk can be
    stamped. It stands still while the wheel is empty and is set anew when it starts.
    """

    __slots__ = ("_clock", "_count", "_resolution_s", "_step", "_steps", "_tick", "now")

    def __init__(self, clock: Clock, resolution_s: float = 0.25) -> None:
        self.now = clock.monotonic()
        self._clock = clock
        self._resolution_s = resolution_s
        self._steps: dict[int, _Step] = {}
        self._count = 0
        self._step = 0  # the latest step that was run
        self._tick: ClockTimer | None = None

    def __len__(self) -> int:
        """How many entries wait."""
        return self._count

    @property
    def turning(self) -> bool:
        """Whether a timer of the clock is pending; false once the wheel is empty."""
        return self._tick is not None

    def schedule(self, callback: Callable[[], None], delay_s: float) -> Timer:
        """Call *callback* once, *delay_s* seconds from now or up to one step later."""
        timer = Timer(self, callback)
        self.put(timer, delay_s)
        return timer

    def put(self, entry: Entry, delay_s: float) -> None:
        """Let *entry* fire *delay_s* seconds from now, whatever was to be before."""
        self.take(entry)
        if self._tick is None:
            self._start()
        due = self._clock.monotonic() + max(0.0, delay_s)
        number = max(math.ceil(due / self._resolution_s), self._step + 1)
        step = self._steps.get(number)
        if step is None:
            step = self._steps[number] = _Step(number)
        entry._step = step
        step.entries[entry] = None
        self._count += 1

    def take(self, entry: Entry) -> None:
        """Take *entry* out; harmless when it is not in."""
        step, entry._step = entry._step, None
        if step is None:
            return
        del step.entries[entry]
        self._count -= 1
        if not step.entries:
            del self._steps[step.number]

    def stop(self) -> None:
        """Stop turning and forget every entry."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for step in self._steps.values():
            for entry in step.entries:
                entry._step = None
        self._steps.clear()
        self._count = 0

    def _start(self) -> None:
        self.now = self._clock.monotonic()
        self._step = int(self.now / self._resolution_s)
        self._await_next()

    def _await_next(self) -> None:
        delay_s = (self._step + 1) * self._resolution_s - self._clock.monotonic()
        self._tick = self._clock.call_later(max(0.0, delay_s), self._turn)

    def _turn(self) -> None:
        """Run the steps that have passed, and come back unless the wheel is empty."""
        # The tick stays in its place until all is run: what is put meanwhile must not
        # start the wheel anew, in front of steps that are still to be run.
        tick = self._tick
        self.now = self._clock.monotonic()
        last = max(int(self.now / self._resolution_s), self._step)
        while self._step < last and self._count:
            self._step += 1
            self._run(self._step)
        self._step = max(last, self._step)
        if self._tick is tick:  # else the wheel was stopped
            self._tick = None
            if self._count:
                self._await_next()

    def _run(self, number: int) -> None:
        # Taken out one by one, since any of them may cancel any other.
        while (step := self._steps.get(number)) is not None:
            entry = next(iter(step.entries))
            self.take(entry)
            try:
                entry.fire()
            except Exception:
                # One connection's mistake must not stop the clock of all others.
                log.exception("timer_failed", entry=type(entry).__name__)
