"""
Signed requests to a backend, over connections that are kept.

Laws: whoever has the secret can know that a request is ours and of now: what is signed
is the time and the body together. Redirections are not followed and proxies of the
environment not used, so what is sent goes to the configured address and nowhere else.
An answer is read up to a bound, within a bounded time, and never unpacked.
"""

from __future__ import annotations

import asyncio
import hmac
from http import HTTPStatus

import httpx

from realtime import __version__
from realtime.clock import Clock
from realtime.core.hook_answers import HookFailed

SIGNATURE = "X-Realtime-Signature"
TIMESTAMP = "X-Realtime-Timestamp"
ID = "X-Realtime-Id"

MAX_CONNECTIONS = 100
KEPT_S = 20.0  # idle; less than most servers keep them

#: A kept connection may have been closed by the other side at this very moment.
_STALE = (
    httpx.RemoteProtocolError,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
)


class DeliveryFailed(HookFailed):
    """
    The backend has not taken a request; *status* is there if it has answered at all.
    """

    def __init__(
        self,
        problem: str,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.retry_after_s = retry_after_s


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature: HMAC-SHA256 over ``timestamp.body``, in hexadecimal."""
    signed = timestamp.encode() + b"." + body
    return hmac.digest(secret.encode(), signed, "sha256").hex()


class SignedClient:
    """
    POSTs JSON to one address. You must ``aclose`` it after use.

    *max_bytes* bounds an answer, *timeout_s* all of a request.
    """

    def __init__(
        self, url: str, secret: str, timeout_s: float, max_bytes: int, clock: Clock
    ) -> None:
        self.url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._client = _client(timeout_s)

    async def post(self, id: str, body: bytes) -> bytes:
        """
        Send *body* and return the answer, of any status that means success.

        Raises:
            DeliveryFailed: If there is none in time, or it is not one of success.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    return await self._exchange(id, body)
                except _STALE:
                    return await self._exchange(id, body)
        except TimeoutError:
            raise DeliveryFailed(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            said = str(exc) or type(exc).__name__
            raise DeliveryFailed(f"it cannot be reached: {said}") from None

    async def aclose(self) -> None:
        """Close the connections. Closing twice is harmless."""
        await self._client.aclose()

    async def _exchange(self, id: str, body: bytes) -> bytes:
        timestamp = str(int(self._clock.time()))
        headers = {
            SIGNATURE: sign(self._secret, timestamp, body),
            TIMESTAMP: timestamp,
            ID: id,
        }
        posted = self._client.stream("POST", self.url, content=body, headers=headers)
        async with posted as response:
            _check(response)
            return await self._read(response)

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise DeliveryFailed(
                    f"it answered more than {self._max_bytes} bytes",
                    response.status_code,
                )
        return bytes(body)


def _client(timeout_s: float) -> httpx.AsyncClient:
    # Made once, before anybody waits: reading the certificates takes 0.1 s.
    return httpx.AsyncClient(
        timeout=timeout_s,
        verify=httpx.create_ssl_context(),  # SSL_CERT_FILE is heeded all the same
        trust_env=False,  # neither proxies nor the passwords of .netrc
        follow_redirects=False,
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEPT_S,
        ),
        headers={
            "Content-Type": "application/json",
            "Accept": "application/json",
            # Unpacking could make a gigabyte of a kilobyte.
            "Accept-Encoding": "identity",
            "User-Agent": f"realtime/{__version__}",
        },
    )


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if not response.is_success:
        name = ""
        if status in HTTPStatus._value2member_map_:
            name = f" ({HTTPStatus(status).phrase})"
        raise DeliveryFailed(
            f"it answered with status {status}{name}",
            status,
            _seconds(response.headers.get("retry-after")),
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise DeliveryFailed("its answer is compressed, which was not asked for")


def _seconds(text: str | None) -> float | None:
    """Return what Retry-After says; its form as a date is rare and ignored."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return float(text)
