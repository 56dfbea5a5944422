"""What a refusal means, in words: which setting of the server it was."""

from __future__ import annotations

from collections.abc import Sequence

_HINTS: Sequence[tuple[str, str]] = (
    # From the handshake: the server's own sentences (engine/admission.py).
    ("connections, which is the most", "limits.max_connections_per_address"),
    ("connects too often", "limits.connect_rate_per_address"),
    ("Too many clients connect", "limits.connect_rate"),
    ("no room for more connections", "limits.max_connections"),
    ("may not connect to this server", "server.allowed_origins"),
    # From a session: close codes and names of errors (realtime/errors.py).
    ("closed with 4008", "limits.max_connections_per_user"),
    ("rate_limited", "limits.publish_rate (with more --publishers, each sends less)"),
    (
        "closed with 4001",
        "limits.max_outbox: these clients read too slowly",
    ),
    (
        "closed with 4003",
        "limits.hello_timeout: these clients were too slow to sign in",
    ),
    ("unauthorized", "auth: the token; give --secret (auth.hmac_secret) or --token"),
    ("token_expired", "auth: the token is too old; make a new one"),
    (
        "permission_denied",
        "the token's grants; or subscribe and publish of the namespace",
    ),
    ("event_denied", "the token's grant to track, or events.track"),
    ("no_device", "the token's grant to track, or events.track"),
    (
        "unknown_channel",
        "a namespace or a counter that the server lacks: add to its realtime.toml what "
        "`realtime bench config` prints",
    ),
    ("device_taken", "the device belongs to another user; use another --label"),
    ("unavailable", "Redis, or a hook, which does not answer"),
)


def hint_of(sentence: str) -> str | None:
    """Return the setting behind what the server has said, if it is known."""
    for words, setting in _HINTS:
        if words in sentence:
            return setting
    return None


def explained(sentence: str) -> str:
    """Return the sentence with its setting."""
    setting = hint_of(sentence)
    return f"{sentence} [{setting}]" if setting else sentence
