"""
Bodies of requests: read within bounds, then decoded by their content type.

Laws: no more than the limit is ever held, whatever Content-Length says; what cannot be
decoded is the sender's error, answered with what is wrong and where.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request

from realtime.edges.http.errors import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
)
from realtime.errors import BAD_MESSAGE, CommandError
from realtime.wire import codecs
from realtime.wire.codecs import Codec, Undecodable

JSON = "application/json"
MSGPACK = "application/msgpack"

_CODECS: Mapping[str, Codec] = {
    JSON: codecs.JSON,
    MSGPACK: codecs.MSGPACK,
    "application/vnd.msgpack": codecs.MSGPACK,
    "application/x-msgpack": codecs.MSGPACK,
}

READ_WITHIN_S = 30.0
"""A body must be complete after this long: a trickle may not hold memory for ever."""


class Bodies:
    """Reads bodies of at most *max_bytes*."""

    def __init__(self, max_bytes: int, within_s: float = READ_WITHIN_S) -> None:
        self._max_bytes = max_bytes
        self._within_s = within_s

    async def read(self, request: Request) -> tuple[object, bytes]:
        """
        Return the decoded body and its bytes as they came.

        Raises:
            CommandError: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_TOO_SLOW or
                BAD_MESSAGE.
            ClientDisconnect: If the sender left; nobody waits for an answer.
        """
        codec = _CODECS[_media_type(request)]
        try:
            async with asyncio.timeout(self._within_s):
                raw = await self._bytes(request)
        except TimeoutError:
            raise CommandError(BODY_TOO_SLOW) from None
        if not raw:
            raise CommandError(BAD_MESSAGE, "the body is empty; it must be an object")
        try:
            return codec.decode(raw), raw
        except Undecodable as exc:
            raise CommandError(BAD_MESSAGE, f"the body is not readable: {exc}") from exc

    async def read_optional(self, request: Request) -> object:
        """
        Return the decoded body; an empty object for a request without one.

        Raises:
            CommandError: As ``read`` does.
        """
        headers = request.headers
        has_body = (
            headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        )
        if "content-type" not in headers and not has_body:
            return {}
        return (await self.read(request))[0]

    async def _bytes(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        size = 0
        chunks: list[bytes] = []
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> CommandError:
        return CommandError(
            BODY_TOO_LARGE, f"the body may have at most {self._max_bytes} bytes"
        )


def _media_type(request: Request) -> str:
    """
    Return the body's media type, one that can be decoded.

    Raises:
        CommandError: UNSUPPORTED_MEDIA_TYPE.
    """
    header = request.headers.get("content-type", "")
    name, *parameters = (part.strip().lower() for part in header.split(";"))
    if name not in _CODECS:
        raise _unsupported(
            f"the Content-Type must be {JSON} or {MSGPACK}, not {name or 'missing'}"
        )
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise _unsupported(f"the charset must be utf-8, not {value}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise _unsupported(f"the Content-Encoding must be identity, not {encoding}")
    return name


def _unsupported(reason: str) -> CommandError:
    return CommandError(UNSUPPORTED_MEDIA_TYPE, reason)
