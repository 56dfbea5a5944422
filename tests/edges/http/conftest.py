"""A node in memory for every test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edges.http.support import World, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A node with the usual settings."""
    async with running() as made:
        yield made
