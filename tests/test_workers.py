"""`realtime serve`: workers on one port, TLS, and what keeps it from starting."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from realtime.cli import main
from realtime.testing.processes import NodeProcess
from realtime.testing.servers import HOST, ValkeyServer, free_port
from tests.faults.support import (
    API_KEY,
    BASE,
    HTTP,
    JSON_V1,
    PATIENCE_S,
    Client,
    eventually,
    logged,
    start_node,
    user_token,
    value,
    write_config,
)
from tests.signing import certificate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """What workers need to be one server."""
    with ValkeyServer() as valkey:
        yield valkey


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the configuration of the workers is."""
    folder = tmp_path_factory.mktemp("workers")
    write_config(folder)
    return folder


@pytest.fixture(scope="module")
def supervisor(folder: Path, valkey: ValkeyServer) -> Iterator[NodeProcess]:
    """A server of two workers."""
    supervisor = start_node(folder, "--redis", valkey.url, "--workers", "2")
    yield supervisor
    supervisor.stop()


@pytest.fixture
def server(supervisor: NodeProcess) -> NodeProcess:
    """The same, running."""
    return supervisor if supervisor.pid is not None else supervisor.start()


def workers_of(server: NodeProcess) -> list[int]:
    """The processes that a supervisor has started."""
    path = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    if not path.exists():
        pytest.skip("children are read from /proc, which this system has not")
    return [int(pid) for pid in path.read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has asked for its end does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def node_of(server: NodeProcess) -> str:
    """Which of the workers answers a new connection."""
    with Client(server.ws_url) as client:
        return str(client.hello()["node"])


def nodes_of(server: NodeProcess, count: int) -> set[str]:
    """Connect until so many workers have answered."""
    found: set[str] = set()
    eventually(lambda: found.add(node_of(server)) or len(found) == count, "all answer")
    return found


def is_listening(port: int) -> bool:
    """Whether anybody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


# -- workers ---------------------------------------------------------------------------


def test_workers_share_a_port_and_their_counters(server: NodeProcess) -> None:
    """Connections reach both; an event at one is seen at the other."""
    nodes_of(server, 2)
    with Client(server.ws_url) as phone, Client(server.ws_url) as watcher:
        watcher.hello()
        watcher.ask("subscribe", channel="live:beats;window=total")
        phone.hello(device="phone")
        phone.track(1, "beat")
        phone.until("ack", acked=1)
        assert watcher.until("push")["data"]["value"] == 1
    assert value(server, "beats") == 1


def test_every_worker_is_listed(server: NodeProcess) -> None:
    """Though one port answers for any one of them: each is a process with its load."""

    def listed() -> list[dict[str, Any]]:
        key = {"Authorization": f"Bearer {API_KEY}"}
        found: list[dict[str, Any]] = HTTP.get(
            f"{server.url}/v1/nodes", headers=key
        ).json()["nodes"]
        return found

    def pids() -> list[int]:
        return sorted(one["pid"] for one in listed())

    eventually(lambda: pids() == sorted(workers_of(server)), "both are listed")
    with Client(server.ws_url) as client:
        client.hello()
        eventually(
            lambda: sum(one["connections"] for one in listed()) == 1, "it counts"
        )
    assert all(one["ready"] and not one["draining"] for one in listed())


def test_a_worker_that_dies_is_replaced(server: NodeProcess) -> None:
    """The other one serves on; the log says that it died and who came."""
    before = nodes_of(server, 2)
    victim, survivor = workers_of(server)
    os.kill(victim, signal.SIGKILL)
    logged(server, event="worker_died", code=-signal.SIGKILL)
    eventually(lambda: len(workers_of(server)) == 2, "another one is started")
    eventually(lambda: node_of(server) not in before, "the new one serves")

    assert survivor in workers_of(server)


def test_workers_are_replaced_one_by_one(server: NodeProcess) -> None:
    """SIGHUP: others take over, clients are told to come back, the port stays open."""
    before, old = nodes_of(server, 2), workers_of(server)
    with Client(server.ws_url) as client:
        client.hello()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGHUP)
        code, _ = client.closed()
        assert "goodbye" in [message["type"] for message in client.passed]
    logged(server, event="workers_replaced", count=2)

    assert code == 1001
    assert not any(map(is_alive, old))
    assert len(workers_of(server)) == 2
    assert before.isdisjoint(nodes_of(server, 2))


def test_a_worker_that_does_not_start_replaces_nobody(
    server: NodeProcess, folder: Path
) -> None:
    """SIGHUP with a configuration that is wrong by now: the old ones serve on."""
    old, config = workers_of(server), folder / "realtime.toml"
    text = config.read_text("utf-8")
    config.write_text("nonsense", "utf-8")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: "worker_not_replaced" in server.log, "it is given up")
    config.write_text(text, "utf-8")

    assert workers_of(server) == old
    assert node_of(server)


TALKS = """
print("loaded")

async def authorise_subscribe(request):
    print("." * 1_000_000, flush=True)
    return True
"""


def test_hooks_may_print(valkey: ValkeyServer, tmp_path: Path) -> None:
    """No pipe fills up that nobody reads: whoever prints goes on, and ends."""
    (tmp_path / "talkative.py").write_text(TALKS, "utf-8")
    write_config(tmp_path, f'{BASE}\n[hooks]\nmodule = "talkative"\n')
    arguments = ("--redis", valkey.url, "--workers", "2")
    with start_node(tmp_path, *arguments) as server:
        with Client(server.ws_url) as client:
            client.hello(token=user_token())
            answer = client.ask("subscribe", channel="chat:1")
            assert answer["type"] == "subscribed"

        assert server.stop() == 0
        assert "workers_killed" not in server.log


def test_two_supervisors_do_not_share_a_port(
    server: NodeProcess, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Only the workers of one do."""
    arguments = ("--config", write_config(tmp_path), "--redis", valkey.url)
    code, [line] = refused(*arguments, "--workers", "2", "--port", str(server.port))

    assert (code, "in use" in line) == (2, True)


def test_workers_end_when_the_supervisor_is_killed(server: NodeProcess) -> None:
    """Nobody is left who would keep the port."""
    workers = workers_of(server)
    server.kill()

    eventually(lambda: not any(map(is_alive, workers)), "the workers end")
    assert not is_listening(server.port)


def test_stopping_the_supervisor_stops_the_workers(server: NodeProcess) -> None:
    """SIGTERM: clients are told, all processes end, the exit code is 0."""
    workers = workers_of(server)
    with Client(server.ws_url) as client:
        client.hello()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGTERM)
        code, _ = client.closed()

    assert code == 1001
    assert server.stop() == 0
    assert not any(map(is_alive, workers))
    assert not is_listening(server.port)


