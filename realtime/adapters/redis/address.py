"""
Where Redis is: reads ``redis.url`` in all its forms.

    redis://user:password@host:6379/0       one server; rediss:// with TLS
    unix:///run/redis.sock?db=0             one server behind a Unix socket
    redis+cluster://h1:7000,h2:7001         a cluster; any of its nodes will do
    redis+sentinel://h1:26379,h2:26379/main/0    the master that the sentinels name

``rediss+cluster`` and ``rediss+sentinel`` use TLS throughout. The query carries options
of redis-py's connections (``ssl_ca_certs=/path`` and so on); with Sentinel, also
``sentinel_username`` and ``sentinel_password``. Errors never repeat the password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url

from realtime.errors import ConfigError

KEY = "redis.url"
READ_BYTES = 64 * 1024  # one read from the socket; bounds one turn of the event loop


class Kind(Enum):
    """How the servers are organised."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


class Address(NamedTuple):
    """A server; for a Unix socket the path and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


@dataclass(frozen=True, slots=True)
class Target:
    """
    What ``redis.url`` says.

    *addresses* are the server, some nodes of the cluster, or the sentinels. *options*
    are keyword arguments of *connection_class*, without host and port.
    """

    kind: Kind
    addresses: tuple[Address, ...]
    connection_class: type[AbstractConnection]
    options: Mapping[str, Any]
    master: str | None = None
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def connection(self, address: Address) -> AbstractConnection:
        """Return a connection that has not been opened yet."""
        return self._make(self.options, address)

    def sentinel_connection(self, address: Address) -> AbstractConnection:
        """Return one to a sentinel, which has another password and no databases."""
        tls = {name: v for name, v in self.options.items() if name.startswith("ssl_")}
        return self._make({**tls, **self.sentinel_options}, address)

    def _make(self, options: Mapping[str, Any], address: Address) -> AbstractConnection:
        place = {"host": address.host, "port": address.port}
        if not address.port:
            place = {"path": address.host}
        # Replies keep the plain shapes of protocol 2. Timeouts are the business of the
        # one who waits (client.py): a connection that is only listened to has none.
        return self.connection_class(
            **{"client_name": self.name, **options, **place},
            protocol=2,
            driver_info=None,  # costs 3 ms and two round trips for each connection
            socket_timeout=None,
            socket_read_size=READ_BYTES,
        )


def parse_target(url: str, name: str | None = None) -> Target:
    """
    Read ``redis.url``; *name* is what its connections are called.

    Raises:
        ConfigError: If it has none of the forms above; the sentence says what is wrong.
    """
    scheme, found, rest = url.partition("://")
    transport, _, organisation = scheme.partition("+")
    if not found or transport not in ("redis", "rediss", "unix"):
        raise ConfigError(KEY, f"begins with {scheme!r}; use {_SCHEMES}")
    if organisation not in ("", "cluster", "sentinel") or (
        transport == "unix" and organisation
    ):
        raise ConfigError(KEY, f"begins with {scheme!r}; use {_SCHEMES}")
    target = _parse(transport, Kind(organisation or "single"), rest)
    if name is not None:
        # Redis refuses spaces and the like in names.
        target = replace(target, name=re.sub(r"[^!-~]", "_", name))
    try:
        target.connection(target.addresses[0])
    except TypeError as error:
        raise ConfigError(KEY, f"has an option that does not exist: {error}") from None
    return target


_SCHEMES = (
    "redis://, rediss://, unix://, redis+cluster://, rediss+cluster://, "
    "redis+sentinel:// or rediss+sentinel://"
)


def _parse(transport: str, kind: Kind, rest: str) -> Target:
    if kind is Kind.SINGLE:
        connection_class, options = _parse_one(f"{transport}://{rest}")
        path = options.pop("path", None)
        address = Address(options.pop("host", "localhost"), options.pop("port", 6379))
        return Target(
            kind, (Address(path, 0) if path else address,), connection_class, options
        )
    parts = urlsplit(f"//{rest}")
    credentials, _, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_parse_host(host, kind) for host in hosts.split(","))
    path = parts.path.strip("/")
    master, database, query = None, path, parts.query
    sentinel_options: dict[str, Any] = {}
    if kind is Kind.SENTINEL:
        master, _, database = path.partition("/")
        query, sentinel_options = _split_query(query)
        if not master:
            raise ConfigError(KEY, "names no master; put it after the hosts: /main")
    elif database not in ("", "0"):
        raise ConfigError(KEY, f"asks a cluster for database {database}; it has only 0")
    login = f"{credentials}@" if credentials else ""
    connection_class, options = _parse_one(
        f"{transport}://{login}localhost/{database or '0'}?{query}"
    )
    options.pop("host", None)
    return Target(kind, addresses, connection_class, options, master, sentinel_options)


def _parse_one(url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise ConfigError(KEY, f"cannot be read: {error}") from None
    return options.pop("connection_class", Connection), options


def _parse_host(text: str, kind: Kind) -> Address:
    default = 26379 if kind is Kind.SENTINEL else 6379
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port or default
    except ValueError:
        parts, port = None, 0
    if parts is None or not parts.hostname:
        raise ConfigError(KEY, f"has the host {text!r}; use host:port,host:port")
    return Address(parts.hostname, port)


def _split_query(query: str) -> tuple[str, dict[str, Any]]:
    mine: list[tuple[str, str]] = []
    sentinels: dict[str, Any] = {}
    for name, value in parse_qsl(query):
        if name in ("sentinel_username", "sentinel_password"):
            sentinels[name.removeprefix("sentinel_")] = value
        else:
            mine.append((name, value))
    return urlencode(mine), sentinels
