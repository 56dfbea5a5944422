"""The README's examples do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_support.real_server import RealServer, available

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text()
SCRIPTS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SAID = [
    "now: 0\ntracked event 1\nafter that: 1\n",
    "acknowledged up to 1\n",
    "live:likes;post=42;window=total is 2",
    "hello\n",
    "{'text': 'hello'} Position(offset=2, epoch='",
    "connecting  \nonline  \nround trip: 0.",
]

pytestmark = pytest.mark.skipif(not available(), reason="the server is not here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """The server that the README says to start."""
    (config,) = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    server = RealServer(tmp_path_factory.mktemp("readme"), config, "--dev")
    server.start()
    yield server
    server.stop()


def test_every_example_runs(server: RealServer, tmp_path: Path) -> None:
    """Copied, pasted and run, one after the other, each says what is expected."""
    assert len(SCRIPTS) == len(SAID)
    for script, said in zip(SCRIPTS, SAID, strict=True):
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", at_server(script, server)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert ran.returncode == 0, ran.stderr
        assert said in ran.stdout
        assert ran.stderr == ""


def at_server(script: str, server: RealServer) -> str:
    """Return the script with the address of the server that runs."""
    changed = script.replace("http://127.0.0.1:8080", server.url)
    assert changed != script
    return changed
