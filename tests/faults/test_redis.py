"""
Redis dies, hangs, goes deaf, refuses: what was acknowledged is counted exactly once.

One server and one Valkey (append-only file, fsync always) live through all of this, one
fault after the other.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer, free_port
from tests.faults.fleet import Fleet, like
from tests.faults.relays import running_relay
from tests.faults.support import (
    HTTP,
    PATIENCE_S,
    Client,
    eventually,
    is_ready,
    log_lines,
    start_node,
    value,
    write_config,
)
from tests.signing import SECRET

pytestmark = pytest.mark.slow

TIMEOUT_S = 1.0

CONFIG = f"""
[redis]
timeout = "{TIMEOUT_S:g}s"
probe = "300ms"

[auth]
hmac_secret = "{SECRET}"
anonymous = true

[events]
track = "anyone"

[ledger]
tick = "20ms"
heal = "1h"

[namespaces.chat]
subscribe = "anyone"
publish = "anyone"

[counters.likes]
event = "like"
by = ["post"]
windows = ["total"]
cadence = "20ms"
watch = "anyone"

[counters.fans]
event = "like"
measure = "unique"
of = "device"
by = ["post"]
windows = ["total"]
cadence = "20ms"
watch = "anyone"
"""


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server that forgets nothing that it has answered."""
    with ValkeyServer(appendonly=True, fsync="always") as valkey:
        yield valkey


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer
) -> Iterator[NodeProcess]:
    """A server on it that never reads a counter again unless it has a reason to."""
    folder = tmp_path_factory.mktemp("redis")
    write_config(folder, CONFIG)
    with start_node(folder, "--redis", valkey.url) as node:
        yield node
        assert "Traceback" not in node.log
        errors = {line["event"] for line in log_lines(node) if line["level"] == "error"}
        assert errors <= {"redis_refused_subscription", "ledger_cell_not_changed"}


def kill(valkey: ValkeyServer) -> Callable[[], None]:
    """End it as a crash would; return how it comes back."""
    valkey.kill()
    return valkey.restart


def hang(valkey: ValkeyServer) -> Callable[[], None]:
    """Stop it with all connections open; return how it goes on."""
    valkey.pause()
    return valkey.resume


def watch(client: Client, counter: str, post: str) -> int:
    """Watch a counter that is 0; return its number in pushes."""
    channel = f"live:{counter};post={post};window=total"
    joined = client.ask("subscribe", channel=channel)
    assert joined["data"]["value"] == 0
    number: int = joined["number"]
    return number


def track_until_slowed_down(phone: Client, post: str) -> int:
    """Track one event after the other; return the number of the first not taken."""
    deadline = time.monotonic() + PATIENCE_S
    for number in count(1):
        phone.say("track", first=number, events=[like(post)])
        try:
            message = phone.hear(0.05)
        except TimeoutError:
            assert time.monotonic() < deadline, "no slow_down"
            continue
        if message["type"] == "slow_down":
            assert message["retry_after_s"] > 0
            first: int = message["first"]
            return first
    raise AssertionError


def resend(phone: Client, post: str, first: int) -> int:
    """Do as slow_down says, until all are acknowledged; return how many those are."""
    last = first + 4
    while True:
        phone.say("track", first=first, events=[like(post)] * (last - first + 1))
        message = phone.until("ack", "slow_down")
        while message["type"] == "ack" and message["acked"] < last:
            message = phone.until("ack", "slow_down")
        if message["type"] == "ack":
            return last
        time.sleep(message["retry_after_s"] / 4)


