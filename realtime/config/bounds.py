"""
Between which values settings make sense, and examples of right ones for errors.

Lower bounds keep the server working (a tick of nothing would only spin); upper bounds
catch a mistaken unit. Durations are in seconds and sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_KIB = 1024
_MIB = 1024 * _KIB
_HOUR_S = 3600.0
_DAY_S = 86400.0

BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "server.port": (0, 65535),  # 0: any free one
        "server.workers": (1, 256),
        "redis.timeout": (0.05, 60.0),
        "redis.probe": (0.1, 60.0),
        "auth.jwks_refresh": (10.0, _DAY_S),
        "auth.leeway": (0.0, 300.0),
        "auth.grace": (0.0, _HOUR_S),
        "limits.max_connections": (1, 10_000_000),
        "limits.max_connections_per_address": (0, 10_000_000),
        "limits.max_connections_per_user": (0, 1_000_000),
        "limits.max_http_connections": (1, 10_000_000),
        "limits.connect_rate": (0, 1_000_000),
        "limits.connect_rate_per_address": (0, 1_000_000),
        "limits.publish_rate": (0, 1_000_000),
        "limits.max_frame": (_KIB, 64 * _MIB),
        "limits.max_body": (_KIB, 256 * _MIB),
        "limits.max_event": (64, 16 * _MIB),
        "limits.max_batch_events": (1, 100_000),
        "limits.max_publication": (64, 16 * _MIB),
        "limits.max_subscriptions": (1, 100_000),
        "limits.max_errors": (1, 1_000_000),
        "limits.max_outbox": (4 * _KIB, 256 * _MIB),
        "limits.hello_timeout": (0.1, 300.0),
        "limits.close_timeout": (0.1, 60.0),
        "limits.keepalive_default": (1.0, _DAY_S),
        "limits.keepalive_min": (1.0, _DAY_S),
        "limits.keepalive_max": (1.0, _DAY_S),
        "limits.pong_timeout": (0.1, 300.0),
        "ledger.tick": (0.01, 10.0),
        "ledger.shards": (1, 1024),
        # Less could forget the mark of a silent device under its open connection.
        "ledger.marks_ttl": (_DAY_S, 3650 * _DAY_S),
        "ledger.idempotency_ttl": (60.0, 365 * _DAY_S),
        "ledger.max_pending_events": (1, 100_000_000),
        "ledger.max_commit_events": (1, 1_000_000),
        "ledger.heal": (0.1, _HOUR_S),
        "history.max_page": (1, 100_000),
        "history.max_reply": (_KIB, 64 * _MIB),
        "history.check": (0.1, _HOUR_S),
        "history.idempotency_ttl": (1.0, 7 * _DAY_S),
        "history.meta_ttl": (60.0, 3650 * _DAY_S),
        "presence.lease": (1.0, _HOUR_S),
        "presence.max_page": (1, 100_000),
        "users.linger": (0.0, _HOUR_S),
        "drain.notice": (0.0, 300.0),
        "drain.over": (0.0, _HOUR_S),
        "drain.return": (0.0, _HOUR_S),
        "drain.max_age": (0.0, 30 * _DAY_S),
        "hooks.timeout": (0.01, 60.0),
        "hooks.failures": (1, 1_000_000),
        "hooks.pause": (0.1, _HOUR_S),
        "hooks.max_waiting": (1, 1_000_000),
        "webhooks.timeout": (0.1, 60.0),
        "webhooks.give_up": (0.0, 7 * _DAY_S),
        "webhooks.max_waiting": (1, 10_000_000),
        "events.max_age": (1.0, 36500 * _DAY_S),  # a replay may be of old events
        "events.max_ahead": (0.0, _DAY_S),
    }
)

_RULES = ("token", "user", "anyone")

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "events.track": _RULES,
        "hooks.on_failure": ("deny", "allow"),
        "logs.format": ("auto", "json", "console"),
        "logs.level": ("debug", "info", "warning", "error"),
    }
)

EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "server.allowed_origins": '["https://app.example.com"]',
        "server.trusted_proxies": '["10.0.0.0/8"]',
        "server.tls_cert": '"/etc/realtime/cert.pem"',
        "server.tls_key": '"/etc/realtime/key.pem"',
        "redis.url": '"redis://localhost:6379/0"',
        "redis.url_file": '"/run/secrets/redis_url"',
        "auth.hmac_secret": "32 random bytes or more in hexadecimal, in quotes",
        "auth.hmac_secret_file": '"/run/secrets/hmac"',
        "auth.public_key": '"-----BEGIN PUBLIC KEY-----..."',
        "auth.public_key_file": '"/etc/realtime/issuer.pem"',
        "auth.jwks_url": '"https://login.example.com/.well-known/jwks.json"',
        "auth.issuer": '"https://login.example.com/"',
        "auth.audience": '"realtime"',
        "hooks.module": '"myapp.hooks"',
        "hooks.url": '"https://shop.example.com/realtime/hooks"',
        "hooks.points": '["authorise_subscribe"]',
        "hooks.secret": "32 random bytes in hexadecimal, in quotes",
        "hooks.secret_file": '"/run/secrets/hooks"',
        "webhooks.url": '"https://shop.example.com/realtime/notices"',
        "webhooks.secret": "32 random bytes in hexadecimal, in quotes",
        "webhooks.secret_file": '"/run/secrets/webhooks"',
        "webhooks.events": '["user_online", "user_offline"]',
    }
)

SECRET = frozenset({"auth.hmac_secret", "redis.url", "hooks.secret", "webhooks.secret"})
"""Settings whose values are never quoted in an error, and hidden when shown."""
