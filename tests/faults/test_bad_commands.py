"""Messages that are wrong: answered with the documented error; the session goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    JSON_V1,
    MSGPACK_V1,
    PAYLOAD,
    Client,
    Witness,
    eventually,
    logged,
    metric,
    user_token,
    value,
)

pytestmark = pytest.mark.usefixtures("served")

MESSAGES: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no type": ({"text": PAYLOAD}, "bad_message", "type"),
    "an unknown type": ({"type": "shout"}, "unknown_type", "type"),
    "a type that is a number": ({"type": 7}, "bad_message", "type"),
    "a second hello": ({"type": "hello"}, "bad_message", "type"),
    "no channel": ({"type": "subscribe"}, "bad_message", "channel"),
    "an empty channel": (
        {"type": "subscribe", "channel": ""},
        "bad_message",
        "channel",
    ),
    "a channel that is a list": (
        {"type": "subscribe", "channel": [PAYLOAD]},
        "bad_message",
        "channel",
    ),
    "a channel that is too long": (
        {"type": "subscribe", "channel": "chat:" + "x" * 251},
        "bad_channel",
        "channel",
    ),
    "a text that is no channel at all": (
        {"type": "subscribe", "channel": "x" * 4097},
        "bad_message",
        "channel",
    ),
    "no first": ({"type": "track", "events": []}, "bad_message", "first"),
    "a first of 0": (
        {"type": "track", "first": 0, "events": []},
        "bad_message",
        "first",
    ),
    "a first below 0": (
        {"type": "track", "first": -1, "events": []},
        "bad_message",
        "first",
    ),
    "a first with a fraction": (
        {"type": "track", "first": 1.0, "events": []},
        "bad_message",
        "first",
    ),
    "a first over 2**53 - 1": (
        {"type": "track", "first": 2**53, "events": []},
        "bad_message",
        "first",
    ),
    "a first over 64 bits": (
        {"type": "track", "first": 2**63, "events": []},
        "bad_message",
        "first",
    ),
    "a first that is text": (
        {"type": "track", "first": "1", "events": []},
        "bad_message",
        "first",
    ),
    "a first that is true": (
        {"type": "track", "first": True, "events": []},
        "bad_message",
        "first",
    ),
    "no events": ({"type": "track", "first": 1}, "bad_message", "events"),
    "events that are an object": (
        {"type": "track", "first": 1, "events": {"name": PAYLOAD}},
        "bad_message",
        "events",
    ),
    "a loss below 0": (
        {"type": "track", "first": 1, "events": [], "lost": -1},
        "bad_message",
        "lost",
    ),
    "a time that is text": (
        {"type": "track", "first": 1, "events": [], "sent_at": "now"},
        "bad_message",
        "sent_at",
    ),
    "too many events": (
        {"type": "track", "first": 1, "events": [{"name": "like"}] * 1001},
        "limit_exceeded",
        "events",
    ),
    "numbers that no double holds": (
        {
            "type": "track",
            "first": 2**53 - 1,
            "lost": 2**53 - 2,
            "events": [{"name": "like"}] * 2,
        },
        "limit_exceeded",
        "first",
    ),
    "a hole": (
        {"type": "track", "first": 9, "events": [{"name": "like"}]},
        "gap",
        "first",
    ),
    "no data": ({"type": "publish", "channel": "chat:a"}, "bad_message", "data"),
    "too much data": (
        {"type": "publish", "channel": "chat:a", "data": "x" * 65_536},
        "limit_exceeded",
        "data",
    ),
    "publishing to a counter": (
        {"type": "publish", "channel": "live:beats;window=total", "data": 1},
        "permission_denied",
        "channel",
    ),
    "leaving what was not joined": (
        {"type": "unsubscribe", "channel": "chat:a"},
        "not_subscribed",
        "channel",
    ),
    "a ping of text": ({"type": "ping", "sent_at": "x"}, "bad_message", "sent_at"),
    "no token to refresh": ({"type": "refresh"}, "bad_message", "token"),
    "a token too long": (
        {"type": "refresh", "token": "x" * 8193},
        "bad_message",
        "token",
    ),
    "a token of another user": (
        {"type": "refresh", "token": user_token("bob")},
        "unauthorized",
        "token",
    ),
    "a token that is none": (
        {"type": "refresh", "token": "x.y.z"},
        "unauthorized",
        "token",
    ),
    "a token that has expired": (
        {"type": "refresh", "token": user_token(lives_s=-60)},
        "token_expired",
        "token",
    ),
}


@pytest.mark.parametrize("subprotocol", [JSON_V1, MSGPACK_V1])
@pytest.mark.parametrize(
    ("message", "name", "field"), MESSAGES.values(), ids=list(MESSAGES)
)
def test_a_wrong_command_is_answered_and_the_session_goes_on(
    node: NodeProcess,
    devices: Iterator[str],
    subprotocol: str,
    message: dict[str, Any],
    name: str,
    field: str | None,
) -> None:
    """The error carries the command's id and names the field."""
    with Client(node.ws_url, subprotocol) as client:
        client.hello(device=next(devices))
        given = dict(message)
        error = client.ask(given.pop("type", None), **given)

        assert (error["type"], error["name"]) == ("error", name)
        assert error.get("field") == field
        assert error["reason"]
        assert client.ask("ping", id=8)["type"] == "pong"


