"""The contract of queues, by both forms; and what only the file does."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from realtime_client import (
    EventQueue,
    MemoryQueue,
    QueueError,
    QueueFull,
    QueueLocked,
    Run,
    SQLiteQueue,
)

MakeQueue = Callable[..., EventQueue]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeQueue]:
    """Return what makes a queue of the form under test."""
    made: list[EventQueue] = []

    def make(**options: Any) -> EventQueue:
        if request.param == "memory":
            queue: EventQueue = MemoryQueue(**options)
        else:
            queue = SQLiteQueue(tmp_path / "events.sqlite3", **options)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


def fill(queue: EventQueue, number: int) -> EventQueue:
    """Put events b"1", b"2" and so on."""
    for n in range(1, number + 1):
        assert queue.put(b"%d" % n) == n
    return queue


# -- the contract ----------------------------------------------------------------------


def test_events_are_numbered_from_one(make: MakeQueue) -> None:
    """Every event takes the next number."""
    queue = fill(make(), 3)
    assert (queue.next, queue.acked, queue.count, queue.size) == (4, 0, 3, 3)


def test_a_run_begins_where_it_is_asked_to(make: MakeQueue) -> None:
    """Reading returns consecutive events and says whether more follow."""
    queue = fill(make(), 5)
    assert queue.read(2, 3, 1000) == Run(2, (b"2", b"3", b"4"), True)
    assert queue.read(4, 3, 1000) == Run(4, (b"4", b"5"), False)
    assert queue.read(6, 3, 1000) is None


def test_a_run_stays_within_its_bytes_but_has_one_event(make: MakeQueue) -> None:
    """A comma counts for each event; the first is returned however large it is."""
    queue = fill(make(), 3)
    assert queue.read(1, 9, 4) == Run(1, (b"1", b"2"), True)
    assert queue.read(1, 9, 0) == Run(1, (b"1",), True)


def test_a_run_ends_at_a_hole_and_begins_after_one(make: MakeQueue) -> None:
    """A number that was skipped is in no run."""
    queue = fill(make(), 4)
    queue.skip(2)
    assert queue.read(1, 9, 1000) == Run(1, (b"1",), False)
    assert queue.read(2, 9, 1000) == Run(3, (b"3", b"4"), False)
    assert (queue.count, queue.removed, queue.next) == (3, 1, 5)


def test_an_acknowledgement_removes_what_it_covers(make: MakeQueue) -> None:
    """Events up to the number are gone, their room is free."""
    queue = fill(make(), 4)
    queue.acknowledge(3)
    assert (queue.acked, queue.count, queue.size, queue.removed) == (3, 1, 1, 3)
    assert queue.read(1, 9, 1000) == Run(4, (b"4",), False)
    queue.acknowledge(2)
    assert queue.acked == 3


def test_one_event_can_be_looked_up(make: MakeQueue) -> None:
    """Absent numbers are None."""
    queue = fill(make(), 2)
    assert queue.get(2) == b"2"
    assert queue.get(3) is None


def test_renumbering_moves_what_follows(make: MakeQueue) -> None:
    """Events from the number on get new ones, the next event too."""
    queue = fill(make(), 4)
    queue.renumber(3, 5)
    assert queue.read(1, 9, 1000) == Run(1, (b"1", b"2"), False)
    assert queue.read(3, 9, 1000) == Run(5, (b"3", b"4"), False)
    assert queue.put(b"5") == 7


def test_an_empty_queue_can_begin_at_a_higher_number(make: MakeQueue) -> None:
    """A mark far beyond the numbers given costs nothing."""
    queue = make()
    queue.renumber(1, 10**12)
    queue.acknowledge(10**12 - 1)
    assert queue.put(b"x") == 10**12


def test_a_queue_that_is_full_uses_no_number(make: MakeQueue) -> None:
    """Both bounds hold, and after an acknowledgement there is room again."""
    queue = fill(make(max_events=2), 2)
    with pytest.raises(QueueFull, match="2 events wait"):
        queue.put(b"3")
    queue.acknowledge(1)
    assert queue.put(b"3") == 3


def test_a_queue_is_bounded_in_bytes(make: MakeQueue) -> None:
    """The bytes of all events together stay within the bound."""
    queue = make(max_bytes=5)
    queue.put(b"four")
    with pytest.raises(QueueFull, match="4 bytes"):
        queue.put(b"xx")
    assert queue.put(b"x") == 2


def test_a_closed_queue_takes_nothing(make: MakeQueue) -> None:
    """Closing twice is harmless; putting afterwards is an error."""
    queue = make()
    queue.close()
    queue.close()
    with pytest.raises(QueueError):
        queue.put(b"x")


def test_every_queue_has_a_device_of_its_own(make: MakeQueue) -> None:
    """The device and its secret are made up at random, and are what was given."""
    queue, other = make(), MemoryQueue()
    assert queue.device != other.device
    assert len(queue.secret) >= 32
    named = MemoryQueue("phone-1", "0123456789abcdef")
    assert (named.device, named.secret) == ("phone-1", "0123456789abcdef")


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        ({"device": "a b"}, "device"),
        ({"device": "x" * 129}, "device"),
        ({"secret": "short"}, "secret"),
        ({"secret": "x" * 129}, "secret"),
    ],
)
def test_a_malformed_identity_is_refused(
    make: MakeQueue, identity: dict[str, str], field: str
) -> None:
    """What every server would refuse is refused at once."""
    with pytest.raises(ValueError, match=field):
        make(**identity)


# -- the file --------------------------------------------------------------------------


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    """Device, secret, numbers and events are there when it is opened again."""
    path = tmp_path / "events.sqlite3"
    first = SQLiteQueue(path)
    fill(first, 4)
    first.acknowledge(2)
    first.close()
    second = SQLiteQueue(path)
    assert (second.device, second.secret) == (first.device, first.secret)
    assert (second.next, second.acked, second.count, second.size) == (5, 2, 2, 2)
    assert second.read(1, 9, 1000) == Run(3, (b"3", b"4"), False)
    second.close()


def test_a_skipped_last_number_is_not_used_again(tmp_path: Path) -> None:
    """The next number is recorded, not computed from what is left."""
    path = tmp_path / "events.sqlite3"
    queue = fill(SQLiteQueue(path), 2)
    queue.skip(2)
    queue.close()
    queue = SQLiteQueue(path)
    assert queue.put(b"3") == 3
    queue.close()


def test_a_file_is_open_once(tmp_path: Path) -> None:
    """Two processes (or clients) with one device would break its numbers."""
    path = tmp_path / "events.sqlite3"
    queue = SQLiteQueue(path)
    with pytest.raises(QueueLocked, match="another process"):
        SQLiteQueue(path)
    queue.close()
    SQLiteQueue(path).close()


def test_a_file_belongs_to_one_device(tmp_path: Path) -> None:
    """Opening it for another device is an error; for its own, or for any, it is not."""
    path = tmp_path / "events.sqlite3"
    SQLiteQueue(path, "phone-1").close()
    SQLiteQueue(path, "phone-1").close()
    SQLiteQueue(path).close()
    with pytest.raises(QueueError, match="belongs to device phone-1"):
        SQLiteQueue(path, "phone-2")


def test_a_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """The device's secret is in it."""
    path = tmp_path / "events.sqlite3"
    queue = SQLiteQueue(path)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    queue.close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Neither a foreign database nor a text file is touched."""
    database = tmp_path / "other.sqlite3"
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE notes (text)")
    db.close()
    with pytest.raises(QueueError, match="something else"):
        SQLiteQueue(database)
    text = tmp_path / "notes.txt"
    text.write_text("dear diary" * 100)
    with pytest.raises(QueueError, match=r"notes\.txt"):
        SQLiteQueue(text)
    assert text.read_text() == "dear diary" * 100


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    """A file that a later version has written is refused with both numbers."""
    path = tmp_path / "events.sqlite3"
    SQLiteQueue(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(QueueError, match="format 9; this version reads 1"):
        SQLiteQueue(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The sentence says which path cannot be opened."""
    with pytest.raises(QueueError, match="No such file"):
        SQLiteQueue(tmp_path / "missing" / "events.sqlite3")


def test_synchronous_is_one_of_two(tmp_path: Path) -> None:
    """Anything but NORMAL and FULL is refused; FULL is really set."""
    path = tmp_path / "events.sqlite3"
    with pytest.raises(ValueError, match="synchronous"):
        SQLiteQueue(path, synchronous="OFF")  # type: ignore[arg-type]
    queue = SQLiteQueue(path, synchronous="FULL")
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    queue.close()


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """When the disk is full, the event takes no number and nothing is forgotten."""
    queue = SQLiteQueue(tmp_path / "events.sqlite3")
    fill(queue, 3)
    pages = queue._db.execute("PRAGMA page_count").fetchone()[0]
    queue._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(QueueError, match="full"):
        queue.put(b"x" * 100_000)
    assert (queue.next, queue.count, queue.size) == (4, 3, 3)
    assert queue.put(b"4") == 4
    queue.close()
