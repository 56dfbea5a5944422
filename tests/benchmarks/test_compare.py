"""The comparison with other servers: who is installed runs, others are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from realtime.bench.peers.catalogue import PEERS
from realtime.bench.result import Result

ROOT = Path(__file__).parents[2]
LIMIT_S = 240

pytestmark = pytest.mark.slow


def test_every_server_is_measured_or_named_with_what_it_needs(tmp_path: Path) -> None:
    """A small run has a row for each: with figures and ratios, or how to get it."""
    file = tmp_path / "result.json"
    program = [sys.executable, str(ROOT / "benchmarks" / "compare.py")]
    # An empty folder has no packages of npm, wherever else there are some.
    options = ["--smoke", "--json", str(file), "--npm-dir", str(tmp_path)]
    done = subprocess.run(
        [*program, *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = {row["server"]: row for row in Result.from_json(file.read_bytes()).rows}
    assert list(rows) == [peer.title for peer in PEERS]
    for title in ("realtime", "websockets", "realtime + Redis"):
        assert rows[title]["version"]
    for row in rows.values():
        if row["version"] is None:
            assert str(row["note"]).startswith("not installed: ")
        else:
            assert float(str(row["frame_us"])) > 0
            assert float(str(row["frame_ratio"])) > 0
            assert float(str(row["connect_us"])) > 0
    assert rows["Centrifugo"]["version"] is None
    assert rows["Socket.IO"]["version"] is None
    assert "did not come" not in done.stderr
