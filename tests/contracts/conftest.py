"""
Real servers for contract suites: started once, when the first test asks for them.

A test that needs a server fails when there is no binary: a suite that skips proves
nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from realtime.settings import RedisSettings
from realtime.testing.servers import ValkeyCluster, ValkeyServer

pytest.register_assert_rewrite(
    "realtime.testing.contracts_blocks",
    "realtime.testing.contracts_broker",
    "realtime.testing.contracts_broker_history",
    "realtime.testing.contracts_broker_model",
    "realtime.testing.contracts_broker_once",
    "realtime.testing.contracts_broker_reading",
    "realtime.testing.contracts_ledger_cells",
    "realtime.testing.contracts_ledger_changes",
    "realtime.testing.contracts_ledger_marks",
    "realtime.testing.contracts_ledger_model",
    "realtime.testing.contracts_presence",
    "realtime.testing.contracts_presence_model",
    "realtime.testing.contracts_presence_time",
    "realtime.testing.contracts_registry",
)

_numbers = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """One server."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[ValkeyCluster]:
    """Three masters."""
    with ValkeyCluster() as servers:
        yield servers


def fresh(url: str) -> RedisSettings:
    """Settings with a prefix that nobody has used: empty storage on a shared server."""
    return RedisSettings(url, prefix=f"test-{os.getpid()}-{next(_numbers)}")
