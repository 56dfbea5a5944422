"""Which events go out when."""

from __future__ import annotations

from itertools import count

import pytest
from realtime_client.errors import CommandError, Retry
from realtime_client.queue import MemoryQueue
from realtime_client.sender import Sender, TrackFrame
from realtime_client.values import (
    Limits,
    Notice,
    NumbersLost,
    Rejection,
    Renumbered,
    TrackingRefused,
)

INTERVAL_S = 0.05
LIMITS = Limits(262144, 32768, 3, 65536, 512)  # three events a frame


class Rig:
    """A sender with its queue; the clock is a number."""

    def __init__(
        self, tracked: int = 0, *, room: int = 1000, **options: object
    ) -> None:
        self.queue = MemoryQueue()
        self.rejected: list[Rejection] = []
        self.notices: list[Notice] = []
        self.now = 100.0
        self.room = room
        self.ids = count(1)
        self.restart(**options)
        self.track(tracked)

    def restart(self, **options: object) -> None:
        """Begin anew with the same queue, as another process would."""
        self.sender = Sender(
            self.queue,
            on_rejected=self.rejected.append,
            on_notice=self.notices.append,
            **options,  # type: ignore[arg-type]
        )

    def track(self, number: int = 1) -> None:
        """Queue so many events, each naming its number."""
        for _ in range(number):
            self.queue.put(b'{"name":"e%d"}' % self.queue.next)

    def welcome(self, mark: int = 0) -> None:
        """Connect to a server that has counted up to *mark*."""
        self.sender.welcomed(mark, LIMITS, self.room)

    def poll(self) -> TrackFrame | None:
        """Return the next frame that is due."""
        return self.sender.poll(self.now, self.ids)

    def sent(self) -> list[tuple[int, int, int]]:
        """Return (first, last, lost) of every frame that is due now."""
        frames = []
        while (frame := self.poll()) is not None:
            last = frame.first + len(frame.events) - 1
            frames.append((frame.first, last, frame.lost))
        return frames

    def refused(self, id: int | None, retry: Retry, **fields: object) -> None:
        """Let the server answer frame *id* with an error."""
        error = CommandError(1, "name", retry, "reason", **fields)  # type: ignore[arg-type]
        self.sender.refused(id, error, self.now)

    def gap(self, id: int | None, expected: int) -> None:
        """Let the server wait for *expected*."""
        self.refused(id, Retry.RESEND, expected=expected)


# -- batching --------------------------------------------------------------------------


def test_nothing_is_sent_before_the_welcome() -> None:
    """Without a connection, nothing is due and no time is named."""
    rig = Rig(5)
    assert rig.poll() is None
    assert rig.sender.deadline() is None


def test_the_first_event_after_a_pause_goes_at_once() -> None:
    """An event tracked while nothing is going on does not wait for others."""
    rig = Rig()
    rig.welcome()
    rig.track()
    assert rig.sent() == [(1, 1, 0)]


def test_events_soon_after_a_frame_wait_for_the_interval() -> None:
    """The next event waits until 50 ms after the last frame."""
    rig = Rig(1)
    rig.welcome()
    assert rig.sent() == [(1, 1, 0)]
    rig.track()
    assert rig.sent() == []
    due = rig.sender.deadline()
    assert due == pytest.approx(rig.now + INTERVAL_S)
    rig.now = due
    assert rig.sent() == [(2, 2, 0)]


def test_a_full_batch_does_not_wait() -> None:
    """As many events as the server takes in a frame go without waiting."""
    rig = Rig(1)
    rig.welcome()
    rig.sent()
    rig.track(3)
    assert rig.sent() == [(2, 4, 0)]


def test_a_frame_takes_as_many_events_as_the_server_allows() -> None:
    """The rest goes in further frames, also without waiting."""
    rig = Rig(7)
    rig.welcome()
    assert rig.sent() == [(1, 3, 0), (4, 6, 0), (7, 7, 0)]


def test_a_frame_stays_within_the_servers_bytes() -> None:
    """Events that do not fit into one frame are spread over several."""
    rig = Rig(4, room=32)  # two events of 13 bytes and a comma each
    rig.welcome()
    assert rig.sent() == [(1, 2, 0), (3, 4, 0)]


def test_frames_in_flight_are_bounded() -> None:
    """No further frame is sent while the most are not acknowledged."""
    rig = Rig(9, max_in_flight=2)
    rig.welcome()
    assert rig.sent() == [(1, 3, 0), (4, 6, 0)]
    rig.sender.acknowledged(3)
    assert rig.sent() == [(7, 9, 0)]


# -- acknowledgements ------------------------------------------------------------------


