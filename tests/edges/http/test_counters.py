"""Counters by request: definitions, values, cells."""

from __future__ import annotations

import asyncio

import pytest

from realtime.edges.http.counters import MAX_SCANS, Listings
from realtime.errors import CommandError, LedgerUnavailable
from realtime.testing.clock import ManualClock, settle
from tests.edges.http.support import KEY, NOW, World, bearer, token

pytestmark = pytest.mark.anyio


# -- definitions -----------------------------------------------------------------------


async def test_a_backend_sees_every_counter(world: World) -> None:
    """The definitions are told as they are declared."""
    answer = await world.get("/v1/counters", KEY)
    found = {one["name"]: one for one in answer.json["counters"]}
    assert list(found) == ["likes", "sales", "hidden"]
    assert found["sales"] == {
        "name": "sales",
        "event": "sale",
        "measure": "sum",
        "of": "amount",
        "by": [],
        "where": {},
        "windows": ["1h/1m"],
        "watch": "user",
    }


@pytest.mark.parametrize(
    "presented, names",
    [
        (token(None), ["likes"]),
        (token("ann"), ["likes", "sales"]),
        (token("ann", subscribe=["live:hidden;*"]), ["likes", "sales", "hidden"]),
        (token("ann", subscribe=["live:hid*"]), ["likes", "sales", "hidden"]),
        (token("ann", subscribe=["*"]), ["likes", "sales", "hidden"]),
        (token("ann", subscribe=["live:hidden2;*"]), ["likes", "sales"]),
        (
            token(None, subscribe=["live:hidden;window=total"]),
            ["likes", "hidden"],
        ),
    ],
)
async def test_others_see_what_they_may_watch(
    world: World, presented: str, names: list[str]
) -> None:
    """A counter is listed for those whom its rule or a grant lets watch it."""
    answer = await world.get("/v1/counters", bearer(presented))
    assert [one["name"] for one in answer.json["counters"]] == names


# -- one value -------------------------------------------------------------------------


async def test_a_value_comes_with_its_channel(world: World) -> None:
    """The answer is what a subscriber would be told, under the canonical name."""
    await world.like("42", 3)
    answer = await world.get("/v1/counters/likes?post=42&window=5m", KEY)
    assert answer.status == 200
    assert answer.json == {
        "channel": "live:likes;post=42;window=5m",
        "value": 3,
        "at": NOW - NOW % 300 + 300,
        "rev": answer.json["rev"],
        "final": False,
    }


async def test_the_total_has_no_end(world: World) -> None:
    """The value of all time has no instance, so its at is null."""
    answer = await world.get("/v1/counters/likes?post=42&window=total", KEY)
    assert (answer.json["value"], answer.json["at"]) == (0, None)


async def test_the_first_window_is_the_default(world: World) -> None:
    """Without a window, it is the first that is declared."""
    answer = await world.get("/v1/counters/likes?post=42", KEY)
    assert answer.json["channel"] == "live:likes;post=42;window=total"


async def test_a_dimension_is_text(world: World) -> None:
    """What a query says of a dimension is decoded once and encoded canonically."""
    await world.like("a b;c", 2)
    answer = await world.get("/v1/counters/likes?post=a+b%3Bc", KEY)
    assert answer.json["value"] == 2
    assert answer.json["channel"] == "live:likes;post=a%20b%3Bc;window=total"


