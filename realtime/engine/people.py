"""
Everything of one node that knows who is where: channels' members and users.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from realtime.adapters.broker.port import Broker
from realtime.adapters.presence.port import Presence
from realtime.clock import Clock
from realtime.core.access import Identity
from realtime.core.namespaces import NamespaceDefinition
from realtime.engine.attendance import Attendance
from realtime.engine.keeping import Keeping
from realtime.engine.metrics import Metrics
from realtime.engine.notices import Notices
from realtime.engine.notify import Notify
from realtime.engine.presence import INTERNAL, ChannelPresence, Present
from realtime.engine.tasks import Tasks
from realtime.engine.users import Users
from realtime.errors import CLOSE_CODES, EXPIRED_CLOSE, GOING_AWAY
from realtime.settings import PresenceSettings, UserSettings
from realtime.types import Channel, Member

LOST = 1006
"""What a socket's end is called that was not announced (RFC 6455, 7.1.5)."""

_COME_BACK = frozenset(
    [LOST, EXPIRED_CLOSE.code, *(one.code for one in CLOSE_CODES if one.reconnect)]
) - {GOING_AWAY.code}


@dataclass(frozen=True, slots=True)
class PeopleSettings:
    """What of the configuration is about people."""

    presence: PresenceSettings = field(default_factory=PresenceSettings)
    users: UserSettings = field(default_factory=UserSettings)
    max_connections_per_user: int = 0
    namespaces: Mapping[str, NamespaceDefinition] = field(default_factory=dict)


class People:
    """
    Joins the parts: one attendance for all channels, one way to tell for each kind.

    *draining* says whether the node sends its clients elsewhere: a socket that ends
    with 1001 then is expected back, and otherwise it is a page that was left.
    """

    def __init__(
        self,
        settings: PeopleSettings,
        presence: Presence,
        broker: Broker,
        keeping: Keeping,
        notify: Notify,
        clock: Clock,
        metrics: Metrics,
        tasks: Tasks,
        draining: Callable[[], bool],
    ) -> None:
        self._tasks = tasks
        self._draining = draining
        self.attendance = Attendance(
            presence, settings.presence.lease_s, clock, tasks, metrics, self._tell
        )
        self.channels = ChannelPresence(
            presence,
            self.attendance,
            settings.namespaces,
            settings.presence,
            broker,
        )
        self.users = Users(
            presence,
            self.attendance,
            settings.users,
            settings.max_connections_per_user,
            keeping,
            notify,
            clock,
        )
        self._channel_notices = Notices(
            presence, clock, tasks, metrics, self.channels.announce
        )
        self._user_notices = Notices(
            presence, clock, tasks, metrics, self.users.announce
        )
        self._measure(metrics)

    def _measure(self, metrics: Metrics) -> None:
        rolls, attendance = self.attendance.rolls, self.attendance
        gauge = metrics.gauge
        gauge("presence_members", "Members here, of all kinds", lambda: rolls.members)
        gauge("presence_channels", "Channels with members here", lambda: len(rolls))
        gauge("presence_late", "Not taken by the store yet", lambda: attendance.late)
        gauge(
            "presence_untold",
            "Users of whom something is to be told",
            lambda: len(self._channel_notices) + len(self._user_notices),
        )

    def _tell(self, channel: Channel, member: Member, there: bool) -> None:
        if channel.startswith(INTERNAL):
            if self.users.online:
                self._user_notices.tell(channel, member, there)
        elif self.channels.tells(channel):
            self._channel_notices.tell(channel, member, there)

    def closed(
        self,
        connection: Present,
        identity: Identity | None,
        channels: Collection[Channel],
        code: int,
    ) -> None:
        """A socket has ended: note it in the background."""
        if channels:
            self.channels.closed(connection, channels, lost=self._comes_back(code))
        if identity is not None:
            self.users.left(connection.id, identity.user)

    def _comes_back(self, code: int) -> bool:
        return code in _COME_BACK or (code == GOING_AWAY.code and self._draining())

    def start(self) -> None:
        """Begin to renew this node's leases."""
        self._tasks.spawn(self.attendance.run())

    async def aclose(self) -> None:
        """Let those who have just left be gone, within reason."""
        await self.attendance.aclose()
        await self._channel_notices.aclose()
        await self._user_notices.aclose()
