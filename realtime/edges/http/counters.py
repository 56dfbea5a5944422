"""
``/v1/counters``: what is counted, one live channel's value, the cells of a counter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from realtime.clock import Clock
from realtime.core.access import Identity, Kind
from realtime.core.channels import LIVE, Rule
from realtime.core.counters import CounterDefinition
from realtime.core.naming import LiveName
from realtime.edges.http.auth import Caller, Callers
from realtime.edges.http.errors import JSONResponse
from realtime.edges.http.fields import Query
from realtime.edges.http.host import Host
from realtime.errors import (
    PERMISSION_DENIED,
    RATE_LIMITED,
    UNKNOWN_CHANNEL,
    CommandError,
)

Cell = tuple[dict[str, str], int | float | None]
Key = tuple[str, str]  # counter, window

MAX_LISTED = 1_000
"""The most cells in one answer."""

MAX_SCANNED = 10_000
"""The most cells looked at for one answer; the default of ``max_cells``."""

MAX_READ = 100_000
"""The most buckets read for one answer: a sliding window's cell is many."""

FRESH_S = 1.0
"""A listing of now serves everybody who asks within this time."""

MAX_SCANS = 4
"""Listings made at the same time; whoever comes on top is told to come later."""


class Counters:
    """The handlers of counters."""

    def __init__(self, host: Host, callers: Callers) -> None:
        self._host = host
        self._callers = callers
        self._listings = Listings(host.parts.clock)

    async def index(self, request: Request) -> Response:
        """The counters that the caller may watch, as they are declared."""
        caller = await self._callers.of(request)
        found = visible(self._host, caller.identity)
        return JSONResponse({"counters": [_describe(one) for one in found]})

    async def value(self, request: Request) -> Response:
        """The value for one combination of dimensions, now or at a time."""
        caller = await self._callers.of(request)
        counter = self._counter(request)
        query = Query(request.query_params, {"window", "at", *counter.by})
        name = _name(counter, query)
        if not caller.trusted:
            hooks = self._host.hooks.channels
            await hooks.check_subscribe(caller.identity, name.channel)
        at = None if "at" in counter.by else query.instant("at")
        value = await self._host.read_live(name, at)
        return JSONResponse(
            {
                "channel": name.channel,
                "value": value.value,
                "at": value.at,
                "rev": value.rev,
                "final": value.final,
            }
        )

    async def cells(self, request: Request) -> Response:
        """Many combinations side by side: the greatest values, or by name."""
        caller = await self._callers.of(request)
        counter = self._counter(request)
        _check_may_list(caller, counter)
        if not caller.trusted and self._host.hooks.channels.subscribes:
            # By the counter's name alone: a hook may hide some of its cells.
            channel = f"{LIVE}:{counter.name}"
            await self._host.hooks.channels.check_subscribe(caller.identity, channel)
        query = Query(request.query_params, ("window", "at", "limit", "order"))
        windows = [window.text for window in counter.windows]
        window = query.choice("window", windows, windows[0])
        order = query.choice("order", _ORDERS, "value")
        limit = query.integer("limit", 1, MAX_LISTED, 100)
        at = query.instant("at")
        found, complete = await self._scan(counter, window, at)
        cells = sorted(found, key=_ORDERS[order])[:limit]
        return JSONResponse(
            {
                "counter": counter.name,
                "window": window,
                "cells": [_cell(counter, window, *cell) for cell in cells],
                "complete": complete,
            }
        )

    async def _scan(
        self, counter: CounterDefinition, window: str, at: float | None
    ) -> tuple[list[Cell], bool]:
        """The cells, and whether there were no more than may be looked at."""
        limit = _scan_limit(counter, window)

        def scan() -> Awaitable[list[Cell]]:
            return self._host.list_cells(counter.name, window, at, limit)

        key = None if at is not None else (counter.name, window)
        found = await self._listings.get(key, scan)
        return found, len(found) < limit

    def _counter(self, request: Request) -> CounterDefinition:
        name = request.path_params["name"]
        counter = self._host.counters.get(name)
        if counter is None:
            raise CommandError(
                UNKNOWN_CHANNEL, f"name: there is no counter {name[:64]}", field="name"
            )
        return counter


