"""What must hold within ``[hooks]`` and ``[webhooks]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from realtime.adapters.webhooks import EVENTS
from realtime.config.problems import suggest
from realtime.errors import ConfigError
from realtime.hooks import Point
from realtime.settings import HookSettings, WebhookSettings

MIN_SECRET_CHARS = 16


def hook_relations(
    hooks: HookSettings, webhooks: WebhookSettings
) -> Iterator[ConfigError]:
    """Yield an error for each relation between these settings that does not hold."""
    yield from _address("hooks", hooks.url, hooks.secret, "points", hooks.points)
    yield from _known("hooks.points", "point", hooks.points, tuple(Point))
    yield from _address(
        "webhooks", webhooks.url, webhooks.secret, "events", webhooks.events
    )
    yield from _known("webhooks.events", "event", webhooks.events, EVENTS)


def hook_warnings(hooks: HookSettings, webhooks: WebhookSettings) -> list[str]:
    """Return sentences about what is allowed but probably not meant."""
    return [
        f"{section}.url is not https: who is on the way can read what is sent there"
        + (", and answer" if section == "hooks" else "")
        for section, url in (("hooks", hooks.url), ("webhooks", webhooks.url))
        if url is not None and url.startswith("http://") and not _is_local(url)
    ]


def _address(
    section: str, url: str | None, secret: str | None, key: str, names: Sequence[str]
) -> Iterator[ConfigError]:
    if url is None:
        if names:
            yield ConfigError(f"{section}.{key}", f"needs {section}.url")
        elif secret is not None:
            yield ConfigError(f"{section}.secret", f"needs {section}.url")
        return
    yield from _url(f"{section}.url", url)
    if not names:
        yield ConfigError(f"{section}.url", f"needs {section}.{key}: nothing is sent")
    if secret is None:
        yield ConfigError(
            f"{section}.url",
            f"needs {section}.secret, with which the receiver knows that it is us; "
            "`openssl rand -hex 32` makes a good one",
        )
    elif len(secret) < MIN_SECRET_CHARS:
        yield ConfigError(
            f"{section}.secret",
            f"has {len(secret)} characters, at least {MIN_SECRET_CHARS} are needed; "
            "`openssl rand -hex 32` makes a good one",
        )


def _url(key: str, url: str) -> Iterator[ConfigError]:
    # The value is not quoted: it may hold a password.
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.scheme not in ("http", "https") or not url.isprintable():
        yield ConfigError(
            key, 'must be an address such as "https://shop.example.com/realtime"'
        )
    elif parts.username is not None or parts.password is not None:
        yield ConfigError(key, "must not hold a name or password: requests are signed")


def _known(
    key: str, what: str, names: Sequence[str], known: Sequence[str]
) -> Iterator[ConfigError]:
    for name in names:
        if name not in known:
            yield ConfigError(
                key, f"there is no {what} {name!r}; {suggest(name, known)}"
            )
    if len(set(names)) < len(names):
        yield ConfigError(key, f"names the same {what} twice")


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
