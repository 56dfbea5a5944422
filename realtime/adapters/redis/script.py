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
    def load(cls, package: str, name: str) -> Script:
        """Read ``lua/<name>.lua`` of *package*."""
        source = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
        # Redis' own choice of digest; nothing is kept secret by it.
        sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
        return cls(name, source, sha)
