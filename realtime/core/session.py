"""
What the protocol knows of one connection: its phase, its user, its device, what it
watches.

Laws: everything that decides whether a command is allowed *now* is in this file;
nothing here knows of sockets, tasks or time. Each method either returns what the shell
should do next or raises; a method that raises has changed nothing.

    NEW --hello--> GREETING --welcomed--> READY --expired--> EXPIRED --refreshed-->
    READY

GREETING lasts while the token and the device are checked elsewhere. A closed connection
has no session any more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from hashlib import sha256

from realtime.core.access import Identity
from realtime.core.event_time import ClockOffset
from realtime.errors import (
    ALREADY_SUBSCRIBED,
    BAD_MESSAGE,
    GAP,
    LIMIT_EXCEEDED,
    NO_DEVICE,
    NOT_READY,
    NOT_SUBSCRIBED,
    TOKEN_EXPIRED,
    TOO_MANY_ERRORS,
    UNAUTHORIZED,
    CommandError,
    Disconnect,
)
from realtime.settings import LimitSettings
from realtime.types import Channel, DeviceId, hot_value
from realtime.wire.checks import MAX_SAFE
from realtime.wire.messages import Command, Hello, Ping, Refresh, Track


class Phase(Enum):
    """Where a session stands."""

    NEW = "new"
    GREETING = "greeting"
    READY = "ready"
    EXPIRED = "expired"


#: The commands that each phase answers; None for all but hello.
ANSWERED: dict[Phase, tuple[type, ...] | None] = {
    Phase.NEW: (Hello, Ping),
    Phase.GREETING: (Ping,),
    Phase.READY: None,
    Phase.EXPIRED: (Refresh, Ping),
}


@hot_value
class Numbered:
    """
    The part of a track command that is new: raw events and the number of the first.
    """

    first: int
    events: Sequence[object]
    lost: int

    @property
    def last(self) -> int:
        """The highest number covered; ``first - 1`` when nothing is."""
        return self.first + len(self.events) - 1


def proofs_of(hello: Hello, user: str | None) -> tuple[str, ...]:
    """
    Return what may prove that hello's device is the caller's, the strongest first.

    The first one is recorded when the device is new. A secret comes before the user, so
    that a phone keeps its device number when another person signs in on it.

    Raises:
        CommandError: UNAUTHORIZED if there is neither a user nor a secret.
    """
    proofs = []
    if hello.secret is not None:
        proofs.append(f"secret:{sha256(hello.secret.encode()).hexdigest()}")
    if user is not None:
        proofs.append(f"user:{user}")
    if not proofs:
        raise CommandError(
            UNAUTHORIZED,
            "a device without a user needs a secret of 16 characters or more",
            field="secret",
        )
    return tuple(proofs)


def check_batch(first: int, count: int, limits: LimitSettings) -> None:
    """
    Raise unless *count* events numbered from *first* may be one batch.

    Raises:
        CommandError: LIMIT_EXCEEDED if they are too many, or their numbers too great
            for every codec and for the ledger, which keeps them as doubles.
    """
    if count > limits.max_batch_events:
        raise CommandError(
            LIMIT_EXCEEDED,
            f"events: {count} in one batch, at most {limits.max_batch_events} "
            "are taken",
            field="events",
        )
    if first + count - 1 > MAX_SAFE:
        raise CommandError(
            LIMIT_EXCEEDED,
            f"first: {count} events from {first} on have numbers over {MAX_SAFE}, the "
            "greatest there is",
            field="first",
        )


class Session:
    """The state of one connection, from its first message to its end."""

    __slots__ = (
        "acked",
        "channels",
        "device",
        "errors",
        "identity",
        "limits",
        "next_seq",
        "offset",
        "phase",
    )

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self.phase = Phase.NEW
        self.identity: Identity | None = None
        self.device: DeviceId | None = None
        self.next_seq = 1
        self.acked = 0
        self.offset: ClockOffset | None = None
        self.channels: dict[Channel, int] = {}
        self.errors = 0

    def check(self, command: Command) -> None:
        """
        Raise unless *command* is answered in this phase.

        Raises:
            CommandError: NOT_READY before hello, TOKEN_EXPIRED after the token's end,
                BAD_MESSAGE for a second hello.
        """
        answered = ANSWERED[self.phase]
        if answered is None:
            if type(command) is Hello:
                raise CommandError(BAD_MESSAGE, "hello was said before", field="type")
            return
        if isinstance(command, answered):
            return
        if self.phase is Phase.EXPIRED:
            raise CommandError(TOKEN_EXPIRED)
        raise CommandError(NOT_READY)

    def greet(self) -> None:
        """Note that hello is being checked."""
        self.phase = Phase.GREETING

    def greet_again(self) -> None:
        """Note that hello could not be checked now; it may be said once more."""
        self.phase = Phase.NEW

    def welcome(
        self, identity: Identity, device: DeviceId | None, mark: int | None
    ) -> None:
        """Note that hello was accepted; *mark* is what the ledger has counted."""
        self.identity = identity
        self.device = device
        self.acked = mark or 0
        self.next_seq = self.acked + 1
        self.phase = Phase.READY

    def expire(self) -> None:
        """Note that the token has ended: only refresh and ping are answered."""
        self.phase = Phase.EXPIRED

    def refresh(self, identity: Identity) -> None:
        """
        Replace the token's facts.

        Raises:
            CommandError: UNAUTHORIZED if the new token is another user's.
        """
        current = self.identity
        if current is not None and current.user != identity.user:
            raise CommandError(
                UNAUTHORIZED, "the new token must be of the same user", field="token"
            )
        self.identity = identity
        self.phase = Phase.READY

    def take(self, track: Track) -> Numbered | None:
        """
        Return the events of *track* that this session has not sent before.

        None when all of them were sent before (their acknowledgement is on its way,
        or was lost and is repeated by the shell).

        Raises:
            CommandError: NO_DEVICE, LIMIT_EXCEEDED, or GAP naming the number expected.
        """
        if self.device is None:
            raise CommandError(NO_DEVICE)
        check_batch(track.first, len(track.events), self.limits)
        start = track.first - track.lost
        if start > self.next_seq:
            raise CommandError(
                GAP,
                f"first: {track.first} leaves a hole, {self.next_seq} is expected",
                field="first",
                expected=self.next_seq,
            )
        return self._unsent(track)

    def _unsent(self, track: Track) -> Numbered | None:
        first, events, expected = track.first, track.events, self.next_seq
        if first >= expected:  # nothing of it has been sent before
            if not events and first == expected:
                return None
            return Numbered(first, events, first - expected)
        skip = expected - first
        if skip >= len(events):
            return None
        return Numbered(expected, events[skip:], 0)

    def took(self, numbered: Numbered) -> None:
        """Note that these events are on their way to the ledger."""
        self.next_seq = numbered.last + 1

    def counted(self, mark: int) -> None:
        """Note that the ledger has counted up to *mark*."""
        if mark > self.acked:
            self.acked = mark
        if mark >= self.next_seq:
            self.next_seq = mark + 1

    @property
    def settled(self) -> bool:
        """Whether everything this session took has been acknowledged."""
        return self.acked == self.next_seq - 1

    def resend(self, expected: int) -> None:
        """Note that the ledger waits for *expected*: what followed was not counted."""
        self.next_seq = expected
        self.acked = expected - 1

    def check_room(self, channel: Channel, others: Collection[Channel] = ()) -> None:
        """
        Raise unless one more subscription, to *channel*, is possible.

        *others* are being made at the same time.

        Raises:
            CommandError: ALREADY_SUBSCRIBED or LIMIT_EXCEEDED.
        """
        if channel in self.channels or channel in others:
            raise CommandError(
                ALREADY_SUBSCRIBED, f"channel: {channel} is subscribed", field="channel"
            )
        if len(self.channels) + len(others) >= self.limits.max_subscriptions:
            raise CommandError(
                LIMIT_EXCEEDED,
                f"channel: {self.limits.max_subscriptions} subscriptions are the most "
                "that one connection may have",
                field="channel",
            )

    def leave(self, channel: Channel) -> int:
        """
        Forget a subscription; return its channel's number.

        Raises:
            CommandError: NOT_SUBSCRIBED.
        """
        number = self.channels.pop(channel, None)
        if number is None:
            raise CommandError(
                NOT_SUBSCRIBED, f"channel: {channel} is not subscribed", field="channel"
            )
        return number

    def failed(self) -> None:
        """
        Count a command that was answered with an error of the client's making.

        Raises:
            Disconnect: TOO_MANY_ERRORS once the limit is passed.
        """
        self.errors += 1
        if self.errors > self.limits.max_errors:
            raise Disconnect(TOO_MANY_ERRORS)
