"""What must hold of who is there: ``[presence]`` and ``[users]``."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from realtime.core.channels import check_channel, namespace_of
from realtime.errors import CommandError, ConfigError
from realtime.settings import UserSettings, WebhookSettings

_KEY = "users.channel"


def people_relations(
    users: UserSettings, namespaces: Collection[str]
) -> Iterator[ConfigError]:
    """Yield an error for each relation between these settings that does not hold."""
    channel = users.channel
    if channel is None:
        return
    if channel.count("{user}") != 1:
        yield ConfigError(
            _KEY, f'must have {{user}} once, such as "status:{{user}}"; got {channel!r}'
        )
        return
    try:
        check_channel(channel)
    except CommandError as exc:
        reason = exc.reason.removeprefix("channel: ")
        yield ConfigError(_KEY, f"{channel!r} is no channel: {reason}")
        return
    namespace = namespace_of(channel)
    if namespace not in namespaces:
        yield ConfigError(
            _KEY,
            f"is in no declared namespace; [namespaces.{namespace}] would declare it",
        )
    if not users.online:
        yield ConfigError(_KEY, "needs users.online = true")


def people_warnings(users: UserSettings, webhooks: WebhookSettings) -> list[str]:
    """Return sentences about what is allowed but probably not meant."""
    return [
        f"webhooks.events has {event}, which never happens without users.online = true"
        for event in webhooks.events
        if event in ("user_online", "user_offline") and not users.online
    ]
