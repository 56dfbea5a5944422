"""`realtime presence` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from realtime.cli import main
from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    API_KEY,
    BASE,
    Client,
    check_log,
    start_node,
    user_token,
    write_config,
)

CONFIG = f"""{BASE}
[presence]
max_page = 2

[namespaces.room]
subscribe = "user"
presence = true
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server whose pages of members are short."""
    folder = tmp_path_factory.mktemp("presence")
    write_config(folder, CONFIG)
    with start_node(folder) as node:
        yield node
        check_log(node)


@pytest.fixture
def run(
    node: NodeProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command with the server and the key in the environment."""
    monkeypatch.setenv("REALTIME_URL", node.url)
    monkeypatch.setenv("REALTIME_KEY", API_KEY)

    def command(*words: str) -> tuple[int, str, str]:
        code = main(["presence", *words])
        return code, *capsys.readouterr()

    return command


def test_members_are_listed_page_by_page(node: NodeProcess, run: Run) -> None:
    """One object a line in a pipe; who has no user is shown all the same."""
    grants = {"subscribe": ["room:*"], "info": {"name": "Somebody"}}
    clients = []
    for user in ("anna", "ben", "cleo", None, "anna"):
        client = Client(node.ws_url)
        fields = {"sub": user, "realtime": grants} if user != "cleo" else {"sub": user}
        client.hello(token=user_token(**fields))
        client.ask("subscribe", channel="room:a/b")
        clients.append(client)
    code, out, _ = run("room:a/b")
    counted = run("room:a/b", "--stats")
    for client in clients:
        client.close()

    members = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one.get("user") for one in members] == [None, "anna", "anna", "ben", "cleo"]
    assert {one["client"] for one in members} == {one.connection for one in clients}
    assert members[0]["info"] == {"name": "Somebody"}
    assert "info" not in members[4]
    assert counted == (0, "5 connections, 3 users\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["chat:1"], "realtime: not_available: "),
        (["nowhere:1", "--stats"], "realtime: unknown_channel: "),
        (["room"], "realtime: bad_channel: "),
        (["room:1", "--key", "wrong"], "realtime: unauthorized: "),
    ],
)
def test_it_says_in_one_line_what_is_wrong(
    run: Run, words: list[str], sentence: str
) -> None:
    """With exit code 1."""
    code, out, error = run(*words)

    assert (code, out) == (1, "")
    assert error.startswith(sentence)
    assert error.count("\n") == 1
