"""Files as rows, and what is said of files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realtime.cli.remote import RemoteError
from realtime.cli.replay.rows import open_rows


def read(folder: Path, name: str, content: str | bytes) -> list[dict[str, Any]]:
    """The rows of a file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_rows(path) as rows:
        found = [dict(row) for row in rows]
        assert rows.done == rows.total or name.endswith(".csv")
    return found


def test_csv_values_are_read_as_typed(tmp_path: Path) -> None:
    """Numbers and booleans are what they look like; an empty field is missing."""
    text = 'id,text,flag,none\n7,"a, ""b""\nc",true,\n1.5,007,x,1\n'

    assert read(tmp_path, "a.csv", text) == [
        {"id": 7, "text": 'a, "b"\nc', "flag": True, "none": None},
        {"id": 1.5, "text": "007", "flag": "x", "none": 1},
    ]


def test_csv_knows_its_columns_and_how_far_it_is(tmp_path: Path) -> None:
    """Progress is measured in bytes."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with open_rows(path) as rows:
        assert (rows.columns, rows.total, rows.done) == (["a", "b"], 8, 0)
        list(rows)
        assert rows.done == 8


def test_csv_may_have_a_mark_and_empty_lines(tmp_path: Path) -> None:
    """As spreadsheets write it."""
    assert read(tmp_path, "a.csv", b"\xef\xbb\xbfa\r\n1\r\n\r\n2\r\n\r\n") == [
        {"a": 1},
        {"a": 2},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("a,a\n1,2\n", "names column 'a' twice"),
        ("a,b\n1,2\n3\n", "line 3 has 1 fields, the first has 2"),
        ('a,b\n"x\ny",2\n3\n', "line 4 has 1 fields, the first has 2"),
        (b"a\n\xff\n", "is not UTF-8"),
        ("a\n" + "x" * 200_000 + "\n", "line 2 is no CSV"),
    ],
)
def test_csv_that_is_none_is_named_by_its_line(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    """Where an editor would show it."""
    with pytest.raises(RemoteError, match=said):
        read(tmp_path, "a.csv", content)


def test_json_lines_are_objects(tmp_path: Path) -> None:
    """One a line; empty lines are passed over."""
    text = '{"a": 1}\n\n{"b": [1, {"c": null}]}\n'

    assert read(tmp_path, "a.jsonl", text) == [{"a": 1}, {"b": [1, {"c": None}]}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1}\n{"a":\n', "line 2 is no JSON"),
        ("[1]\n", "line 1 is no JSON object"),
        (b'{"a": "\xff"}\n', "line 1 is no JSON"),
    ],
)
def test_json_lines_that_are_none_are_named(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    """By their line."""
    with pytest.raises(RemoteError, match=said):
        read(tmp_path, "a.ndjson", content)


def test_parquet_rows_have_their_types(tmp_path: Path) -> None:
    """Columns are known beforehand, and progress is measured in rows."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"a": [1, 2, None], "b": ["x", None, "z"]})
    parquet.write_table(table, path)
    with open_rows(path) as rows:
        assert (rows.columns, rows.total) == (["a", "b"], 3)
        found = list(rows)
        assert rows.done == 3

    assert found == [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": None, "b": "z"}]


def test_parquet_that_is_none_is_named(tmp_path: Path) -> None:
    """By its path."""
    pytest.importorskip("pyarrow")
    with pytest.raises(RemoteError, match="is no Parquet file"):
        read(tmp_path, "a.parquet", "hello")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """The error says which there are."""
    with pytest.raises(RemoteError, match=r"\.csv, \.jsonl, \.ndjson or \.parquet"):
        read(tmp_path, "a.xlsx", "")