def test_an_acknowledgement_empties_the_queue_up_to_its_number() -> None:
    """What is covered is forgotten; what is not stays."""
    rig = Rig(5)
    rig.welcome()
    rig.sent()
    rig.sender.acknowledged(3)
    assert (rig.queue.acked, rig.queue.count) == (3, 2)


def test_the_welcome_acknowledges_too() -> None:
    """Events whose acknowledgement was lost are not sent again."""
    rig = Rig(5)
    rig.welcome()
    rig.sent()
    rig.sender.disconnected()
    rig.welcome(4)
    assert rig.sent() == [(5, 5, 0)]


def test_unacknowledged_events_go_again_with_the_same_numbers() -> None:
    """After a reconnect the same numbers carry the same events."""
    rig = Rig(2)
    rig.welcome()
    before = rig.poll()
    rig.sender.disconnected()
    rig.welcome()
    after = rig.poll()
    assert before is not None
    assert after is not None
    assert (after.first, after.events) == (before.first, before.events)


def test_an_older_acknowledgement_changes_nothing() -> None:
    """The highest number counts, in whatever order acknowledgements are handled."""
    rig = Rig(3)
    rig.welcome()
    rig.sent()
    rig.sender.acknowledged(3)
    rig.sender.acknowledged(2)
    assert rig.queue.acked == 3


def test_a_rejection_is_reported_with_its_event() -> None:
    """The application learns which event will not be counted, and why."""
    rig = Rig(2)
    rig.welcome()
    rig.sent()
    rejection = Rejection(2, 205, "bad_value", "amount: must be a number")
    rig.sender.acknowledged(2, (rejection,))
    assert rig.rejected == [rejection]
    assert rig.rejected[0].event == {"name": "e2"}
    assert rig.queue.count == 0


def test_what_is_never_acknowledged_is_sent_again() -> None:
    """After half a minute without a word about a frame, it goes again."""
    rig = Rig(2)
    rig.welcome()
    assert rig.sent() == [(1, 2, 0)]
    assert rig.sender.deadline() == rig.now + 30.0
    rig.now += 30.0
    assert rig.sent() == [(1, 2, 0)]
    assert rig.sender.deadline() == rig.now + 30.0


# -- slow_down -------------------------------------------------------------------------


def test_slow_down_waits_and_sends_again_from_its_number() -> None:
    """Refused events go again after the delay, in order."""
    rig = Rig(9)
    rig.welcome()
    rig.sent()
    rig.sender.slow_down(4, 2.0, rig.now)
    assert rig.sent() == []
    assert rig.sender.deadline() == rig.now + 2.0
    rig.now += 2.0
    assert rig.sent() == [(4, 6, 0), (7, 9, 0)]


def test_gaps_behind_a_slow_down_need_no_action() -> None:
    """Frames under way behind the refused one are not sent twice because of it."""
    rig = Rig(9)
    rig.welcome()
    rig.sent()
    rig.sender.slow_down(1, 2.0, rig.now)
    rig.gap(2, expected=1)
    rig.gap(3, expected=1)
    rig.now += 2.0
    assert rig.sent() == [(1, 3, 0), (4, 6, 0), (7, 9, 0)]


def test_gaps_that_come_after_the_resending_are_stale() -> None:
    """An answer to what was sent before going back does not send it a third time."""
    rig = Rig(6)
    rig.welcome()
    rig.sent()
    rig.sender.slow_down(1, 2.0, rig.now)
    rig.now += 2.0
    assert rig.sent() == [(1, 3, 0), (4, 6, 0)]
    rig.gap(2, expected=1)
    assert rig.sent() == []


def test_slow_down_names_a_hole_too() -> None:
    """A refused frame that declared lost numbers declares them again."""
    rig = Rig(6)
    rig.queue.acknowledge(4)
    rig.restart()
    rig.welcome(2)
    assert rig.sent() == [(5, 6, 2)]
    rig.sender.slow_down(3, 1.0, rig.now)
    rig.now += 1.0
    assert rig.sent() == [(5, 6, 2)]


# -- gaps and losses -------------------------------------------------------------------


def test_a_gap_sends_again_from_the_number_expected() -> None:
    """What the server waits for is sent, and what follows."""
    rig = Rig(6)
    rig.welcome()
    rig.sent()
    rig.gap(2, expected=2)
    assert rig.sent() == [(2, 4, 0), (5, 6, 0)]


def test_a_gap_without_an_id_is_obeyed() -> None:
    """The ledger's own refusal names no frame."""
    rig = Rig(3)
    rig.welcome()
    rig.sent()
    rig.gap(None, expected=2)
    assert rig.sent() == [(2, 3, 0)]


