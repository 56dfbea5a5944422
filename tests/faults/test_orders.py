"""
Orders while nodes hang or die and Redis is away: obeyed everywhere, or it is said where
not.

Two servers and a Valkey that keeps nothing over a crash live through all of this.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from realtime.testing.processes import NodeProcess
from realtime.testing.servers import ValkeyServer
from tests.faults.support import (
    API_KEY,
    BASE,
    HTTP,
    Client,
    check_log,
    eventually,
    is_ready,
    log_lines,
    start_node,
    user_token,
    write_config,
)

pytestmark = pytest.mark.slow

CONFIG = f"""{BASE}
[redis]
timeout = "1s"
probe = "300ms"
"""

KEY = {"Authorization": f"Bearer {API_KEY}"}


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A server whose data a crash takes away."""
    with ValkeyServer() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer
) -> Iterator[list[NodeProcess]]:
    """Two servers on one Valkey."""
    folder = tmp_path_factory.mktemp("orders")
    write_config(folder, CONFIG)
    nodes = [
        start_node(folder, "--redis", valkey.url, name=f"node-{number}")
        for number in range(2)
    ]
    try:
        yield nodes
        for node in nodes:
            check_log(node)
    finally:
        for node in nodes:
            node.kill()


@pytest.fixture
def nodes(cluster: list[NodeProcess]) -> list[NodeProcess]:
    """The same two, alive, ready, and known to each other; no other is known."""
    for node in cluster:
        if node.pid is None:
            node.start()
    eventually(lambda: all(map(is_ready, cluster)), "both are ready")
    for node in cluster:
        eventually(lambda node=node: len(known(node)) == 2, "both are known")
    return cluster


def known(node: NodeProcess) -> list[dict[str, Any]]:
    """The nodes that *node* knows to be alive."""
    found: list[dict[str, Any]] = ask(node, "GET", "/v1/nodes").json().get("nodes", [])
    return found


def ask(
    node: NodeProcess, method: str, path: str, body: object = None
) -> httpx.Response:
    """Make a request as a backend."""
    return HTTP.request(method, node.url + path, json=body, headers=KEY)


def client(node: NodeProcess, user: str, **changed: Any) -> Client:
    """A client of *user* that has said hello, whatever the answer was."""
    found = Client(node.ws_url)
    found.ask("hello", token=user_token(user, **changed))
    return found


