"""
The issuer's public keys, fetched from its JWKS address and kept fresh.

Laws: keys once had are kept while the issuer does not answer; however many tokens name
unknown keys, the issuer is asked at most once in ten seconds; redirections are not
followed and proxies of the environment not used, so the keys come from the configured
address and nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import orjson
import structlog

from realtime.clock import Clock
from realtime.core.tokens import KeySet
from realtime.errors import KeysUnavailable
from realtime.settings import AuthSettings

RETRY_S = 10.0
"""After a failure, and between two fetches because of unknown keys."""

MAX_BODY_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class JWKS:
    """
    A source of keys: the issuer's, fetched, and those that were configured in place.

    You must ``start`` it before use and ``aclose`` it afterwards.
    """

    def __init__(
        self, settings: AuthSettings, clock: Clock, *, timeout_s: float = 5.0
    ) -> None:
        assert settings.jwks_url is not None
        self._url = settings.jwks_url
        self._refresh_s = settings.jwks_refresh_s
        self._clock = clock
        self._timeout_s = timeout_s
        self._configured = KeySet.configured(settings)
        self._fetched: KeySet | None = None
        self._attempted_at = float("-inf")
        self._fetching: asyncio.Task[bool] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._client: httpx.AsyncClient | None = None
        self.keys = self._configured

    async def start(self) -> None:
        """
        Fetch the keys, and do so again every ``jwks_refresh_s`` seconds.

        An issuer that does not answer is logged, and asked again soon: this server may
        well be of use to those whose keys it has.
        """
        self._client = httpx.AsyncClient(
            timeout=self._timeout_s,
            verify=httpx.create_ssl_context(),  # SSL_CERT_FILE is heeded all the same
            trust_env=False,  # neither proxies nor the passwords of .netrc
            follow_redirects=False,
            headers={"accept": "application/json"},
        )
        fetched = await self._fetch()
        self._refreshing = asyncio.create_task(self._keep_fresh(fetched))

    async def refresh(self) -> None:
        """
        Return when the keys are as new as can be.

        Raises:
            KeysUnavailable: If the issuer does not answer, or was asked a moment ago.
        """
        under_way = self._fetching is not None
        since = self._clock.monotonic() - self._attempted_at
        if since < RETRY_S and not under_way:
            raise KeysUnavailable(
                "the token names a key that is not known here yet; "
                f"the issuer is asked again in {RETRY_S - since:.0f} s"
            )
        if not await self._fetch():
            raise KeysUnavailable("the issuer of tokens does not answer")

    async def aclose(self) -> None:
        """Let go of the connection and the tasks. Closing twice is harmless."""
        tasks = [task for task in (self._refreshing, self._fetching) if task]
        self._refreshing = self._fetching = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _keep_fresh(self, fetched: bool) -> None:
        while True:
            delay_s = self._refresh_s if fetched else min(RETRY_S, self._refresh_s)
            await self._clock.sleep(delay_s)
            fetched = await self._fetch()

    async def _fetch(self) -> bool:
        """Fetch the keys, once for all who wait; whether that succeeded."""
        if self._fetching is None:
            self._attempted_at = self._clock.monotonic()
            self._fetching = asyncio.create_task(self._load())
        # Shielded: one client that goes away must not spoil it for the others.
        return await asyncio.shield(self._fetching)

    async def _load(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._download()
            fetched = KeySet.from_jwks(orjson.loads(body))
            if not fetched.keys:
                raise ValueError(f"no usable key; {'; '.join(fetched.ignored)}")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as exc:
            log.warning(
                "jwks_fetch_failed",
                url=self._url,
                problem=str(exc) or type(exc).__name__,
                kept=len(self.keys.keys),
            )
            return False
        finally:
            self._fetching = None
        self._take(fetched)
        return True

    def _take(self, fetched: KeySet) -> None:
        if fetched != self._fetched:
            log.info(
                "jwks_changed",
                url=self._url,
                usable=len(fetched.keys),
                ignored=fetched.ignored,
            )
        self._fetched = fetched
        self.keys = self._configured + fetched

    async def _download(self) -> bytes:
        assert self._client is not None
        body = bytearray()
        async with self._client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"it answered with status {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise ValueError(f"it sent more than {MAX_BODY_BYTES} bytes")
        return bytes(body)
