"""The C program floor.c: compiled when asked for, where there is a compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "floor.c"


@dataclass(frozen=True, slots=True)
class Floor:
    """The program while it runs."""

    pid: int
    port: int


@contextmanager
def floor(*arguments: str | int) -> Iterator[Floor | None]:
    """Run floor.c with *arguments*; None without a compiler. It ends by itself, too."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "floor"))
        subprocess.run([compiler, "-O2", "-o", program, str(SOURCE)], check=True)
        command = [program, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield Floor(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