@pytest.mark.parametrize("fault", [kill, hang])
def test_what_is_acknowledged_survives(
    node: NodeProcess,
    valkey: ValkeyServer,
    fault: Callable[[ValkeyServer], Callable[[], None]],
) -> None:
    """Devices are slowed down, then go on; counters are exact and watchers are told."""
    post = fault.__name__
    with Client(node.ws_url) as watcher, Client(node.ws_url) as phone:
        watcher.hello(token=None)
        phone.hello(token=None, device=f"{post}-phone", secret="0123456789abcdef")
        counters = {watch(watcher, name, post): name for name in ("likes", "fans")}
        fleet = Fleet(post, lambda: node.ws_url)
        fleet.await_share(0.25)
        come_back = fault(valkey)
        eventually(lambda: not is_ready(node), "readiness turns red")
        sent = track_until_slowed_down(phone, post)
        acked = fleet.tally.acked
        come_back()
        likes = fleet.tally.total + resend(phone, post, sent)
        fleet.await_end()
        eventually(lambda: is_ready(node), "readiness turns green")
        assert acked < fleet.tally.total
        assert value(node, "likes", post=post) == likes
        latest = {}
        while latest != {"likes": likes, "fans": fleet.DEVICES + 1}:
            push = watcher.until("push")
            latest[counters[push["channel"]]] = push["data"]["value"]


def test_commands_are_answered_while_redis_is_away(
    node: NodeProcess, valkey: ValkeyServer
) -> None:
    """
    Each is refused as unavailable, in time, or done here alone; the connection stays
    and is good.
    """
    with Client(node.ws_url) as early, Client(node.ws_url) as late:
        early.hello(token=None, device="early", secret="0123456789abcdef")
        with valkey.paused():
            eventually(lambda: not is_ready(node), "readiness turns red")
            started = time.monotonic()
            errors = [
                late.ask("hello", device="late", secret="0123456789abcdef"),
                early.ask("subscribe", channel="chat:a"),
                early.ask("publish", channel="chat:a", data=1, idempotency_key="a"),
            ]
            published = early.ask("publish", channel="chat:a", data=1)
            taken_s = time.monotonic() - started
            answer = HTTP.get(f"{node.url}/readyz")
        eventually(lambda: is_ready(node), "readiness turns green")
        late.hello(token=None, device="late", secret="0123456789abcdef")
        assert early.ask("subscribe", channel="chat:a")["type"] == "subscribed"
        early.ask("publish", channel="chat:a", data=1)

    assert [one["name"] for one in errors] == ["unavailable"] * 3
    assert published == {"type": "published", "id": 7, "local": True}
    assert all(one["retry_after_s"] > 0 for one in errors)
    assert taken_s < 10 * TIMEOUT_S
    assert answer.json()["checks"]["broker"] != "ok"


# -- pub/sub ---------------------------------------------------------------------------


def test_what_is_missed_while_pubsub_is_lost_is_read(
    node: NodeProcess, valkey: ValkeyServer
) -> None:
    """Watchers learn of every change though its message found nobody listening."""
    with Client(node.ws_url) as watcher, Client(node.ws_url) as phone:
        watcher.hello(token=None)
        phone.hello(token=None, device="pubsub-phone", secret="0123456789abcdef")
        number = watch(watcher, "likes", "pubsub")
        for seq in range(1, 16):
            phone.say("track", first=seq, events=[like("pubsub")])
            time.sleep(0.02 * (seq % 3))  # so that it is lost before, at and after
            assert valkey.command("CLIENT", "KILL", "TYPE", "pubsub") >= 0
            phone.until("ack", acked=seq)
            while watcher.until("push", channel=number)["data"]["value"] < seq:
                pass


def test_subscriptions_come_back_after_pubsub_was_lost(
    node: NodeProcess, valkey: ValkeyServer
) -> None:
    """Publications arrive again, without a word to the subscriber."""
    with Client(node.ws_url) as client:
        client.hello(token=None)
        number = client.ask("subscribe", channel="chat:back")["number"]
        lost = len(lines_of(node, "redis_pubsub_lost"))
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        eventually(lambda: len(lines_of(node, "redis_pubsub_lost")) > lost, "the loss")
        eventually(
            lambda: lines_of(node, "redis_pubsub_recovered")[lost:], "the recovery"
        )
        client.say("publish", channel="chat:back", data="hello")
        push = client.until("push", "error")

    assert (push["channel"], push["data"]) == (number, "hello")


def lines_of(node: NodeProcess, event: str) -> list[dict[str, object]]:
    """Return the lines of the log about *event*."""
    return [line for line in log_lines(node) if line["event"] == event]


