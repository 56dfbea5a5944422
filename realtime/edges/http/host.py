"""
What HTTP needs of a node, and nothing more; ``engine.node.Node`` fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from realtime.adapters.broker.port import Placed
from realtime.clock import Clock
from realtime.core.access import Access, Identity
from realtime.core.counters import CounterSet
from realtime.core.live import LiveValue
from realtime.core.naming import LiveName
from realtime.engine.administration import Administration
from realtime.engine.backend import TrackResult
from realtime.engine.directory import Directory
from realtime.engine.gate import Gate
from realtime.engine.hooks import Hooks
from realtime.engine.keeping import ALWAYS, Keeping, Once
from realtime.engine.metrics import Metrics
from realtime.engine.people import People
from realtime.engine.subscriptions import Subscriptions
from realtime.settings import (
    ApiKey,
    AuthSettings,
    LedgerSettings,
    LimitSettings,
    ServerSettings,
)
from realtime.types import Channel, DeviceId, JSONText, UserId


class Authenticator(Protocol):
    """Knows whom a token names."""

    async def authenticate(self, token: str | None, remote: str = "") -> Identity:
        """
        Return whom *token* names; None stands for a caller without one.

        *remote* is the address of the caller, which a hook may want to know.

        Raises:
            CommandError: UNAUTHORIZED or TOKEN_EXPIRED.
        """


class ApiKeys(Protocol):
    """Knows the backends' keys."""

    def match(self, presented: str) -> ApiKey | None:
        """Return the key that *presented* is, in constant time; None for a stranger."""


class Parts(Protocol):
    """What the node was made of, as far as HTTP asks for it."""

    @property
    def clock(self) -> Clock: ...
    @property
    def auth(self) -> AuthSettings: ...
    @property
    def ledger_settings(self) -> LedgerSettings: ...


class Host(Protocol):
    """One node, as the HTTP edge uses it."""

    @property
    def access(self) -> Access: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def hooks(self) -> Hooks: ...
    @property
    def people(self) -> People: ...
    @property
    def counters(self) -> CounterSet: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def limits(self) -> LimitSettings: ...
    @property
    def server(self) -> ServerSettings: ...
    @property
    def admin(self) -> Administration:
        """What backends order and ask of all nodes."""

    @property
    def gate(self) -> Gate:
        """Who is turned away although the token is good."""

    @property
    def directory(self) -> Directory:
        """Who is connected here."""

    @property
    def parts(self) -> Parts: ...
    @property
    def page(self) -> Mapping[str, object]:
        """What the dashboard shows, as JSON (realtime/edges/page/README.md)."""

    @property
    def draining(self) -> bool:
        """Whether the node is on its way out: it takes nobody new."""

    async def track(
        self,
        device: DeviceId,
        proofs: Sequence[str],
        first: int,
        events: Sequence[object],
        *,
        may_track: Callable[[str], bool],
        lost: int = 0,
        sent_at: float | None = None,
        user: UserId | None = None,
        acked: int = 0,
        mark_ttl_s: float | None = None,
        names_users: bool = False,
        hooked: bool = False,
    ) -> TrackResult:
        """
        Count a batch; return after the commit. Repeating it is safe.

        With *hooked*, the developer's hook has a word in it.

        Raises:
            CommandError: LIMIT_EXCEEDED, DEVICE_TAKEN, GAP, RATE_LIMITED or
                UNAVAILABLE.
            LedgerUnavailable: If the ledger does not answer.
        """

    async def mark(self, device: DeviceId, proofs: Sequence[str]) -> int:
        """
        Return how far *device* has been counted.

        Raises:
            CommandError: DEVICE_TAKEN.
            LedgerUnavailable: If the ledger does not answer.
        """

    @property
    def keeping(self) -> Keeping:
        """What channels keep."""

    async def publish(
        self,
        channel: Channel,
        data: JSONText,
        *,
        tags: Mapping[str, str] | None = None,
        once: Once = ALWAYS,
    ) -> Placed:
        """
        Hand one publication to the broker.

        Raises:
            CommandError: NOT_AVAILABLE for a version where no history is kept.
            Unavailable: If the broker does not answer.
        """

    async def read_live(self, name: LiveName, at: float | None) -> LiveValue:
        """A counter's value now or at *at*. Raises LedgerUnavailable."""

    async def list_cells(
        self, counter: str, window: str, at: float | None, limit: int
    ) -> list[tuple[dict[str, str], int | float | None]]:
        """At most *limit* combinations and their values. Raises LedgerUnavailable."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Who subscribes to what, here."""

    async def readiness(self) -> Mapping[str, str]:
        """``ok``, or a sentence, for every service that the node stands on."""
