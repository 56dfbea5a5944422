"""
Pub/sub: one connection per server that is only listened to, and kept whole.

*Placement*: standalone and behind Sentinel, all channels are on one lane; in a cluster
each is on the lane of the master of its slot (sharded pub/sub), and moves with it.
*Loss*: delivery is at most once. A lane that is lost comes back with jittered back-off
and asks again for all of its channels; when they are confirmed, ``on_reconnected`` is
called, because messages may have been lost. *Deafness*: ``probe`` proves each lane by a
message that must come back; a lane that stays silent is replaced.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from itertools import count, islice

import structlog
from redis.exceptions import AskError, ResponseError

from realtime.adapters.redis.address import Address
from realtime.adapters.redis.call import CONNECTION_ERRORS
from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.lane import Lane
from realtime.adapters.redis.line import end
from realtime.errors import Unavailable

OnMessage = Callable[[bytes], None]

PLACED_AT_ONCE = 1000  # channels in one turn of the event loop: a millisecond or so

log = structlog.get_logger()


class _Subscription:
    """One channel that somebody wants; ``ready`` while the server has confirmed it."""

    __slots__ = ("callback", "lane", "proven", "ready", "refusal", "waiting")

    def __init__(self, callback: OnMessage) -> None:
        self.callback = callback
        self.lane: Lane | None = None
        self.ready = asyncio.Event()
        self.refusal: ResponseError | None = None
        self.proven = False  # was confirmed before, so it is kept over a loss
        self.waiting = 0


class PubSub:
    """
    Subscriptions by channel. See the module.

    Callbacks run synchronously on the event loop, in the order of the messages, and
    must not raise. The number of channels is bounded by whoever subscribes.
    """

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self.on_reconnected: list[Callable[[], None]] = []
        self._link = link
        self._probe_base = f"{prefix}:probe:{secrets.token_hex(8)}"
        self._probe_channels: dict[Address, bytes] = {}
        self._probes: dict[bytes, asyncio.Event] = {}
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._lanes: dict[Address, Lane] = {}
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._misplaced = asyncio.Event()
        self._mover: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Starting twice is harmless. Raises Unavailable."""
        await self._link.start()
        if self._mover is None:
            self._mover = asyncio.create_task(self._keep_placed())
            self._sync_lanes()

    async def subscribe(self, channel: bytes, callback: OnMessage) -> None:
        """
        Call *callback* with each message; when it returns, the server has confirmed.

        Raises:
            Unavailable: If it does not in time. Then nothing is subscribed, unless it
                was before.
        """
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            subscription = self._subscriptions[channel] = _Subscription(callback)
            self._place(channel, subscription)
        subscription.callback = callback
        if not subscription.ready.is_set() or subscription.refusal:
            await self._confirm(channel, subscription)

    def unsubscribe(self, channel: bytes) -> None:
        """Stop it at once. Harmless when not subscribed."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None:
            if subscription.lane is not None:
                subscription.lane.leave(channel)
            subscription.ready.set()  # nobody needs to wait for it any more

    async def probe(self) -> bool:
        """
        Prove that what is published arrives here, on every lane.

        What the server has refused is asked for again: permissions may come back.
        """
        for channel, subscription in self._subscriptions.items():
            if subscription.refusal and subscription.lane is not None:
                subscription.lane.want(channel, recovering=subscription.proven)
        lanes = list(self._lanes.values())
        proofs = await asyncio.gather(*(self._prove(lane) for lane in lanes))
        return bool(proofs) and all(proofs)

    async def aclose(self) -> None:
        """Close connections and end tasks. Closing twice is harmless."""
        tasks = [*self._tasks.values(), *self._ending]
        if self._mover is not None:
            tasks.append(self._mover)
        self._mover = None
        self._tasks.clear()
        self._lanes.clear()
        await end(tasks)

    # -- what lanes tell: see lane.Owner -----------------------------------------------

    def received(self, channel: bytes, data: bytes) -> None:
        # Hot: once per message.
        subscription = self._subscriptions.get(channel)
        if subscription is not None:
            try:
                subscription.callback(data)
            except Exception:
                # One subscriber's defect must not close everybody's connection.
                log.exception("pubsub_callback_failed", channel=channel)

    def confirmed(self, channel: bytes) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is not None:
            subscription.proven = True
            subscription.refusal = None
            subscription.ready.set()

    def lost(self, lane: Lane, channels: Sequence[bytes]) -> None:
        for channel in channels:
            subscription = self._subscriptions.get(channel)
            if subscription is not None and subscription.lane is lane:
                subscription.ready.clear()
        self._misplaced.set()

    def refused(self, channels: Sequence[bytes], error: ResponseError) -> None:
        for channel in channels:
            subscription = self._subscriptions.get(channel)
            if subscription is None:
                continue
            subscription.ready.clear()
            if not isinstance(error, AskError):  # no redirection: told to who waits
                if subscription.refusal is None:
                    log.error("redis_refused_subscription", reason=str(error))
                subscription.refusal = error
                subscription.ready.set()
        self._misplaced.set()

    def recovered(self, lane: Lane) -> None:
        log.info("redis_pubsub_recovered", server=str(lane.address))
        for hook in self.on_reconnected:
            hook()

    def unreachable(self, lane: Lane) -> None:
        self._misplaced.set()

    # -- placement ---------------------------------------------------------------------

    def _place(self, channel: bytes, subscription: _Subscription) -> None:
        address = self._link.master_of(channel)
        lane = self._lanes.get(address) if address else None
        if lane is not subscription.lane:
            if subscription.lane is not None:
                subscription.lane.leave(channel)
            subscription.ready.clear()
            subscription.lane = lane
        if lane is None:
            self._misplaced.set()
        elif not subscription.ready.is_set():
            lane.want(channel, recovering=subscription.proven)

    async def _keep_placed(self) -> None:
        failures = 0
        while True:
            await self._misplaced.wait()
            self._misplaced.clear()
            try:
                await self._link.refresh()
            except CONNECTION_ERRORS:
                self._misplaced.set()
            self._sync_lanes()
            await self._place_all()
            failures = failures + 1 if self._misplaced.is_set() else 1
            await asyncio.sleep(self._link.backoff.delay_s(failures))

    async def _place_all(self) -> None:
        for number, channel in enumerate(tuple(self._subscriptions), start=1):
            subscription = self._subscriptions.get(channel)
            if subscription is not None:
                self._place(channel, subscription)
            if number % PLACED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _sync_lanes(self) -> None:
        masters = self._link.masters
        for address in masters:
            if address not in self._lanes:
                lane = self._lanes[address] = Lane(address, self._link, self)
                self._tasks[lane] = asyncio.create_task(lane.run())
        for address in self._lanes.keys() - set(masters):
            task = self._tasks.pop(self._lanes.pop(address))
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _confirm(self, channel: bytes, subscription: _Subscription) -> None:
        subscription.waiting += 1
        try:
            async with asyncio.timeout(self._link.timeout_s):
                await subscription.ready.wait()
            if subscription.refusal is not None:
                raise Unavailable(f"Redis refuses to subscribe: {subscription.refusal}")
        except TimeoutError:
            if subscription.lane is not None:
                subscription.lane.replace(
                    "a subscription was not confirmed in time", self._link.timeout_s
                )
            raise Unavailable(
                f"Redis did not confirm within {self._link.timeout_s:g} s"
            ) from None
        finally:
            subscription.waiting -= 1
            ready = subscription.ready.is_set() and subscription.refusal is None
            if not (ready or subscription.proven or subscription.waiting):
                self._forget(channel, subscription)

    def _forget(self, channel: bytes, subscription: _Subscription) -> None:
        if self._subscriptions.get(channel) is subscription:
            self.unsubscribe(channel)

    # -- proof -------------------------------------------------------------------------

    async def _prove(self, lane: Lane) -> bool:
        nonce, heard = secrets.token_bytes(8), asyncio.Event()
        self._probes[nonce] = heard
        try:
            channel = self._probe_channel(lane.address)
            await self.subscribe(channel, self._heard)
            await self._link.publish(channel, nonce)
            async with asyncio.timeout(self._link.timeout_s):
                await heard.wait()
        except Unavailable:
            return False
        except TimeoutError:
            lane.replace("it is deaf: a probe did not come back")
            return False
        finally:
            del self._probes[nonce]
        return True

    def _heard(self, nonce: bytes) -> None:
        heard = self._probes.get(nonce)
        if heard is not None:
            heard.set()

    def _probe_channel(self, address: Address) -> bytes:
        known = self._probe_channels.get(address)
        if known is not None:
            if self._link.master_of(known) == address:
                return known
            self.unsubscribe(known)
        # In a cluster, the channel must be in a slot of the server that is proved; each
        # of these is with the probability of its share of the slots.
        names = (f"{self._probe_base}:{number}".encode() for number in count())
        for name in islice(names, 100_000):
            if self._link.master_of(name) == address:
                self._probe_channels[address] = name
                return name
        raise Unavailable(f"{address} serves no slot")
