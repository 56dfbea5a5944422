"""
A queue of events in a SQLite file: it survives the end of the process, however sudden.

One process has the file open at a time. The file is readable by its owner only, because
the device's secret is in it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from realtime_client.errors import QueueError, QueueLocked
from realtime_client.queue import (
    MAX_BYTES,
    MAX_EVENTS,
    EventQueue,
    MemoryQueue,
    Run,
    check_identity,
    new_device,
    new_secret,
)

APPLICATION_ID = 0x52544351
VERSION = 1

_TOTALS = "SELECT count(*), coalesce(sum(length(body)), 0) FROM events"

_SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE device (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    device TEXT NOT NULL,
    secret TEXT NOT NULL,
    next INTEGER NOT NULL,
    acked INTEGER NOT NULL
);
CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
COMMIT;
"""


class SQLiteQueue(EventQueue):
    """
    A queue in the file *path*, which is made if it is not there.

    *synchronous* decides what a power cut may cost, in a write-ahead log: ``NORMAL``
    (some 50 us an event) may forget the last moments before it, ``FULL`` (one fsync an
    event, half a millisecond to many) forgets nothing. A process that crashes or is
    killed loses nothing either way.

    *device* and *secret* are recorded when the file is made; later they must be the
    file's own, or left out.

    Raises:
        QueueLocked: If another process has it open.
        QueueError: If the file is no queue, belongs to another device, or is damaged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str | None = None,
        secret: str | None = None,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        super().__init__(max_events, max_bytes)
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(
                f'synchronous: must be "NORMAL" or "FULL", not {synchronous!r}'
            )
        check_identity(device, secret)
        self.path = Path(path)
        self._closed = False
        with self._errors():
            self._db = _open(self.path, synchronous)
        try:
            with self._errors():
                self._prepare(device, secret)
        except BaseException:
            self._db.close()
            raise

    # -- opening -----------------------------------------------------------------------

    def _prepare(self, device: str | None, secret: str | None) -> None:
        if self._is_new():
            self._db.executescript(_SCHEMA)
        row = self._db.execute(
            "SELECT device, secret, next, acked FROM device"
        ).fetchone()
        if row is None:
            row = (device or new_device(), secret or new_secret(), 1, 0)
            with self._db:
                self._db.execute("INSERT INTO device VALUES (1, ?, ?, ?, ?)", row)
        self.device, self.secret, self.next, self.acked = row
        if device not in (None, self.device) or secret not in (None, self.secret):
            raise QueueError(
                f"{self.path} belongs to device {self.device}, not to {device} "
                "(or its secret is another): use one file per device"
            )
        self.count, self.size = self._db.execute(_TOTALS).fetchone()
        # What put() stores is the event alone: half the work.
        last = self._db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0
        self.next = max(self.next, last + 1)

    def _is_new(self) -> bool:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if (application, version) == (APPLICATION_ID, VERSION):
            return False
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application == 0 and version == 0 and tables == 0:
            return True
        if application == APPLICATION_ID:
            raise QueueError(
                f"{self.path} has format {version}; this version reads {VERSION}"
            )
        raise QueueError(f"{self.path} is a database of something else")

    # -- the contract ------------------------------------------------------------------

    def put(self, event: bytes) -> int:
        """Append an event and return its number; it is in the file then."""
        self.check_room(len(event))
        seq = self.next
        with self._transaction() as db:
            db.execute("INSERT INTO events VALUES (?, ?)", (seq, event))
        self.next += 1
        self.count += 1
        self.size += len(event)
        return seq

    def read(self, start: int, max_events: int, max_bytes: int) -> Run | None:
        """Return the first run of events at or after *start*."""
        query = "SELECT seq, body FROM events WHERE seq >= ? ORDER BY seq LIMIT ?"
        first, room = 0, max_bytes
        taken: list[bytes] = []
        with self._errors():
            for seq, body in self._db.execute(query, (start, max_events + 1)):
                if not taken:
                    first = seq
                elif seq != first + len(taken):
                    break
                room -= len(body) + 1
                if taken and (room < 0 or len(taken) == max_events):
                    return Run(first, tuple(taken), True)
                taken.append(body)
        return Run(first, tuple(taken), False) if taken else None

    def get(self, seq: int) -> bytes | None:
        """Return one event."""
        with self._errors():
            query = "SELECT body FROM events WHERE seq = ?"
            row = self._db.execute(query, (seq,)).fetchone()
        return None if row is None else bytes(row[0])

    def acknowledge(self, upto: int) -> None:
        """Forget every event up to *upto*."""
        if upto <= self.acked:
            return
        self._delete("seq <= ?", upto, acked=upto)
        self.acked = upto

    def skip(self, seq: int) -> None:
        """Forget one event."""
        self._delete("seq = ?", seq, acked=self.acked)

    def _delete(self, where: str, seq: int, acked: int) -> None:
        with self._transaction() as db:
            count, size = db.execute(f"{_TOTALS} WHERE {where}", (seq,)).fetchone()
            db.execute(f"DELETE FROM events WHERE {where}", (seq,))
            db.execute("UPDATE device SET next = ?, acked = ?", (self.next, acked))
        self.count -= count
        self.size -= size
        self.removed += count

    def renumber(self, old_first: int, new_first: int) -> None:
        """Move the events from *old_first* on to *new_first*."""
        move = new_first - old_first
        with self._transaction() as db:
            # By way of negative numbers: two rows may not share one on the way.
            db.execute(
                "UPDATE events SET seq = -(seq + ?) WHERE seq >= ?", (move, old_first)
            )
            db.execute("UPDATE events SET seq = -seq WHERE seq < 0")
            db.execute("UPDATE device SET next = ?", (self.next + move,))
        self.next += move

    def close(self) -> None:
        """Close the file."""
        if not self._closed:
            self._closed = True
            self._db.close()

    # -- SQLite ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors(), self._db:
            yield self._db

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            if "locked" in str(exc):
                raise QueueLocked(f"{self.path} is open in another process") from exc
            raise QueueError(f"{self.path}: {exc}") from exc
        except sqlite3.Error as exc:
            raise QueueError(f"{self.path}: {exc}") from exc


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as exc:
        raise QueueError(f"{path}: {exc.strerror}") from exc
    db = sqlite3.connect(path, timeout=0)
    try:
        # Held until the file is closed, so a second process fails here and not later.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def open_queue(
    queue: EventQueue | str | os.PathLike[str] | None,
    device: str | None,
    secret: str | None,
) -> EventQueue:
    """
    Return *queue*, the one in the file of this path, or for None one in memory.

    Raises:
        ValueError: If *device* or *secret* are given for a queue that has its own.
        QueueError: If the file cannot be used.
    """
    if queue is None:
        return MemoryQueue(device, secret)
    if not isinstance(queue, EventQueue):
        return SQLiteQueue(queue, device, secret)
    if device is not None or secret is not None:
        raise ValueError("device, secret: the queue given has its own already")
    return queue
