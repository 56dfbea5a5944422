"""
The table of routes, nothing else; docs/reference/http.md describes each.
"""

from __future__ import annotations

from starlette.routing import Route

from realtime.edges.http.auth import Callers
from realtime.edges.http.blocks import Blocking
from realtime.edges.http.body import Bodies
from realtime.edges.http.counters import Counters
from realtime.edges.http.description import Description
from realtime.edges.http.events import Events
from realtime.edges.http.history import Histories
from realtime.edges.http.host import Host
from realtime.edges.http.live import Live, Streams
from realtime.edges.http.ops import Ops
from realtime.edges.http.orders import Ordering
from realtime.edges.http.page import Page
from realtime.edges.http.presence import Presence
from realtime.edges.http.publish import Publishing


def table(host: Host, streams: Streams) -> list[Route]:
    """The routes of *host*; ``HEAD`` goes with every ``GET``."""
    callers, bodies = Callers(host), Bodies(host.limits.max_body_bytes)
    events = Events(host, callers, bodies)
    publishing = Publishing(host, callers, bodies)
    presence = Presence(host, callers, bodies)
    counters = Counters(host, callers)
    live, ops = Live(host, callers, streams), Ops(host)
    description = Description(host, callers)
    return [
        Route("/v1/events", events.post, methods=["POST"]),
        Route("/v1/devices/{device}", events.mark),
        Route("/v1/publish", publishing.publish, methods=["POST"]),
        Route("/v1/broadcast", publishing.broadcast, methods=["POST"]),
        Route(
            "/v1/channels/{channel:path}/history",
            Histories(host, callers).handle,
            methods=["GET", "DELETE"],
        ),
        Route("/v1/channels/{channel:path}/presence/stats", presence.stats),
        Route("/v1/channels/{channel:path}/presence", presence.members),
        Route("/v1/users/online", presence.who_is_online, methods=["POST"]),
        Route("/v1/users/{user:path}/online", presence.online),
        *_orders(Ordering(host, callers, bodies), Blocking(host, callers, bodies)),
        Route("/v1/counters", counters.index),
        Route("/v1/counters/{name}", counters.value),
        Route("/v1/counters/{name}/cells", counters.cells),
        Route("/v1/live", live.get),
        Route("/healthz", ops.health),
        Route("/readyz", ops.ready),
        Route("/metrics", ops.metrics),
        Route("/openapi.json", description.get),
        *(_page(Page(host)) if host.server.dashboard else ()),
    ]


def _orders(orders: Ordering, blocks: Blocking) -> list[Route]:
    found = [
        Route(f"{target}/{name}", handler, methods=["POST"])
        for target in ("/v1/users/{user:path}", "/v1/connections/{connection}")
        for name, handler in (
            ("disconnect", orders.disconnect),
            ("unsubscribe", orders.unsubscribe),
            ("refresh", orders.refresh),
        )
    ]
    both = ["POST", "DELETE"]
    return [
        *found,
        Route("/v1/users/{user:path}/connections", orders.connections),
        Route("/v1/users/{user:path}/revoke", blocks.revoke_user, methods=both),
        Route("/v1/revoke", blocks.revoke_all, methods=both),
        Route("/v1/users/{user:path}/block", blocks.user, methods=["PUT", "DELETE"]),
        Route("/v1/blocks", blocks.index),
        Route("/v1/channels", orders.channels),
        Route("/v1/nodes", orders.nodes),
    ]


def _page(page: Page) -> list[Route]:
    return [
        Route("/", page.index),
        Route("/page/{path:path}", page.file),
        Route("/v1/page", page.describe),
    ]
