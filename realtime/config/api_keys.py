"""
``[api_keys.NAME]``: the keys of backends, of which only digests are kept.

Several keys of one name are the same backend, so that one can be replaced by the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

from realtime.config.files import check_shown
from realtime.config.problems import suggest
from realtime.config.schema import TABLES
from realtime.errors import ConfigError
from realtime.settings import ApiKey

MIN_KEY_CHARS = 16

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


def parse_api_keys(name: str, raw: Mapping[str, object]) -> tuple[ApiKey, ...]:
    """
    Make the keys of the table *raw*; ``key_file`` has been read into ``key`` before.

    Raises:
        ConfigError: With the dotted key; no API key is quoted.
    """
    where = f"api_keys.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(where, "the name must be 1 to 63 of A-Z, a-z, 0-9, _ and -")
    given = {option: _texts(where, option, value) for option, value in raw.items()}
    if len(given) != 1:
        raise ConfigError(where, "give one of key, key_file and sha256")
    ((option, texts),) = given.items()
    digest = _digest if option == "sha256" else _digest_of_key
    return tuple(ApiKey(name, digest(where, text)) for text in texts)


def texts_of(value: object) -> tuple[str, ...] | None:
    """Return the texts that *value*, one or a list of them, is; None if it is not."""
    texts = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not texts or not all(isinstance(text, str) for text in texts):
        return None
    return texts


def _texts(where: str, option: str, value: object) -> tuple[str, ...]:
    options = TABLES["api_keys"]
    if option not in options:
        problem = f"is not a setting of an API key; {suggest(option, options)}"
        raise ConfigError(f"{where}.{option}", problem)
    texts = texts_of(value)
    if texts is None:
        raise ConfigError(f"{where}.{option}", "must be a text, or a list of texts")
    try:
        for text in texts:
            check_shown(text)
    except ValueError as exc:
        raise ConfigError(f"{where}.{option}", str(exc)) from None
    return texts


def _digest_of_key(where: str, key: str) -> str:
    if len(key) < MIN_KEY_CHARS:
        raise ConfigError(
            f"{where}.key",
            f"has {len(key)} characters, at least {MIN_KEY_CHARS} are needed; "
            "`openssl rand -hex 24` makes a good one",
        )
    return sha256(key.encode()).hexdigest()


def _digest(where: str, text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ConfigError(
            f"{where}.sha256",
            "must be 64 hexadecimal digits, such as `printf %s KEY | sha256sum` prints",
        )
    return text.lower()
