"""
What must hold between settings, and what is allowed but probably not meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from realtime.adapters.redis.address import parse_target
from realtime.config.files import check_certificate, check_readable
from realtime.config.hook_checks import hook_relations, hook_warnings
from realtime.config.model import Config
from realtime.config.people_checks import people_relations, people_warnings
from realtime.config.schema import format_bytes
from realtime.core.tokens import KeySet
from realtime.edges.proxy import trusted_proxies
from realtime.errors import ConfigError
from realtime.settings import LimitSettings, ServerSettings
from realtime.units import format_duration

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#]+")
_REDIS = re.compile(r"(rediss?(\+cluster|\+sentinel)?|unix)://.+")
# Braces would be taken for the hash tags by which a cluster places keys.
_REDIS_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def relations(config: Config) -> Iterator[ConfigError]:
    """Yield an error for each relation between settings that does not hold."""
    yield from _server(config.server)
    yield from _redis(config)
    yield from _auth(config)
    yield from _keepalive(config.limits)
    yield from _sizes(config.limits)
    yield from _api_keys(config)
    yield from hook_relations(config.hooks, config.webhooks)
    yield from people_relations(config.users, config.namespaces.keys())


def _server(server: ServerSettings) -> Iterator[ConfigError]:
    if server.dev and not is_loopback(server.host):
        yield ConfigError(
            "server.dev",
            "allows everything to everybody, so only on a loopback host such as "
            f"127.0.0.1; host is {server.host}",
        )
    yield from _tls(server)
    for origin in server.allowed_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield ConfigError(
                "server.allowed_origins",
                'must be "*" or scheme and host, such as "https://app.example.com", '
                f"without a path; got {origin!r}",
            )
    try:
        trusted_proxies(server.trusted_proxies)
    except ConfigError as exc:
        yield exc


def is_loopback(host: str) -> bool:
    """Whether only programs on the same machine can reach *host*."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _tls(server: ServerSettings) -> Iterator[ConfigError]:
    cert, key = server.tls_cert, server.tls_key
    if cert is None and key is None:
        return
    if cert is None:
        yield ConfigError("server.tls_key", "needs tls_cert too")
    elif key is None:
        yield ConfigError("server.tls_cert", "needs tls_key too")
    else:
        unreadable = [
            *_unreadable("server.tls_cert", cert),
            *_unreadable("server.tls_key", key),
        ]
        yield from unreadable
        if not unreadable:
            yield from _misfit(cert, key)


def _misfit(cert: str, key: str) -> Iterator[ConfigError]:
    try:
        check_certificate(cert, key)
    except ValueError as exc:
        yield ConfigError("server.tls_cert", str(exc))


def _unreadable(key: str, file: str) -> Iterator[ConfigError]:
    try:
        check_readable(file)
    except ValueError as exc:
        yield ConfigError(key, str(exc))


def _redis(config: Config) -> Iterator[ConfigError]:
    url = config.redis.url
    if url is None and config.server.workers > 1:
        yield ConfigError(
            "server.workers",
            f"{config.server.workers} processes need Redis to share counters and "
            'messages: set redis.url, such as "redis://localhost:6379/0"',
        )
    if url is not None:
        yield from _redis_url(url)
    if not _REDIS_PREFIX.fullmatch(config.redis.prefix):
        yield ConfigError(
            "redis.prefix",
            "must be 1 to 64 of A-Z, a-z, 0-9 and _ . : -; "
            f"got {config.redis.prefix!r}",
        )


def _redis_url(url: str) -> Iterator[ConfigError]:
    if not _REDIS.fullmatch(url):
        # The value is not quoted: it may hold a password.
        yield ConfigError(
            "redis.url",
            "must begin with redis://, rediss:// or unix://, or with redis+cluster:// "
            "or redis+sentinel:// (rediss+... for TLS)",
        )
        return
    try:
        parse_target(url)
    except ConfigError as exc:
        yield exc


def _auth(config: Config) -> Iterator[ConfigError]:
    try:
        KeySet.configured(config.auth)
    except ConfigError as exc:
        yield exc
    url = config.auth.jwks_url
    if url is None:
        return
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        sound = False
    if not sound:
        yield ConfigError(
            "auth.jwks_url",
            "must be an address such as "
            f'"https://login.example.com/.well-known/jwks.json"; got {url!r}',
        )


def _keepalive(limits: LimitSettings) -> Iterator[ConfigError]:
    low, high = limits.keepalive_min_s, limits.keepalive_max_s
    if low > high:
        yield ConfigError(
            "limits.keepalive_min",
            f"{format_duration(low)} is more than keepalive_max "
            f"({format_duration(high)})",
        )
    elif not low <= limits.keepalive_default_s <= high:
        yield ConfigError(
            "limits.keepalive_default",
            f"{format_duration(limits.keepalive_default_s)} is not between "
            f"keepalive_min ({format_duration(low)}) and keepalive_max "
            f"({format_duration(high)})",
        )


def _sizes(limits: LimitSettings) -> Iterator[ConfigError]:
    """A part that is larger than what carries it could never arrive."""
    for part, whole in (
        ("max_event", "max_frame"),
        ("max_publication", "max_frame"),
        ("max_publication", "max_outbox"),
    ):
        inner = getattr(limits, f"{part}_bytes")
        outer = getattr(limits, f"{whole}_bytes")
        if inner > outer:
            yield ConfigError(
                f"limits.{part}",
                f"{format_bytes(inner)} is more than {whole} ({format_bytes(outer)}): "
                f"nothing so large could pass; lower {part} or raise {whole}",
            )


def _api_keys(config: Config) -> Iterator[ConfigError]:
    names: dict[str, str] = {}
    for key in config.api_keys:
        first = names.setdefault(key.sha256, key.name)
        if first != key.name:
            yield ConfigError(f"api_keys.{key.name}", f"is the same key as {first}")


def warnings(config: Config) -> list[str]:
    """Return sentences about what is allowed but probably not meant."""
    found = []
    auth = config.auth
    keys = (auth.hmac_secret, auth.public_key, auth.jwks_url)
    if config.server.dev:
        found.append("dev: everything is allowed to everybody on this machine")
    elif not any(keys) and not auth.anonymous:
        found.append(
            "no client can connect: set auth.hmac_secret, auth.public_key or "
            "auth.jwks_url, or allow anonymous sessions with auth.anonymous = true"
        )
    if auth.jwks_url is not None and auth.jwks_url.startswith("http://"):
        found.append(
            "auth.jwks_url is not https: who can change its answer can make tokens"
        )
    found += hook_warnings(config.hooks, config.webhooks)
    found += people_warnings(config.users, config.webhooks)
    return found
