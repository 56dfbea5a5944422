"""One process as a whole: what it says of itself."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from realtime.testing.nodes import memory_node

pytestmark = pytest.mark.anyio


async def test_a_probe_that_fails_turns_readiness_red_and_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when it fails in a way that nobody has thought of."""

    async def fail() -> bool:
        raise ZeroDivisionError("a mistake in an adapter")

    async with memory_node("") as (node, clock):
        assert (await node.readiness())["broker"] == "ok"
        with monkeypatch.context() as broken, capture_logs() as logs:
            broken.setattr(node.parts.broker, "probe", fail)
            await clock.elapse(3)
        assert (await node.readiness())["broker"] != "ok"
        assert "probe_failed" in [log["event"] for log in logs]

        await clock.elapse(3)
        assert (await node.readiness())["broker"] == "ok"
