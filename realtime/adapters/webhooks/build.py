"""Makes what talks to a backend, of the settings."""

from __future__ import annotations

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.webhooks.asker import WebhookAsker
from realtime.adapters.webhooks.notices import Notices
from realtime.adapters.webhooks.queue import MemoryQueue, NoticeQueue
from realtime.adapters.webhooks.redis import RedisQueue
from realtime.adapters.webhooks.signed import SignedClient
from realtime.clock import Clock
from realtime.settings import HookSettings, LimitSettings, WebhookSettings
from realtime.types import NodeId

MIN_ANSWER_BYTES = 1024 * 1024
NOTICE_ANSWER_BYTES = 64 * 1024  # which nobody reads


def backend_asker(
    hooks: HookSettings, limits: LimitSettings, clock: Clock
) -> WebhookAsker:
    """Return what asks the backend at ``hooks.url``."""
    assert hooks.url is not None
    assert hooks.secret is not None
    # A batch of events or a publication comes back, at most a little longer.
    most = max(MIN_ANSWER_BYTES, 2 * limits.max_frame_bytes)
    client = SignedClient(hooks.url, hooks.secret, hooks.timeout_s, most, clock)
    return WebhookAsker(hooks.points, client, clock)


def backend_notices(
    webhooks: WebhookSettings,
    clock: Clock,
    link: RedisLink | None,
    prefix: str,
    node: NodeId,
) -> Notices | None:
    """
    Return what tells the backend at ``webhooks.url``, if there is one.

    With a *link*, notices wait in Redis, for whichever node lives.
    """
    if webhooks.url is None or webhooks.secret is None:
        return None
    client = SignedClient(
        webhooks.url, webhooks.secret, webhooks.timeout_s, NOTICE_ANSWER_BYTES, clock
    )
    queue: NoticeQueue = MemoryQueue(webhooks.max_waiting)
    if link is not None:
        queue = RedisQueue(link, prefix, node, webhooks.max_waiting, clock)
    return Notices(webhooks, client, queue, clock)
