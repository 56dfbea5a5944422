"""The hub writes the same bytes to every subscriber of a channel, and to no other."""

from __future__ import annotations

from realtime.core.flow import Flow
from realtime.engine.hub import Hub
from realtime.testing.clock import ManualClock
from realtime.types import Channel, ConnectionId, JSONText, Publication
from realtime.wire.frames import FrameKey

NEWS = Channel("chat:news")
OTHER = Channel("chat:other")
DATA = JSONText(b'{"a":1}')


class Recorder:
    """A subscriber that keeps what it is given."""

    def __init__(
        self, frame_key: FrameKey = FrameKey.JSON, id: ConnectionId | None = None
    ) -> None:
        self.frame_key = frame_key
        self.id = id
        self.pushed: list[bytes] = []
        self.latest: list[tuple[int, bytes]] = []

    def push(self, frame: bytes) -> None:
        self.pushed.append(frame)

    def push_latest(self, number: int, frame: bytes) -> None:
        self.latest.append((number, frame))


def test_broadcast_reaches_subscribers_of_the_channel_only() -> None:
    """A publication goes to those who joined its channel."""
    hub, joined, elsewhere = Hub(), Recorder(), Recorder()
    hub.join(NEWS, joined)
    hub.join(OTHER, elsewhere)

    assert hub.broadcast(Publication(NEWS, DATA)) == 1
    assert len(joined.pushed) == 1
    assert elsewhere.pushed == []


def test_frames_are_shared_between_subscribers_of_one_key() -> None:
    """Every subscriber of one frame key is handed the very same bytes object."""
    hub, first, second = Hub(), Recorder(), Recorder()
    hub.join(NEWS, first)
    hub.join(NEWS, second)

    hub.broadcast(Publication(NEWS, DATA))

    assert first.pushed[0] is second.pushed[0]


def test_each_frame_key_gets_its_own_bytes() -> None:
    """JSON and MessagePack subscribers of one channel get different frames."""
    hub, text, binary = Hub(), Recorder(), Recorder(FrameKey.MSGPACK)
    hub.join(NEWS, text)
    hub.join(NEWS, binary)

    assert hub.broadcast(Publication(NEWS, DATA)) == 2
    assert text.pushed[0][0] == 0x81
    assert binary.pushed[0][0] == 0x82


def test_latest_carries_the_number_of_the_channel() -> None:
    """A live channel's value is handed over with the number that it may replace."""
    hub, subscriber = Hub(), Recorder()
    topic = hub.join(NEWS, subscriber)

    hub.broadcast_latest(NEWS, DATA)

    assert [number for number, _ in subscriber.latest] == [topic.number]


def test_numbers_are_never_used_twice() -> None:
    """A channel that everybody left gets a new number when somebody joins again."""
    hub, subscriber = Hub(), Recorder()
    before = hub.join(NEWS, subscriber).number
    hub.leave(NEWS, subscriber)

    assert hub.join(NEWS, subscriber).number > before


def test_joining_twice_counts_once() -> None:
    """A subscriber is in a channel or not; there is no twice."""
    hub, subscriber = Hub(), Recorder()
    hub.join(NEWS, subscriber)
    hub.join(NEWS, subscriber)

    assert hub.subscriptions == 1
    assert hub.broadcast(Publication(NEWS, DATA)) == 1


def test_leaving_empties_the_hub() -> None:
    """After the last subscriber nothing of the channel is left."""
    hub, subscriber = Hub(), Recorder()
    hub.join(NEWS, subscriber)
    hub.leave(NEWS, subscriber)

    assert (len(hub), hub.subscriptions, NEWS in hub) == (0, 0, False)
    assert hub.broadcast(Publication(NEWS, DATA)) == 0


def test_leaving_without_having_joined_is_harmless() -> None:
    """Leave changes nothing for who is not there."""
    hub, subscriber = Hub(), Recorder()
    hub.leave(NEWS, subscriber)
    hub.join(NEWS, subscriber)
    hub.leave(NEWS, Recorder())
    hub.leave(NEWS, Recorder(FrameKey.MSGPACK))

    assert hub.subscriptions == 1


# -- compression -----------------------------------------------------------------------

LONG = JSONText(b'{"text":"%b"}' % (b"word " * 100))


def test_subscribers_who_want_it_compressed_share_one_frame() -> None:
    """Beside those who do not; it is compressed once, and counted for everybody."""
    hub = Hub()
    plain, *packed = Recorder(), *(Recorder(FrameKey.JSON_DEFLATE) for _ in range(3))
    for one in (plain, *packed):
        hub.join(NEWS, one)

    assert hub.broadcast(Publication(NEWS, LONG)) == 4
    hub.broadcast_latest(NEWS, LONG)

    frame = packed[0].pushed[0]
    assert all(one.pushed == [frame] for one in packed)
    assert all(one.pushed[0] is frame for one in packed)
    assert all(one.latest == [(1, frame)] for one in packed)
    saved = len(plain.pushed[0]) - len(frame)
    assert saved > 400
    assert (hub.tally.deflated, hub.tally.deflate_saved_bytes) == (6, 6 * saved)


def test_what_goes_as_it_is_is_not_counted_as_compressed() -> None:
    """Short publications are the same for all."""
    hub, plain, packed = Hub(), Recorder(), Recorder(FrameKey.JSON_DEFLATE)
    hub.join(NEWS, plain)
    hub.join(NEWS, packed)

    hub.broadcast(Publication(NEWS, DATA))

    assert packed.pushed[0] is plain.pushed[0]
    assert (hub.tally.deflated, hub.tally.deflate_saved_bytes) == (0, 0)


def test_the_publisher_who_gets_nothing_is_not_counted() -> None:
    """Its own publication is compressed for the others."""
    hub, own, other = (
        Hub(),
        Recorder(FrameKey.JSON_DEFLATE, ConnectionId("c-1")),
        Recorder(FrameKey.JSON_DEFLATE),
    )
    hub.join(NEWS, own)
    hub.join(NEWS, other)

    hub.broadcast(Publication(NEWS, LONG, sender=ConnectionId("c-1")))

    assert (own.pushed, len(other.pushed), hub.tally.deflated) == ([], 1, 1)


def test_groups_compress_and_count_as_well() -> None:
    """Where subscribers share an interval, and what waited leaves in one write."""
    clock = ManualClock()
    hub, packed = Hub(clock), Recorder(FrameKey.JSON_DEFLATE)
    hub.join(NEWS, packed, Flow(interval_s=1.0))

    for _ in range(3):
        hub.broadcast(Publication(NEWS, LONG))
    clock.advance(1.0)

    assert [frame[0] for frame in packed.pushed] == [0xC1, 0xC1]
    assert hub.tally.deflated == 2
