"""
``/v1/channels/{channel}/presence`` and ``/v1/users``: who is where, and online.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from realtime.edges.http.auth import Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import JSONResponse
from realtime.edges.http.fields import Body, Query, refuse, texts
from realtime.edges.http.host import Host
from realtime.engine.presence import plain_member
from realtime.errors import NOT_AVAILABLE, CommandError
from realtime.hooks import Wants
from realtime.types import Channel, UserId

MAX_USERS = 1_000
"""The most users that one request asks about."""

MAX_PAGE = 100_000
"""The most that ``limit`` may be; a page has at most ``presence.max_page`` members."""


class Presence:
    """The handlers of members and users."""

    def __init__(self, host: Host, callers: Callers, bodies: Bodies) -> None:
        self._host = host
        self._callers = callers
        self._bodies = bodies

    async def members(self, request: Request) -> Response:
        """A page of the members of a channel."""
        channel = await self._channel(request)
        query = Query(request.query_params, ("limit", "cursor"))
        limit = None
        if query.get("limit") is not None:
            limit = query.integer("limit", 1, MAX_PAGE, 1)
        try:
            page = await self._host.people.channels.members(
                channel, limit, query.get("cursor") or ""
            )
        except ValueError as exc:
            refuse("cursor", str(exc).removeprefix("cursor: "))
        members = [plain_member(member) for member in page.members]
        found: dict[str, object] = {"channel": channel, "members": members}
        if page.cursor:
            found["cursor"] = page.cursor
        return JSONResponse(found)

    async def stats(self, request: Request) -> Response:
        """How many connections and users are on a channel."""
        channel = await self._channel(request)
        Query(request.query_params, ())
        found = await self._host.people.channels.stats(channel)
        return JSONResponse(
            {"channel": channel, "clients": found.clients, "users": found.users}
        )

    async def online(self, request: Request) -> Response:
        """Whether one user is online."""
        await self._callers.backend(request)
        Query(request.query_params, ())
        self._check_users()
        user = UserId(request.path_params["user"])
        online = await self._host.people.users.is_online(user)
        return JSONResponse({"user": user, "online": online})

    async def who_is_online(self, request: Request) -> Response:
        """Whether each of many users is online."""
        await self._callers.backend(request)
        decoded, _ = await self._bodies.read(request)
        body = Body(decoded, ("users",))
        names = dict.fromkeys(body.required("users", texts(MAX_USERS)))
        self._check_users()
        users = [UserId(name) for name in names]
        found = await self._host.people.users.who_is_online(users)
        return JSONResponse({"online": found})

    async def _channel(self, request: Request) -> Channel:
        caller = await self._callers.of(request)
        channel = request.path_params["channel"]
        self._host.access.check_members(caller.identity, channel)
        hooks = self._host.hooks.channels
        await hooks.check_read(caller.identity, channel, Wants.MEMBERS)
        return Channel(channel)

    def _check_users(self) -> None:
        if not self._host.people.users.online:
            raise CommandError(
                NOT_AVAILABLE,
                "who is online is not known; users.online = true would keep it",
            )
