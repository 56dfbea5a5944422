"""
Who may do what: what a token grants, what the configuration allows, and nothing else.

Closed by default. A session may do something because its token grants it or because
the namespace, the counter or ``[events]`` opens it to everybody of the session's kind.
Nobody publishes to live channels: their publications are the values of counters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Protocol

from realtime.core.channels import LIVE, Rule, check_channel, namespace_of
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import (
    NOT_AVAILABLE,
    PERMISSION_DENIED,
    UNKNOWN_CHANNEL,
    CommandError,
    ErrorCode,
)
from realtime.settings import EventSettings
from realtime.types import JSONText, UserId


class Patterns:
    """
    A set of names and of patterns in which ``*`` stands for any run of characters.

    Matching takes time proportional to the lengths, whatever the pattern: the patterns
    may contain what a stranger chose as a user name, so no backtracking.
    """

    __slots__ = ("_exact", "_globs", "_prefixes")

    def __init__(self, texts: tuple[str, ...]) -> None:
        stars = {text: text.count("*") for text in texts}
        self._exact = frozenset(text for text in texts if not stars[text])
        self._prefixes = tuple(
            text[:-1] for text in texts if stars[text] == 1 and text.endswith("*")
        )
        self._globs = tuple(
            tuple(text.split("*"))
            for text in texts
            if stars[text] > 1 or (stars[text] == 1 and not text.endswith("*"))
        )

    def match(self, name: str) -> bool:
        """Whether any of them stands for the whole of *name*."""
        return (
            name in self._exact
            or name.startswith(self._prefixes)
            or any(_glob(parts, name) for parts in self._globs)
        )


def _glob(parts: tuple[str, ...], name: str) -> bool:
    first, *middle, last = parts
    if len(name) < len(first) + len(last):
        return False
    if not (name.startswith(first) and name.endswith(last)):
        return False
    # The leftmost place for each part leaves the most room for the following ones.
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@lru_cache(maxsize=1024)
def _compile(texts: tuple[str, ...]) -> Patterns:
    return Patterns(texts)


@dataclass(frozen=True, slots=True)
class Grants:
    """
    What a token grants: channels to subscribe and to publish to, whose history to read
    and whose members to see, and events to track.
    """

    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    track: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    subscribable: Patterns = field(init=False, repr=False, compare=False)
    publishable: Patterns = field(init=False, repr=False, compare=False)
    trackable: Patterns = field(init=False, repr=False, compare=False)
    readable: Patterns = field(init=False, repr=False, compare=False)
    countable: Patterns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, texts in (
            ("subscribable", self.subscribe),
            ("publishable", self.publish),
            ("trackable", self.track),
            ("readable", self.history),
            ("countable", self.members),
        ):
            object.__setattr__(self, name, _compile(texts))


NOTHING = Grants()


class Kind(Enum):
    """What sort of session it is."""

    USER = "user"  # a verified token that names a user
    ANONYMOUS = "anonymous"  # no token, or a verified one that names nobody
    BACKEND = "backend"  # an API key: may do everything that is declared
    DEVELOPER = "developer"  # --dev: may do everything


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Who a session acts for. ``expires_at`` is wall-clock seconds; None: never. ``info``
    is what the token tells others of its user; ``issued_at`` when it was made.
    """

    user: UserId | None
    expires_at: float | None
    grants: Grants
    kind: Kind
    info: JSONText | None = None
    issued_at: float | None = None


ANONYMOUS = Identity(None, None, NOTHING, Kind.ANONYMOUS)
BACKEND = Identity(None, None, NOTHING, Kind.BACKEND)


class Watched(Protocol):
    """What access needs to know of a counter: the rule of who may watch it."""

    @property
    def watch(self) -> str:
        """A value of Rule."""


class Counters(Protocol):
    """The declared counters, by name."""

    def get(self, name: str, /) -> Watched | None:
        """Return the counter, or None when none is declared under this name."""


_PRIVILEGED = (Kind.BACKEND, Kind.DEVELOPER)

_NEEDED = {
    Rule.TOKEN: "a token whose claim realtime.{verb} grants it",
    Rule.USER: "a signed-in user, or a token whose claim realtime.{verb} grants it",
}


