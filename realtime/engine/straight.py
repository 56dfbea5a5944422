"""
The usual message, straight through: a ``track`` command that nothing stands against.

It does what ``Session.check``, ``Session.take`` and ``commands.track`` do for it, in
their order, without the objects that they hand on. What is not usual in any way is left
to them, untouched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.core.cells import Cells
from realtime.core.session import Phase
from realtime.core.usual import count_usual
from realtime.wire.checks import MAX_SAFE

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

_READY = Phase.READY  # an enum's member costs more to look up than this
_FAR_S = 1e15  # no clock shows it; also false for what is no number or not finite


def track(connection: Connection, message: object, data: bytes) -> bool:
    """
    Take the events of *message*, loaded from *data*; return whether that was done.

    Raises:
        Undecodable: As the dialect's ``check`` does; then nothing was done.
    """
    # Hot: once per message.
    sender, session = connection.sender, connection.session
    if sender is None or type(message) is not dict or session.phase is not _READY:
        return False
    get = message.get
    first, events = get("first"), get("events")
    if (
        type(first) is not int
        or first != session.next_seq
        or type(events) is not list
        or not 0 < len(events) <= session.limits.max_batch_events
        or first + len(events) > MAX_SAFE
        or get("type") != "track"
    ):
        return False
    fields, sent_at, request = 3, get("sent_at"), get("id")
    if request is not None:
        if type(request) is not int or not 0 <= request <= MAX_SAFE:
            return False
        fields += 1
    if sent_at is not None:
        if type(sent_at) is not float or not -_FAR_S < sent_at < _FAR_S:
            return False
        fields += 1
    services, offset = connection.services, session.offset
    dialect = connection.dialect
    ingest, size = services.ingest, len(events)
    if (
        len(message) != fields
        or offset is None
        or ingest.stalled
        or ingest.pending_events + size > ingest.max_pending
    ):
        return False
    now = services.clock.time()
    offset_s = offset.seconds if sent_at is None else offset.sample(sent_at, now)
    cells: list[Cells] = []
    done = count_usual(events, 0, sender.known, now, offset_s, cells)
    # A message is kept until its events are counted, unless most of it is padding.
    if done == size and len(data) <= size * session.limits.max_event_bytes:
        part = (first, size, data, dialect, sender, now, offset_s)
        ingest.add(connection, part, done, cells)
    else:
        dialect.check(message, data)
        other = (first, size, events, None, sender, now, offset_s)
        ingest.count(ingest.add(connection, other, done, cells), events, done)
    session.next_seq = first + size
    return True
