"""Running several coroutines of which the first to end decides."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from realtime_client.errors import Disconnected, RealtimeError


async def first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """
    Run all until one of them ends, then cancel the others and wait for them.

    Raises what they raised; of several, the one that says most.
    """
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [one for one in results if isinstance(one, Exception)]
    if errors:
        raise max(errors, key=_weight)


def _weight(error: Exception) -> int:
    """How much an error tells: a defect most, a lost connection least."""
    if not isinstance(error, RealtimeError):
        return 3
    if not isinstance(error, Disconnected):
        return 2
    return int(error.code is not None)
