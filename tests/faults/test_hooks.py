"""Hooks that block, fail, lie and hang: nobody but who asked them is concerned."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    BASE,
    PAYLOAD,
    Client,
    eventually,
    start_node,
    write_config,
)

SETTINGS = """
timeout = "200ms"
failures = 3
pause = "300ms"
"""

SLOWEST_S = 1.0
"""Of a ping on a machine that is busy; half of them must be far faster."""


@contextmanager
def hooked(folder: Path, source: str) -> Iterator[NodeProcess]:
    """A server with these hooks."""
    (folder / "naughty.py").write_text(source, "utf-8")
    write_config(folder, f'{BASE}\n[hooks]\nmodule = "naughty"\n{SETTINGS}')
    with start_node(folder) as node:
        yield node


def pings(client: Client, during_s: float = 0.2) -> list[float]:
    """How long each ping took, one after another."""
    took: list[float] = []
    begun = time.perf_counter()
    while (started := time.perf_counter()) < begun + during_s:
        client.ask("ping", id=len(took))
        took.append(time.perf_counter() - started)
    return took


def check_unharmed(before: list[float], during: list[float]) -> None:
    """Fail if pings have become much slower; print what was measured."""
    usual, then = statistics.median(before), statistics.median(during)
    print(f"ping: {usual * 1e3:.2f} ms before, {then * 1e3:.2f} ms while a hook blocks")
    print(f"the slowest: {max(before) * 1e3:.1f} ms, {max(during) * 1e3:.1f} ms")
    assert then < 10 * usual + 0.02
    assert max(during) < SLOWEST_S


def publish(client: Client, data: object = PAYLOAD) -> dict[str, Any]:
    """Publish; return the answer and how long it took."""
    started = time.perf_counter()
    answer = client.ask("publish", channel="chat:1", data=data)
    return {**answer, "took_s": time.perf_counter() - started}


BLOCKS = """
import time

{kind}def on_publish(request):
    if "well" not in request.data:
        {block}
"""


@pytest.mark.parametrize("kind", ["async ", ""])
def test_a_hook_that_sleeps_for_ever_blocks_nobody_else(
    tmp_path: Path, kind: str
) -> None:
    """Its callers are told so in time, the others notice nothing, and it can stop."""
    source = BLOCKS.format(kind=kind, block="time.sleep(3600)")
    with hooked(tmp_path, source) as node:
        with Client(node.ws_url) as bystander, Client(node.ws_url) as caller:
            bystander.hello()
            caller.hello()
            assert publish(caller, "well")["type"] == "published"
            before = pings(bystander)
            first = publish(caller)
            assert (first["name"], first["retry"]) == ("unavailable", "later")
            assert 0.1 < first["took_s"] < 5.0
            done = threading.Event()
            beats = threading.Thread(target=_insist, args=(caller, done))
            beats.start()
            during = pings(bystander, 1.5)
            done.set()
            beats.join()
            check_unharmed(before, during)
        started = time.monotonic()
        assert node.stop() == 0
        print(f"stopped after {time.monotonic() - started:.1f} s")
    assert PAYLOAD not in node.log
    assert '"hook_rests"' in node.log


def _insist(client: Client, done: threading.Event) -> None:
    while not done.wait(0.02):
        assert publish(client)["name"] == "unavailable"


def test_a_hook_that_computes_for_ever_slows_but_does_not_stop(tmp_path: Path) -> None:
    """Python lets threads take turns: others wait for theirs, and get it."""
    source = BLOCKS.format(kind="async ", block="while True: pass")
    with hooked(tmp_path, source) as node:
        with Client(node.ws_url) as bystander, Client(node.ws_url) as caller:
            bystander.hello()
            caller.hello()
            assert publish(caller)["name"] == "unavailable"
            took = pings(bystander, 1.0)
            print(f"ping while a hook computes: {statistics.median(took) * 1e3:.1f} ms")
            assert max(took) < 2 * SLOWEST_S
        assert node.stop() == 0


def test_a_blocked_thread_is_replaced_and_hooks_go_on(tmp_path: Path) -> None:
    """What blocked once does not silence the hook for ever."""
    source = BLOCKS.format(kind="async ", block="time.sleep(3600)")
    with hooked(tmp_path, source) as node, Client(node.ws_url) as client:
        client.hello()
        assert publish(client)["name"] == "unavailable"
        eventually(lambda: publish(client, "well")["type"] == "published", "a recovery")
        assert '"replaced":true' in node.log
        assert node.stop() == 0


def test_a_hook_that_raises_and_lies_is_unavailable(tmp_path: Path) -> None:
    """The log shows the developer's line, and nothing of what was sent."""
    source = """
def on_publish(request):
    if request.data == "lie":
        return "certainly"
    check(request.data)

def check(text):
    raise RuntimeError("a bug in the check")  # the line to be found
"""
    with hooked(tmp_path, source) as node, Client(node.ws_url) as client:
        client.hello()
        assert publish(client)["name"] == "unavailable"
        eventually(lambda: "naughty.py" in node.log, "a traceback")
        time_of_rest = publish(client, "lie")
        assert time_of_rest["name"] == "unavailable"
        assert client.ask("ping")["type"] == "pong"
    assert "the line to be found" in node.log
    assert "engine/hooks" not in node.log
    assert PAYLOAD not in node.log


# -- backends --------------------------------------------------------------------------


class Naughty(BaseHTTPRequestHandler):
    """Answers as ``mood`` says."""

    mood = "good"
    release = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        mood = "good" if json.loads(body)["data"] == "well" else type(self).mood
        if mood == "hang":
            self.release.wait(60)
        elif mood == "close":
            self.connection.close()
        elif mood == "error":
            self.send_error(500)
        else:
            answer = b'{"allow":true}' if mood == "good" else b'"%b"' % (b"x" * 10**7)
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


class Quiet(ThreadingHTTPServer):
    """Does not complain of who hangs up."""

    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:
        """Be quiet."""


@contextmanager
def backend() -> Iterator[str]:
    """Where such a backend listens."""
    server = Quiet(("127.0.0.1", 0), Naughty)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hooks"
    finally:
        Naughty.release.set()
        server.shutdown()
        server.server_close()


def test_a_backend_that_misbehaves_harms_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it hangs, hangs up, fails or talks without end."""
    with backend() as url:
        write_config(
            tmp_path,
            f"{BASE}\n[hooks]\nurl = '{url}'\npoints = ['on_publish']\n"
            f"secret = 'a secret that signs what is sent'\n{SETTINGS}",
        )
        with start_node(tmp_path) as node:
            with Client(node.ws_url) as bystander, Client(node.ws_url) as caller:
                bystander.hello()
                caller.hello()
                assert publish(caller, "well")["type"] == "published"
                before = pings(bystander)
                for mood in ("hang", "close", "error", "endless"):
                    monkeypatch.setattr(Naughty, "mood", mood)
                    answer = publish(caller)
                    assert answer["name"] == "unavailable", mood
                    assert answer["took_s"] < 5.0, mood
                    check_unharmed(before, pings(bystander))
                    eventually(
                        lambda: publish(caller, "well")["type"] == "published",
                        f"a recovery after {mood}",
                    )
            assert node.stop() == 0
        assert PAYLOAD not in node.log
