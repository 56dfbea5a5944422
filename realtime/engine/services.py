"""What a connection is given by its node: nothing of it is global."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realtime.adapters.broker.port import Broker
from realtime.adapters.ledger.port import Ledger
from realtime.clock import Clock
from realtime.core.access import Access
from realtime.core.counting import Counting
from realtime.core.limits import Rate
from realtime.engine.acks import Acks
from realtime.engine.auth import Authenticator
from realtime.engine.directory import Directory
from realtime.engine.gate import Gate
from realtime.engine.hooks import Hooks
from realtime.engine.ingest import Ingest
from realtime.engine.keepalive import Keepalive
from realtime.engine.keeping import Keeping
from realtime.engine.metrics import Metrics
from realtime.engine.notify import Notify, nobody
from realtime.engine.people import People
from realtime.engine.subscriptions import Subscriptions
from realtime.engine.tasks import Tasks
from realtime.engine.wheel import Wheel
from realtime.errors import CLOSE_CODES
from realtime.settings import AuthSettings, LimitSettings
from realtime.types import NodeId

if TYPE_CHECKING:
    from realtime.engine.connection import Connection

#: Close codes of RFC 6455 7.4.1 that are told apart in metrics, beside our own.
STANDARD_CODES = (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009)
KNOWN_CODES = frozenset(STANDARD_CODES) | {one.code for one in CLOSE_CODES}


@dataclass(slots=True)
class Services:
    """One node's components, as its connections use them."""

    node: NodeId
    clock: Clock
    limits: LimitSettings
    auth: AuthSettings
    marks_ttl_s: float
    access: Access
    authenticator: Authenticator
    gate: Gate
    directory: Directory
    counting: Counting
    hooks: Hooks
    people: People
    ledger: Ledger
    broker: Broker
    keeping: Keeping
    ingest: Ingest
    acks: Acks
    subscriptions: Subscriptions
    wheel: Wheel
    keepalive: Keepalive
    metrics: Metrics
    tasks: Tasks
    connections: set[Connection] = field(default_factory=set)
    publish_rate: Rate | None = None  # of one connection; None: as often as it likes
    notify: Notify = nobody

    @staticmethod
    def code_label(code: int) -> str:
        """A close code as a label of bounded variety: a client may send any code."""
        return str(code) if code in KNOWN_CODES else "other"
