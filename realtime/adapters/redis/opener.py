"""
Opens connections: to a server, to a node of a cluster, or to the master of the hour.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.adapters.redis.address import Address, Kind, Target


class Opener:
    """Opens connections to what ``redis.url`` says; each attempt takes *timeout_s*."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s

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
                return await _connect(self._target.connection(address))
        except TimeoutError:
            raise RedisTimeoutError(
                f"{address} does not answer within {self._timeout_s:g} s"
            ) from None

    async def _open_master(self) -> AbstractConnection:
        address = await self._find_master()
        connection = await _connect(self._target.connection(address))
        # The sentinels may not have noticed yet that it has become a replica.
        role = await _ask(connection, "ROLE")
        if role[0] != b"master":
            await connection.disconnect(nowait=True)
            raise RedisConnectionError(f"{address} is no master now")
        return connection

    async def _find_master(self) -> Address:
        sentinels, error = self._target.addresses, "they do not know it"
        # One is asked after the other: each may use up a part of the time only.
        part_s = self._timeout_s / (len(sentinels) + 1)
        for sentinel in sentinels:
            try:
                async with asyncio.timeout(part_s):
                    found = await self._ask_sentinel(sentinel)
            except (RedisError, OSError) as failed:  # also TimeoutError
                error = str(failed) or f"{sentinel} does not answer"
                continue
            if found is not None:
                return Address(found[0].decode(), int(found[1]))
        raise RedisConnectionError(
            f"no sentinel tells the master {self._target.master!r}: {error}"
        )

    async def _ask_sentinel(self, sentinel: Address) -> Any:
        connection = await _connect(self._target.sentinel_connection(sentinel))
        try:
            name = self._target.master or ""
            return await _ask(connection, "SENTINEL GET-MASTER-ADDR-BY-NAME", name)
        finally:
            await connection.disconnect(nowait=True)


async def _connect(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        raise
    return connection


async def _ask(connection: AbstractConnection, *command: str) -> Any:
    """Run one command; the connection is closed if that fails."""
    await connection.send_command(*command, check_health=False)
    return await connection.read_response(disable_decoding=True)
