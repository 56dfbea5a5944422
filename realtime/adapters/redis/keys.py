"""
Names of keys and pub/sub channels.

Everything of one ledger shard carries the same hash tag, so that one script may touch
it all: marks, cells, members of unique counts, and the channels that tell of changes.

    {realtime:0.3}:m:<device>                          mark and owner of a device
    {realtime:0.3}:c:<counter>:<grain>:<bucket>        hash: a bucket's cells by dims
    {realtime:0.3}:u:<counter>:<grain>:<bucket>:<dims> HyperLogLog of one unique count
    {realtime:0.3}:w:<counter>:<dims>                  channel: changes of a combination
    realtime:b:<channel>                               channel of the broker
    {realtime:b:<channel>}:m                           hash: position of a channel
    {realtime:b:<channel>}:h                           stream: what it has kept
    {realtime:b:<channel>}:i:<key>                     an idempotency key was used
    realtime:nodes                                     hash: reports of the nodes
    realtime:blocks                                    hash: who is blocked or revoked
    {realtime:notices}:s                               stream: notices to the webhook
    {realtime:notices}:l                               which node delivers them
    realtime:ledger                                    how the ledger is laid out
    realtime:counters                                  hash: what cells mean, by counter

The name of a channel of the broker contains no braces: they are written as in URLs, so
that what a channel keeps is in the slot of its pub/sub channel.
"""

from __future__ import annotations

from itertools import count

from realtime.adapters.redis.slots import SLOTS, slot_of
from realtime.core.cells import CellKey
from realtime.errors import ConfigError
from realtime.types import Channel, DeviceId


def check_prefix(prefix: str) -> str:
    """Return *prefix*. Raises ConfigError if it would break hash tags."""
    if not prefix or "{" in prefix or "}" in prefix:
        problem = f"is {prefix!r}; it must not be empty nor contain braces"
        raise ConfigError("redis.prefix", problem)
    return prefix


def shard_tag(prefix: str, shard: int, shards: int) -> bytes:
    """
    Return the hash tag of a ledger shard, braces included.

    The number after the shard's is the first that puts the tag into the shard's part of
    the slots, so that shards spread evenly over the masters of a cluster.
    """
    for attempt in count():
        tag = f"{{{prefix}:{shard}.{attempt}}}".encode()
        if slot_of(tag) * shards // SLOTS == shard:
            return tag
    raise AssertionError("count() is endless")


class LedgerKeys:
    """The names of one ledger, shard by shard."""

    def __init__(self, prefix: str, shards: int) -> None:
        self.layout = f"{check_prefix(prefix)}:ledger".encode()
        self.meanings = f"{prefix}:counters".encode()
        self.tags = tuple(shard_tag(prefix, shard, shards) for shard in range(shards))

    def check(self, shard: int) -> bytes:
        return b"%b:check" % self.tags[shard]

    def mark(self, shard: int, device: DeviceId) -> bytes:
        return b"%b:m:%b" % (self.tags[shard], device.encode())

    def bucket(self, shard: int, counter: str, grain_s: int, bucket: int) -> bytes:
        name = f"{counter}:{grain_s}:{bucket}".encode()
        return b"%b:c:%b" % (self.tags[shard], name)

    def members(self, shard: int, key: CellKey) -> bytes:
        name = f"{key.counter}:{key.grain_s}:{key.bucket}:{key.dims}".encode()
        return b"%b:u:%b" % (self.tags[shard], name)

    def changes(self, shard: int, counter: str, dims: str) -> bytes:
        return b"%b:w:%b" % (self.tags[shard], f"{counter}:{dims}".encode())


_BRACES = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


def broker_channel(prefix: str, channel: Channel) -> bytes:
    """Return the pub/sub channel that carries *channel*."""
    if "{" in channel or "}" in channel or "%" in channel:  # seldom
        channel = Channel(channel.translate(_BRACES))
    return f"{prefix}:b:{channel}".encode()


def broker_meta(name: bytes) -> bytes:
    """Return the key of the position of the channel that *name* carries."""
    return b"{%b}:m" % name


def broker_history(name: bytes) -> bytes:
    """Return the key of what the channel that *name* carries has kept."""
    return b"{%b}:h" % name


def broker_seen(name: bytes, idempotency_key: str) -> bytes:
    """Return the key that remembers *idempotency_key* on the channel of *name*."""
    return b"{%b}:i:%b" % (name, idempotency_key.encode())


def nodes_key(prefix: str) -> bytes:
    """Return the key of the registry."""
    return f"{prefix}:nodes".encode()


def notices_stream(prefix: str) -> bytes:
    """Return the key of the notices that wait."""
    return f"{{{prefix}:notices}}:s".encode()


def notices_lease(prefix: str) -> bytes:
    """Return the key that tells which node delivers them."""
    return f"{{{prefix}:notices}}:l".encode()


def blocks_key(prefix: str) -> bytes:
    """Return the key of the blocks."""
    return f"{prefix}:blocks".encode()
