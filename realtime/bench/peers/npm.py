"""Where the peer on Node has its packages: in a folder outside of this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from realtime.bench.errors import BenchError

PROGRAM = "socketio.mjs"
_FILES = ("package.json", PROGRAM)
_INSTALL_S = 600


def default_folder() -> Path:
    """Return where packages are kept if nobody says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "realtime" / "bench-npm"


def version(folder: Path) -> str | None:
    """Return the version of Socket.IO that is installed there; None if none is."""
    try:
        package = folder / "node_modules" / "socket.io" / "package.json"
        return str(json.loads(package.read_text())["version"])
    except (OSError, ValueError, KeyError):
        return None


def program(folder: Path) -> Path:
    """Put the server's program where it finds its packages; return its path."""
    _copy(folder)
    return folder / PROGRAM


def install(folder: Path) -> None:
    """
    Install the packages with npm, from its registry.

    Raises:
        BenchError: If there is no npm, or it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError("--npm-install needs npm, which is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    _copy(folder)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"npm install in {folder} failed: {done.stderr[-500:]}")


def _copy(folder: Path) -> None:
    source = resources.files("realtime.bench.peers") / "node"
    for name in _FILES:
        (folder / name).write_bytes((source / name).read_bytes())
