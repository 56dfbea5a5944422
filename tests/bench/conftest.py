"""A server for the tests of the kit, started once for those of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realtime.bench.local import local_target
from realtime.bench.target import Target


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """One server that does what all scenarios need."""
    with local_target() as started:
        yield started