def is_kept_out(node: NodeProcess, user: str) -> bool:
    """Whether *user* is turned away as blocked."""
    with Client(node.ws_url) as found:
        answer = found.ask("hello", token=user_token(user))
        return answer.get("name") == "blocked"


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """Let a process hang: it keeps its connections and does nothing."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# -- all is well -----------------------------------------------------------------------


def test_all_orders_take_effect_on_every_node(nodes: list[NodeProcess]) -> None:
    """Each is given to one node, and seen by the clients of both."""
    here = nodes[0]
    with client(nodes[0], "ann") as one, client(nodes[1], "ann") as two:
        for app in (one, two):
            app.ask("subscribe", channel="chat:42")
        found = ask(here, "GET", "/v1/users/ann/connections").json()
        assert len({one["node"] for one in found["connections"]}) == 2
        [channel] = ask(here, "GET", "/v1/channels?prefix=chat:").json()["channels"]
        assert channel == {"channel": "chat:42", "subscribers": 2}

        body = {"channel": "chat:42"}
        answer = ask(here, "POST", "/v1/users/ann/unsubscribe", body).json()
        assert answer == {"unsubscribed": 2, "nodes": 2, "answered": 2}
        assert {app.until("unsubscribed")["code"] for app in (one, two)} == {120}

        answer = ask(here, "POST", "/v1/users/ann/refresh").json()
        assert answer["refreshed"] == 2
        assert {app.until("token_expired")["grace_s"] for app in (one, two)} == {25.0}

        answer = ask(here, "POST", "/v1/users/ann/disconnect").json()
        assert answer["disconnected"] == 2
        assert {app.closed()[0] for app in (one, two)} == {4504}


def test_blocks_and_revocations_take_effect_on_every_node(
    nodes: list[NodeProcess],
) -> None:
    """On who is connected and on who comes; wherever it is taken back."""
    with client(nodes[0], "bea") as one, client(nodes[1], "bea") as two:
        answer = ask(nodes[0], "PUT", "/v1/users/bea/block", {"for": "1h"}).json()
        assert (answer["disconnected"], answer["answered"]) == (2, 2)
        assert {app.closed()[0] for app in (one, two)} == {4505}
    assert all(is_kept_out(node, "bea") for node in nodes)
    assert ask(nodes[1], "DELETE", "/v1/users/bea/block").json()["unblocked"] is True
    assert not any(is_kept_out(node, "bea") for node in nodes)

    old = int(time.time()) - 60
    with (
        client(nodes[0], "bea", iat=old) as one,
        client(nodes[1], "bea", iat=old) as two,
    ):
        body = {"issued_before": old + 30}
        answer = ask(nodes[1], "POST", "/v1/users/bea/revoke", body).json()
        assert answer["disconnected"] == 2
        assert {app.closed()[0] for app in (one, two)} == {4506}
    for node in nodes:
        with client(node, "bea") as app:
            assert app.ask("ping")["type"] == "pong"


# -- a node that hangs, a node that dies -----------------------------------------------


def test_a_node_that_hangs_is_named_and_obeys_when_it_wakes(
    nodes: list[NodeProcess],
) -> None:
    """Told in seconds; once it is forgotten, the order succeeds without it."""
    sleeper = next(one for one in known(nodes[0]) if one["pid"] == nodes[1].pid)
    with client(nodes[1], "hal") as app:
        with stopped(nodes[1].pid):
            began = time.monotonic()
            answer = ask(nodes[0], "PUT", "/v1/users/hal/block", {"for": "1h"})
            took_s = time.monotonic() - began
            assert answer.status_code == 503
            assert answer.json()["missing"] == [sleeper["node"]]
            assert took_s < 6

            def again() -> bool:
                order = ask(nodes[0], "PUT", "/v1/users/hal/block", {"for": "1h"})
                return order.status_code == 200

            eventually(again, "the node that hangs is forgotten")
        assert app.closed()[0] == 4505
    eventually(lambda: is_kept_out(nodes[1], "hal"), "it is awake")
    print(f"a node hung: told after {took_s:.1f} s, obeyed by it when it woke")


def test_a_node_that_died_is_named_until_it_is_forgotten(
    nodes: list[NodeProcess],
) -> None:
    """Its connections are gone with it; the order is given again and succeeds."""
    dead = next(one for one in known(nodes[0]) if one["pid"] == nodes[1].pid)
    nodes[1].kill()
    began = time.monotonic()
    answer = ask(nodes[0], "POST", "/v1/users/kim/disconnect")
    assert answer.status_code == 503
    assert answer.json()["missing"] == [dead["node"]]
    assert answer.headers["retry-after"] == "1"

    def again() -> bool:
        return ask(nodes[0], "POST", "/v1/users/kim/disconnect").status_code == 200

    eventually(again, "the dead node is forgotten")
    print(f"a node died: forgotten after {time.monotonic() - began:.1f} s")


# -- Redis -----------------------------------------------------------------------------


def test_who_is_blocked_stays_so_while_redis_hangs(
    nodes: list[NodeProcess], valkey: ValkeyServer
) -> None:
    """New orders are refused with 503; those that were given hold."""
    ask(nodes[0], "PUT", "/v1/users/joe/block", {"for": "1h"}).raise_for_status()
    with stopped(valkey.pid):
        assert all(is_kept_out(node, "joe") for node in nodes)
        assert ask(nodes[0], "DELETE", "/v1/users/joe/block").status_code == 503
    eventually(lambda: all(map(is_ready, nodes)), "Redis is back")
    ask(nodes[0], "DELETE", "/v1/users/joe/block").raise_for_status()
    assert not any(is_kept_out(node, "joe") for node in nodes)


def test_what_redis_has_lost_is_put_back_by_the_nodes(
    nodes: list[NodeProcess], valkey: ValkeyServer
) -> None:
    """Blocks outlive a Redis that kept nothing; a node that starts later has them."""
    ask(nodes[0], "PUT", "/v1/users/lee/block", {"for": "1h"}).raise_for_status()
    valkey.kill()
    valkey.start()
    eventually(lambda: valkey.command("EXISTS", "realtime:blocks"), "it is put back")

    def told() -> bool:
        events = [line["event"] for node in nodes for line in log_lines(node)]
        return "blocks_restored" in events

    eventually(told, "a node says so")
    assert all(is_kept_out(node, "lee") for node in nodes)
    nodes[1].kill()
    nodes[1].start()
    assert is_kept_out(nodes[1], "lee")


def test_an_order_reaches_who_has_lost_pubsub_at_that_moment(
    nodes: list[NodeProcess], valkey: ValkeyServer
) -> None:
    """It is sent again; and what is stored is found by whoever did not hear of it."""
    for number in range(5):
        user = f"mia-{number}"
        with client(nodes[1], user) as app:
            valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
            answer = ask(nodes[0], "PUT", f"/v1/users/{user}/block", {"for": "1h"})
            assert answer.status_code in (200, 503)
            assert app.closed()[0] == 4505


def test_orders_leave_nothing_behind(
    nodes: list[NodeProcess], valkey: ValkeyServer
) -> None:
    """Blocks that are over are gone from Redis and from the list."""
    for number in range(20):
        path = f"/v1/users/short-{number}/block"
        ask(nodes[number % 2], "PUT", path, {"for": 1}).raise_for_status()

    def gone() -> bool:
        listed = ask(nodes[0], "GET", "/v1/blocks?limit=1000").json()["blocks"]
        return not any(one["user"].startswith("short-") for one in listed)

    eventually(gone, "they are over")
