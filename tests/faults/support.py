"""
Real server processes and clients over real sockets, for tests of everything bad.

Everything waits with a deadline, never for a fixed time. Deadlines are generous: they
are for busy machines, and nothing that goes well takes that long.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgpack
import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from realtime.testing.processes import NodeProcess
from tests.signing import SECRET, token

JSON_V1 = "realtime.v1.json"
MSGPACK_V1 = "realtime.v1.msgpack"

PATIENCE_S = 30.0
POLL_S = 0.02

API_KEY = "the key of the shop's backend"

#: What must never be in a log: payloads of the tests are made of it.
PAYLOAD = "payload-that-must-not-be-logged"

BASE = f"""
[auth]
hmac_secret = "{SECRET}"

[ledger]
tick = "20ms"
heal = "1s"

[api_keys.shop]
key = "{API_KEY}"

[namespaces.chat]
subscribe = "user"
publish = "user"

[counters.beats]
event = "beat"
windows = ["total"]
cadence = "20ms"
watch = "user"

[counters.likes]
event = "like"
by = ["post"]
windows = ["total", "5m"]
cadence = "20ms"
watch = "user"
"""


def user_token(user: str = "ann", lives_s: float = 600.0, **changed: Any) -> str:
    """A token that the servers of these tests believe."""
    now = int(time.time())
    grants = {"track": ["beat", "like", "sale"]}
    fields = {"sub": user, "iat": now, "exp": now + lives_s, "realtime": grants}
    return token(**{**fields, **changed})


#: For single requests. Making a client takes long, because of TLS; connections are not
#: kept, because servers are killed.
HTTP = httpx.Client(
    verify=False,
    trust_env=False,
    timeout=PATIENCE_S,
    limits=httpx.Limits(max_keepalive_connections=0),
)


def write_config(folder: Path, text: str = BASE) -> Path:
    """Write a ``realtime.toml`` and return its path."""
    path = folder / "realtime.toml"
    path.write_text(text, "utf-8")
    return path


def start_node(folder: Path, *arguments: str, name: str = "node") -> NodeProcess:
    """Make a server of the configuration in *folder*; its log is there, too."""
    given = ("--config", str(folder / "realtime.toml"), *arguments)
    return NodeProcess(given, folder / f"{name}.log")


def eventually(
    condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S
) -> Any:
    """Return what *condition* returns once that is true; fail after *within_s*."""
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what}")
        time.sleep(POLL_S)


# -- clients ---------------------------------------------------------------------------


class Client:
    """
    One WebSocket to a server, speaking the native protocol.

    Messages that are waited for by type are given back; those that came before them are
    kept in ``passed``. Who is not *greedy* takes nothing from the network but what is
    asked for, with as small a buffer as there can be. With *compression*, it compresses
    what it sends if the server lets it.
    """

    def __init__(
        self,
        url: str,
        subprotocol: str = JSON_V1,
        *,
        patience_s: float = PATIENCE_S,
        greedy: bool = True,
        compression: bool = False,
    ) -> None:
        self._binary = subprotocol == MSGPACK_V1
        self._patience_s = patience_s
        self.passed: list[dict[str, Any]] = []
        self.connection = ""
        self._stack = ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(
            connect(
                url,
                subprotocols=[Subprotocol(subprotocol)],
                compression="deflate" if compression else None,
                max_size=None,
                max_queue=None if greedy else 1,
                sock=None if greedy else _small_socket(url),
                ping_interval=None,
                open_timeout=patience_s,
                close_timeout=patience_s,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        self._stack.close()

    def send(self, data: str | bytes) -> None:
        """Send one message of any bytes: text if it is a string."""
        self.socket.send(data)

    def say(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        message = {"type": kind, **fields}
        if self._binary:
            self.socket.send(msgpack.packb(message))
        else:
            self.socket.send(orjson.dumps(message), text=True)

    def hear(self, within_s: float | None = None) -> dict[str, Any]:
        """Return the next message."""
        data = self.socket.recv(self._patience_s if within_s is None else within_s)
        if isinstance(data, str):
            return json.loads(data)  # type: ignore[no-any-return]
        return msgpack.unpackb(data)  # type: ignore[no-any-return]

    def until(self, *kinds: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of these types that has these fields."""
        deadline = time.monotonic() + self._patience_s
        while True:
            message = self.hear(max(deadline - time.monotonic(), 0.0))
            fits = all(message.get(name) == value for name, value in fields.items())
            if message["type"] in kinds and fits:
                return message
            self.passed.append(message)

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command with an id; return the reply or the error that has it."""
        id = fields.setdefault("id", 7)
        self.say(kind, **fields)
        deadline = time.monotonic() + self._patience_s
        while True:
            message = self.hear(max(deadline - time.monotonic(), 0.0))
            if message.get("id") == id:
                return message
            self.passed.append(message)

    def hello(self, **fields: Any) -> dict[str, Any]:
        """Say hello as a user; return welcome, or fail."""
        answer = self.ask("hello", **{"token": user_token(), **fields})
        assert answer["type"] == "welcome", answer
        self.connection = answer["connection"]
        return answer

    def track(self, first: int, *names: str, **fields: Any) -> None:
        """Send events by name, numbered from *first*."""
        events = [{"name": name} for name in names]
        self.say("track", first=first, events=events, **fields)

    def closed(self) -> tuple[int, str]:
        """Read to the end; return the code and the reason of the server's close."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                self.passed.append(self.hear(max(deadline - time.monotonic(), 0.0)))
            except ConnectionClosed as exc:
                if exc.rcvd is None:
                    return 1006, ""
                return exc.rcvd.code, exc.rcvd.reason

    def abort(self) -> None:
        """Cut the connection without a word."""
        with suppress(OSError):
            self.socket.socket.shutdown(socket.SHUT_RDWR)