def test_what_the_server_has_forgotten_is_declared_lost() -> None:
    """Numbers acknowledged before and unknown now never come again; it is said so."""
    rig = Rig(5)
    rig.welcome()
    rig.sent()
    rig.sender.acknowledged(4)
    rig.sender.disconnected()
    rig.welcome(2)
    assert rig.sent() == [(5, 5, 2)]
    assert rig.notices == [NumbersLost(3, 4)]


def test_a_loss_is_reported_once() -> None:
    """Connecting again before the loss was declared repeats no notice."""
    rig = Rig(4)
    rig.queue.acknowledge(4)
    rig.restart()
    rig.welcome(2)
    rig.sender.disconnected()
    rig.welcome(2)
    assert rig.notices == [NumbersLost(3, 4)]


def test_a_gap_into_the_acknowledged_is_a_loss() -> None:
    """When the ledger falls back while we are connected, the hole is declared."""
    rig = Rig(6)
    rig.welcome()
    rig.sent()
    rig.sender.acknowledged(4)
    rig.gap(None, expected=3)
    assert rig.sent() == [(5, 6, 2)]
    assert rig.notices == [NumbersLost(3, 4)]


def test_a_gap_below_what_another_node_counted_is_no_loss() -> None:
    """A session that does not know of an earlier one's commit causes no alarm."""
    rig = Rig(5)
    rig.restart(max_in_flight=1)
    rig.track()
    rig.welcome(0)
    assert rig.sent() == [(1, 3, 0)]
    rig.sender.acknowledged(5)  # the former process' events were counted meanwhile
    assert rig.sent() == [(6, 6, 0)]
    rig.gap(2, expected=4)
    assert rig.sent() == [(6, 6, 2)]
    assert rig.notices == []


def test_a_mark_beyond_the_unsent_moves_them() -> None:
    """Numbers that the server has counted for other events are not used again."""
    rig = Rig(2)
    rig.welcome(500)
    assert rig.sent() == [(501, 502, 0)]
    assert rig.notices == [Renumbered(1, 501)]
    assert rig.queue.next == 503


def test_a_mark_over_what_an_earlier_process_queued_acknowledges_it() -> None:
    """Events that may have been sent before are taken as counted, not counted twice."""
    rig = Rig(4)
    rig.restart()
    rig.track(1)
    rig.welcome(4)
    assert rig.sent() == [(5, 5, 0)]
    assert rig.notices == []


def test_a_restored_queue_renumbers_only_what_is_new() -> None:
    """A queue older than what was sent keeps every new event."""
    rig = Rig(2)
    rig.restart()
    rig.track(2)  # 3 and 4, which were given and counted before the queue was restored
    rig.welcome(4)
    assert rig.sent() == [(5, 6, 0)]
    assert rig.notices == [Renumbered(3, 5)]


# -- other errors ----------------------------------------------------------------------


def test_an_error_for_later_waits_and_sends_again() -> None:
    """The frame goes again after the delay that the error names."""
    rig = Rig(2)
    rig.welcome()
    rig.sent()
    rig.refused(1, Retry.LATER, retry_after_s=3.0)
    assert rig.sent() == []
    rig.now += 3.0
    assert rig.sent() == [(1, 2, 0)]


def test_after_an_expired_token_the_frame_goes_again() -> None:
    """The caller decides when: nothing is lost and nothing waits longer than needed."""
    rig = Rig(2)
    rig.welcome()
    rig.sent()
    rig.refused(1, Retry.REFRESH)
    assert rig.sent() == [(1, 2, 0)]


def test_a_final_error_stops_events_until_the_next_connection() -> None:
    """The events stay queued; the application is told."""
    rig = Rig(2)
    rig.welcome()
    rig.sent()
    rig.refused(1, Retry.NEVER)
    rig.track(5)
    assert rig.sent() == []
    assert rig.sender.refusal is not None
    assert rig.notices == [TrackingRefused(rig.sender.refusal)]
    rig.sender.disconnected()
    assert rig.sender.refusal is None
    rig.welcome()
    assert rig.sent() == [(1, 3, 0), (4, 6, 0), (7, 7, 0)]


def test_an_event_that_fits_into_no_frame_is_rejected_here() -> None:
    """It would be refused for ever; those behind it are sent and the hole declared."""
    rig = Rig(room=64)
    rig.track()
    rig.queue.put(b'{"name":"e","properties":{"x":"%s"}}' % (b"x" * 64))
    rig.track()
    rig.welcome()
    assert rig.sent() == [(1, 1, 0), (3, 3, 1)]
    (rejection,) = rig.rejected
    assert (rejection.seq, rejection.name) == (2, "event_too_large")
