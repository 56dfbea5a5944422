"""What channels keep, and that nothing is kept for longer than its time."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.history import Histories, Page, Remembered, Ring
from realtime.types import Channel, JSONText, Position, Publication

CHAT = Channel("chat:42")


def publication(data: bytes = b"1", channel: Channel = CHAT) -> Publication:
    """Make a publication without a position."""
    return Publication(channel, JSONText(data))


def histories() -> Histories:
    """Make histories whose epochs are e1, e2 and so on."""
    numbers = count(1)
    return Histories(lambda: f"e{next(numbers)}")


def use(found: Histories, channel: Channel = CHAT, now: float = 0.0) -> Ring:
    """Use a channel that keeps three publications for 10 s, its position for 100 s."""
    return found.use(channel, 3, 10.0, 100.0, now)


def read(ring: Ring, since: Position | None = None, limit: int = 100) -> Page:
    """Read forwards."""
    return ring.read(since, limit, 1000, reverse=False)


@given(
    ages=st.lists(st.floats(0, 20), max_size=30),
    size=st.integers(0, 10),
    ttl_s=st.floats(0.1, 20),
)
def test_trimming_keeps_the_newest_and_young(
    ages: list[float], size: int, ttl_s: float
) -> None:
    """What is kept is a dense end of the history, not too long and not too old."""
    ring, now = Ring("e"), 0.0
    made: list[tuple[int, float]] = []
    for delay in ages:
        now += delay
        made.append((ring.append(publication(), now).position.offset, now))  # type: ignore[union-attr]
    ring.trim(size, ttl_s, now)
    kept = [p.position.offset for p in read(ring).publications if p.position]
    newest = made[max(0, len(made) - size) :]
    assert kept == [offset for offset, at in newest if at > now - ttl_s]


def test_a_ring_that_was_cleared_goes_on() -> None:
    """The offsets continue, and what was let go of is missed."""
    ring = Ring("e")
    for _ in range(3):
        ring.append(publication(), 0.0)
    ring.clear()
    assert (len(ring), ring.top) == (0, Position(3, "e"))
    assert ring.append(publication(), 1.0).position == Position(4, "e")
    assert read(ring, Position(3, "e")).complete
    assert not read(ring, Position(2, "e")).complete


def test_pages_from_the_middle_of_a_long_ring() -> None:
    """A page begins at its place, wherever that is."""
    ring = Ring("e")
    for number in range(10_000):
        ring.append(publication(b"%d" % number), 0.0)
    page = read(ring, Position(5_000, "e"), 3)
    assert [bytes(p.data) for p in page.publications] == [b"5000", b"5001", b"5002"]
    assert page.more


def test_a_channel_keeps_its_ring_while_it_is_used() -> None:
    """Whoever uses a channel gets the same ring until it was unused for its time."""
    found = histories()
    ring = use(found)
    ring.append(publication(), 0.0)
    assert use(found, now=99.0) is ring
    assert use(found, now=198.0) is ring
    again = use(found, now=298.0)
    assert (again.epoch, again.offset) == ("e2", 0)


def test_the_position_lives_as_long_as_what_is_kept() -> None:
    """A meta_ttl_s that is shorter than ttl_s does not cut the history short."""
    found = histories()
    found.use(CHAT, 3, 50.0, 1.0, 0.0).append(publication(), 0.0)
    assert len(found.use(CHAT, 3, 50.0, 1.0, 49.0)) == 1


def test_unused_channels_are_swept() -> None:
    """Channels that nobody uses any more go, whoever is used meanwhile."""
    found = histories()
    for number in range(1000):
        use(found, Channel(f"c{number}")).append(publication(), 0.0)
    assert len(found) == 1000
    for _ in range(500):
        use(found, now=150.0)
    assert len(found) == 1


def test_channels_are_swept_as_fast_as_they_come() -> None:
    """With ever new channels, there are never more than those that are in use."""
    found, most = histories(), 0
    for number in range(5000):
        use(found, Channel(f"c{number}"), now=float(number))
        most = max(most, len(found))
    assert most <= 200  # 100 are alive; the others wait for their turn


def test_what_quiet_channels_keep_is_swept() -> None:
    """Publications that are too old go, although the position stays."""
    found = histories()
    rings = [use(found, Channel(f"c{number}")) for number in range(100)]
    for ring in rings:
        ring.append(publication(), 0.0)
    for _ in range(60):
        use(found, now=20.0)
    assert sum(map(len, rings)) == 0
    assert len(found) == 101


def test_keys_are_remembered_for_their_time() -> None:
    """A key is known until its own time is over, and may then be used again."""
    seen, place = Remembered(), Position(1, "e")
    seen.add("short", place, 5.0)
    seen.add("long", None, 50.0)
    seen.expire(4.9)
    assert "short" in seen
    assert seen["short"] == place
    seen.expire(5.0)
    assert "short" not in seen
    seen.add("short", None, 60.0)
    seen.expire(55.0)
    assert ("short" in seen, "long" in seen, len(seen)) == (True, False, 1)
    seen.expire(60.0)
    assert len(seen) == 0


def test_versions_are_compared_within_their_epoch() -> None:
    """Only a greater one of the last epoch, or one of another epoch, goes on."""
    found = histories()
    use(found)
    steps = [("a", 2, True), ("a", 2, False), ("a", 1, False), ("b", 0, True)]
    steps += [("a", 1, True), ("a", 3, True)]
    for epoch, version, expected in steps:
        assert found.advance(CHAT, epoch, version) is expected


def test_forgetting_what_was_never_kept() -> None:
    """To forget a channel that is unknown is harmless, and makes none."""
    found = histories()
    found.forget(CHAT)
    assert len(found) == 0
