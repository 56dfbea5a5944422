"""
Lua scripts: read from the package, run by their digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One script; *sha* is what EVALSHA calls it by."""

    name: str
    source: str
    sha: str

    @classmethod
    def load(cls, package: str, name: str, *, begin: str | None = None) -> Script:
        """Read ``lua/<name>.lua`` of *package*, after that of *begin* if given."""
        names = (begin, name) if begin else (name,)
        folder = files(package).joinpath("lua")
        texts = (folder.joinpath(f"{one}.lua").read_text("utf-8") for one in names)
        return cls.of(name, "\n".join(texts))

    @classmethod
    def of(cls, name: str, source: str) -> Script:
        """Make a script of its text."""
        # Redis' own choice of digest; nothing is kept secret by it.
        sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
        return cls(name, source, sha)