@pytest.mark.parametrize(
    "at", ["1700000000", "1.7e9", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00"]
)
async def test_at_names_a_past_instance(world: World, at: str) -> None:
    """A time as a number or in ISO 8601 chooses the instance that contains it."""
    await world.like("42", 3)
    await world.clock.elapse(3600)
    path = "/v1/counters/likes?post=42&window=5m"
    then = await world.get(f"{path}&at={at}", KEY)
    now = await world.get(path, KEY)
    assert (then.json["value"], then.json["at"]) == (3, NOW - NOW % 300 + 300)
    assert now.json["value"] == 0


@pytest.mark.parametrize(
    "query, field",
    [
        ("", None),
        ("post=42&window=6m", None),
        ("post=~x", None),
        ("post=42&at=yesterday", "at"),
        ("post=42&at=nan", "at"),
        ("post=42&at=1e11&at=1", "at"),
        ("post=42&at=9e11", "at"),
        ("post=42&user=7", "user"),
        ("post=42&post=43", "post"),
    ],
)
async def test_a_wrong_parameter_is_named(
    world: World, query: str, field: str | None
) -> None:
    """Unknown, missing, repeated and malformed parameters are refused in words."""
    answer = await world.get(f"/v1/counters/likes?{query}", KEY)
    assert answer.status == 400
    assert answer.error.get("field") == field


async def test_an_unknown_counter_is_404(world: World) -> None:
    """There is nothing under a name that is not declared."""
    answer = await world.get("/v1/counters/nothing", KEY)
    assert (answer.status, answer.error["name"]) == (404, "unknown_channel")


async def test_a_silent_ledger_is_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that cannot be read is not answered with a guess."""

    async def read(*args: object) -> None:
        raise LedgerUnavailable("Redis does not answer")

    monkeypatch.setattr(world.adapters.ledger, "read", read)
    answer = await world.get("/v1/counters/likes?post=42", KEY)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


# -- cells -----------------------------------------------------------------------------


async def liked(world: World) -> None:
    """Three posts with 5, 2 and 9 likes."""
    for number, (post, times) in enumerate((("a", 5), ("b", 2), ("c", 9))):
        await world.like(post, times, device=f"backend-{number}")


async def test_cells_are_ordered_by_value(world: World) -> None:
    """The greatest values come first, each with the channel to watch it by."""
    await liked(world)
    answer = await world.get("/v1/counters/likes/cells?window=total&limit=2", KEY)
    assert answer.json == {
        "counter": "likes",
        "window": "total",
        "cells": [
            {
                "dims": {"post": "c"},
                "channel": "live:likes;post=c;window=total",
                "value": 9,
            },
            {
                "dims": {"post": "a"},
                "channel": "live:likes;post=a;window=total",
                "value": 5,
            },
        ],
        "complete": True,
    }


async def test_cells_are_ordered_by_name(world: World) -> None:
    """With order=name, the values do not matter."""
    await liked(world)
    answer = await world.get("/v1/counters/likes/cells?order=name", KEY)
    assert [one["dims"]["post"] for one in answer.json["cells"]] == ["a", "b", "c"]


async def test_cells_of_a_past_instance(world: World) -> None:
    """At chooses the window's instance, as for one value."""
    await liked(world)
    await world.clock.elapse(600)
    path = "/v1/counters/likes/cells?window=5m"
    assert len((await world.get(f"{path}&at={NOW}", KEY)).json["cells"]) == 3
    assert (await world.get(path, KEY)).json["cells"] == []


async def test_what_was_not_looked_at_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there are more cells than are looked at, complete is false."""
    monkeypatch.setattr("realtime.edges.http.counters.MAX_SCANNED", 2)
    await liked(world)
    answer = await world.get("/v1/counters/likes/cells", KEY)
    assert answer.json["complete"] is False


@pytest.mark.parametrize(
    "query, field",
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=%C2%B2", "limit"),
        ("order=random", "order"),
        ("window=6m", "window"),
        ("post=42", "post"),
    ],
)
async def test_wrong_parameters_of_cells_are_named(
    world: World, query: str, field: str
) -> None:
    """Every parameter has its bounds."""
    answer = await world.get(f"/v1/counters/likes/cells?{query}", KEY)
    assert (answer.status, answer.error["field"]) == (400, field)


async def test_a_listing_serves_for_a_moment() -> None:
    """Who asks within a second of another gets the same listing, made once."""
    clock, made = ManualClock(), 0
    listings = Listings(clock)

    async def scan() -> list[tuple[dict[str, str], int | float | None]]:
        nonlocal made
        made += 1
        return []

    await asyncio.gather(*(listings.get(("likes", "5m"), scan) for _ in range(20)))
    assert made == 1
    clock.advance(1.0)
    await listings.get(("likes", "5m"), scan)
    assert made == 2


async def test_a_failed_listing_is_not_kept() -> None:
    """An error is told to those who waited for it, and the next one tries again."""
    listings, made = Listings(ManualClock()), 0

    async def scan() -> list[tuple[dict[str, str], int | float | None]]:
        nonlocal made
        made += 1
        raise LedgerUnavailable("Redis does not answer")

    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await listings.get(("likes", "5m"), scan)
    assert made == 2


async def test_listings_are_few_at_a_time() -> None:
    """Whoever comes on top is told to come later, and later there is room."""
    listings, gate = Listings(ManualClock()), asyncio.Event()

    async def scan() -> list[tuple[dict[str, str], int | float | None]]:
        await gate.wait()
        return []

    tasks = [asyncio.create_task(listings.get(None, scan)) for _ in range(MAX_SCANS)]
    await settle()
    with pytest.raises(CommandError) as raised:
        await listings.get(None, scan)
    assert raised.value.retry_after_s == 1.0
    gate.set()
    await asyncio.gather(*tasks)
    assert await listings.get(None, scan) == []
