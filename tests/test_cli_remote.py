"""`realtime track`, `publish`, `watch` and `replay` against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.cli import main
from realtime.testing.processes import NodeProcess
from realtime.testing.servers import free_port
from tests.faults.support import (
    API_KEY,
    BASE,
    PATIENCE_S,
    Client,
    check_log,
    eventually,
    start_node,
    value,
    write_config,
)

CONFIG = f"""{BASE}
[history]
max_page = 3

[namespaces.log]
subscribe = "user"
history_size = 100

[counters.fans]
event = "like"
measure = "unique"
of = "user"
by = ["post"]
watch = "user"
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server that asks who one is."""
    folder = tmp_path_factory.mktemp("remote")
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

    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return command


def start(node: NodeProcess, *words: object) -> subprocess.Popen[str]:
    """Start a command in a process of its own, into a pipe."""
    there = ("--url", node.url, "--key", API_KEY)
    return subprocess.Popen(
        [sys.executable, "-m", "realtime", *map(str, words), *there],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def likes(node: NodeProcess, post: str) -> int:
    """How many likes a post has."""
    found: int = value(node, "likes", post=post)
    return found


# -- track -----------------------------------------------------------------------------


def test_track_counts_once_per_call(node: NodeProcess, run: Run) -> None:
    """One event, or several; the command ends when they are counted."""
    assert run("track", "like", "post=track") == (0, "counted: like\n", "")
    code, out, _ = run("track", "like", "post=track", "--times", 10, "--user", "ann")

    assert (code, out) == (0, "counted: like 10 times\n")
    assert likes(node, "track") == 11
    assert value(node, "fans", post="track") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["9like"], "realtime: bad_event_name: "),
        (["like", "--at", "0"], "realtime: event_too_old: "),
        (["like", "post"], "realtime: properties are written name=value, not 'post'"),
        (["like", "--times", "1001"], "realtime: --times is 1001; "),
        (["like", "--key", "wrong"], "realtime: unauthorized: "),
        (["like", "--key", "clé"], "realtime: --key has characters"),
        (["like", "--url", "nowhere"], "realtime: --url is 'nowhere'; "),
    ],
)
def test_track_says_in_one_line_what_is_wrong(
    run: Run, words: list[str], sentence: str
) -> None:
    """On standard error, with exit code 1."""
    code, out, err = run("track", *words)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(sentence)


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    """By its address."""
    url = f"http://127.0.0.1:{free_port()}"
    code, _, err = run("publish", "chat:a", "1", "--url", url)

    assert code == 1
    assert err.startswith(f"realtime: {url} cannot be reached: ")


# -- publish and history ---------------------------------------------------------------


def test_history_prints_what_is_kept(run: Run) -> None:
    """From the oldest on, the newest alone, over more than a page; or removes it."""
    for number in range(7):
        words = ("publish", "log:cli", number, "--tag", "lang=fr", "--version", number)
        assert run(*words)[0] == 0
    all_of_it = [json.loads(line) for line in run("history", "log:cli")[1].splitlines()]
    last = run("history", "log:cli", "--last", 5)[1].splitlines()
    forgotten = run("history", "log:cli", "--forget")
    nothing = run("history", "log:cli")

    assert [one["data"] for one in all_of_it] == list(range(7))
    assert all_of_it[0]["tags"] == {"lang": "fr"}
    assert [json.loads(line)["offset"] for line in last] == [3, 4, 5, 6, 7]
    assert forgotten == (0, "removed what log:cli has kept\n", "")
    assert nothing == (0, "", "")


def test_publish_says_what_was_skipped(run: Run) -> None:
    """Because it was published before, or is not newer."""
    first = run("publish", "log:once", 1, "--once", "a", "--version", 3)
    again = run("publish", "log:once", "log:other", 1, "--once", "a")
    older = run("publish", "log:once", 1, "--version", 2)

    assert first == (0, "published on log:once\n", "")
    assert again[1] == (
        "published on log:other\nnot published on log:once: duplicate\n"
    )
    assert older == (0, "not published on log:once: stale\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["chat:a"], "realtime: not_available: "),
        (["log:a", "--last", "0"], "realtime: --last is 0; "),
    ],
)
def test_history_says_in_one_line_what_is_wrong(
    run: Run, words: list[str], sentence: str
) -> None:
    """On standard error, with exit code 1."""
    code, out, err = run("history", *words)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(sentence)


def test_publish_reaches_every_channel(node: NodeProcess, run: Run) -> None:
    """One message on one channel or on several."""
    with Client(node.ws_url) as reader:
        reader.hello()
        for channel in ("chat:one", "chat:two"):
            reader.ask("subscribe", channel=channel)
        one = run("publish", "chat:one", '{"text": "é"}')
        two = run("publish", "chat:one", "chat:two", "null")
        got = [reader.until("push")["data"] for _ in range(3)]

    assert one == (0, "published on chat:one\n", "")
    assert two == (0, "published on chat:one, chat:two\n", "")
    assert got == [{"text": "é"}, None, None]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["chat:a", "hello"], "realtime: the message is no JSON ("),
        (["nope:a", "1"], "realtime: unknown_channel: "),
        (["chat:a", "nope:a", "1"], "realtime: nope:a: "),
    ],
)
def test_publish_says_in_one_line_what_is_wrong(
    run: Run, words: list[str], sentence: str
) -> None:
    """On standard error, with exit code 1."""
    code, out, err = run("publish", *words)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(sentence)


# -- watch -----------------------------------------------------------------------------


def test_watch_writes_a_line_per_change(node: NodeProcess, run: Run) -> None:
    """JSON into a pipe: the value now, then every change, until there were enough."""
    channel = "live:likes;post=watch;window=total"
    watch = start(node, "watch", channel, "--count", 2)
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    run("track", "like", "post=watch")
    out, err = watch.communicate(timeout=PATIENCE_S)
    second = json.loads(out)

    assert [first["channel"], second["channel"]] == [channel] * 2
    assert [first["data"]["value"], second["data"]["value"]] == [0, 1]
    assert (watch.returncode, err) == (0, "")


def test_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    """It connects again, and goes on with the value that there is then."""
    write_config(tmp_path, CONFIG)
    with start_node(tmp_path) as node:
        watch = start(node, "watch", "live:beats", "--count", 2)
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        node.kill()
        node.start()
        out, err = watch.communicate(timeout=PATIENCE_S)

    assert json.loads(out)["data"] == first["data"]
    assert (watch.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["live:nope"], "realtime: unknown_channel: "),
        (["chat:a", "--key", "wrong"], "realtime: unauthorized: "),
        (["chat:a", "--count", "0"], "realtime: --count is 0; "),
    ],
)
def test_watch_says_in_one_line_what_is_wrong(
    run: Run, words: list[str], sentence: str
) -> None:
    """On standard error, with exit code 1."""
    code, out, err = run("watch", *words)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(sentence)


# -- replay ----------------------------------------------------------------------------

START = 1_700_000_000


def rows(post: str, count: int) -> list[dict[str, Any]]:
    """Likes of a post by seven users, a second apart."""
    return [
        {"at": START + n, "who": f"user-{n % 7}", "post": post} for n in range(count)
    ]


def write_csv(path: Path, post: str, count: int) -> Path:
    """Write them as CSV."""
    lines = [",".join(map(str, row.values())) for row in rows(post, count)]
    path.write_text("\n".join(["at,who,post", *lines]) + "\n")
    return path


def write_json_lines(path: Path, post: str, count: int) -> Path:
    """Write them as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(post, count)))
    return path


