"""The one shape of errors, and the statuses that go with them."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from realtime.edges.http.errors import (
    HTTP_ERRORS,
    error_object,
    error_response,
    status_of,
)
from realtime.errors import ERRORS, GAP, RATE_LIMITED, CommandError
from realtime.settings import ServerSettings
from tests.edges.http.support import KEY, World, bearer, running, token

pytestmark = pytest.mark.anyio


def test_numbers_are_unique() -> None:
    """No number means two things, on sockets or here."""
    numbers = [code.code for code in (*ERRORS, *HTTP_ERRORS)]
    assert len(numbers) == len(set(numbers))


def test_every_error_has_a_status() -> None:
    """Each is a client's or a server's failure, never a success."""
    assert {status_of(code) // 100 for code in (*ERRORS, *HTTP_ERRORS)} == {4, 5}


def test_unknown_facts_are_left_out() -> None:
    """Only what is known of an error is told."""
    exc = CommandError(GAP, "first: 3 is expected", field="first", expected=3)
    assert error_object(exc) == {
        "code": 112,
        "name": "gap",
        "retry": "resend",
        "reason": "first: 3 is expected",
        "field": "first",
        "expected": 3,
    }


@pytest.mark.parametrize("delay_s, told", [(None, "1"), (0.2, "1"), (1.2, "2")])
def test_delays_are_whole_seconds_in_the_header(
    delay_s: float | None, told: str
) -> None:
    """Retry-After is rounded up, and never zero."""
    answer = error_response(CommandError(RATE_LIMITED, retry_after_s=delay_s))
    assert answer.headers["retry-after"] == told


async def test_an_unknown_path_is_404(world: World) -> None:
    """The error names the path and where to look."""
    answer = await world.get("/v1/event")
    assert (answer.status, answer.error["name"]) == (404, "not_found")
    assert "/v1/event" in answer.error["reason"]


@pytest.mark.parametrize("path", ["/v1/counters/", "/healthz/", "//healthz"])
async def test_paths_are_exact(world: World, path: str) -> None:
    """A path with another slash is another path; nobody is redirected."""
    answer = await world.get(path, KEY)
    assert answer.status == 404


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/v1/events", "OPTIONS, POST"),
        ("DELETE", "/v1/counters", "GET, HEAD, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_other_methods_are_405(
    world: World, method: str, path: str, allowed: str
) -> None:
    """The answer says which methods there are."""
    answer = await world.ask(method, path, headers=KEY)
    assert (answer.status, answer.error["name"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


async def test_options_says_what_there_is(world: World) -> None:
    """OPTIONS is answered without a body and without credentials."""
    answer = await world.ask("OPTIONS", "/v1/events")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == "OPTIONS, POST"


async def test_head_is_answered_like_get(world: World) -> None:
    """HEAD has the status and the headers of GET."""
    get = await world.get("/v1/counters", KEY)
    head = await world.ask("HEAD", "/v1/counters", headers=KEY)
    assert head.status == 200
    assert head.headers == get.headers


async def test_a_defect_is_logged_and_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody expected is answered 500 without a word about it."""

    async def readiness() -> dict[str, str]:
        raise ZeroDivisionError("the reason of the defect")

    monkeypatch.setattr(world.node, "readiness", readiness)
    with capture_logs() as logs:
        answer = await world.get("/readyz")
    assert (answer.status, answer.error["name"]) == (500, "internal")
    assert b"defect" not in answer.body
    assert [log["event"] for log in logs] == ["http_failed"]
    assert logs[0]["path"] == "/readyz"


async def test_a_refusal_is_logged_without_what_was_sent(world: World) -> None:
    """An operator learns who erred and where, and nothing of the body."""
    with capture_logs() as logs:
        await world.post("/v1/publish", {"channel": "my secret"}, KEY)
    assert logs == [
        {
            "event": "request_refused",
            "log_level": "info",
            "remote": "127.0.0.1",
            "method": "POST",
            "route": "/v1/publish",
            "status": 400,
            "error": "bad_message",
        }
    ]


