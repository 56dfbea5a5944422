"""
Channels: what a name may look like, and by which rules they are opened.

A channel is ``namespace:name``; namespaces.py says what its namespace declares.
"""

from __future__ import annotations

from enum import StrEnum

from realtime.errors import BAD_CHANNEL, CommandError
from realtime.types import Channel

LIVE = "live"
"""The namespace of live channels: reserved; only counters publish here."""

INTERNAL = "@"
"""Begins the names of channels between nodes, which no client may name."""

MAX_CHANNEL_CHARS = 255
MAX_LIVE_CHARS = 4096
"""Of a live channel, whose name holds the values of dimensions, percent-encoded."""


class Rule(StrEnum):
    """Who may do something; each one includes those before it."""

    TOKEN = "token"  # only who holds a token that grants it
    USER = "user"  # every signed-in user
    ANYONE = "anyone"  # anonymous sessions too


def namespace_of(channel: str) -> str:
    """Return the text before the first colon; ``""`` if there is no colon."""
    namespace, colon, _ = channel.partition(":")
    return namespace if colon else ""


def check_channel(name: str) -> Channel:
    """
    Return *name* as a channel: 1 to 255 printable characters without spaces (a live
    channel's up to 4,096), one of them the colon after the namespace, the first none
    that is the servers' own.

    Raises:
        CommandError: BAD_CHANNEL, naming the offending character or what is missing.
    """
    if not name:
        raise _bad("channel: the name is empty")
    most = MAX_LIVE_CHARS if namespace_of(name) == LIVE else MAX_CHANNEL_CHARS
    if len(name) > most:
        raise _bad(
            f"channel: the name has {len(name)} characters, at most {most} are allowed"
        )
    if not name.isprintable() or " " in name:
        raise _bad(_offence(name))
    if name.startswith(INTERNAL):
        raise _bad(f"channel: {name} begins with @, as the servers' own channels do")
    if not namespace_of(name):
        raise _bad(
            f"channel: {name} has no namespace; a channel is written namespace:name"
        )
    return Channel(name)


def _bad(reason: str) -> CommandError:
    return CommandError(BAD_CHANNEL, reason, field="channel")


def _offence(name: str) -> str:
    index, character = next(
        (index, character)
        for index, character in enumerate(name)
        if character == " " or not character.isprintable()
    )
    what = "a space" if character == " " else f"U+{ord(character):04X}"
    return (
        f"channel: character {index + 1} of the name is {what}; "
        "names are printable characters without spaces"
    )
