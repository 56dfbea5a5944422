"""Internal channels: what a node tells the others, and itself."""

from __future__ import annotations

import pytest

from realtime.errors import BrokerUnavailable
from realtime.testing.clock import settle
from realtime.types import Channel, JSONText, Publication
from tests.engine.support import running

pytestmark = pytest.mark.anyio

OWN = Channel("@test")


async def test_a_listener_is_called_until_it_stops_listening() -> None:
    """Whoever publishes; the hub and its metrics know nothing of it."""
    async with running() as (node, _):
        subscriptions, heard = node.services.subscriptions, list[Publication]()
        await subscriptions.listen(OWN, heard.append)
        await node.parts.broker.publish(Publication(OWN, JSONText(b"1")))
        await settle()
        subscriptions.unlisten(OWN, heard.append)
        await settle()
        await node.parts.broker.publish(Publication(OWN, JSONText(b"2")))
        await settle()

        assert [each.data for each in heard] == [b"1"]
        assert node.metrics.total(node.metrics.publications) == 0


async def test_who_could_not_listen_is_never_called() -> None:
    """The error is the broker's own, and listening again works."""
    async with running() as (node, _):
        subscriptions, heard = node.services.subscriptions, list[Publication]()
        await node.parts.broker.aclose()
        with pytest.raises(BrokerUnavailable):
            await subscriptions.listen(OWN, heard.append)
        await node.parts.broker.start()
        await subscriptions.listen(OWN, heard.append)
        await node.parts.broker.publish(Publication(OWN, JSONText(b"1")))
        await settle()

        assert len(heard) == 1
