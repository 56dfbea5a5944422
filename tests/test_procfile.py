"""`honcho start` as a developer runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from realtime.testing.servers import HOST, free_port, poll_until

ROOT = Path(__file__).parents[1]
START_S = 40.0
STOP_S = 20.0


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[dict[str, int]]:
    """Start the Procfile on free ports; end all of it afterwards, tidily."""
    ports = {name: free_port() for name in ("VALKEY_PORT", "WEB1_PORT", "WEB2_PORT")}
    given = {name: str(port) for name, port in ports.items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = tmp_path / "honcho.log"
    with said.open("w") as output:
        honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "start"],
            cwd=ROOT,
            env={**os.environ, **given, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield ports
    finally:
        honcho.send_signal(signal.SIGTERM)
        honcho.wait(STOP_S)
    assert not any(map(is_open, ports.values())), "something was left running"
    check_end(said.read_text("utf-8"))


def check_end(said: str) -> None:
    """Fail unless all have ended by themselves, Valkey last and missed by nobody."""
    ends = re.findall(r"(\w+)\.1 stopped \(rc=(-?\d+)\)", said)
    assert sorted(ends) == [("valkey", "0"), ("web1", "0"), ("web2", "0")], said
    assert ends[-1][0] == "valkey"
    after = said.partition("SIGTERM received")[2]
    assert not re.search(r"unavailable|Traceback|SIGKILL", after), after


def url(port: int) -> str:
    """Return the address of the server at *port*."""
    return f"http://{HOST}:{port}"


def is_ready(port: int) -> bool:
    """Whether the server at *port* can deliver."""
    try:
        return httpx.get(f"{url(port)}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def likes(port: int) -> int:
    """What the server at *port* says of the counter."""
    query = {"post": "42", "window": "total"}
    answer = httpx.get(f"{url(port)}/v1/counters/likes", params=query)
    return int(answer.raise_for_status().json()["value"])


def is_open(port: int) -> bool:
    """Whether anybody listens on *port*."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_two_servers_count_as_one(ports: dict[str, int]) -> None:
    """Everything starts, and an event sent to one server is counted at the other."""
    one, other = ports["WEB1_PORT"], ports["WEB2_PORT"]
    poll_until(lambda: is_ready(one) and is_ready(other), START_S, "both are ready")
    before = likes(other)
    answer = httpx.post(
        f"{url(one)}/v1/events",
        headers={"Idempotency-Key": "from the test of the Procfile"},
        json={"events": [{"name": "like", "properties": {"post": "42"}}]},
    )
    assert answer.status_code == 200
    poll_until(lambda: likes(other) == before + 1, START_S, "the other counts it")
