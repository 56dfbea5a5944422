"""Where tokens come from: a string, or a function that the application gives."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from realtime_client.errors import RealtimeError, TokenFailed

TokenSource = str | Callable[[], str | Awaitable[str]] | None
"""A token, or a function (also a coroutine function) called when one is needed."""

REFRESH_AT = 0.8  # of the lifetime that is left when the token comes into force


class Tokens:
    """
    The token in use, fetched when it is first needed and when it has been used up.

    One fetched token serves every connection until it expires or is refused.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token = source if isinstance(source, str) else None

    @property
    def renewable(self) -> bool:
        """Whether there can be another token than the present one."""
        return callable(self._source)

    async def current(self) -> str | None:
        """Return the token in use. Raises like ``renew``."""
        if self._token is None and self.renewable:
            return await self.renew()
        return self._token

    async def renew(self) -> str:
        """
        Return a new token, from now on the one in use.

        Raises:
            RealtimeError: What the application's function raised, if it was one.
            TokenFailed: If it raised anything else or returned no string.
        """
        assert callable(self._source)
        try:
            token = self._source()
            if inspect.isawaitable(token):
                token = await token
        except RealtimeError:
            raise
        except Exception as exc:
            raise TokenFailed(f"the token function raised {exc!r}") from exc
        if not isinstance(token, str):
            raise TokenFailed(
                f"the token function must return a string, not {type(token).__name__}"
            )
        self._token = token
        return token

    def forget(self) -> None:
        """The token in use was refused as expired: the next one must be a new one."""
        if self.renewable:
            self._token = None
