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
    max_commit_events: int = 2_000  # one atomic step; bounds how long Redis is busy
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
