"""
What a socket needs of the node that hosts it, and of uvicorn which has accepted it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSet
from typing import Any, Protocol, cast

from realtime.engine.admission import Admission
from realtime.engine.socket import Peer
from realtime.engine.wheel import Wheel
from realtime.settings import LimitSettings, ServerSettings


class SocketHost(Protocol):
    """One node, as its sockets use it; ``engine.node.Node`` fits."""

    @property
    def server(self) -> ServerSettings: ...
    @property
    def limits(self) -> LimitSettings: ...
    @property
    def wheel(self) -> Wheel: ...
    @property
    def subprotocols(self) -> tuple[str, ...]:
        """Those that ``open_peer`` knows; an empty one: clients may offer none."""

    @property
    def admission(self) -> Admission:
        """Who may come in; each socket tells it when it comes and goes."""

    def open_peer(self, subprotocol: str, remote: str, window_bits: int = 0) -> Peer:
        """
        Make the peer of a connection that is about to open.

        *window_bits*, unless 0: it reads messages that are compressed with this window.
        """


class ServerState(Protocol):
    """What uvicorn shares with its protocols; nothing else of it is used."""

    connections: MutableSet[Any]


def host_of(app_state: Mapping[str, Any]) -> SocketHost:
    """Return the host that the application's lifespan has yielded."""
    try:
        return cast(SocketHost, app_state["node"])
    except KeyError:
        raise RuntimeError('the lifespan must yield its host as "node"') from None
