"""What every test may use."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A deadline of hypothesis measures the machine, not the code: a busy one would fail.
settings.register_profile("realtime", deadline=None)
settings.load_profile("realtime")


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio."""
    return "asyncio"
