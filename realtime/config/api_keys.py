"""
``[api_keys.NAME]``: the keys of backends, of which only digests are kept.
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


def parse_api_key(name: str, raw: Mapping[str, object]) -> ApiKey:
    """
    Make a key of the table *raw*; ``key_file`` has been read into ``key`` before.

    Raises:
        ConfigError: With the dotted key; the API key itself is not quoted.
    """
    where = f"api_keys.{name}"
    if not _NAME.fullmatch(name):
        raise ConfigError(where, "the name must be 1 to 63 of A-Z, a-z, 0-9, _ and -")
    texts = {option: _text(where, option, value) for option, value in raw.items()}
    if len(texts) != 1:
        raise ConfigError(where, "give one of key, key_file and sha256")
    if "sha256" in texts:
        return ApiKey(name, _digest(where, texts["sha256"]))
    key = texts["key"]
    if len(key) < MIN_KEY_CHARS:
        raise ConfigError(
            f"{where}.key",
            f"has {len(key)} characters, at least {MIN_KEY_CHARS} are needed; "
            "`openssl rand -hex 24` makes a good one",
        )
    return ApiKey(name, sha256(key.encode()).hexdigest())


def _text(where: str, option: str, value: object) -> str:
    options = TABLES["api_keys"]
    if option not in options:
        problem = f"is not a setting of an API key; {suggest(option, options)}"
        raise ConfigError(f"{where}.{option}", problem)
    if not isinstance(value, str):
        raise ConfigError(f"{where}.{option}", "must be a text")
    try:
        check_shown(value)
    except ValueError as exc:
        raise ConfigError(f"{where}.{option}", str(exc)) from None
    return value


def _digest(where: str, text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ConfigError(
            f"{where}.sha256",
            "must be 64 hexadecimal digits, such as `printf %s KEY | sha256sum` prints",
        )
    return text.lower()
