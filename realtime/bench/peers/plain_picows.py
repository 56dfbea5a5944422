"""
``picows``, a WebSocket library in Cython: whatever one says, everybody is sent.

No authentication, no channels, no permissions, no limits, and pings are the
library's. Each subscriber's frame is built by the library. The loop is uvloop.
"""

from __future__ import annotations

import uvloop
from picows import (
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from realtime.bench.peers.serving import BACKLOG, HOST, Place, place

everybody: set[WSTransport] = set()


class Member(WSListener):
    """One connection."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take it among everybody."""
        everybody.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send to everybody what was said."""
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for each in everybody:
                each.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Forget it."""
        everybody.discard(transport)


def _member(request: WSUpgradeRequest) -> Member:
    return Member()


async def main(where: Place) -> None:
    """Serve until stopped."""
    server = await ws_create_server(
        _member,
        HOST,
        where.port,
        backlog=BACKLOG,
        enable_auto_ping=True,
        auto_ping_idle_timeout=where.keepalive_s,
        auto_ping_reply_timeout=where.keepalive_s,  # no longer is allowed
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(place(__doc__ or "")))
