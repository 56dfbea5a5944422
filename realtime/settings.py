"""
One frozen dataclass of settings per component, with the defaults and what each
protects.

The loader (config.py) fills them from ``realtime.toml`` and the environment; a
component is given its own and never sees the others. Durations are seconds and sizes
are bytes here; in the file they may be written ``"50ms"``, ``"5m"``, ``"64KiB"``.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``[server]``: where to listen and whom to believe."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1  # processes sharing the port; more than one needs Redis
    # Browsers' Origin: "*" for any; with none given, only the page's own host.
    allowed_origins: tuple[str, ...] = ()
    # Addresses or networks whose forwarded headers are believed.
    trusted_proxies: tuple[str, ...] = ()
    tls_cert: str | None = None  # PEM files; both or neither
    tls_key: str | None = None
    # permessage-deflate for the clients that offer it: less data, more processor time.
    compression: bool = False
    dashboard: bool = True  # the page at /
    dev: bool = False  # everything is allowed to everyone, on loopback only


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """``[redis]``: without a url, the process works alone in memory."""

    # redis:// rediss:// unix:// ; redis+cluster:// ; redis+sentinel://
    url: str | None = field(default=None, repr=False)  # it may hold a password
    url_file: str | None = None
    prefix: str = "realtime"  # begins every key and pub/sub channel
    timeout_s: float = 2.0  # one command; a commit that times out is repeated
    probe_s: float = 2.0  # how often delivery through pub/sub is proved


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``[auth]``: how tokens are checked. Keys may be given in place or as files."""

    hmac_secret: str | None = field(default=None, repr=False)  # HS256
    hmac_secret_file: str | None = None
    public_key: str | None = None  # RS256 or ES256, PEM
    public_key_file: str | None = None
    jwks_url: str | None = None  # keys by `kid`, fetched and rotated
    jwks_refresh_s: float = 300.0
    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 5.0  # how far clocks of issuer and server may differ
    grace_s: float = 25.0  # how long a session outlives its token, waiting for refresh
    # Hello without a token is allowed; namespaces and counters decide what it may.
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """
    ``[api_keys.NAME]``: a key of a backend, as its SHA-256 in hex. Several may have one
    name; the name is the backend, and the owner of its devices.
    """

    name: str
    sha256: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """
    ``[limits]``: what a stranger may cost us. Told to clients in the reply to hello.
    """

    max_connections: int = 20_000
    max_connections_per_address: int = 0  # 0: no limit; phones share addresses
    max_connections_per_user: int = 0  # on all nodes together; 0: no limit
    max_http_connections: int = 5_000  # requests and streams, of one node
    connect_rate: int = 1_000  # new connections a second on one node; 0: no limit
    connect_rate_per_address: int = 0
    publish_rate: int = 100  # publications a second of one connection; 0: no limit
    max_frame_bytes: int = 256 * 1024  # one WebSocket message
    max_body_bytes: int = 1024 * 1024  # one HTTP body
    max_event_bytes: int = 32 * 1024
    max_batch_events: int = 1_000
    max_publication_bytes: int = 64 * 1024
    max_subscriptions: int = 512  # per connection
    max_errors: int = 100  # bad messages on one connection before it is closed
    max_outbox_bytes: int = 1024 * 1024
    hello_timeout_s: float = 10.0
    close_timeout_s: float = 5.0
    keepalive_default_s: float = 25.0
    keepalive_min_s: float = 5.0
    keepalive_max_s: float = 1800.0
    pong_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """``[ledger]``: how events are committed."""

    tick_s: float = 0.1  # events wait at most this long before they are committed
    shards: int = 1  # by device; more than one spreads the ledger over a cluster
    marks_ttl_s: float = 90 * 86400.0  # a device silent for longer starts anew
    idempotency_ttl_s: float = 86400.0  # Idempotency-Key is remembered for this long
    max_pending_events: int = 100_000  # beyond: slow_down
    max_commit_events: int = 20_000  # committed together, of at most 2,000 devices
    heal_s: float = 15.0  # watched counters are read in full this often


@dataclass(frozen=True, slots=True)
class EventSettings:
    """``[events]``: which events are taken."""

    track: str = "token"  # token | user | anyone
    max_age_s: float = 72 * 3600.0  # older events are rejected
    max_ahead_s: float = 60.0  # events further in the future are dated now


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``[logs]``"""

    format: str = "auto"  # auto | json | console; auto: console on a terminal
    level: str = "info"  # debug | info | warning | error


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """``[history]``: reading what was published; which channels keep it is theirs."""

    max_page: int = 500  # publications in one reply
    max_reply_bytes: int = 512 * 1024  # of data in one reply; at least one is told
    check_s: float = 10.0  # how often positions are compared with the broker's
    idempotency_ttl_s: float = 300.0  # a publication's key is remembered for this long
    meta_ttl_s: float = 30 * 86400.0  # an unused channel keeps offset and epoch


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """``[presence]``: who is there; which channels keep it is theirs."""

    lease_s: float = 20.0  # the members of a node that died are gone after this
    max_page: int = 1_000  # members in one reply


@dataclass(frozen=True, slots=True)
class UserSettings:
    """``[users]``: whether users are online, on any node."""

    online: bool = False  # whether it is kept, and its changes published
    linger_s: float = 10.0  # who comes back within this time was never away
    # Where changes are published, such as "status:{user}"; without it, nowhere.
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """``[drain]``: how connections are moved elsewhere: at a deploy, and with age."""

    notice_s: float = 0.0  # readiness is red for this long before the first goodbye
    over_s: float = 10.0  # the goodbyes are spread over this time
    return_s: float = 5.0  # clients come back at a random time within this
    max_age_s: float = 0.0  # connections older than about this are moved; 0: never


@dataclass(frozen=True, slots=True)
class HookSettings:
    """``[hooks]``: code of the developer's own, in this process or behind a URL."""

    module: str | None = None  # Python module with functions of the known names
    url: str | None = None  # the same questions by HTTP, signed
    points: tuple[str, ...] = ()  # which questions are asked at the URL
    secret: str | None = field(default=None, repr=False)  # signs what is sent there
    secret_file: str | None = None
    timeout_s: float = 2.0  # of one call
    failures: int = 5  # in a row, after which nothing is asked for pause
    pause_s: float = 10.0
    on_failure: str = "deny"  # deny | allow: what an answer that fails to come means
    max_waiting: int = 1_000  # calls under way; beyond, they fail at once


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """``[webhooks]``: telling a backend what happened, signed and repeated."""

    url: str | None = None
    secret: str | None = field(default=None, repr=False)
    secret_file: str | None = None
    events: tuple[str, ...] = ()  # user_online, user_offline
    timeout_s: float = 5.0
    give_up_s: float = 300.0  # a notice that is not taken is repeated for this long
    max_waiting: int = 10_000  # notices; beyond, the oldest is dropped and counted