async def test_what_may_be_repeated_is_not_logged(world: World) -> None:
    """Neither a gap nor a full node is a mistake; metrics count them."""
    body = {"device": "backend-1", "first": 2, "events": [{"name": "like"}]}
    with capture_logs() as logs:
        answer = await world.post("/v1/events", body, KEY)
    assert (answer.status, logs) == (409, [])


async def test_a_client_that_leaves_while_sending_is_no_defect(world: World) -> None:
    """An upload that is broken off is neither answered nor logged as a failure."""
    exchange = world.open(
        "POST", "/v1/events", {**KEY, "content-type": "application/json"}
    )
    exchange.feed(b'{"device":', more=True)
    exchange.leave()
    assert exchange.task is not None
    with capture_logs() as logs:
        await exchange.task
    assert exchange.sent == []
    assert [log["log_level"] for log in logs] == ["debug"]


async def test_answers_are_not_kept(world: World) -> None:
    """No cache on the way keeps values or errors."""
    for path in ("/v1/counters", "/v1/nothing", "/readyz"):
        answer = await world.get(path, KEY)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


# -- tokens in addresses ---------------------------------------------------------------


@pytest.mark.parametrize(
    "query, kept",
    [
        ("access_token=SECRET", ""),
        ("channel=a&access_token=SECRET&channel=b", "channel=a&channel=b"),
        ("access%5Ftoken=SECRET&channel=a", "channel=a"),
        ("access_token", ""),
    ],
)
async def test_tokens_vanish_from_the_address(
    world: World, query: str, kept: str
) -> None:
    """Whoever logs the address after us does not see the token, on any path."""
    exchange = world.open("GET", f"/healthz?{query}")
    exchange.feed(b"")
    assert exchange.task is not None
    await exchange.task
    assert exchange.scope["query_string"].decode() == kept


async def test_tokens_are_not_logged(world: World) -> None:
    """Neither a refusal nor a defect writes a token to the log."""
    secret = token()
    with capture_logs() as logs:
        await world.get(f"/v1/live?channel=chat:1&access_token={secret}")
        await world.get("/v1/counters", bearer(secret + "x"))
    assert secret not in repr(logs)


# -- other origins ---------------------------------------------------------------------

ORIGIN = "https://app.example"


def from_origin(origin: str, **more: str) -> dict[str, str]:
    """The headers of a browser's request from a page of *origin*."""
    return {**KEY, "origin": origin, **more}


async def test_named_origins_may_read() -> None:
    """An allowed origin is named in the answer, errors included; others are not."""
    async with running(server=ServerSettings(allowed_origins=(ORIGIN,))) as world:
        for path in ("/v1/counters", "/v1/nothing", "/v1/live?channel=nowhere:1"):
            allowed = await world.get(path, from_origin(ORIGIN))
            other = await world.get(path, from_origin("https://evil.example"))
            assert allowed.headers["access-control-allow-origin"] == ORIGIN
            assert "access-control-allow-origin" not in other.headers


async def test_any_origin_may_be_allowed() -> None:
    """A star stands for every origin."""
    async with running(server=ServerSettings(allowed_origins=("*",))) as world:
        answer = await world.get("/v1/counters", from_origin(ORIGIN))
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_no_origin_is_allowed_by_default(world: World) -> None:
    """Without allowed_origins, pages of other hosts cannot read anything."""
    answer = await world.get("/v1/counters", from_origin(ORIGIN))
    assert "access-control-allow-origin" not in answer.headers


async def test_preflights_name_what_is_allowed() -> None:
    """GET and POST with our headers pass; other methods and origins do not."""
    async with running(server=ServerSettings(allowed_origins=(ORIGIN,))) as world:

        async def preflight(origin: str, method: str) -> int:
            headers = {
                "origin": origin,
                "access-control-request-method": method,
                "access-control-request-headers": "authorization,idempotency-key",
            }
            return (await world.ask("OPTIONS", "/v1/events", headers=headers)).status

        assert await preflight(ORIGIN, "POST") == 200
        assert await preflight(ORIGIN, "GET") == 200
        assert await preflight(ORIGIN, "DELETE") == 400
        assert await preflight("https://evil.example", "POST") == 400
