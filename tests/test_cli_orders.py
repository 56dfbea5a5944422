"""The commands that give orders, against a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from realtime.cli import admin, main
from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    API_KEY,
    BASE,
    Client,
    check_log,
    logged,
    start_node,
    user_token,
    write_config,
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server that asks who one is."""
    folder = tmp_path_factory.mktemp("orders")
    write_config(folder, BASE)
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

    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands believe that they write to a terminal, a wide one."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FORCE_COLOR", "1")


def client(node: NodeProcess, user: str) -> Client:
    """A client of *user*, welcomed."""
    found = Client(node.ws_url)
    found.hello(token=user_token(user), client="shop/1.2")
    return found


def rows(text: str) -> list[dict[str, object]]:
    """What was written into a pipe."""
    return [json.loads(line) for line in text.splitlines()]


# -- orders ----------------------------------------------------------------------------


def test_disconnect_closes_connections(node: NodeProcess, run: Run) -> None:
    """Of a user, with a reason; or one, by its id; and leaves a line in the log."""
    with client(node, "dora") as one, client(node, "dora") as two:
        by_id = run("disconnect", "--connection", one.connection)
        assert by_id == (
            0,
            f"disconnected connection {one.connection}: 1 connection, on 1 node\n",
            "",
        )
        assert one.closed()[0] == 4504
        _, out, _ = run("disconnect", "dora", "--reconnect", "--reason", "new plan")
        assert out == "disconnected dora: 1 connection, on 1 node\n"
        assert two.closed() == (4007, "new plan")
    line = logged(node, event="order_given", user="dora")
    assert (line["order"], line["by"], line["done"]) == ("disconnect", "shop", 1)


def test_unsubscribe_ends_subscriptions(node: NodeProcess, run: Run) -> None:
    """The app is told."""
    with client(node, "ute") as app:
        app.ask("subscribe", channel="chat:42")
        code, out, _ = run("unsubscribe", "chat:42", "ute")
        told = app.until("unsubscribed")

    assert (code, told["code"]) == (0, 120)
    assert out == "unsubscribed ute from chat:42: 1 subscription, on 1 node\n"


def test_block_and_unblock(node: NodeProcess, run: Run) -> None:
    """The user is closed and listed, and may come back afterwards."""
    with client(node, "mallory") as app:
        code, out, _ = run("block", "mallory", "--for", "1h")
        assert app.closed()[0] == 4505
    assert code == 0
    assert re.fullmatch(
        r"blocked mallory until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: "
        r"1 connection closed, on 1 node\n",
        out,
    )
    [row] = rows(run("blocks")[1])
    assert (row["user"], row.keys()) == ("mallory", {"user", "until"})

    assert run("unblock", "mallory")[1] == "mallory may come back\n"
    assert run("unblock", "mallory")[1] == "mallory is not blocked\n"
    client(node, "mallory").close()


def test_revoke_closes_who_has_an_old_token(node: NodeProcess, run: Run) -> None:
    """Of a user, or of everybody, before now or another time."""
    with client(node, "rex") as app:
        assert "tokens of rex" in run("revoke", "rex", "--issued-before", 1)[1]
        code, out, _ = run("revoke", "rex", "--for", "30d")
        assert app.closed()[0] == 4506
    assert code == 0
    assert out.endswith(": 1 connection closed, on 1 node\n")
    assert run("revoke", "rex", "--undo")[1] == "tokens of rex are good again\n"
    assert run("revoke", "rex", "--undo")[1] == "tokens of rex are not revoked\n"
    code, out, _ = run("revoke", "--everybody", "--issued-before", 1_000)
    assert out.startswith(
        "revoked tokens of everybody issued before 1970-01-01 00:16:4"
    )


# -- lists -----------------------------------------------------------------------------


def test_lists_are_json_in_a_pipe(node: NodeProcess, run: Run) -> None:
    """One object per line."""
    with client(node, "lia") as app:
        app.ask("subscribe", channel="chat:list")
        [connection] = rows(run("connections", "lia")[1])
        [channel] = rows(run("channels", "chat:list")[1])
        [found] = rows(run("nodes")[1])

    assert connection["connection"] == app.connection
    assert connection["client"] == "shop/1.2"
    assert channel == {"channel": "chat:list", "subscribers": 1}
    assert found["pid"] == node.pid
    assert found["ready"] is True


def test_lists_are_tables_on_a_terminal(
    node: NodeProcess, run: Run, terminal: None
) -> None:
    """With headings; what is empty is said in words."""
    with client(node, "lou") as app:
        app.ask("subscribe", channel="chat:table")
        connections = run("connections", "lou")[1]
        channels = run("channels", "chat:table")[1]
        nodes = run("nodes")[1]
    assert app.connection in connections
    assert "shop/1.2" in connections
    assert re.search(r"channel.*subscribers", channels)
    assert str(node.pid) in nodes
    assert "draining" in nodes
    assert run("connections", "nobody")[1:] == ("", "nobody is not connected\n")
    assert run("channels", "none:")[1:] == ("", "no channel has subscribers\n")


def test_lists_come_in_pages(
    node: NodeProcess, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are asked for, whatever the size of a page."""
    monkeypatch.setattr(admin, "PAGE", 3)
    with client(node, "pia") as app:
        for number in range(8):
            app.ask("subscribe", channel=f"chat:page-{number}")
        some = rows(run("channels", "chat:page-", "--limit", 5)[1])
        every = rows(run("channels", "chat:page-")[1])

    assert [row["channel"] for row in some] == [f"chat:page-{n}" for n in range(5)]
    assert len(every) == 8


# -- mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["disconnect"], "realtime: give either a user or --connection ID\n"),
        (["disconnect", "ann", "--connection", "c"], "realtime: give either a user "),
        (["revoke"], "realtime: give either a user or --everybody\n"),
        (["revoke", "ann", "--everybody"], "realtime: give either a user "),
        (["block", "ann", "--for", "ages"], "realtime: bad_message: for: must be "),
        (["unsubscribe", "chat", "ann"], "realtime: bad_channel: "),
        (["channels", "--limit", "0"], "realtime: --limit is 0; "),
        (["blocks", "--limit", "0"], "realtime: --limit is 0; "),
        (["nodes", "--key", "wrong"], "realtime: unauthorized: "),
    ],
)
def test_mistakes_are_one_line(run: Run, words: list[str], sentence: str) -> None:
    """On standard error, with exit code 1."""
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(sentence)
