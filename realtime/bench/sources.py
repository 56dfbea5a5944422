"""
Where connections come from: more of them than one address has ports.

A pair of addresses has some 28,000 ports. Every address 127.x.y.z is this machine, so
where the target is on the loopback interface, there are as many as one likes; beyond
it, more machines are needed (or more addresses of the target).
"""

from __future__ import annotations

import socket
from contextlib import suppress

PER_SOURCE = 20_000
"""Connections from one address of loopback, before the next one is taken."""

_SPARE = 250
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python has no name for it before 3.13


def bind_source(sock: socket.socket, address: str, number: int) -> None:
    """
    Choose where connection *number* to *address* comes from.

    Only the address is chosen, and the port when it connects: so the same port serves
    connections to different targets. One that is bound before serves no other.
    """
    if not address.startswith("127.") or number < PER_SOURCE:
        return
    with suppress(OSError):  # elsewhere than on Linux it is unknown, and only saves
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((f"127.0.0.{1 + number // PER_SOURCE}", 0))


def bind_spare(sock: socket.socket, address: str, number: int) -> bool:
    """
    Take an address that hardly anybody uses, when the usual one has no port left.

    Others on this machine may have bound them all; a port that they have bound on one
    address is free on another, if it is bound there, too. Return whether there was one.
    """
    if not address.startswith("127."):
        return False
    try:
        sock.bind((f"127.0.1.{1 + number % _SPARE}", 0))
    except OSError:
        return False
    return True
