"""
A model of the counting side, written from the protocol's page alone.

The ledger keeps a mark per device and counts an event only when its number follows the
mark. A session numbers what it has taken, and commits it later, in one step; the commit
of a session whose connection is gone may still come, or never.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass
class Ledger:
    """Marks, and how often each event (told apart by a property) was counted."""

    marks: dict[str, int] = field(default_factory=dict)
    counted: Counter[Any] = field(default_factory=Counter)
    lost: int = 0

    def claim(self, device: str, acked: int) -> int:
        """Return the device's mark; an unknown device's is what it says itself."""
        return self.marks.setdefault(device, acked)

    def commit(self, device: str, first: int, batch: list[Any]) -> int | None:
        """
        Count what *batch* (from number *first*; None: lost) adds; return the mark.

        None: refused, because numbers before *first* are missing.
        """
        mark = self.marks[device]
        if first > mark + 1:
            return None
        for event in batch[max(mark + 1 - first, 0) :]:
            mark += 1
            if event is None:
                self.lost += 1
            else:
                self.counted[event["properties"]["n"]] += 1
        self.marks[device] = mark
        return mark


class ModelSession:
    """The server's side of one connection, after its hello."""

    def __init__(self, ledger: Ledger, hello: Message) -> None:
        self.ledger = ledger
        self.device: str = hello["device"]
        self.mark = ledger.claim(self.device, hello["acked"])
        self._next = self.mark + 1
        self._taken: list[tuple[int, list[Any]]] = []

    def track(self, message: Message, *, busy: bool = False) -> Message | None:
        """Take a batch; return what is to be said at once, if anything."""
        lost = message.get("lost", 0)
        first = message["first"] - lost
        events = [None] * lost + list(message["events"])
        if first > self._next:
            return self._gap(self._next, message.get("id"))
        new = events[self._next - first :]
        if not new:
            return None if self._taken else {"type": "ack", "acked": self.mark}
        if busy:
            return {
                "type": "slow_down",
                "first": self._next,
                "retry_after_s": 1.0,
                "reason": "busy",
            }
        self._taken.append((self._next, new))
        self._next += len(new)
        return None

    def tick(self) -> list[Message]:
        """Commit what was taken; return what is to be said."""
        said: list[Message] = []
        taken, self._taken = self._taken, []
        for first, batch in taken:
            mark = self.ledger.commit(self.device, first, batch)
            if mark is None:
                self._next = self.ledger.marks[self.device] + 1
                said.append(self._gap(self._next, None))
            else:
                self.mark = mark
                self._next = max(self._next, mark + 1)
                said.append({"type": "ack", "acked": mark})
        return said

    def _gap(self, expected: int, id: int | None) -> Message:
        message: Message = {
            "type": "error",
            "code": 112,
            "name": "gap",
            "retry": "resend",
            "reason": "gap",
            "expected": expected,
        }
        return message if id is None else {**message, "id": id}
