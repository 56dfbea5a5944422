"""Redis dies, and those who are on one node still hear each other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.support import (
    API_KEY,
    HTTP,
    PATIENCE_S,
    Client,
    eventually,
    is_ready,
    start_node,
    write_config,
)
from tests.signing import SECRET

pytestmark = pytest.mark.slow

ROOM, KEPT = "chat:room", "kept:room"

CONFIG = f"""
[redis]
timeout = "500ms"
probe = "200ms"

[auth]
hmac_secret = "{SECRET}"
anonymous = true

[api_keys.shop]
key = "{API_KEY}"

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"

[namespaces.kept]
subscribe = "anyone"
publish = "anyone"
history_size = 100
"""


def said(client: Client, number: int, last: str) -> list[Any]:
    """Return all that *client* has been sent on a channel, until *last*."""
    while True:
        pushes = [one for one in client.passed if one["type"] == "push"]
        texts = [one["data"] for one in pushes if one["channel"] == number]
        if last in texts:
            client.passed.clear()
            return texts[: texts.index(last)]
        client.passed.append(client.hear())


def say_locally(client: Client, text: str) -> None:
    """Publish until it is told that it went to the neighbours alone."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        told = client.ask("publish", channel=ROOM, data=text)
        if told.get("local"):
            return
        # It was under way when Redis went.
        assert told["name"] == "unavailable"
        assert time.monotonic() < deadline, told


def post(node: NodeProcess, text: str, **fields: Any) -> dict[str, Any]:
    """Publish over HTTP; return the answer."""
    answer: dict[str, Any] = HTTP.post(
        f"{node.url}/v1/publish",
        json={"channel": ROOM, "data": text, **fields},
        headers={"Authorization": f"Bearer {API_KEY}"},
    ).json()
    return answer


def test_neighbours_still_chat_while_redis_is_away(tmp_path: Path) -> None:
    """In order and once, and told so; afterwards other nodes hear them again."""
    write_config(tmp_path, CONFIG)
    with (
        ValkeyServer() as valkey,
        start_node(tmp_path, "--redis", valkey.url, name="near") as near,
        start_node(tmp_path, "--redis", valkey.url, name="far") as far,
        Client(near.ws_url) as ann,
        Client(near.ws_url) as bob,
        Client(far.ws_url) as eve,
    ):
        numbers = []
        for client in (ann, bob, eve):
            client.hello(token=None)
            numbers.append(client.ask("subscribe", channel=ROOM)["number"])
        assert "local" not in ann.ask("publish", channel=ROOM, data="before")
        for client, number in zip((ann, bob, eve), numbers, strict=True):
            assert said(client, number, "before") == []
        valkey.kill()
        say_locally(ann, "hello")
        say_locally(bob, "hello, ann")
        for n in range(20):
            say_locally(ann, f"word {n}")
        assert post(near, "news") == {"published": 1, "local": True}
        assert post(near, "keyed", idempotency_key="k")["error"]["name"] == (
            "unavailable"
        )
        refused = ann.ask("publish", channel=KEPT, data=1)
        assert refused["name"] == "unavailable"
        valkey.restart()
        for node in (near, far):
            eventually(lambda node=node: is_ready(node), "readiness turns green")
        eventually(
            lambda: "local" not in ann.ask("publish", channel=ROOM, data="again"),
            "it travels again",
        )
        ann.ask("publish", channel=ROOM, data="end")
        heard = [
            said(client, number, "end")
            for client, number in zip((ann, bob, eve), numbers, strict=True)
        ]
        assert all("Traceback" not in node.log for node in (near, far))
    words = ["hello", "hello, ann", *(f"word {n}" for n in range(20)), "news"]
    for texts in heard[:2]:
        assert [text for text in texts if text != "again"] == words
    assert set(heard[2]) <= {"again"}
