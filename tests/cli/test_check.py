"""``realtime check``: right or wrong, and what it comes to."""

from __future__ import annotations

import tomllib

import pytest

from realtime.cli import main
from tests.signing import SECRET


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    """Run where there is no configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_resolved_configuration_is_printed(empty_place, capsys, monkeypatch):
    """File and environment, as TOML; secrets are not in it."""
    (empty_place / "realtime.toml").write_text(
        f'[auth]\nhmac_secret = "{SECRET}"\n[server]\nport = 9000\n'
    )
    monkeypatch.setenv("REALTIME_SERVER__HOST", "::1")
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# realtime.toml: all right\n")
    shown = tomllib.loads(out)
    assert shown["server"]["port"] == 9000
    assert shown["server"]["host"] == "::1"
    assert SECRET not in out
    assert err == ""


def test_every_mistake_is_a_line_with_exit_code_2(empty_place, capsys):
    """File and line begin it."""
    path = empty_place / "other.toml"
    path.write_text("[server]\nprot = 1\n[ledger]\ntick = 0\n")
    assert main(["check", "--config", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith(f"realtime: {path}, line 2: server.prot: ")
    assert second.startswith(f"realtime: {path}, line 4: ledger.tick: ")


def test_what_is_probably_not_meant_is_noted(capsys):
    """It is allowed, so the exit code is 0."""
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# no file; defaults and environment: all right\n")
    assert err.startswith("realtime: note: no client can connect")


def test_a_missing_file_is_named(capsys):
    """One line and exit code 2."""
    assert main(["check", "--config", "none.toml"]) == 2
    assert capsys.readouterr().err == (
        "realtime: none.toml: cannot be read: No such file or directory\n"
    )
