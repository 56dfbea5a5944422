"""Connections beyond the ports of one address come from another."""

from __future__ import annotations

import socket

import pytest

from realtime.bench.sources import PER_SOURCE, bind_source, bind_spare


@pytest.mark.parametrize(
    ("number", "source"),
    [
        (0, "0.0.0.0"),
        (PER_SOURCE - 1, "0.0.0.0"),
        (PER_SOURCE, "127.0.0.2"),
        (3 * PER_SOURCE + 5, "127.0.0.4"),
    ],
)
def test_every_so_many_take_the_next_address(number: int, source: str) -> None:
    """The first ones leave it to the system."""
    with socket.socket() as sock:
        bind_source(sock, "127.0.0.1", number)

        assert sock.getsockname()[0] == source


def test_a_port_is_not_taken_before_it_is_needed() -> None:
    """So that it serves connections to several targets."""
    with socket.socket() as sock:
        bind_source(sock, "127.0.0.1", PER_SOURCE)

        assert sock.getsockname()[1] == 0


def test_addresses_of_other_machines_are_left_alone() -> None:
    """This machine has only one way to them."""
    with socket.socket() as sock:
        bind_source(sock, "192.0.2.1", 5 * PER_SOURCE)
        assert not bind_spare(sock, "192.0.2.1", 7)

        assert sock.getsockname() == ("0.0.0.0", 0)


def test_the_spare_address_has_a_port() -> None:
    """For when all ports of the usual one are bound by others."""
    with socket.socket() as sock:
        assert bind_spare(sock, "127.0.0.1", 7)

        address, port = sock.getsockname()

    assert address == "127.0.1.8"
    assert port > 0
