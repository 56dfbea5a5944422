"""What the commands that talk to a server share: values, addresses, answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import httpx
import pytest

from realtime.cli.remote import RemoteError, ask, open_client, pairs, scalar

pytestmark = pytest.mark.anyio

URL = "http://server:8080"


def arguments(url: str = URL, key: str | None = None) -> argparse.Namespace:
    """What the command line says of the server."""
    return argparse.Namespace(url=url, key=key)


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    """A client whose requests are answered by a function."""
    return httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ('"42"', "42"),
        ("forty-two", "forty-two"),
        ("007", "007"),
        ("", ""),
        ("[1]", "[1]"),
        ("{}", "{}"),
        ("NaN", "NaN"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", "18446744073709551616"),
        ("-99999999999999999999", "-99999999999999999999"),
    ],
)
def test_a_typed_value_is_json_where_it_is(text: str, value: object) -> None:
    """Numbers, booleans, null and quoted text; anything else is text, digits kept."""
    found = scalar(text)

    assert found == value
    assert type(found) is type(value)


def test_pairs_are_parted_at_the_first_equals_sign() -> None:
    """A value may have more of them."""
    assert pairs(["a=1", "b=x=y", "c="], str, "properties") == {
        "a": "1",
        "b": "x=y",
        "c": "",
    }


@pytest.mark.parametrize("word", ["a", "=1", ""])
def test_what_is_no_pair_is_named(word: str) -> None:
    """The error says which word, and what would be right."""
    with pytest.raises(RemoteError, match="are written name=value") as caught:
        pairs([word], str, "properties")

    assert repr(word) in str(caught.value)


@pytest.mark.parametrize("url", ["server:8080", "ftp://server", "http://", "nowhere"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(RemoteError, match="it must be an address such as"):
        open_client(arguments(url))


def test_a_key_that_is_none_is_refused() -> None:
    """Headers are ASCII; the key is not repeated."""
    with pytest.raises(RemoteError, match="--key") as caught:
        open_client(arguments(key="clé"))

    assert "clé" not in str(caught.value)


async def test_the_key_is_a_bearer() -> None:
    """Who we are goes with every request."""
    async with open_client(arguments(key="k")) as opened:
        assert opened.headers["authorization"] == "Bearer k"


async def test_a_refusal_is_the_servers_own_sentence() -> None:
    """With its status, and the number that it expects."""
    body = {"error": {"name": "gap", "reason": "first: 3 is expected", "expected": 3}}
    async with client(lambda _: httpx.Response(409, json=body)) as opened:
        with pytest.raises(RemoteError) as caught:
            await ask(opened, "POST", "/v1/events", {})

    assert str(caught.value) == "gap: first: 3 is expected"
    assert (caught.value.status, caught.value.expected) == (409, 3)
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize("status", [401, 403])
async def test_who_gave_no_key_is_told_how(status: int) -> None:
    """A refusal for want of a key names the option; with a key it does not."""
    body = {"error": {"name": "unauthorized", "reason": "no"}}
    async with client(lambda _: httpx.Response(status, json=body)) as opened:
        with pytest.raises(RemoteError) as without:
            await ask(opened, "GET", "/")
        with pytest.raises(RemoteError) as with_key:
            await ask(opened, "GET", "/", extra={"Authorization": "Bearer k"})

    assert str(without.value) == "unauthorized: no; give --key or REALTIME_KEY"
    assert str(with_key.value) == "unauthorized: no"


@pytest.mark.parametrize(
    ("status", "header", "delay_s"),
    [(503, "7", 7.0), (429, "0", 0.1), (503, None, 1.0), (429, "soon", 1.0)],
)
async def test_what_may_be_repeated_says_when(
    status: int, header: str | None, delay_s: float
) -> None:
    """By Retry-After, if there is one that can be read."""
    headers = {} if header is None else {"Retry-After": header}
    async with client(lambda _: httpx.Response(status, headers=headers)) as opened:
        with pytest.raises(RemoteError, match=f"answered {status}") as caught:
            await ask(opened, "GET", "/")

    assert caught.value.retry_after_s == delay_s


async def test_a_server_that_is_not_there_may_come_back() -> None:
    """The error names the address and may be retried."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(fail) as opened:
        with pytest.raises(RemoteError, match=r"server:8080.* refused") as caught:
            await ask(opened, "GET", "/")

    assert caught.value.retry_after_s is not None


async def test_another_server_is_told_apart() -> None:
    """An answer that is no JSON comes from something else."""
    async with client(lambda _: httpx.Response(200, text="<html>")) as opened:
        with pytest.raises(RemoteError, match="is no realtime server"):
            await ask(opened, "GET", "/")
