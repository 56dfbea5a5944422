"""What every test of the client may use."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The client is tested where it lies, installed or not.
HERE = Path(__file__).parent
for folder in (HERE.parent, HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# A deadline of hypothesis measures the machine, not the code: a busy one would fail.
settings.register_profile("realtime", deadline=None)
settings.load_profile("realtime")


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio."""
    return "asyncio"
