"""What a namespace offers and a client asks, made into one flow."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.flow import DIRECT, STEPS_S, Flow, flow_of, interval_of, live_flow_of
from realtime.core.namespaces import NamespaceDefinition, Overflow
from realtime.errors import BAD_MESSAGE, NOT_AVAILABLE, CommandError
from realtime.types import Channel, JSONText, Publication, PublicationKind
from realtime.wire.messages import Subscribe

PRICES = Channel("prices:all")
BTC = {"tag": "symbol", "eq": "BTC"}


def namespace(**fields: Any) -> NamespaceDefinition:
    """A namespace that declares these."""
    return NamespaceDefinition("prices", **fields)


def asking(**fields: Any) -> Subscribe:
    """A subscribe command."""
    return Subscribe(PRICES, **fields)


def publication(symbol: str | None = None, data: bytes = b"1", **fields: Any):
    """A publication about a symbol."""
    tags = None if symbol is None else {"symbol": symbol}
    return Publication(PRICES, JSONText(data), tags=tags, **fields)


def test_nothing_special_is_the_direct_flow() -> None:
    """The very object, so that it is told at a glance."""
    assert flow_of(namespace(), asking()) is DIRECT
    assert flow_of(namespace(join_leave=True), asking()) is DIRECT
    assert not DIRECT.skips


@pytest.mark.parametrize(
    "definition, asked_s, interval_s",
    [
        ({"conflate_s": 0.2}, None, 0.2),
        ({"conflate_s": 0.2}, 0.05, 0.2),
        ({"conflate_s": 0.2}, 0.3, 0.5),
        ({"max_rate": 4}, None, 0.25),
        ({"max_rate": 4, "conflate_s": 1.0}, None, 1.0),
        ({}, 0.0001, 0.05),
        ({}, 60, 60.0),
    ],
)
def test_the_longest_interval_holds(
    definition: dict[str, Any], asked_s: float | None, interval_s: float
) -> None:
    """Of the namespace's, its greatest rate's, and the client's, rounded up."""
    flow = flow_of(namespace(**definition), asking(interval_s=asked_s))
    assert flow.interval_s == interval_s
    assert flow.skips


def test_intervals_come_in_few_steps() -> None:
    """Rounded up, never down, so that clients share them."""
    asked = [at / 100 for at in range(1, 6001)]
    found = [interval_of(one) for one in asked]
    assert set(found) == set(STEPS_S)
    assert all(got >= one for got, one in zip(found, asked, strict=True))


@pytest.mark.parametrize("asked_s", [-1.0, 60.5, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(asked_s: float) -> None:
    """By the name of the field, with what would be right."""
    with pytest.raises(CommandError) as caught:
        flow_of(namespace(), asking(interval_s=asked_s))
    assert (caught.value.code, caught.value.field) == (BAD_MESSAGE, "interval_s")


def test_a_filter_is_compiled() -> None:
    """Equal filters make equal flows."""
    one = flow_of(namespace(), asking(filter=BTC))
    other = flow_of(namespace(), asking(filter={"tag": "symbol", "in": ["BTC"]}))
    assert one == other
    assert hash(one) == hash(other)
    assert one.skips
    assert one.admits(publication("BTC"))
    assert not one.admits(publication("ETH"))
    assert not one.admits(publication())


def test_a_malformed_filter_is_refused() -> None:
    """By the path to its mistake."""
    with pytest.raises(CommandError) as caught:
        flow_of(namespace(), asking(filter={"tag": "symbol", "eq": 1}))
    assert caught.value.field == "filter.eq"


def test_notices_go_to_those_who_asked() -> None:
    """And gaps to everyone, whatever the filter."""
    definition = namespace(presence=True, join_leave=True)
    flow = flow_of(definition, asking(join_leave=True, filter=BTC))
    join = publication(kind=PublicationKind.JOIN)
    gap = publication(kind=PublicationKind.GAP)
    assert flow.admits(join)
    assert flow.admits(gap)
    assert not DIRECT.admits(join)
    assert DIRECT.admits(gap)


def test_notices_that_the_namespace_does_not_tell_are_refused() -> None:
    """Asking for more than there is is a mistake worth telling."""
    with pytest.raises(CommandError) as caught:
        flow_of(namespace(), asking(join_leave=True))
    assert (caught.value.code, caught.value.field) == (NOT_AVAILABLE, "join_leave")


@pytest.mark.parametrize(
    "overflow, skips",
    [(Overflow.DISCONNECT, False), (Overflow.DROP, False), (Overflow.COALESCE, True)],
)
def test_offsets_jump_where_publications_may_be_merged(
    overflow: Overflow, skips: bool
) -> None:
    """Not where a gap would be told."""
    assert flow_of(namespace(overflow=overflow), asking()).skips is skips


def test_a_delay_alone_skips_nothing() -> None:
    """Publications that leave together are all there."""
    flow = flow_of(namespace(batch_s=0.01), asking())
    assert flow.holds
    assert not flow.skips


def test_the_latest_of_each_key_is_left_of_what_was_missed() -> None:
    """In the order of publishing; without an interval nothing is left out."""
    missed = [
        publication("BTC", b"1"),
        publication("ETH", b"2"),
        publication("BTC", b"3"),
        publication(None, b"4"),
        publication("SOL", b"5"),
    ]

    def left(flow: Flow) -> list[int]:
        return [int(one.data) for one in flow.thin(missed)]

    assert left(DIRECT) == [1, 2, 3, 4, 5]
    assert left(Flow(interval_s=1.0, by="symbol")) == [2, 3, 4, 5]
    assert left(Flow(interval_s=1.0)) == [5]
    assert left(flow_of(namespace(), asking(filter=BTC))) == [1, 3]


def test_a_watcher_may_ask_for_an_interval() -> None:
    """On top of the counter's cadence; otherwise it is direct."""
    assert live_flow_of(asking()) is DIRECT
    flow = live_flow_of(asking(interval_s=4))
    assert (flow.interval_s, flow.overflow) == (5.0, Overflow.COALESCE)


@pytest.mark.parametrize("fields", [{"filter": BTC}, {"join_leave": True}])
def test_a_watcher_gets_no_other_flow(fields: dict[str, Any]) -> None:
    """A live channel has neither tags nor members."""
    with pytest.raises(CommandError) as caught:
        live_flow_of(asking(**fields))
    assert caught.value.code is NOT_AVAILABLE
    assert caught.value.field in fields
