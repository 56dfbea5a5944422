"""The server's clock as seen from here, measured by round trips."""

from __future__ import annotations

DRIFT = 1e-4  # seconds by which two clocks may part per second; quartz does 2e-5


class ServerClock:
    """
    An estimate of the server's wall clock from the best round trip so far.

    It is kept against the monotonic clock, so the device's wall clock may jump. The
    error of a sample is at most half its round trip; a sample loses worth as it ages,
    because clocks drift apart.
    """

    __slots__ = ("_at", "_offset_s", "_rtt_s")

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._rtt_s = 0.0
        self._at = 0.0

    @property
    def rtt_s(self) -> float | None:
        """The round trip of the sample in use; None before the first."""
        return None if self._offset_s is None else self._rtt_s

    def forget(self) -> None:
        """Start anew: the next sample counts, however slow. For a new connection."""
        self._offset_s = None

    def sample(
        self, sent: float, received_at: float, sent_at: float, received: float
    ) -> float:
        """
        Take one exchange: we *sent*, the server *received_at*, it *sent_at* and we
        *received*.

        Ours are monotonic, the server's wall-clock seconds. Returns the round trip
        without the time that the server took.
        """
        rtt_s = max((received - sent) - (sent_at - received_at), 0.0)
        aged_s = self._rtt_s + DRIFT * (received - self._at)
        if self._offset_s is None or rtt_s <= aged_s:
            self._offset_s = ((received_at - sent) + (sent_at - received)) / 2
            self._rtt_s = rtt_s
            self._at = received
        return rtt_s

    def now(self, monotonic: float) -> float | None:
        """The server's time at our *monotonic*; None before the first sample."""
        return None if self._offset_s is None else monotonic + self._offset_s