def write_parquet(path: Path, post: str, count: int) -> Path:
    """Write them as Parquet."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows(post, count)), path)
    return path


@pytest.mark.parametrize(
    ("write", "ending"),
    [(write_csv, "csv"), (write_json_lines, "jsonl"), (write_parquet, "parquet")],
)
def test_replay_counts_every_row_once(
    node: NodeProcess,
    run: Run,
    tmp_path: Path,
    write: Callable[[Path, str, int], Path],
    ending: str,
) -> None:
    """Also when it is run again; the users are those of the rows."""
    path = write(tmp_path / f"rows.{ending}", ending, 1_000)
    words = ("replay", path, "--name", "like", "--time", "at", "--user", "who")
    code, out, _ = run(*words)
    again, said, _ = run(*words)

    assert (code, again) == (0, 0)
    assert out.startswith("counted 1,000 events, ")
    assert "skipped 1,000 that were counted before" in said
    assert likes(node, ending) == 1_000
    assert value(node, "fans", post=ending) == 7


def test_replay_that_was_killed_goes_on(
    node: NodeProcess, run: Run, tmp_path: Path
) -> None:
    """No row is counted twice, and none is left out."""
    path = write_csv(tmp_path / "rows.csv", "killed", 2_000)
    words = ("replay", path, "--name", "like", "--time", "at", "--batch", 20)
    replay = start(node, *words, "--speed", 300)
    eventually(lambda: likes(node, "killed") > 100, "a part is counted")
    replay.kill()
    replay.communicate(timeout=PATIENCE_S)
    done = likes(node, "killed")
    code, out, _ = run(*words)

    assert done < 2_000
    assert code == 0
    assert "skipped" in out
    assert likes(node, "killed") == 2_000


def test_replay_writes_its_progress_elsewhere(
    node: NodeProcess, tmp_path: Path
) -> None:
    """What goes into a pipe is the summary alone, without colours."""
    path = write_csv(tmp_path / "rows.csv", "piped", 500)
    replay = start(node, "replay", path, "--name", "like")
    out, _ = replay.communicate(timeout=PATIENCE_S)

    assert replay.returncode == 0
    assert out.startswith("counted 500 events, ")
    assert (out.count("\n"), "\x1b" in out) == (1, False)


def test_replay_tells_what_was_rejected(
    node: NodeProcess, run: Run, tmp_path: Path
) -> None:
    """By reason, with exit code 1; the other rows count."""
    path = tmp_path / "rows.csv"
    path.write_text("kind,post\nlike,r\n,r\n9,r\nlike,r\n")
    code, out, _ = run("replay", path, "--event", "kind")

    assert code == 1
    assert "rejected 2:" in out
    assert "1 x bad_event_name: name is '9'" in out
    assert likes(node, "r") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.csv", "--name", "x"], "realtime: nowhere.csv is no file"),
        (["{csv}", "--name", "x", "--speed", "2"], "realtime: --speed and --keep-time"),
        (["{csv}", "--name", "x", "--lanes", "0"], "realtime: --lanes is 0; "),
        (["{csv}", "--name", "x", "--time", "no"], "realtime: there is no column 'no'"),
        (["{csv}", "--name", "x", "--key", "wrong"], "realtime: unauthorized: "),
    ],
)
def test_replay_says_in_one_line_what_is_wrong(
    run: Run, tmp_path: Path, words: list[str], sentence: str
) -> None:
    """On standard error, with exit code 1."""
    path = write_csv(tmp_path / "rows.csv", "wrong", 5)
    code, out, err = run(
        "replay", *(word.replace("{csv}", str(path)) for word in words)
    )

    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(sentence)


def test_replay_explains_what_a_speed_is(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """As every wrong argument, with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        run("replay", "rows.csv", "--name", "x", "--speed", "fast")

    assert caught.value.code == 2
    assert "must be max, real, or a number above 0" in capsys.readouterr().err
