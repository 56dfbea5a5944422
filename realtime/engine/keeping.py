"""
What channels keep, by their namespaces, and publishing with it.

Everybody who publishes passes here, so that a publication is numbered and kept in one
and the same way whether it comes over a socket or over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realtime.adapters.broker.port import (
    PLAIN,
    Broker,
    History,
    HistoryQuery,
    Keep,
    Placed,
    PublishOptions,
)
from realtime.core.access import Identity
from realtime.core.channels import namespace_of
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import NOT_AVAILABLE, CommandError
from realtime.settings import HistorySettings
from realtime.types import Channel, Position, Publication


@dataclass(frozen=True, slots=True)
class Once:
    """
    What keeps a publication from being made twice, or too late.

    *key*: whoever repeats it within a time does not publish again; it is a key of
    *author*'s own. *version*: what is not newer than what the channel has is not made.
    """

    key: str | None = None
    version: int | None = None
    author: str = ""


ALWAYS = Once()

LOCAL = PublishOptions(local=True)


def author_of(identity: Identity, backend: str | None = None) -> str:
    """
    Say whose idempotency keys these are: nobody can use up another's.

    *backend* is the name of the API key, when there is one.
    """
    if backend is not None:
        return f"backend:{backend}"
    if identity.user is not None:
        return f"user:{identity.user}"
    return identity.kind.value


class Keeping:
    """Knows what each channel keeps; publishes accordingly."""

    def __init__(
        self,
        broker: Broker,
        namespaces: Mapping[str, NamespaceDefinition],
        settings: HistorySettings,
    ) -> None:
        self._broker = broker
        self._namespaces = namespaces
        self._settings = settings
        self._keeps: dict[str, Keep] = {}

    def definition(self, channel: Channel) -> NamespaceDefinition:
        """Return what declares *channel*; of an unknown one, the defaults."""
        name = namespace_of(channel)
        found = self._namespaces.get(name)
        return NamespaceDefinition(name) if found is None else found

    def keep(self, definition: NamespaceDefinition) -> Keep:
        """Return what the channels of a namespace with history keep."""
        keep = self._keeps.get(definition.name)
        if keep is None:
            keep = self._keeps[definition.name] = Keep(
                definition.history_size,
                definition.history_ttl_s,
                self._settings.meta_ttl_s,
            )
        return keep

    def check(self, channel: Channel, once: Once) -> None:
        """
        Raise unless *channel* can do what *once* asks.

        Raises:
            CommandError: NOT_AVAILABLE for a version where no history is kept.
        """
        if once.version is None or self.definition(channel).keeps_history:
            return
        raise CommandError(
            NOT_AVAILABLE,
            f"version: {channel} keeps no history; history_size = 1 in "
            f"[namespaces.{namespace_of(channel)}] would",
            field="version",
        )

    async def publish(
        self, publication: Publication, once: Once = ALWAYS, *, local: bool = False
    ) -> Placed:
        """
        Hand a publication to the broker.

        *local*: while it cannot travel, this node's own subscribers get it at least,
        unless it is to be kept or has a key.

        Raises:
            CommandError: NOT_AVAILABLE; see ``check``.
            BrokerUnavailable: If it may not have been handed over.
        """
        options = self._options(publication.channel, once, local)
        return await self._broker.publish(publication, options)

    async def history(
        self,
        channel: Channel,
        since: Position | None = None,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> History:
        """
        Read a page of *channel*, which keeps a history.

        *limit*: at most so many; never more than one page, which is what None means.

        Raises:
            BrokerUnavailable: If it cannot be read.
        """
        most = self._settings.max_page
        count = most if limit is None else min(limit, most)
        query = HistoryQuery(since, count, reverse, self._settings.max_reply_bytes)
        keep = self.keep(self.definition(channel))
        return await self._broker.history(channel, query, keep)

    async def forget(self, channel: Channel) -> None:
        """
        Remove what *channel* keeps.

        Raises:
            BrokerUnavailable: If it may not have been removed.
        """
        await self._broker.forget(channel)

    def _options(self, channel: Channel, once: Once, local: bool) -> PublishOptions:
        definition = self.definition(channel)
        is_plain = once.key is None and once.version is None
        if is_plain and not definition.keeps_history:
            return LOCAL if local else PLAIN
        self.check(channel, once)
        key = None
        if once.key is not None:  # both may have any characters: the length parts them
            key = f"{len(once.author)}:{once.author}:{once.key}"
        return PublishOptions(
            keep=self.keep(definition) if definition.keeps_history else None,
            idempotency_key=key,
            idempotency_ttl_s=self._settings.idempotency_ttl_s,
            version=once.version,
        )
