"""
Who may come in: how many sockets, how fast, and how much of it from one address.

Law: whoever is refused is told when to come back, and a crowd is told different times,
so that it returns at the rate at which it can be let in. Refusing costs far less than
letting in: it happens before the handshake. Asking reserves nothing; what was entered
is left exactly once, by whoever entered it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from random import Random
from typing import Protocol

import structlog

from realtime.clock import Clock
from realtime.core.limits import (
    AddressCounts,
    AddressRates,
    Queue,
    Rate,
    address_key,
    whole_seconds,
)
from realtime.engine.metrics import Metrics
from realtime.settings import DrainSettings, LimitSettings

log = structlog.get_logger(__name__)

MAX_WAITING = 4_096
"""Sockets that have not said what they want, before the oldest gives way."""

RESERVED = 64
"""HTTP connections beyond the limits, each for one health check or for metrics."""

QUEUE_PER_S = 1_000.0  # how fast a crowd may return where no rate is set
FULL_S = (2.0, 8.0)  # a place is free again after some time between these, perhaps
LOGGED = Rate(per_s=10.0, burst=50.0)  # a storm must not become one of log lines


class Reason(Enum):
    """Why somebody was turned away; a label of the metrics."""

    DRAINING = "draining"
    FULL = "full"
    RATE = "rate"
    ADDRESS_FULL = "address_full"
    ADDRESS_RATE = "address_rate"
    HTTP_FULL = "http_full"
    SILENT = "silent"  # gave way to a newer one


@dataclass(frozen=True, slots=True)
class Refusal:
    """What somebody is told who may not come in now."""

    reason: Reason
    status: HTTPStatus  # 503: this node cannot; 429: this address may not
    text: str
    retry_after_s: int


class Waiting(Protocol):
    """A socket that has not said yet what it wants, or is on its way out."""

    def make_room(self) -> None:
        """Cut the connection now: a newer one needs the place."""


class Admission:
    """
    Counts the sockets of one node and says who may come in.

    There are three kinds: those that *wait* (they have said nothing yet, or were
    refused), WebSockets, and HTTP connections with their streams. *closing* refuses
    all further WebSockets.
    """

    def __init__(
        self,
        limits: LimitSettings,
        drain: DrainSettings,
        clock: Clock,
        metrics: Metrics,
        random: Random | None = None,
    ) -> None:
        self.closing = False
        self.sockets = 0
        self.http = 0
        self.reserved = 0  # of the places that are for health checks and metrics
        self._limits = limits
        self._return_s = drain.return_s
        self._clock = clock
        refused = metrics.connections_refused
        self._refused = {reason: refused.labels(reason.value) for reason in Reason}
        self._random = random or Random()
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()
        self._addresses = AddressCounts()
        self._rate = Rate.of(limits.connect_rate)
        self._rate_state = 0.0
        self._queue = Queue(limits.connect_rate or QUEUE_PER_S)
        self._address_rates, self._address_queues = _rates(limits)
        self._log_state = 0.0
        self._not_logged = 0

    @property
    def waiting(self) -> int:
        """How many sockets wait."""
        return len(self._waiting)

    @property
    def addresses(self) -> int:
        """How many addresses have sockets here; 0 without a limit per address."""
        return len(self._addresses)

    # -- those that wait -----------------------------------------------------------

    def arrive(self, who: Waiting) -> None:
        """Let *who* wait; too many, and the one that waits longest is cut."""
        self._waiting[who] = None
        if len(self._waiting) > MAX_WAITING:
            oldest, _ = self._waiting.popitem(last=False)
            self._refused[Reason.SILENT].inc()
            oldest.make_room()

    def go_on(self, who: Waiting) -> None:
        """Let *who* wait no longer; harmless when it does not."""
        self._waiting.pop(who, None)

    # -- WebSockets ----------------------------------------------------------------

    def refuse_socket(self, address: str) -> Refusal | None:
        """Say why *address* may not open a WebSocket now; None: it is let in."""
        now = self._clock.monotonic()
        refusal = self._refuse_socket(address, now)
        if refusal is None:
            self._take(address, now)
        else:
            self._refused[refusal.reason].inc()
        return refusal

    def _refuse_socket(self, address: str, now: float) -> Refusal | None:
        if self.closing:
            earliest_s = self._random.uniform(0.0, self._return_s)
            text = "The server is shutting down."
            return self._unavailable(Reason.DRAINING, text, earliest_s, now)
        if self.sockets >= self._limits.max_connections:
            text = "There is no room for more connections."
            earliest_s = self._random.uniform(*FULL_S)
            return self._unavailable(Reason.FULL, text, earliest_s, now)
        refusal = self._refuse_address(address)
        if refusal is not None:
            return refusal
        wait_s = self._rate.wait_s(self._rate_state, now) if self._rate else 0.0
        if wait_s > 0:
            text = "Too many clients connect at the same time."
            return self._unavailable(Reason.RATE, text, wait_s, now)
        return self._refuse_rate(address, now)

    def enter_socket(self, address: str) -> None:
        """A WebSocket of *address* is open."""
        self.sockets += 1
        self._enter(address)

    def leave_socket(self, address: str) -> None:
        """A WebSocket that was open is gone."""
        self.sockets -= 1
        self._leave(address)

    # -- HTTP ----------------------------------------------------------------------

    @property
    def requesting(self) -> int:
        """How many connections make requests, those in reserved places included."""
        return self.http + self.reserved

    def has_room(self, address: str | None) -> bool:
        """
        Whether one more connection may make requests.

        *address* is None for those of a trusted proxy, which stand for many clients.
        """
        if self.http >= self._limits.max_http_connections:
            return False
        return address is None or not self._is_full(address)

    def refuse_http(self, address: str | None, vital: bool) -> Refusal | None:
        """
        Say why a connection may make no requests now; None: it may.

        *vital* are health checks and metrics: where there is no room they have places
        of their own, for one request each, so that nobody takes a busy server for a
        dead one.
        """
        if self.has_room(address) or (vital and self.reserved < RESERVED):
            return None
        refusal = None if address is None else self._refuse_address(address)
        if refusal is None:
            text = "There is no room for more HTTP connections."
            earliest_s = self._random.uniform(*FULL_S)
            now = self._clock.monotonic()
            refusal = self._unavailable(Reason.HTTP_FULL, text, earliest_s, now)
        self._refused[refusal.reason].inc()
        return refusal

    def enter_http(self, address: str | None) -> None:
        """A connection makes requests."""
        self.http += 1
        if address is not None:
            self._enter(address)

    def leave_http(self, address: str | None) -> None:
        """A connection that made requests is gone, or has become a WebSocket."""
        self.http -= 1
        if address is not None:
            self._leave(address)

    def enter_reserved(self) -> None:
        """A connection makes one vital request where there is no room."""
        self.reserved += 1

    def leave_reserved(self) -> None:
        """A connection that made one is gone."""
        self.reserved -= 1

    # ------------------------------------------------------------------------------

    def log_refused(self, remote: str, status: int) -> None:
        """Log one who was turned away, unless there are too many to log each."""
        now = self._clock.monotonic()
        if LOGGED.wait_s(self._log_state, now) > 0:
            self._not_logged += 1
            return
        self._log_state = LOGGED.take(self._log_state, now)
        fields: dict[str, object] = {"remote": remote, "status": status}
        if self._not_logged:
            fields["before_not_logged"] = self._not_logged
            self._not_logged = 0
        log.info("connection_refused", **fields)

    def _unavailable(
        self, reason: Reason, text: str, earliest_s: float, now: float
    ) -> Refusal:
        delay_s = self._queue.join(earliest_s, now, self._random.random())
        return _refusal(reason, HTTPStatus.SERVICE_UNAVAILABLE, text, delay_s)

    def _is_full(self, address: str) -> bool:
        limit = self._limits.max_connections_per_address
        return 0 < limit <= self._addresses[address_key(address)]

    def _refuse_address(self, address: str) -> Refusal | None:
        if not self._is_full(address):
            return None
        limit = self._limits.max_connections_per_address
        text = f"{address} has {limit} connections, which is the most."
        delay_s = self._random.uniform(*FULL_S)
        status = HTTPStatus.TOO_MANY_REQUESTS
        return _refusal(Reason.ADDRESS_FULL, status, text, delay_s)

    def _refuse_rate(self, address: str, now: float) -> Refusal | None:
        rates, queues = self._address_rates, self._address_queues
        if rates is None or queues is None:
            return None
        key = address_key(address)
        if rates.wait_s(key, now) <= 0:
            return None
        delay_s = queues.take(key, now) * self._random.uniform(1.0, 1.5)
        text = f"{address} connects too often."
        status = HTTPStatus.TOO_MANY_REQUESTS
        return _refusal(Reason.ADDRESS_RATE, status, text, delay_s)

    def _take(self, address: str, now: float) -> None:
        if self._rate is not None:
            self._rate_state = self._rate.take(self._rate_state, now)
        if self._address_rates is not None:
            self._address_rates.take(address_key(address), now)

    def _enter(self, address: str) -> None:
        if self._limits.max_connections_per_address:
            self._addresses.enter(address_key(address))

    def _leave(self, address: str) -> None:
        if self._limits.max_connections_per_address:
            self._addresses.leave(address_key(address))


def _rates(limits: LimitSettings) -> tuple[AddressRates | None, AddressRates | None]:
    """Make what counts the addresses' connects, and those of them that are refused."""
    rate = Rate.of(limits.connect_rate_per_address)
    return (None, None) if rate is None else (AddressRates(rate), AddressRates(rate))


def _refusal(reason: Reason, status: HTTPStatus, text: str, delay_s: float) -> Refusal:
    retry_after_s = whole_seconds(delay_s)
    plural = "" if retry_after_s == 1 else "s"
    text = f"{text} Retry in {retry_after_s} second{plural}."
    return Refusal(reason, status, text, retry_after_s)
