"""The line on which each key of a TOML file stands."""

from __future__ import annotations

import tomllib
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.config.lines import key_lines


def test_keys_and_tables_have_lines():
    """Counted from one, comments and blank lines included."""
    text = "# a\n\ntop = 1\n[server]  # b\n  port = 1 # [x]\n\n[a.b]\nc = 2\n"
    tomllib.loads(text)
    assert key_lines(text) == {
        ("top",): 3,
        ("server",): 4,
        ("server", "port"): 5,
        ("a",): 7,
        ("a", "b"): 7,
        ("a", "b", "c"): 8,
    }


@pytest.mark.parametrize(
    "value",
    [
        '"a # b = [1"',
        "'a \\'",
        '"a \\" ] b"',
        '"""\nx = 1\n[y]\n\\"""\n"""',
        '""" "quoted"""""',
        "'''\nx = 1 \\\n'''",
        "[\n  1, # ] z = 2\n  [2, '['],\n]",
        '{a = 1, b = "}"}',
        "1979-05-27T07:32:00Z",
        "'' # comment",
    ],
)
def test_values_of_any_form_are_passed_over(value):
    """Nothing inside a value is taken for a key, and the next key's line is right."""
    text = f"first = {value}\nlast = 1\n"
    assert set(tomllib.loads(text)) == {"first", "last"}
    expected = {("first",): 1, ("last",): 2 + value.count("\n")}
    assert key_lines(text) == expected


def test_quoted_and_dotted_keys_are_read():
    """As the parser reads them, escapes and spaces included."""
    text = (
        'a . "b.c" . \'d"\' = 1\n["\\u0065 f"]\n"g\\"" = 2\n[[h]]\ni = 1\n[[h]]\ni = 2'
    )
    tomllib.loads(text)
    assert key_lines(text) == {
        ("a",): 1,
        ("a", "b.c"): 1,
        ("a", "b.c", 'd"'): 1,
        ("e f",): 2,
        ("e f", 'g"'): 3,
        ("h",): 4,
        ("h", "i"): 5,
    }


names = st.text(ascii_lowercase, min_size=1, max_size=4)
values = st.sampled_from(
    ["1", '"#"', "'''\n[x]\ny = 1'''", "[\n1,\n2]", "{a = 1}", "true"]
)
blanks = st.sampled_from(["", "\n", "# c\n", "   \n# x = 1\n"])


@given(
    st.dictionaries(names, st.dictionaries(names, st.tuples(blanks, values))), blanks
)
def test_every_key_of_any_file_is_found_on_its_line(tables, blank):
    """The lines are those on which the text was written."""
    text, expected = blank, {}
    for table, keys in tables.items():
        expected[(table,)] = text.count("\n") + 1
        text += f"[{table}]\n"
        for key, (before, value) in keys.items():
            text += before
            expected[(table, key)] = text.count("\n") + 1
            text += f"{key} = {value}\n"
    tomllib.loads(text)
    assert key_lines(text) == expected
