"""``realtime replay`` as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime import cli
from realtime.cli import replay


def test_an_interrupted_replay_says_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C leaves one line, no traceback, and the shell's code for it."""

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replay, "replay", interrupted)
    file = tmp_path / "likes.csv"
    file.write_text("post\n42\n")

    assert cli.main(["replay", str(file), "--name", "like"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("stopped; run the same command again to go on\n")
    assert "Traceback" not in said.err
