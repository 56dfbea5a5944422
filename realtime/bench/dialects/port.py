"""
The contract of a dialect: what a client says, and what it makes of what it hears.

Laws:

- Pure: text in, text out. No socket, no clock; ``client.py`` does the framing, answers
  the pings of WebSocket and closes.
- A dialect is picklable and holds nothing of a connection: one serves all of them.
- What is published carries a *stamp*, which says when the publication was due. It is
  the end of the data, ``"xxxx~<run><due>"``, so that any dialect finds it in any
  envelope with one search (``stamp_in``) and reads nothing else. That is what keeps
  the load generator cheaper than the server.
- ``read`` is called for every message and must not raise for one that it does not
  know: that is ``OTHER``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

RUN_CHARACTERS = 8
STAMP_CHARACTERS = RUN_CHARACTERS + 16
_MARK = b"~"

Event = Mapping[str, object]
"""``name``, perhaps ``properties`` and ``at``, as in the native protocol."""


# -- what is heard ---------------------------------------------------------------------


class Delivery(NamedTuple):
    """One publication. A tuple, for there are more of these than of all else."""

    stamp: bytes  # STAMP_CHARACTERS of them; see ``due_of``
    offset: int | None = None  # only if the dialect was told to read it


@dataclass(frozen=True, slots=True)
class Value:
    """The current value of a counter that is watched."""

    value: float


@dataclass(frozen=True, slots=True)
class Welcome:
    """The greeting is accepted. *acked* is where the device's numbers stand."""

    acked: int = 0


@dataclass(frozen=True, slots=True)
class Subscribed:
    """
    A subscription stands. *value* is the counter's, if it is one; *recovered*,
    *offset*, *epoch* and *missed* (the stamps of what was missed) where the dialect
    has recovery.
    """

    channel: str = ""
    value: float | None = None
    recovered: bool | None = None
    offset: int | None = None
    epoch: str = ""
    missed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Recovering:
    """
    A part of what was missed, by its stamps; with it, this position is reached. Nothing
    is subscribed yet: subscribe again since there.
    """

    channel: str
    offset: int
    epoch: str
    missed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """The server says that something is lost, and where the client stands now."""

    offset: int | None = None
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """A publication was taken."""

    request: int | None = None


@dataclass(frozen=True, slots=True)
class Acked:
    """Events up to this number are counted, but for *rejected* ones."""

    acked: int
    rejected: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SlowDown:
    """Events from *first* on are to be sent again, after a while."""

    first: int
    retry_after_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """An error. *name* is the server's word for it, *reason* its sentence."""

    name: str
    reason: str
    request: int | None = None
    expected: int | None = None  # the number of the event that is waited for
    retry_after_s: float | None = None

    @property
    def sentence(self) -> str:
        """Both, for people."""
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Ping:
    """The server asks whether we are there; *reply* is what must be sent."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The server wants us elsewhere."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else: nobody waits for it."""


OTHER = Other()

Said = (
    Delivery
    | Value
    | Welcome
    | Subscribed
    | Recovering
    | Gap
    | Published
    | Acked
    | SlowDown
    | Refused
    | Ping
    | Goodbye
    | Other
)
"""What a server says."""


# -- the contract ----------------------------------------------------------------------


class Dialect(ABC):
    """
    One wire protocol, as a client speaks it.

    ``path`` is where the WebSocket is, ``subprotocol`` what is offered (empty: none),
    ``binary`` the kind of message that is sent. ``greets`` is false where nobody
    answers the greeting: then a connection is ready when it is open. ``answers`` is
    false where nobody answers a subscription.
    """

    name: ClassVar[str]
    path: str = "/"
    subprotocol: str = ""
    binary: bool = False
    greets: bool = True
    answers: bool = True

    @abstractmethod
    def greeting(
        self, token: str | None, device: str | None, secret: str | None
    ) -> Sequence[bytes]:
        """
        Return the messages that open a session; answered by ``Welcome``.

        *device* names the device that will send events, *secret* proves that it is
        the same one where there is no token. Where servers speak first (Socket.IO),
        these are sent all the same as soon as the WebSocket is open.
        """

    @abstractmethod
    def subscribe(
        self, channel: str, since: tuple[int, str] | None = None
    ) -> Sequence[bytes]:
        """
        Return the messages that subscribe; answered by ``Subscribed``.

        *since* is a position (offset, epoch) after which what was missed is asked for.
        """

    @abstractmethod
    def publish(self, channel: str, data: str, request: int | None = None) -> bytes:
        """
        Return the message that publishes *data*, which is ASCII without quotes.

        With *request*, ``Published`` or ``Refused`` answers it with that number.
        """

    def track(self, first: int, events: Sequence[Event]) -> bytes:
        """
        Return the message that sends events numbered from *first*; answered by
        ``Acked`` or ``SlowDown``.

        Raises:
            NotImplementedError: If this dialect has no events.
        """
        raise NotImplementedError(f"{self.name} has no events")

    def ping(self) -> bytes | None:
        """Return a question that ``Other`` answers at once, or None."""
        return None

    @abstractmethod
    def read(self, payload: bytes) -> Said | list[Said]:
        """Return what one message says; a list where messages are joined in one."""


# -- stamps ----------------------------------------------------------------------------


def stamped(run: bytes, due: float, size: int) -> str:
    """
    Return data of *size* characters that were due then.

    *run* is RUN_CHARACTERS that tell this run's publications from others'; *due* is
    on the clock ``time.monotonic``, which all processes of a machine share.
    """
    end = b"%b%b%016d" % (_MARK, run, int(due * 1e6))
    return end.rjust(size, b"x").decode("ascii")


def stamp_in(payload: bytes) -> bytes | None:
    """Return the last stamp in *payload*, or None. Hot: once per delivery."""
    at = payload.rfind(_MARK) + 1
    return payload[at : at + STAMP_CHARACTERS] if at else None


def due_of(stamp: bytes, run: bytes) -> float | None:
    """Return when a publication of *run* was due, or None if it is of another run."""
    if not stamp.startswith(run):
        return None
    return int(stamp[RUN_CHARACTERS:]) / 1e6
