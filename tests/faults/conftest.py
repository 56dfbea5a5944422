"""One server for all that strangers send, and one client that must not notice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import (
    BASE,
    Client,
    Witness,
    check_log,
    start_node,
    write_config,
)

CONFIG = f"""{BASE}
[server]
compression = true

[limits]
hello_timeout = "2s"

[counters.sales]
event = "sale"
measure = "sum"
of = "amount"
watch = "user"
"""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A server that many tests mistreat; at the end, its log is clean."""
    folder = tmp_path_factory.mktemp("mistreated")
    write_config(folder, CONFIG)
    with start_node(folder) as node:
        yield node
        check_log(node)


@pytest.fixture(scope="session")
def witness(node: NodeProcess) -> Iterator[Witness]:
    """Another client of that server."""
    with Witness(node.ws_url) as witness:
        yield witness


@pytest.fixture
def served(witness: Witness) -> Iterator[None]:
    """Fail the test after which the witness is not served any more."""
    yield
    witness.check()


@pytest.fixture(scope="session")
def devices() -> Iterator[str]:
    """Names of devices that no test has used."""
    return (f"device-{number}" for number in count(1))


@pytest.fixture
def client(node: NodeProcess, devices: Iterator[str]) -> Iterator[Client]:
    """A client that has said hello, with a device of its own."""
    with Client(node.ws_url) as client:
        client.hello(device=next(devices))
        yield client
