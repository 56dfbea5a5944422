"""
Opens connections: to a server, to a node of a cluster, or to the master of the hour.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.adapters.redis.address import Address, Kind, Target


class Opener:
    """Opens connections to what ``redis.url`` says; each attempt takes *timeout_s*."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._sentinel: Sentinel | None = None

    async def open(self, address: Address) -> AbstractConnection:
        """
        Open a connection to *address*; with Sentinel, to the master instead.

        Raises:
            redis.exceptions.ConnectionError: If nobody answers there.
            redis.exceptions.TimeoutError: If that takes too long.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._target.kind is Kind.SENTINEL:
                    return await self._open_master()
                return await self._open(address)
        except TimeoutError:
            raise RedisTimeoutError(
                f"{address} does not answer within {self._timeout_s:g} s"
            ) from None

    async def aclose(self) -> None:
        """Let go of the connections to the sentinels."""
        if self._sentinel is not None:
            await self._sentinel.aclose()
            self._sentinel = None

    async def _open(self, address: Address) -> AbstractConnection:
        connection = self._target.connection(address)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise
        return connection

    async def _open_master(self) -> AbstractConnection:
        if self._sentinel is None:
            self._sentinel = self._new_sentinel()
        master = await self._sentinel.discover_master(self._target.master or "")
        connection = await self._open(Address(str(master[0]), int(master[1])))
        # The sentinels may not have noticed yet that it has become a replica.
        await connection.send_command("ROLE", check_health=False)
        role: Any = await connection.read_response(disable_decoding=True)
        if role[0] != b"master":
            await connection.disconnect(nowait=True)
            raise RedisConnectionError(f"{master[0]}:{master[1]} is no master now")
        return connection

    def _new_sentinel(self) -> Sentinel:
        # One address after the other is asked: each may use up a part of the time only.
        part_s = self._timeout_s / (len(self._target.addresses) + 1)
        target = self._target
        tls = {
            name: value
            for name, value in target.options.items()
            if name.startswith("ssl_")
        }
        return Sentinel(  # type: ignore[no-untyped-call]
            [(address.host, address.port) for address in target.addresses],
            sentinel_kwargs={
                **tls,
                **(target.sentinel_options or {}),
                "ssl": issubclass(target.connection_class, SSLConnection),
                "socket_timeout": part_s,
                "socket_connect_timeout": part_s,
                "protocol": 2,
                "retry": Retry(NoBackoff(), 0),
            },
        )
