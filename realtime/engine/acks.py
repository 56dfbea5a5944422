"""
The acknowledgements of one settlement: formatted one by one, sent together.

After a commit, hundreds of connections are told how far they are counted. What belongs
to a connection lies in many places of memory, and the kernel's work on one answer
drives out of the caches what the next one needs; so all answers are made first, and
then sent (native/fanout.c does that for the usual outbox).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import structlog

from realtime import native
from realtime.engine.outbox import Outbox, Turn

log = structlog.get_logger(__name__)

SendEach = Callable[
    [tuple[Outbox, ...], tuple[bytes, ...], type[Outbox]],
    "list[tuple[Outbox, bytes]] | None",
]

send_each = cast("SendEach | None", native.find("fanout", "send_all"))
"""Sends to each outbox its own frame; see ``deliveries.send_all``."""


class Acks:
    """
    What waits until `flush`, which must be called before the loop's turn goes on.

    *turn* is what else leaves at its end: acknowledgements keep their place behind it.
    """

    __slots__ = ("_turn", "frames", "outboxes")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.outboxes: list[Outbox] = []
        self.frames: list[bytes] = []  # one for each of `outboxes`

    def flush(self) -> None:
        """Send what waits."""
        if not self.outboxes:
            return
        outboxes, frames = tuple(self.outboxes), tuple(self.frames)
        self.outboxes.clear()
        self.frames.clear()
        # Of two frames for one outbox, the first may have to wait for the kernel, and
        # the second must not overtake it.
        twice = len(set(outboxes)) < len(outboxes)
        if send_each is None or self._turn.entries or twice:
            for one, frame in zip(outboxes, frames, strict=True):
                _send(one, one.reply, frame)
            return
        for one, rest in send_each(outboxes, frames, Outbox) or ():
            _send(one, one.push, rest)


def _send(outbox: Outbox, way: Callable[[bytes], None], frame: bytes) -> None:
    """Send one; a defect that it brings to light is only its own."""
    try:
        way(frame)
    except Exception:
        log.exception("acknowledgement_failed", connection=outbox.id)
