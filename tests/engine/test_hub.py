"""The hub writes the same bytes to every subscriber of a channel, and to no other."""

from __future__ import annotations

from realtime.engine.hub import Hub
from realtime.types import Channel, JSONText, Publication
from realtime.wire.frames import FrameKey

NEWS = Channel("chat:news")
OTHER = Channel("chat:other")
DATA = JSONText(b'{"a":1}')


class Recorder:
    """A subscriber that keeps what it is given."""

    def __init__(self, frame_key: FrameKey = FrameKey.JSON) -> None:
        self.frame_key = frame_key
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
