"""Repeating a command that may be repeated, over as many connections as it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from realtime_client.backoff import Backoff
from realtime_client.clock import Clock, Signal
from realtime_client.errors import CommandError, ConnectionLost, NotConnected, Retry

T = TypeVar("T")


async def repeat(
    attempt: Callable[[], Awaitable[T]],
    *,
    retry_s: float,
    clock: Clock,
    backoff: Backoff,
    online: Callable[[float], Awaitable[bool]],
    renewable: bool = False,
) -> T:
    """
    Return what *attempt* does, as soon as it is answered.

    It is made again on the next connection when the one that it was made on is lost,
    and after a delay when the server says that it may succeed later (or, if the token
    is *renewable*, with another token); until *retry_s* have passed. *online* waits for
    a connection, for so many seconds at most.

    Raises:
        NotConnected: If there was no connection for the first attempt.
        ConnectionLost, CommandError: What the last attempt came to.
    """
    deadline = clock.monotonic() + retry_s
    lost: ConnectionLost | None = None
    while True:
        try:
            return await attempt()
        except ConnectionLost as exc:
            lost = exc
        except NotConnected as exc:
            if lost is None:
                raise
            raise lost from exc
        except CommandError as exc:
            if not (exc.retry is Retry.LATER or (renewable and _needs_token(exc))):
                raise
            again_at = clock.monotonic() + backoff.next_delay(exc.retry_after_s)
            if again_at >= deadline:
                raise
            await Signal(clock).wait(again_at)
        left_s = deadline - clock.monotonic()
        if left_s <= 0 or not await online(left_s):
            raise lost or NotConnected("the connection was lost while it was repeated")


def _needs_token(error: CommandError) -> bool:
    """Whether a new token helps, which is being fetched when the server says so."""
    return error.retry is Retry.REFRESH
