"""The whole configuration, resolved: what each component is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.config.render import render
from realtime.core.channels import NamespaceDefinition
from realtime.core.counters import CounterSet
from realtime.settings import (
    ApiKey,
    AuthSettings,
    EventSettings,
    LedgerSettings,
    LimitSettings,
    LogSettings,
    RedisSettings,
    ServerSettings,
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
    logs: LogSettings = field(default_factory=LogSettings)
    api_keys: tuple[ApiKey, ...] = ()
    namespaces: Mapping[str, NamespaceDefinition] = field(default_factory=dict)
    counters: CounterSet = field(default_factory=lambda: CounterSet(()))

    def render(self) -> str:
        """Return it as TOML that ``load`` reads back; secrets are shown as "(set)"."""
        return render(self)
