"""What the pages about hooks and webhooks show is run as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from realtime.adapters.webhooks.signed import SignedClient
from realtime.testing.clock import ManualClock
from tests.adapters.webhooks.backend import listening, reply
from tests.docs.pages import ROOT, text_of
from tests.faults.backends import notice_backend
from tests.faults.support import Client, start_node

HOOKS = ROOT / "docs" / "howto" / "hooks.md"
WEBHOOKS = ROOT / "docs" / "howto" / "webhooks.md"


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, copied and pasted."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "realtime.toml").write_text(blocks(HOOKS, "toml")[0], "utf-8")
    (folder / "rules.py").write_text(blocks(HOOKS, "python")[0], "utf-8")
    return folder


def test_the_example_does_what_the_page_says(folder: Path) -> None:
    """People come in by cookies, members enter rooms, sales have a country."""
    with start_node(folder) as node:
        with Client(node.ws_url) as ann, Client(node.ws_url) as guest:
            welcome = ann.ask("hello", token="cookie-of-ann", device="till-1")
            assert welcome["user"] == "ann"
            assert guest.ask("hello")["type"] == "welcome"
            assert guest.ask("subscribe", channel="room:1")["reason"] == (
                "you are not a member of this room"
            )
            number = ann.ask("subscribe", channel="room:1")["number"]
            _publish(ann, number, guest)
            _sell(ann)
        node.stop()
    assert "the rules are in force" in node.log
    assert re.search(r"ann was here for \d+ s", node.log)
    assert '"level":"error"' not in node.log


def _publish(ann: Client, number: int, guest: Client) -> None:
    said = {"text": " hello ", "from": "somebody else"}
    assert ann.ask("publish", channel="room:1", data=said)["type"] == "published"
    push = next((one for one in ann.passed if one["type"] == "push"), None)
    push = push or ann.until("push")
    assert (push["channel"], push["data"]) == (number, {"from": "ann", "text": "hello"})
    refused = ann.ask("publish", channel="room:1", data="hello")
    assert refused["reason"].startswith("a message is an object with a text")
    refused = guest.ask("publish", channel="room:1", data={"text": "hello"})
    assert refused["name"] == "permission_denied"


def _sell(ann: Client) -> None:
    sales = [
        {"name": "sale", "properties": {"shop": "berlin", "amount": 9.9}},
        {"name": "sale", "properties": {"shop": "atlantis", "amount": 1.0}},
    ]
    ann.say("track", first=1, events=sales)
    ack = ann.until("ack")
    assert [(one["seq"], one["reason"]) for one in ack["rejected"]] == [
        (2, "there is no such shop")
    ]
    joined = ann.ask("subscribe", channel="live:sales;country=de;window=total")
    assert joined["data"]["value"] == 9.9


def test_check_lists_the_hooks_of_the_example(folder: Path) -> None:
    """In the first lines of what it prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "realtime", "check"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    shown = re.findall(r"^# hook (\w+): rules$", ran.stdout, re.M)
    defined = re.findall(r"^(?:async )?def (\w+)", blocks(HOOKS, "python")[0], re.M)
    assert sorted(shown) == sorted(set(defined) - {"on_start"})


def test_the_example_is_typed(folder: Path) -> None:
    """A developer who checks types finds nothing wrong with it."""
    mypy = pytest.importorskip("mypy.api")
    out, _, code = mypy.run(
        ["--strict", "--config-file=", "--cache-dir", str(folder), str(folder)]
    )
    assert code == 0, out


# -- signatures ------------------------------------------------------------------------

SECRET = "a secret that signs what is sent"

Recipe = Callable[[str, str, str, bytes], bool]


def python(tmp_path: Path) -> Recipe:
    """The recipe for Python."""
    module = ModuleType("recipe")
    exec(blocks(WEBHOOKS, "python")[0], module.__dict__)
    return module.is_genuine  # type: ignore[no-any-return]


def javascript(tmp_path: Path) -> Recipe:
    """The recipe for Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    (tmp_path / "recipe.js").write_text(blocks(WEBHOOKS, "js")[0], "utf-8")
    (tmp_path / "run.js").write_text(
        'const { isGenuine } = require("./recipe.js");\n'
        "const [secret, timestamp, signature, body] = process.argv.slice(2);\n"
        'const bytes = Buffer.from(body, "hex");\n'
        "console.log(isGenuine(secret, timestamp, signature, bytes));\n",
        "utf-8",
    )

    def is_genuine(secret: str, timestamp: str, signature: str, body: bytes) -> bool:
        told = subprocess.run(
            [node, "run.js", secret, timestamp, signature, body.hex()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return {"true": True, "false": False}[told.stdout.strip()]

    return is_genuine


@pytest.mark.anyio
@pytest.mark.parametrize("recipe_of", [python, javascript])
async def test_the_recipes_know_the_server_from_others(
    tmp_path: Path, recipe_of: Callable[[Path], Recipe]
) -> None:
    """A real request is genuine; any change to it, and any age, is not."""
    is_genuine = recipe_of(tmp_path)
    now = time.time()
    async with listening(lambda request: reply()) as backend:
        for sent_at in (now, now - 3600):
            clock = ManualClock(time=sent_at)
            client = SignedClient(backend.url, SECRET, 20.0, 1000, clock)
            await client.post("n1", '{"user":"Zoë"}'.encode())
            await client.aclose()
        fresh, old = backend.received
    for request, genuine in ((fresh, True), (old, False)):
        signature = request.headers["x-realtime-signature"]
        timestamp = request.headers["x-realtime-timestamp"]
        assert is_genuine(SECRET, timestamp, signature, request.body) is genuine
    signature = fresh.headers["x-realtime-signature"]
    timestamp = fresh.headers["x-realtime-timestamp"]
    later = str(int(timestamp) + 1)
    for forged in (
        ("another secret that signs", timestamp, signature, fresh.body),
        (SECRET, later, signature, fresh.body),
        (SECRET, timestamp, "0" * 64, fresh.body),
        (SECRET, timestamp, "", fresh.body),
        (SECRET, timestamp, "zz", fresh.body),
        (SECRET, timestamp, signature, fresh.body + b" "),
    ):
        assert is_genuine(*forged) is False


# -- notices ---------------------------------------------------------------------------


@contextmanager
def told(folder: Path) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """A server that tells a backend of everything; and what the backend has heard."""
    with notice_backend() as (url, heard):
        (folder / "realtime.toml").write_text(
            "[auth]\nanonymous = true\n[webhooks]\n"
            f'url = "{url}"\nsecret = "{SECRET}"\n'
            'events = ["connection_opened", "connection_closed"]\n',
            "utf-8",
        )
        with start_node(folder) as node:
            yield node, heard


def test_notices_have_the_fields_of_the_page(tmp_path: Path) -> None:
    """Those of connections, in order, and the last ones at the end of the process."""
    table = re.findall(r"^\| `(connection_\w+)` \|", text_of(WEBHOOKS), re.M)
    with told(tmp_path) as (node, heard):
        with Client(node.ws_url) as client:
            client.ask("hello", client="app/1")
        with Client(node.ws_url) as client:
            client.ask("hello", client="app/2")
            assert node.stop() == 0
    events = [(one["event"], one["client"]) for one in heard]
    assert events == [(event, app) for app in ("app/1", "app/2") for event in table]
    opened, closed = heard[:2]
    fields = {"id", "event", "at", "connection", "user", "device", "client", "remote"}
    assert set(opened) == fields
    assert set(closed) == {*fields, "code", "reason", "seconds"}
    assert opened["connection"] == closed["connection"]
    assert closed["code"] == 1000
