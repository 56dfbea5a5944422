"""
Where a stream of server-sent events goes on.

Each event of a channel with a history has an ``id``, which browsers send back as
``Last-Event-ID``; ``?since=`` takes the same words:

    <offset>,<epoch>,<channel, percent-encoded>
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from realtime.edges.http.fields import refuse
from realtime.types import Channel, Position
from realtime.wire.checks import MAX_SAFE, shown

MAX_EPOCH_CHARS = 64
_MAX_DIGITS = len(str(MAX_SAFE))


class Places:
    """
    The positions that a request names.

    With *returning*, it comes back after an event: of channels that it names no
    position of, something may be lost.
    """

    __slots__ = ("_places", "returning")

    def __init__(self, since: Iterable[str], last_event_id: str | None) -> None:
        self._places = dict(_read("since", text) for text in since)
        self.returning = bool(last_event_id)
        if last_event_id:
            # Later than what is in the address, which a browser sends again.
            channel, place = _read("Last-Event-ID", last_event_id)
            self._places[channel] = place

    def of(self, channel: Channel) -> Position | None:
        """Return the position of *channel*, if it is named."""
        return self._places.get(channel)

    def check(self, channels: Mapping[Channel, None]) -> None:
        """
        Refuse positions of channels that are not watched.

        Raises:
            CommandError: BAD_MESSAGE.
        """
        for channel in self._places:
            if channel not in channels:
                refuse("since", f"names {shown(channel)}, which is not watched")


def _read(field: str, text: str) -> tuple[Channel, Position]:
    offset, _, rest = text.partition(",")
    epoch, comma, channel = rest.partition(",")
    number = offset.isascii() and offset.isdigit() and len(offset) <= _MAX_DIGITS
    if not (number and comma and channel and 1 <= len(epoch) <= MAX_EPOCH_CHARS):
        refuse(field, f"must be an event's id: offset,epoch,channel, not {shown(text)}")
    return Channel(unquote(channel)), Position(int(offset), epoch)
