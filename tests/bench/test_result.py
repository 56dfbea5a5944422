"""What a run has found: its table and its file."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from realtime.bench.errors import BenchError
from realtime.bench.result import Result, Series, command_line, lines_of, shown

ROWS = [
    {"rate": 10.0, "p99_ms": 1.25, "server_us": None},
    {"rate": 20.0, "p99_ms": 150.0, "server_us": None},
]
COLUMNS = {"rate": "publications/s", "p99_ms": "p99 ms", "server_us": "server us"}
LINES = (("Latency", "p99", "p99_ms", "ms"), ("Cost", "each", "server_us", "us"))


def result() -> Result:
    """One of two rows."""
    return Result(
        scenario="fanout",
        columns=COLUMNS,
        rows=ROWS,
        series=lines_of(ROWS, "rate", "publications/s", LINES),
        warnings=["the machine was busy"],
        parameters={"subscribers": 1000},
    )


def test_columns_that_nobody_has_a_value_for_are_left_out() -> None:
    """As the server's costs where it is far away."""
    assert result().table() == [
        ["publications/s", "p99 ms"],
        ["10.0", "1.25"],
        ["20.0", "150"],
    ]


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    """Everything is written, and read again."""
    path = tmp_path / "result.json"
    before = result()
    before.write(str(path))

    after = Result.from_json(path.read_bytes())

    assert after.to_json() == before.to_json()
    assert after.series == before.series
    assert after.table() == before.table()


def test_the_file_says_what_it_was_measured_with() -> None:
    """Machine, versions, command and date make a number worth something."""
    found = orjson.loads(result().to_json())

    assert found["machine"]["cores"] >= 1
    assert {"realtime", "python"} <= set(found["versions"])
    assert found["command"]
    assert found["started_at"].endswith("Z")


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format":99}', b"[]", b'{"format":1}'])
def test_what_is_no_result_is_refused(text: bytes) -> None:
    """In a sentence."""
    with pytest.raises(BenchError, match="no result"):
        Result.from_json(text)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the option."""
    with pytest.raises(BenchError, match=r"--json .* cannot be written"):
        result().write(str(tmp_path / "nowhere" / "result.json"))


def test_lines_have_only_points_that_were_measured() -> None:
    """A column without values has no line; times are drawn logarithmically."""
    assert result().series == [
        Series(
            "Latency",
            "p99",
            "publications/s",
            "ms",
            ((10.0, 1.25), (20.0, 150.0)),
            True,
        )
    ]


def test_the_command_is_kept_without_its_secrets() -> None:
    """Results are shown to others."""
    argv = ["/usr/bin/realtime", "bench", "fanout", "--token", "a.b.c", "--secret=xyz"]

    assert command_line(argv) == "realtime bench fanout --token ... --secret=..."


def test_the_command_is_what_one_can_type() -> None:
    """Also when the package was called by its name."""
    assert command_line(["/x/realtime/__main__.py", "bench"]) == "realtime bench"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        ("80%", "80%"),
        (7, "7"),
        (15_000, "15,000"),
        (0.123, "0.12"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_the_digits_that_count(value: float | None, text: str) -> None:
    """Not more, for the others are noise."""
    assert shown(value) == text
