"""Who is not who he says: told why, closed, and not a word of the token in the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import PAYLOAD, Client, logged, user_token
from tests.signing import NOW, raw_token

pytestmark = pytest.mark.usefixtures("served")

HELLOS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no token": ({"token": None}, "unauthorized", "token"),
    "no JWT": ({"token": PAYLOAD}, "unauthorized", "token"),
    "half a token": ({"token": user_token()[:-8]}, "unauthorized", "token"),
    "another's signature": (
        {"token": user_token(key="x" * 32)},
        "unauthorized",
        "token",
    ),
    "no signature": (
        {"token": raw_token({"alg": "none"}, {"sub": "ann", "exp": 9e9})},
        "unauthorized",
        "token",
    ),
    "another algorithm": (
        {"token": user_token(algorithm="HS512", key="x" * 64)},
        "unauthorized",
        "token",
    ),
    "claims that are no object": (
        {"token": raw_token({"alg": "HS256"}, [PAYLOAD])},
        "unauthorized",
        "token",
    ),
    "a header that is no JSON": (
        {"token": raw_token(b"\xff\xff", {"sub": "ann"})},
        "unauthorized",
        "token",
    ),
    "no expiry": ({"token": user_token(exp=None)}, "unauthorized", "token"),
    "an expiry in milliseconds": (
        {"token": user_token(exp=int(NOW * 1000))},
        "unauthorized",
        "token",
    ),
    "a token of tomorrow": (
        {"token": user_token(nbf=int(NOW * 2))},
        "unauthorized",
        "token",
    ),
    "a token for others": ({"token": user_token(aud="x")}, "unauthorized", "token"),
    "a user of 256": ({"token": user_token("x" * 256)}, "unauthorized", "token"),
    "a user with a newline": ({"token": user_token("a\nb")}, "unauthorized", "token"),
    "grants that are text": (
        {"token": user_token(realtime={"track": "*"})},
        "unauthorized",
        "token",
    ),
    "an expired token": ({"token": user_token(lives_s=-60)}, "token_expired", "token"),
    "a device of another": (
        {"token": user_token("bob"), "device": "of-ann"},
        "device_taken",
        "device",
    ),
}


@pytest.mark.parametrize(("fields", "name", "field"), HELLOS.values(), ids=list(HELLOS))
def test_a_hello_that_is_refused_closes(
    node: NodeProcess, fields: dict[str, Any], name: str, field: str | None
) -> None:
    """With 4502 if a new token is all it takes; no part of the token is repeated."""
    with Client(node.ws_url) as owner:
        owner.hello(device="of-ann")
    with Client(node.ws_url) as client:
        error = client.ask("hello", **fields)
        code, reason = client.closed()

    token = fields["token"] or "eyJ"
    assert (error["name"], error["field"]) == (name, field)
    assert code == (4502 if name == "token_expired" else 4501)
    assert token[:20] not in error["reason"] + reason
    logged(node, event="connection_closed", code=code, reason=reason)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "x" * 8193}, "token"),
        ({"token": 7}, "token"),
        ({"device": "a/b"}, "device"),
        ({"device": "x" * 129}, "device"),
        ({"device": "été"}, "device"),
        ({"secret": "short"}, "secret"),
        ({"secret": "é" * 20}, "secret"),
        ({"acked": -1}, "acked"),
        ({"acked": 2**53}, "acked"),
        ({"sent_at": "now"}, "sent_at"),
        ({"keepalive_s": 0}, "keepalive_s"),
        ({"keepalive_s": -5}, "keepalive_s"),
        ({"client": "x" * 129}, "client"),
    ],
)
def test_a_hello_with_a_wrong_field_may_be_said_again(
    node: NodeProcess, fields: dict[str, Any], field: str
) -> None:
    """A field that is wrong does not close: the client may correct it."""
    with Client(node.ws_url) as client:
        error = client.ask("hello", **{"token": user_token(), **fields})

        assert (error["name"], error["field"]) == ("bad_message", field)
        assert client.hello()["user"] == "ann"


@pytest.mark.parametrize(
    "clock", [0, -1e300, 1e300, 4e12], ids=["1970", "never", "too late", "milliseconds"]
)
def test_a_clock_that_is_wrong_by_ages_does_no_harm(
    node: NodeProcess, devices: Iterator[str], clock: float
) -> None:
    """Event times are corrected by the clock of the same device, or rejected."""
    with Client(node.ws_url) as client:
        client.hello(device=next(devices), sent_at=clock)
        client.say("track", first=1, sent_at=clock, events=[{"name": "like"}])
        client.say("ping", sent_at=clock)

        assert client.until("ack")["acked"] == 1


def test_commands_before_hello_are_not_ready(node: NodeProcess) -> None:
    """Only ping is answered first."""
    with Client(node.ws_url) as client:
        assert client.ask("ping")["type"] == "pong"
        assert client.ask("subscribe", channel="chat:a")["name"] == "not_ready"
        assert client.ask("track", first=1, events=[])["name"] == "not_ready"
        client.hello()


def test_who_never_says_hello_is_closed_with_4003(node: NodeProcess) -> None:
    """A socket that says nothing does not stay."""
    with Client(node.ws_url) as client:
        assert client.closed()[0] == 4003
