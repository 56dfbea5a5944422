"""
The registry in Redis: one hash of reports, timed by Redis' own clock.

A report travels as a MessagePack map by field name; unknown fields are ignored, so that
nodes of neighbouring versions understand each other during a deploy.
"""

from __future__ import annotations

import math
from dataclasses import asdict, fields

import msgpack

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.keys import check_prefix, nodes_key
from realtime.adapters.redis.script import Script
from realtime.adapters.registry.port import NodeReport, Registry
from realtime.types import NodeId

NODES = Script.load(__package__, "nodes")
REPORT = Script.load(__package__, "report")

_FIELDS = tuple(field.name for field in fields(NodeReport))


class RedisRegistry(Registry):
    """See ``Registry``. The link is shared and closed by its owner."""

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._key = nodes_key(check_prefix(prefix))

    async def report(self, report: NodeReport, ttl_s: float) -> None:
        ttl_ms = str(max(1, math.ceil(ttl_s * 1000)))
        packed = msgpack.packb(asdict(report))
        await self._link.run_script(REPORT, [self._key], report.node, packed, ttl_ms)

    async def nodes(self) -> list[NodeReport]:
        packed = await self._link.run_script(NODES, [self._key])
        reports = [_read(one) for one in packed]
        return sorted(reports, key=lambda report: report.node)

    async def remove(self, node: NodeId) -> None:
        await self._link.call("HDEL", self._key, node, key=self._key)

    async def aclose(self) -> None:
        """Nothing of its own to let go of."""


def _read(packed: bytes) -> NodeReport:
    found = msgpack.unpackb(packed)
    return NodeReport(**{name: found[name] for name in _FIELDS if name in found})