def test_a_connection_that_is_open_but_deaf_is_replaced(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    """The probe notices, readiness turns red, and what was missed is read."""
    write_config(tmp_path, CONFIG)
    with (
        running_relay(valkey.port) as running,
        start_node(tmp_path, "--redis", running.url) as node,
        Client(node.ws_url) as watcher,
        Client(node.ws_url) as phone,
    ):
        watcher.hello(token=None)
        phone.hello(token=None, device="deaf-phone", secret="0123456789abcdef")
        number = watch(watcher, "likes", "deaf")
        (listening,) = running.relay.which_sent(b"SUBSCRIBE")
        listening.deaf = True
        phone.say("track", first=1, events=[like("deaf")])
        phone.until("ack", acked=1)
        eventually(lambda: not is_ready(node), "readiness turns red")
        push = watcher.until("push", channel=number)
        eventually(lambda: is_ready(node), "readiness turns green")

    assert push["data"]["value"] == 1


def test_readiness_is_red_while_nothing_is_delivered(
    node: NodeProcess, valkey: ValkeyServer
) -> None:
    """A Redis that takes commands but no subscriptions is noticed, and its return."""
    with Client(node.ws_url) as watcher, Client(node.ws_url) as phone:
        watcher.hello(token=None)
        phone.hello(token=None, device="mute-phone", secret="0123456789abcdef")
        number = watch(watcher, "likes", "mute")
        valkey.command("ACL", "SETUSER", "default", "resetchannels")
        try:
            eventually(lambda: not is_ready(node), "readiness turns red")
            checks = HTTP.get(f"{node.url}/readyz").json()["checks"]
            phone.say("track", first=1, events=[like("mute")])
            phone.until("ack", acked=1)
        finally:
            valkey.command("ACL", "SETUSER", "default", "allchannels")
        eventually(lambda: is_ready(node), "readiness turns green")
        push = watcher.until("push", channel=number)

    assert checks == {"broker": "a probe through pub/sub was lost", "ledger": "ok"}
    assert push["data"]["value"] == 1


# -- starting --------------------------------------------------------------------------


def serve(
    folder: Path, url: str, config: str = CONFIG
) -> subprocess.CompletedProcess[str]:
    """Start a server that cannot start; return what it has said."""
    path = write_config(folder, config)
    command = [sys.executable, "-m", "realtime", "serve", "--port", "0"]
    return subprocess.run(
        [*command, "--config", str(path), "--redis", url],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_without_redis_it_does_not_start(tmp_path: Path) -> None:
    """The last line says which setting and which address; the exit code is 1."""
    port = free_port()
    run = serve(tmp_path, f"redis://127.0.0.1:{port}/0")

    *_, line = run.stderr.splitlines()  # before it may be what the machine lacks
    assert line.startswith("realtime: redis.url: ")
    assert f"127.0.0.1:{port}" in line
    assert (run.returncode, run.stdout) == (1, "")


def test_with_a_wrong_password_it_does_not_start(tmp_path: Path) -> None:
    """The line says so without the password."""
    with ValkeyServer(password="the right password") as valkey:
        url = f"redis://:not-the-right-one@127.0.0.1:{valkey.port}/0"
        run = serve(tmp_path, url)

    *_, line = run.stderr.splitlines()  # before it may be what the machine lacks
    assert line.startswith("realtime: redis.url: ")
    assert "password" in line
    assert "not-the-right-one" not in line
    assert (run.returncode, run.stdout) == (1, "")


def test_with_another_number_of_shards_it_does_not_start(
    tmp_path: Path, node: NodeProcess, valkey: ValkeyServer
) -> None:
    """It would count the events of a device twice."""
    config = CONFIG.replace("[ledger]", "[ledger]\nshards = 4")
    run = serve(tmp_path, valkey.url, config)

    assert "realtime: ledger.shards: is 4, but" in run.stderr
    assert "Traceback" not in run.stderr
    assert (run.returncode, run.stdout) == (2, "")
