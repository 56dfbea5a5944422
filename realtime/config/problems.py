"""
What is wrong with a configuration: all of it at once, each with the place to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from realtime.errors import ConfigError


class ConfigErrors(ConfigError):
    """
    One or more things are wrong. ``str`` gives one line for each.

    *errors* is not empty; *path* is the file that line numbers are of.
    """

    def __init__(self, errors: Sequence[ConfigError], path: str | None) -> None:
        first = errors[0]
        super().__init__(first.key, first.problem, first.line)
        self.errors = tuple(errors)
        self.path = path

    def __str__(self) -> str:
        return "\n".join(self._one(error) for error in self.errors)

    def _one(self, error: ConfigError) -> str:
        if error.line is None or self.path is None:
            return str(error)
        return f"{self.path}, {error}"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown *word*: what may be meant."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(names)}" if names else "there are none"
