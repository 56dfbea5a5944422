"""
Network namespaces for tests: hosts of their own, whose cables can be cut.

A namespace has no name and lives as long as somebody holds it or runs in it: whatever
happens to the tests, even SIGKILL, the kernel removes it and its cables. What a
process or a socket belongs to is decided when it is made: make it inside.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_TIMEOUT_S = 10.0
_SWITCH_MAC = "02:00:00:00:00:01"


class NetnsError(RuntimeError):
    """This machine has no namespaces to give; the sentence says why."""


def _call(name: str, *arguments: int) -> None:
    # Python has them since 3.12 only.
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


class Host:
    """One namespace, with a loopback interface that is up."""

    def __init__(self) -> None:
        self._fd = -1

    @property
    def path(self) -> str:
        """The name under which ``ip`` finds it."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def __enter__(self) -> Self:
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", _CLONE_NEWNET)
            try:
                self._fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _call("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)
        with ExitStack() as stack:
            stack.push(self.__exit__)
            self.ip("link", "set", "lo", "up")
            stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)
        self._fd = -1

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let processes and sockets that this thread makes belong to the namespace."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._fd, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", own, _CLONE_NEWNET)
        finally:
            os.close(own)

    def ip(self, *arguments: str) -> None:
        """
        Run ``ip`` inside.

        Raises:
            NetnsError: If it fails; the sentence has what it says.
        """
        with self.inside():
            done = subprocess.run(
                ["ip", *arguments],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.strip()
            raise NetnsError(f"ip {' '.join(arguments)}: {said}")


class Network:
    """
    A switch, which is a host too, and hosts with one cable to it each.

    ``cut`` is silent: the host keeps its address, its routes and its carrier, and
    everything that it sends or is sent is gone without an error or a reset.
    """

    SWITCH_ADDRESS = "10.77.0.1"

    def __init__(self, hosts: int) -> None:
        if not 1 <= hosts <= 200:
            raise ValueError(f"hosts is {hosts}; it must be from 1 to 200")
        self.switch = Host()
        self.hosts = [Host() for _ in range(hosts)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """
        Make it.

        Raises:
            NetnsError: If this machine does not allow it.
        """
        if shutil.which("ip") is None:
            raise NetnsError("the program ip (package iproute2) is not there")
        with ExitStack() as stack:
            try:
                for host in (self.switch, *self.hosts):
                    stack.enter_context(host)
            except (OSError, AttributeError) as exc:
                raise NetnsError(f"no network namespace: {exc}") from exc
            self._wire()
            self._stack = stack.pop_all()
        return self

    def _wire(self) -> None:
        ip = self.switch.ip
        # An address of its own: by default a bridge has that of one of its ports.
        ip("link", "add", "switch", "address", _SWITCH_MAC, "type", "bridge")
        ip("address", "add", f"{self.SWITCH_ADDRESS}/24", "dev", "switch")
        ip("link", "set", "switch", "up")
        for number, host in enumerate(self.hosts):
            port = f"port{number}"
            end = ("peer", "name", "eth0", "netns", host.path)
            ip("link", "add", port, "type", "veth", *end)
            # A port that has been pulled out must not answer in the switch's name.
            ip("link", "set", port, "arp", "off", "master", "switch", "up")
            host.ip("address", "add", f"10.77.0.{number + 10}/24", "dev", "eth0")
            host.ip("link", "set", "eth0", "up")

    def cut(self, number: int) -> None:
        """Let nothing through between the host of this number and the others."""
        # The port stays up: without carrier, who sends would be told at once. Out of
        # the switch it takes frames, and finds that they are for somebody else.
        self.switch.ip("link", "set", f"port{number}", "nomaster")

    def heal(self, number: int) -> None:
        """Plug it in again."""
        self.switch.ip("link", "set", f"port{number}", "master", "switch")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