def _small_socket(url: str) -> socket.socket:
    found = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((found.hostname, found.port))
    return sock


class Witness:
    """
    A client that tracks and watches, over and over, while others suffer.

    Each *beat* is an event that is acknowledged and seen in its counter, which nobody
    else may move. A beat that fails, or takes too long, fails whoever waits for the
    next one.
    """

    LONGEST_S = 10.0

    def __init__(self, url: str) -> None:
        self._client = Client(url, patience_s=self.LONGEST_S)
        device = f"witness-{secrets.token_hex(8)}"
        self._client.hello(device=device, token=user_token("witness", lives_s=7200))
        joined = self._client.ask("subscribe", channel="live:beats;window=total")
        self._before = joined["data"]["value"]
        self._beats = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Wait for one whole beat from now on."""
        wanted = self._beats + 2
        eventually(lambda: self._beats >= wanted or self._failure, "another beat")
        self.check()

    def check(self) -> None:
        """Fail if it has not been served at any time."""
        if self._failure is not None:
            raise AssertionError("the witness was not served") from self._failure

    def close(self) -> None:
        """Stop beating."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.beat()
        self.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(POLL_S):
                self._once()
        except (ConnectionClosed, TimeoutError, AssertionError) as exc:
            self._failure = exc

    def _once(self) -> None:
        seq = self._beats + 1
        self._client.track(seq, "beat")
        acked, seen = 0, 0
        deadline = time.monotonic() + self.LONGEST_S
        while acked < seq or seen < seq:
            left_s = max(deadline - time.monotonic(), 0.0)
            message = self._client.hear(left_s)
            if message["type"] == "ack":
                acked = message["acked"]
            elif message["type"] == "push":
                seen = message["data"]["value"] - self._before
            else:
                raise AssertionError(message)
        self._beats = seq


# -- what a server says of itself ------------------------------------------------------


def metric(node: NodeProcess, name: str) -> float:
    """Return the value of a metric without labels, or the sum over all labels."""
    text = HTTP.get(f"{node.url}/metrics").text
    found = re.findall(rf"^realtime_{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found))


def value(node: NodeProcess, counter: str, **query: Any) -> Any:
    """Return the value of a counter, asked for over HTTP."""
    headers = {"Authorization": f"Bearer {user_token()}"}
    answer = HTTP.get(
        f"{node.url}/v1/counters/{counter}", params=query, headers=headers
    )
    return answer.raise_for_status().json()["value"]


def is_ready(node: NodeProcess) -> bool:
    """Whether the server says that it can deliver."""
    with suppress(httpx.TransportError):
        return HTTP.get(f"{node.url}/readyz").status_code == 200
    return False


def log_lines(node: NodeProcess) -> list[dict[str, Any]]:
    """Return what a server has logged so far; every line must be JSON."""
    text = node.log
    whole = text[: text.rfind("\n") + 1]  # the last one may still be under way
    return [json.loads(line) for line in whole.splitlines()]


def logged(node: NodeProcess, **fields: Any) -> dict[str, Any]:
    """Wait for a line of the log that has *fields*, and return it."""

    def find() -> Mapping[str, Any] | None:
        for line in reversed(log_lines(node)):
            if fields.items() <= line.items():
                return line
        return None

    found: dict[str, Any] = eventually(find, f"a line of the log with {fields}")
    return found


def check_log(node: NodeProcess) -> None:
    """Fail if the log has a traceback, an error, a token or a payload."""
    text = node.log
    for forbidden in ("Traceback", '"exception"', PAYLOAD, API_KEY, "eyJ"):
        where = text.find(forbidden)
        assert where < 0, text[max(where - 500, 0) : where + 500]
    errors = [
        line for line in log_lines(node) if line["level"] in ("error", "critical")
    ]
    assert errors == []


def rss_bytes(node: NodeProcess) -> int:
    """How much memory the server holds, as the kernel counts it."""
    path = Path(f"/proc/{node.pid}/statm")
    if not path.exists():
        pytest.skip("memory is read from /proc, which this system has not")
    return int(path.read_text().split()[1]) * 4096
