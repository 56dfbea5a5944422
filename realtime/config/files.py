"""
Files that settings name: secrets read from them, certificates that must be readable.
"""

from __future__ import annotations

import ssl
from pathlib import Path

MAX_BYTES = 64 * 1024
"""Secrets and keys are short; anything longer is the wrong file."""

HIDDEN = "(set)"
"""What is shown in the place of a secret. It is refused as a secret."""


def check_shown(secret: str) -> None:
    """
    Raise if *secret* is what was shown in the place of one.

    Raises:
        ValueError: With a sentence.
    """
    if HIDDEN in secret:
        raise ValueError(
            f'"{HIDDEN}" stands for a secret that was not shown; put the secret itself'
        )


def resolve(path: str, config_path: str | None) -> str:
    """Return *path*, which the file at *config_path* says, seen from here."""
    if config_path is None or Path(path).is_absolute():
        return path
    return str(Path(config_path).parent / path)


def read_secret(path: str) -> str:
    """
    Return the text of a file, without the line break at its end.

    Raises:
        ValueError: With a sentence, if it cannot be read or holds nothing.
    """
    content = _read(path)
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"the file {path} is empty")
    return text


def check_readable(path: str) -> None:
    """
    Raise unless the file can be read.

    Raises:
        ValueError: With a sentence that says why not.
    """
    _read(path)


def check_certificate(cert: str, key: str) -> None:
    """
    Raise unless a server can use these two files, which can be read, for TLS.

    Raises:
        ValueError: With a sentence that says why not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password given, OpenSSL would ask for it on the terminal and wait.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as exc:
        raise ValueError(
            f"the files {cert} and {key} do not fit: they must be a certificate and "
            f"its key, as PEM and without a password ({exc})"
        ) from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"the file {path} cannot be read: {exc.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"the file {path} is longer than {MAX_BYTES} bytes")
    return content
