"""The issuer's keys over real HTTP: fetched, rotated, and kept when it fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from structlog.testing import capture_logs

from realtime.adapters.jwks import JWKS, MAX_BODY_BYTES, RETRY_S
from realtime.core.tokens import KeySet
from realtime.errors import KeysUnavailable
from realtime.settings import AuthSettings
from realtime.testing.clock import ManualClock
from tests.signing import SECRET, ec_key, jwk

pytestmark = pytest.mark.anyio

REFRESH_S = 300.0


class Issuer:
    """An HTTP server whose answer can be changed while it runs."""

    def __init__(self) -> None:
        self.status, self.body, self.requests = 200, b"", 0
        self.headers: dict[str, str] = {}
        self.answering = threading.Event()
        self.answering.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                issuer.answering.wait(10)
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def publish(self, *names: str) -> None:
        """Serve the P-256 keys of these names."""
        keys = [jwk(ec_key(name), kid=name) for name in names]
        self.status, self.body = 200, json.dumps({"keys": keys}).encode()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A running issuer that publishes the key "a"."""
    issuer = Issuer()
    issuer.publish("a")
    thread = threading.Thread(target=issuer.server.serve_forever, args=(0.01,))
    thread.start()
    yield issuer
    issuer.answering.set()
    issuer.server.shutdown()
    issuer.server.server_close()
    thread.join()


@asynccontextmanager
async def fetching(
    url: str, clock: ManualClock, timeout_s: float = 5.0, **settings
) -> AsyncIterator[JWKS]:
    """Started keys of the issuer at *url*."""
    jwks = JWKS(
        AuthSettings(jwks_url=url, jwks_refresh_s=REFRESH_S, **settings),
        clock,
        timeout_s=timeout_s,
    )
    await jwks.start()
    try:
        yield jwks
    finally:
        await jwks.aclose()


def names(keys: KeySet) -> list[str | None]:
    """The kids of the keys."""
    return [key.kid for key in keys.keys]


async def until(reached: Callable[[], bool]) -> None:
    """Wait for the real server's answer to take effect."""
    with anyio.fail_after(10):
        while not reached():
            await anyio.sleep(0.005)


async def test_the_keys_are_fetched_at_start(issuer):
    """Beside those that were configured in place."""
    async with fetching(issuer.url, ManualClock(), hmac_secret=SECRET) as jwks:
        assert names(jwks.keys) == [None, "a"]
        assert issuer.requests == 1


async def test_the_keys_come_from_the_issuer_whatever_the_environment_says(
    issuer, monkeypatch
):
    """A proxy of the environment is not asked."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with fetching(issuer.url, ManualClock()) as jwks:
        assert names(jwks.keys) == ["a"]


async def test_the_keys_are_fetched_again_in_time(issuer):
    """A rotation is noticed without anybody asking."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        issuer.publish("b")
        await until(lambda: clock.pending > 0)
        clock.advance(REFRESH_S)
        await until(lambda: names(jwks.keys) == ["b"])


async def test_an_unknown_key_makes_the_issuer_be_asked(issuer):
    """The new keys are there when refresh returns."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        issuer.publish("a", "b")
        clock.advance(RETRY_S)
        await jwks.refresh()
        assert names(jwks.keys) == ["a", "b"]


async def test_the_issuer_is_asked_at_most_once_in_ten_seconds(issuer):
    """Forged tokens with keys of any name make no storm of requests."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        clock.advance(RETRY_S - 1)
        for _ in range(5):
            with pytest.raises(KeysUnavailable, match="asked again in 1 s"):
                await jwks.refresh()
        assert issuer.requests == 1
        clock.advance(1)
        await jwks.refresh()
        assert issuer.requests == 2


async def test_all_who_wait_share_one_request(issuer):
    """Many sessions with new tokens at once make one fetch."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        clock.advance(RETRY_S)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(jwks.refresh)
        assert issuer.requests == 2


async def test_one_who_goes_away_does_not_spoil_the_fetch(issuer):
    """The others still get the keys."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        issuer.publish("b")
        issuer.answering.clear()
        clock.advance(RETRY_S)
        async with anyio.create_task_group() as group:
            group.start_soon(jwks.refresh)
            await until(lambda: issuer.requests == 2)
            group.cancel_scope.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(jwks.refresh)
            issuer.answering.set()
        assert names(jwks.keys) == ["b"]
        assert issuer.requests == 2


def _fails_with_status(issuer: Issuer) -> None:
    issuer.status = 500


def _redirects(issuer: Issuer) -> None:
    issuer.status, issuer.headers = 302, {"location": issuer.url}


def _sends_no_json(issuer: Issuer) -> None:
    issuer.body = b"<html>"


def _sends_no_keys(issuer: Issuer) -> None:
    issuer.body = b'{"keys": []}'


def _sends_useless_keys(issuer: Issuer) -> None:
    issuer.body = b'{"keys": [{"kty": "oct", "k": "eA"}]}'


def _sends_too_much(issuer: Issuer) -> None:
    issuer.body = b" " * (MAX_BODY_BYTES + 1)


@pytest.mark.parametrize(
    "failure, told",
    [
        (_fails_with_status, "status 500"),
        (_redirects, "status 302"),
        (_sends_no_json, "unexpected character"),
        (_sends_no_keys, "no usable key"),
        (_sends_useless_keys, "neither RSA nor EC"),
        (_sends_too_much, "more than 262144 bytes"),
    ],
)
async def test_the_old_keys_stay_when_a_fetch_fails(issuer, failure, told):
    """Who has a good token notices nothing; the log says what was wrong."""
    clock = ManualClock()
    async with fetching(issuer.url, clock) as jwks:
        failure(issuer)
        clock.advance(RETRY_S)
        with capture_logs() as logs, pytest.raises(KeysUnavailable):
            await jwks.refresh()
        assert names(jwks.keys) == ["a"]
        assert logs[0]["event"] == "jwks_fetch_failed"
        assert logs[0]["kept"] == 1
        assert told in logs[0]["problem"]


async def test_an_issuer_that_is_down_at_start_is_asked_again_soon(issuer):
    """The server starts all the same, and gets the keys when they can be had."""
    clock = ManualClock()
    _fails_with_status(issuer)
    async with fetching(issuer.url, clock) as jwks:
        assert names(jwks.keys) == []
        issuer.publish("a")
        await until(lambda: clock.pending > 0)
        clock.advance(RETRY_S)
        await until(lambda: names(jwks.keys) == ["a"])


async def test_an_issuer_that_cannot_be_reached_is_survived():
    """A refused connection is a failed fetch like any other."""
    async with fetching("http://127.0.0.1:9/", ManualClock()) as jwks:
        assert names(jwks.keys) == []


async def test_an_issuer_that_does_not_answer_is_given_up(issuer):
    """The timeout bounds the whole fetch."""
    issuer.answering.clear()
    started = time.monotonic()
    async with fetching(issuer.url, ManualClock(), timeout_s=0.05) as jwks:
        assert names(jwks.keys) == []
    assert time.monotonic() - started < 5


async def test_closing_twice_is_harmless(issuer):
    """And so is closing what was never started."""
    async with fetching(issuer.url, ManualClock()) as jwks:
        await jwks.aclose()
    await JWKS(AuthSettings(jwks_url=issuer.url), ManualClock()).aclose()
