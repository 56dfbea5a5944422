"""Signed requests, to backends that behave and to others."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime.adapters.webhooks.signed import DeliveryFailed, SignedClient, sign
from realtime.testing.clock import ManualClock
from tests.adapters.webhooks.backend import (
    SECRET,
    Backend,
    Behaviour,
    Hang,
    HangUp,
    Received,
    listening,
    reply,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def talking(
    behave: Behaviour, timeout_s: float = 20.0, max_bytes: int = 1000
) -> AsyncIterator[tuple[SignedClient, Backend]]:
    """A client and its backend."""
    async with listening(behave) as backend:
        clock = ManualClock()
        client = SignedClient(backend.url, SECRET, timeout_s, max_bytes, clock)
        try:
            yield client, backend
        finally:
            await client.aclose()


def test_the_signature_is_over_time_and_body():
    """As anybody can compute it."""
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert sign("key", "1700000000", b'{"a":1}') == expected


async def test_requests_are_signed_and_named() -> None:
    """Over one connection, which is kept."""
    async with talking(lambda request: reply(b"thanks")) as (client, backend):
        assert await client.post("n1", b'{"a":1}') == b"thanks"
        assert await client.post("n2", b'{"a":2}') == b"thanks"
        first, second = backend.received
        assert backend.connections == 1
    assert first.genuine
    assert second.genuine
    assert (first.path, first.json) == ("/realtime?shop=1", {"a": 1})
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-realtime-id"] == "n1"
    assert first.headers["x-realtime-timestamp"] == "1700000000"
    assert first.headers["user-agent"].startswith("realtime/")


async def test_the_environment_does_not_lead_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither its proxies nor its passwords are used."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password theirs\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with listening(lambda request: reply(b"wrong")) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with talking(lambda request: reply(b"thanks")) as (client, backend):
            assert await client.post("n1", b"{}") == b"thanks"

    assert proxy.received == []
    assert "authorization" not in backend.received[0].headers


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
async def test_other_statuses_are_failures(status: int) -> None:
    """Redirections too: they are not followed."""

    def behave(request: Received) -> bytes:
        return reply(status=status, Location="/elsewhere", Retry_After="7")

    async with talking(behave) as (client, backend):
        with pytest.raises(DeliveryFailed, match=f"status {status}") as caught:
            await client.post("n1", b"{}")
        assert (caught.value.status, caught.value.retry_after_s) == (status, 7.0)
        assert [request.path for request in backend.received] == ["/realtime?shop=1"]


async def test_an_answer_has_a_time_limit() -> None:
    """Also one that begins and does not end."""

    def hangs(request: Received) -> bytes:
        raise Hang

    async with talking(hangs, timeout_s=0.2) as (client, _):
        with pytest.raises(DeliveryFailed, match=r"no answer within 0\.2 s"):
            await client.post("n1", b"{}")

    def stops(request: Received) -> bytes:
        return reply(b"x" * 100)[:-50]

    async with talking(stops, timeout_s=0.2) as (client, _):
        with pytest.raises(DeliveryFailed, match="no answer within"):
            await client.post("n1", b"{}")


async def test_a_long_answer_is_not_read() -> None:
    """Ten megabytes are a failure after a kilobyte."""

    def talks(request: Received) -> bytes:
        return reply(b"x" * 10_000_000)

    async with talking(talks) as (client, _):
        with pytest.raises(DeliveryFailed, match="more than 1000 bytes"):
            await client.post("n1", b"{}")


async def test_a_packed_answer_is_not_unpacked() -> None:
    """A kilobyte could become a gigabyte."""

    def packs(request: Received) -> bytes:
        assert request.headers["accept-encoding"] == "identity"
        return reply(zlib.compress(b"{}"), Content_Encoding="deflate")

    async with talking(packs) as (client, _):
        with pytest.raises(DeliveryFailed, match="compressed"):
            await client.post("n1", b"{}")


async def test_a_connection_that_was_closed_is_no_failure() -> None:
    """A kept one may have gone while nobody looked: it is tried once more."""

    def behave(request: Received) -> bytes:
        if request.json == "hang up" and len(backend.received) == 2:
            raise HangUp
        return reply(b"thanks")

    async with talking(behave) as (client, backend):
        await client.post("n1", b'"hello"')
        assert await client.post("n2", b'"hang up"') == b"thanks"
        assert len(backend.received) == 3


async def test_who_always_hangs_up_has_failed() -> None:
    """After one more try."""

    def hangs_up(request: Received) -> bytes:
        raise HangUp

    async with talking(hangs_up) as (client, backend):
        with pytest.raises(DeliveryFailed, match="cannot be reached"):
            await client.post("n1", b"{}")
        assert len(backend.received) == 2


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200\r\n\x00\r\n\r\n"]
)
async def test_what_is_no_http_is_a_failure(answer: bytes) -> None:
    """Not an exception of somebody's parser."""
    async with talking(lambda request: answer, timeout_s=5) as (client, _):
        with pytest.raises(DeliveryFailed):
            await client.post("n1", b"{}")


async def test_nobody_listening_is_a_failure() -> None:
    """At once."""
    async with listening(lambda request: reply()) as backend:
        url = backend.url
    client = SignedClient(url, SECRET, 20.0, 1000, ManualClock())
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        await client.post("n1", b"{}")
    await client.aclose()
    await client.aclose()


async def test_giving_up_closes_the_connection() -> None:
    """The backend sees that nobody waits any more."""

    def hangs(request: Received) -> bytes:
        raise Hang

    async with talking(hangs) as (client, backend):
        task = asyncio.ensure_future(client.post("n1", b"{}"))
        async with asyncio.timeout(20):
            while not backend.received:
                await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(20):
            while backend.streams:
                await asyncio.sleep(0.002)