def test_mistakes_are_in_the_log_without_their_values(
    node: NodeProcess, client: Client
) -> None:
    """Who erred, how often, and in which field: enough to look into the client."""
    client.ask("subscribe", channel=[PAYLOAD])
    client.ask("shout", text=PAYLOAD)
    client.close()

    line = logged(node, connection=client.connection, event="connection_closed")
    assert (line["errors"], line["last_error"]) == (2, "unknown_type: type")


@pytest.mark.parametrize("id", [-1, 2**53, 1.5, "7", True, [], {}])
def test_an_id_that_is_none_is_named(client: Client, id: Any) -> None:
    """It cannot come back, so the error goes without."""
    client.say("ping", id=id)
    error = client.hear()

    assert (error["name"], error["field"], "id" in error) == (
        "bad_message",
        "id",
        False,
    )


def test_more_than_a_hundred_errors_close_with_4503(
    node: NodeProcess, client: Client
) -> None:
    """A client that errs again and again is sent away, and the log says over what."""
    for _ in range(101):
        client.say("shout")
    code, _ = client.closed()

    assert code == 4503
    assert len(client.passed) == 101
    line = logged(node, connection=client.connection, event="connection_closed")
    assert line["last_error"] == "unknown_type: type"


# -- channels with odd names -----------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("chat", "bad_channel"),
        (":chat", "bad_channel"),
        ("chat:a b", "bad_channel"),
        ("chat:\u0000", "bad_channel"),
        ("chat:a\r\nb", "bad_channel"),
        ("chat:\u202egpj.exe", "bad_channel"),
        ("chat:\u200b", "bad_channel"),
        ("chat:\ue000", "bad_channel"),
        ("nope:a", "unknown_channel"),
        ("CHAT:a", "unknown_channel"),
        ("../etc:passwd", "unknown_channel"),
        ("live:nope", "unknown_channel"),
        ("live:", "unknown_channel"),
        ("live:likes", "bad_channel"),
        ("live:likes;post=42;window=9m", "bad_channel"),
        ("live:likes;post=42;post=43", "bad_channel"),
        ("live:likes;past=42", "bad_channel"),
        ("live:likes;post=%zz", "bad_channel"),
        ("live:likes;post=%ff", "bad_channel"),
        ("live:likes;post=~nobody", "bad_channel"),
        ("live:likes;;;", "bad_channel"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_by_name(
    client: Client, channel: str, name: str
) -> None:
    """Subscribing says what is wrong with the name."""
    error = client.ask("subscribe", channel=channel)

    assert (error["type"], error["name"], error["field"]) == ("error", name, "channel")


@pytest.mark.parametrize(
    "channel", ["chat:🎉", "chat:été", "chat:a;b=c&d", 'chat:"<script>', "chat:{a}*?[]"]
)
def test_odd_channels_that_can_be_are_served(client: Client, channel: str) -> None:
    """Printable characters are all the same to the server."""
    joined = client.ask("subscribe", channel=channel)
    client.ask("publish", channel=channel, data={"text": channel})
    push = client.until("push") if not client.passed else client.passed[-1]

    assert joined["channel"] == channel
    assert (push["channel"], push["data"]) == (joined["number"], {"text": channel})


@pytest.mark.parametrize(
    "post", ["a b", "%;=", "été", "~x", "a\nb", "\u0000", "x" * 100]
)
def test_odd_values_of_dimensions_are_counted(
    node: NodeProcess, client: Client, post: str
) -> None:
    """Whatever text a property has, its counter can be read under it."""
    event = {"name": "like", "properties": {"post": post}}
    client.say("track", first=1, events=[event])
    client.until("ack", acked=1)
    read_as = "~" + post if post.startswith("~") else post

    assert value(node, "likes", post=read_as, window="total") == 1


def test_ten_thousand_subscriptions_on_one_socket(
    node: NodeProcess, witness: Witness
) -> None:
    """As many as welcome says are made; the others err until the socket is closed."""
    with Client(node.ws_url) as client:
        limit = client.hello()["limits"]["max_subscriptions"]
        with suppress(ConnectionClosed):
            for number in range(10_000):
                client.say("subscribe", id=number, channel=f"chat:{number}")
        code, _ = client.closed()

    witness.beat()
    kinds = [message["type"] for message in client.passed]
    errors = [one["name"] for one in client.passed if one["type"] == "error"]
    assert code == 4503
    assert kinds.count("subscribed") == limit
    assert errors == ["limit_exceeded"] * 101
    eventually(lambda: metric(node, "subscriptions") == 1, "only the witness is left")