# -- what keeps it from starting -------------------------------------------------------


def refused(*arguments: str | Path) -> tuple[int, list[str]]:
    """Start what cannot start; return the exit code and what it says of itself."""
    run = subprocess.run(
        [sys.executable, "-m", "realtime", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run.returncode, [
        line for line in run.stderr.splitlines() if line.startswith("realtime: ")
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "2"], "2 processes need Redis"),
        (["--dev", "--host", "0.0.0.0"], "only on a loopback host"),
        (["--port", "65536"], "server.port"),
        (["--redis", "localhost"], "redis.url"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    """One line says why, and the exit code is 2."""
    code = main(["serve", "--config", str(write_config(tmp_path)), *arguments])
    said = capsys.readouterr()

    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert sentence in said.err


def test_workers_that_cannot_start_are_not_started_again(tmp_path: Path) -> None:
    """What keeps one from starting is said once, and ends all of it."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    config = write_config(tmp_path)
    arguments = ("--config", config, "--workers", "3", "--redis", url, "--port", "0")
    code, [line] = refused(*arguments)

    assert (code, line.startswith("realtime: redis.url: ")) == (1, True)


def test_a_port_that_is_taken_is_named() -> None:
    """One line with the address."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        code, [line] = refused("--dev", "--port", str(port))

    assert (code, f"127.0.0.1 port {port}" in line) == (2, True)


# -- TLS -------------------------------------------------------------------------------


TLS = '[server]\ntls_cert = "cert.pem"\ntls_key = "key.pem"\n'


async def _greet(url: str, trust: ssl.SSLContext) -> str:
    """
    Say hello and return the answer.

    Not by the library's threaded client: one thread reading and another writing one TLS
    socket hang once in a hundred handshakes, whatever the server.
    """
    names = [Subprotocol(JSON_V1)]
    async with connect(url, ssl=trust, subprotocols=names, compression=None) as client:
        await client.send('{"type":"hello","id":1}')
        async with asyncio.timeout(PATIENCE_S):
            return str(await client.recv())


def test_tls_serves_https_and_wss(tmp_path: Path) -> None:
    """With certificate and key, one port speaks both, and nothing unencrypted."""
    cert, _ = certificate(tmp_path)
    write_config(tmp_path, TLS)
    trust = ssl.create_default_context(cafile=str(cert))
    with start_node(tmp_path, "--dev") as node:
        address = f"{HOST}:{node.port}"
        url = f"wss://{address}/v1/ws"
        assert '"welcome"' in asyncio.run(_greet(url, trust))
        answer = httpx.get(f"https://{address}/healthz", verify=trust)
        with suppress(httpx.TransportError):
            assert not httpx.get(f"http://{address}/healthz").is_success

        assert answer.json() == {"status": "ok"}
        assert "Traceback" not in node.log


def test_a_certificate_is_tried_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says which files, and the exit code is 2."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")

    assert main(["serve", "--config", str(write_config(tmp_path, TLS))]) == 2
    assert "server.tls_cert: " in capsys.readouterr().err