class Listings:
    """Makes listings, few at a time; one of now serves everybody for a moment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared: dict[Key, asyncio.Task[list[Cell]]] = {}
        self._scans = 0

    async def get(
        self, key: Key | None, scan: Callable[[], Awaitable[list[Cell]]]
    ) -> list[Cell]:
        """
        Return what *scan* finds; with a *key*, perhaps what it found a moment ago.

        Raises:
            CommandError: RATE_LIMITED when too many are being made.
        """
        if key is None:
            return await self._make(scan)
        task = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(self._make(scan))
            task.add_done_callback(lambda done: self._made(key, done))
        # Shielded: one caller that leaves must not spoil it for the others.
        return await asyncio.shield(task)

    def _made(self, key: Key, task: asyncio.Task[list[Cell]]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._shared[key]
        else:
            self._clock.call_later(FRESH_S, lambda: self._forget(key))

    def _forget(self, key: Key) -> None:
        del self._shared[key]

    async def _make(self, scan: Callable[[], Awaitable[list[Cell]]]) -> list[Cell]:
        if self._scans >= MAX_SCANS:
            raise CommandError(
                RATE_LIMITED,
                f"{self._scans} listings are being made, which is the most",
                retry_after_s=1.0,
            )
        self._scans += 1
        try:
            return await scan()
        finally:
            self._scans -= 1


def visible(host: Host, identity: Identity) -> list[CounterDefinition]:
    """The counters of which *identity* may watch at least something."""
    return [one for one in host.counters if _may_see(identity, one)]


def _may_see(identity: Identity, counter: CounterDefinition) -> bool:
    if identity.kind in (Kind.BACKEND, Kind.DEVELOPER):
        return True
    if counter.watch is Rule.ANYONE:
        return True
    if counter.watch is Rule.USER and identity.kind is Kind.USER:
        return True
    return _grants(identity.grants.subscribe, f"live:{counter.name};")


def _grants(patterns: Sequence[str], beginning: str) -> bool:
    """Whether any of *patterns* may stand for a name with this *beginning*."""
    for pattern in patterns:
        literal, star, _ = pattern.partition("*")
        if literal.startswith(beginning) or (star and beginning.startswith(literal)):
            return True
    return False


def _check_may_list(caller: Caller, counter: CounterDefinition) -> None:
    if caller.trusted or counter.watch is Rule.ANYONE:
        return
    raise CommandError(
        PERMISSION_DENIED,
        f'listing all of {counter.name} needs an API key, or watch = "anyone" in '
        f"[counters.{counter.name}]",
    )


def _name(counter: CounterDefinition, query: Query) -> LiveName:
    values = {
        name: value for name in counter.by if (value := query.get(name)) is not None
    }
    try:
        return LiveName.of(counter, values, query.get("window"))
    except CommandError as exc:
        # There is no field "channel" here; the sentence names what is wrong.
        raise CommandError(exc.code, exc.reason) from exc


def _scan_limit(counter: CounterDefinition, window: str) -> int:
    chosen = next(one for one in counter.windows if one.text == window)
    return min(MAX_SCANNED, MAX_READ // chosen.span)


def _by_value(cell: Cell) -> tuple[bool, float, list[str]]:
    dims, value = cell
    return value is None, -(value or 0), list(dims.values())


def _by_name(cell: Cell) -> list[str]:
    return list(cell[0].values())


_ORDERS: dict[str, Callable[[Cell], Any]] = {"value": _by_value, "name": _by_name}


def _cell(
    counter: CounterDefinition,
    window: str,
    dims: dict[str, str],
    value: int | float | None,
) -> dict[str, object]:
    channel = LiveName.of(counter, dims, window).channel
    return {"dims": dims, "channel": channel, "value": value}


def _describe(counter: CounterDefinition) -> dict[str, object]:
    return {
        "name": counter.name,
        "event": counter.event,
        "measure": counter.measure.value,
        "of": counter.of,
        "by": list(counter.by),
        "where": {name: list(values) for name, values in counter.where.items()},
        "windows": [window.text for window in counter.windows],
        "watch": counter.watch.value,
    }
