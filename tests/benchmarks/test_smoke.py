"""Every benchmark runs, in a small size; how fast things are is not asserted here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.bench.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
LIMIT_S = 180

pytestmark = pytest.mark.slow

ROWS = {
    "connect": [
        "asyncio",
        "uvloop",
        "asyncio, three answers",
        "uvloop, three answers",
        "websockets",
        "upgrade",
        "hello",
        "subscribe",
        "own channel",
        "in hello",
        "device",
    ],
    "flow": [
        "direct",
        "one filter",
        "batch 50 ms",
        "latest by symbol 100 ms",
        "latest 100 ms",
        "own filters",
    ],
    "deflate": ["plain", "compressed", "websockets plain", "websockets"],
    "fanout": ["C send", "socket", "hub", "hub_latest", "channel", "live"],
    "joined": ["C send", "hub", "broadcast", "live"],
    "spread": ["C send", "channel"],
    "idle_memory": ["websockets", "live channels", "one channel", "own channels"],
    "ingest": [
        "C echo",
        "memory, single, native",
        "memory, batches, native",
        "memory, single, pure",
        "memory, batches, pure",
        "redis-py",
        "Redis, single, native",
        "Redis, batches, native",
        "Redis, single, pure",
        "Redis, batches, pure",
    ],
    "latency": [
        "ideal",
        "C echo",
        "memory",
        "Redis, one node",
        "Redis, two nodes",
        "two nodes, shared",
    ],
    "presence": ["ping", "stats", "join and leave", "touch", "page of 10"],
    "unit_costs": [
        "connect_us",
        "disconnect_us",
        "message_and_frame_us",
        "node_idle_us",
        "ping_us",
        "redis_append_us",
        "redis_cell_us",
        "redis_check_us",
        "redis_commit_us",
        "redis_copy_us",
        "redis_hello_us",
        "redis_mark_us",
        "redis_notice_us",
        "redis_publish_us",
        "redis_read_us",
        "redis_subscribe_us",
        "refuse_us",
        "socket_kib",
        "value_us",
    ],
    "watched": ["1 x 0", "1 x 200", "1 x 400", "2 x 0", "2 x 200", "2 x 400"],
}

OTHERS = set(SCENARIOS) - set(ROWS)
"""Scenarios of the kit without a floor; they have tests of their own beside this."""


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark to its end, which is not far."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def table_of(text: str) -> dict[str, list[str]]:
    """Return the rows of a table by their first cell, without the head."""
    rows = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows[1:]}


def test_no_benchmark_is_forgotten() -> None:
    """Every program in the folder is run below."""
    programs = {path.stem for path in BENCHMARKS.glob("*.py")}

    assert programs == set(ROWS) | OTHERS


@pytest.mark.parametrize("name", ROWS)
def test_it_prints_its_table(name: str) -> None:
    """A small run ends well, and its table has a row for all that is compared."""
    done = run(name, "--smoke", "--limit", str(LIMIT_S - 30))

    assert done.returncode == 0, done.stderr
    table = table_of(done.stdout)
    floors = {row for row in ROWS[name] if row.startswith("C ")}
    # Where there is no C compiler, the floors in C are left out.
    assert list(table) in (ROWS[name], [row for row in ROWS[name] if row not in floors])
    assert all(any(cell[0].isdigit() for cell in row) for row in table.values())


@pytest.mark.parametrize("name", ROWS)
def test_its_help_teaches(name: str) -> None:
    """Its docstring, which is its help, tells question, method and finding."""
    text = ast.get_docstring(ast.parse((BENCHMARKS / f"{name}.py").read_text())) or ""

    assert text.startswith("Question:")
    assert "Method:" in text
    assert "Finding" in text
    assert f"python benchmarks/{name}.py" in text


def test_help_is_the_docstring() -> None:
    """As it stands, and what each option does."""
    text = run("fanout", "--help").stdout

    assert "Question:" in text
    assert "Finding" in text
    assert "give up after S seconds" in text


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) & set(ROWS)))
def test_with_an_address_it_is_the_kits_scenario(name: str) -> None:
    """The same program loads a deployment; a stranger's it does not."""
    done = run(name, "--url", "ws://192.0.2.1")

    assert done.returncode == 1
    assert "--yes-this-is-mine" in done.stderr
