"""
The contract of a broker. Proved for every form by the suite in realtime/testing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from realtime.types import Channel, Publication

OnPublication = Callable[[Publication], None]


class Broker(ABC):
    """
    Carries publications to every node that has subscribers.

    Delivery is at most once per node; publications of one channel by one node arrive in
    the order of publishing. The publishing node receives its own publications through
    the same path, once. ``on_publication`` is called synchronously on the event loop
    and must not raise. History and recovery will be further methods of this port.
    """

    on_publication: OnPublication

    @abstractmethod
    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable when there is nobody to connect to."""

    @abstractmethod
    async def publish(self, channel: Channel, publication: Publication) -> None:
        """
        Hand over one publication.

        Raises:
            BrokerUnavailable: If it may not have been handed over.
        """

    @abstractmethod
    async def subscribe(self, channel: Channel) -> None:
        """
        Have this channel's publications delivered here.

        When it returns, publications made from now on will arrive (as far as pub/sub
        can promise). Subscribing twice is harmless. After a reconnect the broker
        resubscribes by itself.

        Raises:
            BrokerUnavailable: If that is not certain in time. A channel that was not
                subscribed before is then not subscribed.
        """

    @abstractmethod
    async def unsubscribe(self, channel: Channel) -> None:
        """Stop it. Harmless when not subscribed."""

    @abstractmethod
    async def probe(self) -> bool:
        """
        Prove delivery: publish to a channel of this node's own and see it come back.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of connections and tasks. Closing twice is harmless."""
