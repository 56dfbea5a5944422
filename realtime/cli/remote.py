"""What the commands that talk to a running server have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson

from realtime.errors import RealtimeError

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 30.0
KEY_HINT = "give --key or REALTIME_KEY"

T = TypeVar("T")


class RemoteError(RealtimeError):
    """
    The server refused, or could not be reached.

    ``status`` is the HTTP status, or None when there was no answer; ``expected`` goes
    with a refused number; ``retry_after_s`` is set when the same may be tried again.
    """

    def __init__(
        self,
        sentence: str,
        status: int | None = None,
        expected: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.expected = expected
        self.retry_after_s = retry_after_s


def add_remote(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which server, and who we are."""
    parser.add_argument(
        "--url",
        default=os.environ.get("REALTIME_URL", DEFAULT_URL),
        help=f"the server (default: REALTIME_URL, else {DEFAULT_URL})",
    )
    parser.add_argument(
        "--key",
        default=os.environ.get("REALTIME_KEY"),
        help="an API key or a token (default: REALTIME_KEY; not needed with --dev)",
    )


def open_client(
    args: argparse.Namespace, timeout: httpx.Timeout | float = TIMEOUT_S
) -> httpx.AsyncClient:
    """
    Return a client of the server that *args* name.

    Raises:
        RemoteError: If the address or the key cannot be right.
    """
    found = urlsplit(args.url)
    if found.scheme not in ("http", "https") or not found.hostname:
        raise RemoteError(
            f"--url is {args.url!r}; it must be an address such as {DEFAULT_URL}"
        )
    if not (args.key or "").isascii():
        raise RemoteError("--key has characters that no key and no token has")
    headers = {"Authorization": f"Bearer {args.key}"} if args.key else {}
    try:
        return httpx.AsyncClient(base_url=args.url, headers=headers, timeout=timeout)
    except httpx.InvalidURL as exc:
        raise RemoteError(f"--url is {args.url!r}: {exc}") from exc


async def ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: object = None,
    extra: dict[str, str] | None = None,
) -> Any:
    """
    Make one request; return the decoded answer.

    Raises:
        RemoteError: With the server's own sentence, or with why it was not reached.
    """
    content = None if body is None else orjson.dumps(body)
    sent = {"Content-Type": "application/json", **(extra or {})}
    try:
        response = await client.request(method, path, content=content, headers=sent)
    except httpx.HTTPError as exc:
        reason = str(exc) or type(exc).__name__
        raise RemoteError(
            f"{client.base_url} cannot be reached: {reason}", retry_after_s=0.5
        ) from exc
    if response.is_success:
        return _decoded(client, response)
    raise refusal(response)


def _decoded(client: httpx.AsyncClient, response: httpx.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as exc:
        raise RemoteError(
            f"what answers at {client.base_url} is no realtime server: {exc}",
            response.status_code,
        ) from exc


def refusal(response: httpx.Response) -> RemoteError:
    """Put an error answer, which has been read, into one exception."""
    status = response.status_code
    try:
        error = orjson.loads(response.content)["error"]
        sentence = f"{error['name']}: {error['reason']}"
        expected = error.get("expected")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        sentence, expected = f"the server answered {status}", None
    if status in (401, 403) and "authorization" not in response.request.headers:
        sentence += f"; {KEY_HINT}"
    retry_after_s = None
    if status in (429, 503):
        retry_after_s = _seconds(response.headers.get("retry-after"))
    return RemoteError(sentence, status, expected, retry_after_s)


def _seconds(text: str | None) -> float:
    try:
        return max(float(text or 1.0), 0.1)
    except ValueError:
        return 1.0


def scalar(text: str) -> str | int | float | bool | None:
    """
    Read a value as typed on a command line: JSON's numbers, true, false, null and
    quoted strings are what they are in JSON; anything else is a string. Integers of
    more than 64 bits, which would lose digits, are strings too.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if isinstance(value, float) and text.strip().lstrip("-").isdigit():
        return text
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return text


def pairs(words: Sequence[str], read: Callable[[str], T], what: str) -> dict[str, T]:
    """
    Read ``name=value`` words.

    Raises:
        RemoteError: Naming the word that is no such pair.
    """
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise RemoteError(f"{what} are written name=value, not {word!r}")
        found[name] = read(value)
    return found
