"""
When an event happened, by the server's clock: device clocks corrected and clamped.

A phone's clock may be wrong by years and may be set while the app runs. Every message
with events carries the device's clock at sending, a sample of the difference.
"""

from __future__ import annotations

import math

from realtime.errors import EVENT_TOO_OLD, RejectedEvent
from realtime.settings import EventSettings
from realtime.units import format_duration

JUMP_S = 60.0  # a stall this long would have ended the connection
AGING_S = 600.0  # how slowly an estimate follows samples that only ever grow


class ClockOffset:
    """
    Estimates how far the server's clock is ahead of one device's.

    A sample is the time of receipt minus the time of sending: the true offset plus the
    delay of that one message, so the smallest sample is the best one. The rule:

    - a smaller sample is taken as it is (less delay, or a clock that was set forward);
    - one larger by more than ``JUMP_S`` is taken too: the device's clock was set back;
    - any other moves the estimate a little: towards the sample with a time constant of
      ``AGING_S``. A stall of seconds hardly shows and the next good sample undoes it; a
      clock that drifts, or was set back by less than a minute, is followed in minutes.
    """

    __slots__ = ("_offset_s", "_sampled_at")

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._sampled_at = 0.0

    @property
    def seconds(self) -> float:
        """What to add to the device's time; 0 before the first sample."""
        return self._offset_s or 0.0

    def sample(self, sent_at: float, received_at: float) -> float:
        """Take a message's times by both clocks; return the new estimate."""
        sample = received_at - sent_at
        if not math.isfinite(sample):
            return self.seconds
        known = self._offset_s
        if known is None or sample < known or sample > known + JUMP_S:
            self._offset_s = sample
        else:
            elapsed = max(0.0, received_at - self._sampled_at)
            self._offset_s = known + (sample - known) * -math.expm1(-elapsed / AGING_S)
        self._sampled_at = received_at
        return self.seconds


def correct(at: float, offset_s: float, now: float, settings: EventSettings) -> float:
    """
    Return event time for the device's *at*, received at *now*.

    Further ahead than ``max_ahead_s`` is impossible, so it becomes *now*.

    Raises:
        RejectedEvent: ``event_too_old`` if it is older than ``max_age_s``.
    """
    corrected = at + offset_s
    if corrected > now + settings.max_ahead_s:
        return now
    if corrected < now - settings.max_age_s:
        hours = (now - corrected) / 3600
        ago = f"{hours:.1f}" if hours < 1e9 else f"{hours:.0e}"  # no 300 digits
        raise RejectedEvent(
            EVENT_TOO_OLD,
            f"at is {at!r}, {ago} hours before it arrived; "
            f"events may be {format_duration(settings.max_age_s)} old at most",
            field="at",
        )
    return corrected