class Access:
    """Answers every question of the form "may this session do that?"."""

    def __init__(
        self,
        namespaces: Mapping[str, NamespaceDefinition],
        counters: Counters,
        events: EventSettings,
    ) -> None:
        self._namespaces = namespaces
        self._counters = counters
        self._track = Rule(events.track)

    def check_subscribe(self, identity: Identity, channel: str) -> None:
        """
        Raise unless *identity* may subscribe to *channel*.

        A live channel must be given by its canonical name: grants are matched against
        that spelling.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL or PERMISSION_DENIED.
        """
        check_channel(channel)
        if namespace_of(channel) == LIVE:
            rule = self._watch_rule(channel)
        else:
            rule = self._definition(identity, channel).subscribe
        if not (_opens(rule, identity) or identity.grants.subscribable.match(channel)):
            raise _denied(rule, "subscribe", f"subscribing to {channel}")

    def check_publish(self, identity: Identity, channel: str) -> None:
        """
        Raise unless *identity* may publish to *channel*.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL or PERMISSION_DENIED.
        """
        check_channel(channel)
        if namespace_of(channel) == LIVE:
            raise _error(
                PERMISSION_DENIED,
                f"channel: {channel} is a live channel; only its counter publishes to "
                "it: track events instead",
            )
        rule = self._definition(identity, channel).publish
        if not (_opens(rule, identity) or identity.grants.publishable.match(channel)):
            raise _denied(rule, "publish", f"publishing to {channel}")

    def check_history(self, identity: Identity, channel: str) -> NamespaceDefinition:
        """
        Return what declares *channel*, unless *identity* may not read its history.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL, PERMISSION_DENIED, or
                NOT_AVAILABLE where no history is kept.
        """
        definition = self._ordinary(identity, channel, "history")
        rule = definition.history
        if not (_opens(rule, identity) or identity.grants.readable.match(channel)):
            raise _denied(rule, "history", f"reading the history of {channel}")
        if not definition.keeps_history:
            raise _not_kept(channel, "history", "history_size = 100")
        return definition

    def check_members(self, identity: Identity, channel: str) -> NamespaceDefinition:
        """
        Return what declares *channel*, unless *identity* may not see its members.

        Raises:
            CommandError: BAD_CHANNEL, UNKNOWN_CHANNEL, PERMISSION_DENIED, or
                NOT_AVAILABLE where no presence is kept.
        """
        definition = self._ordinary(identity, channel, "members")
        rule = definition.members
        if not (_opens(rule, identity) or identity.grants.countable.match(channel)):
            raise _denied(rule, "members", f"seeing the members of {channel}")
        if not definition.presence:
            raise _not_kept(channel, "presence", "presence = true")
        return definition

    def definition(self, identity: Identity, channel: str) -> NamespaceDefinition:
        """
        Return what declares *channel*, which is none of the live channels.

        Raises:
            CommandError: UNKNOWN_CHANNEL.
        """
        return self._definition(identity, channel)

    def may_track(self, identity: Identity, event_name: str) -> bool:
        """Whether *identity* may send events of this name."""
        return self.tracker(identity)(event_name)

    def may_track_any(self, identity: Identity) -> bool:
        """Whether there may be events that *identity* may send."""
        return _opens(self._track, identity) or bool(identity.grants.track)

    def tracker(self, identity: Identity) -> Callable[[str], bool]:
        """Return what says of an event's name whether *identity* may send it."""
        if _opens(self._track, identity):
            return _anything
        return identity.grants.trackable.match

    def _ordinary(
        self, identity: Identity, channel: str, what: str
    ) -> NamespaceDefinition:
        check_channel(channel)
        if namespace_of(channel) == LIVE:
            raise _error(
                NOT_AVAILABLE,
                f"channel: {channel} is a live channel; it has no {what}",
            )
        return self._definition(identity, channel)

    def _watch_rule(self, channel: str) -> Rule:
        name = channel.removeprefix(f"{LIVE}:").partition(";")[0]
        counter = self._counters.get(name)
        if counter is None:
            raise _error(
                UNKNOWN_CHANNEL,
                f"channel: {channel} is of no declared counter; "
                f"[counters.{name}] would declare it",
            )
        return Rule(counter.watch)

    def _definition(self, identity: Identity, channel: str) -> NamespaceDefinition:
        name = namespace_of(channel)
        definition = self._namespaces.get(name)
        if definition is None:
            if identity.kind is Kind.DEVELOPER:
                return NamespaceDefinition(name)
            raise _error(
                UNKNOWN_CHANNEL,
                f"channel: {channel} is in no declared namespace; "
                f"[namespaces.{name}] would declare it",
            )
        return definition


def _opens(rule: Rule, identity: Identity) -> bool:
    if identity.kind in _PRIVILEGED or rule is Rule.ANYONE:
        return True
    return rule is Rule.USER and identity.kind is Kind.USER


def _anything(name: str) -> bool:
    return True


def _denied(rule: Rule, verb: str, doing: str) -> CommandError:
    needed = _NEEDED[rule].format(verb=verb)
    return _error(PERMISSION_DENIED, f"channel: {doing} needs {needed}")


def _not_kept(channel: str, what: str, setting: str) -> CommandError:
    namespace = namespace_of(channel)
    return _error(
        NOT_AVAILABLE,
        f"channel: {channel} keeps no {what}; {setting} in [namespaces.{namespace}] "
        "would",
    )


def _error(code: ErrorCode, reason: str) -> CommandError:
    return CommandError(code, reason, field="channel")
