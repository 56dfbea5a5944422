"""Publishing with what a namespace keeps."""

from __future__ import annotations

import pytest

from realtime.adapters.broker.memory import MemoryBroker
from realtime.core.access import NOTHING, Identity, Kind
from realtime.core.namespaces import NamespaceDefinition
from realtime.engine.keeping import Keeping, Once, author_of
from realtime.settings import HistorySettings
from realtime.types import Channel, JSONText, Publication, UserId

pytestmark = pytest.mark.anyio

ONE = Publication(Channel("chat:a"), JSONText(b"1"))


def once(user: str, key: str) -> Once:
    """What a user who gives this key asks for."""
    identity = Identity(UserId(user), None, NOTHING, Kind.USER)
    return Once(key, author=author_of(identity))


@pytest.mark.parametrize("history", [0, 5])
async def test_nobody_can_use_up_the_key_of_another(history: int) -> None:
    """Whatever characters users and keys are made of."""
    broker = MemoryBroker()
    await broker.start()
    namespace = NamespaceDefinition("chat", history_size=history)
    keeping = Keeping(broker, {"chat": namespace}, HistorySettings())
    asked = [once("ann", "b:k"), once("ann:b", "k"), once("ann", "b:k")]
    placed = [await keeping.publish(ONE, one) for one in asked]

    assert [one.skipped for one in placed] == [None, None, "duplicate"]
