"""The whole configuration, resolved: what each component is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.config.render import render
from realtime.config.sources import Sources
from realtime.core.counters import CounterSet
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import ConfigError
from realtime.settings import (
    ApiKey,
    AuthSettings,
    DrainSettings,
    EventSettings,
    HistorySettings,
    HookSettings,
    LedgerSettings,
    LimitSettings,
    LogSettings,
    PresenceSettings,
    RedisSettings,
    ServerSettings,
    UserSettings,
    WebhookSettings,
)


@dataclass(frozen=True, slots=True)
class Config:
    """
    One field per section of ``realtime.toml``.

    Secrets given as files have been read: ``auth.hmac_secret`` is there whichever way
    it was given.
    """

    server: ServerSettings = field(default_factory=ServerSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    events: EventSettings = field(default_factory=EventSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    presence: PresenceSettings = field(default_factory=PresenceSettings)
    users: UserSettings = field(default_factory=UserSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)
    hooks: HookSettings = field(default_factory=HookSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    logs: LogSettings = field(default_factory=LogSettings)
    api_keys: tuple[ApiKey, ...] = ()
    namespaces: Mapping[str, NamespaceDefinition] = field(default_factory=dict)
    counters: CounterSet = field(default_factory=lambda: CounterSet(()))
    sources: Sources | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> str | None:
        """The file that it was read from, if there was one."""
        return None if self.sources is None else self.sources.path

    def placed(self, exc: ConfigError) -> ConfigError:
        """Return *exc*, which knows its dotted key only, with its line or variable."""
        return exc if self.sources is None else self.sources.placed(exc)

    def render(self) -> str:
        """Return it as TOML that ``load`` reads back; secrets are shown as "(set)"."""
        return render(self)
