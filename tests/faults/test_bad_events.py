"""Events that are wrong, and numbers that are: nothing spoils what is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from realtime.testing.processes import NodeProcess
from tests.faults.support import PAYLOAD, Client, value
from tests.signing import NOW

pytestmark = pytest.mark.usefixtures("served")

MANY = {f"p{number}": 1 for number in range(65)}
LARGE = {f"p{number}": "x" * 1024 for number in range(64)}

EVENTS: dict[str, tuple[Any, str]] = {
    "null": (None, "bad_event"),
    "a number": (7, "bad_event"),
    "text": (PAYLOAD, "bad_event"),
    "an array": ([], "bad_event"),
    "no name": ({}, "bad_event_name"),
    "an empty name": ({"name": ""}, "bad_event_name"),
    "a name of a number": ({"name": 7}, "bad_event_name"),
    "a name with a digit first": ({"name": "9like"}, "bad_event_name"),
    "a name with a space": ({"name": "a like"}, "bad_event_name"),
    "a name with a newline": ({"name": "like\n"}, "bad_event_name"),
    "a name with an accent": ({"name": "été"}, "bad_event_name"),
    "a name of 65": ({"name": "x" * 65}, "bad_event_name"),
    "a name that is not granted": ({"name": "refund"}, "event_denied"),
    "an unknown field": ({"name": "like", PAYLOAD: 1}, "bad_event"),
    "a user": ({"name": "like", "user": "bob"}, "bad_event"),
    "a time of text": ({"name": "like", "at": "now"}, "bad_event"),
    "a time in milliseconds": ({"name": "like", "at": NOW * 1000}, "bad_event"),
    "a time of true": ({"name": "like", "at": True}, "bad_event"),
    "a time beyond all": ({"name": "like", "at": -1e300}, "bad_event"),
    "a time long ago": ({"name": "like", "at": 0}, "event_too_old"),
    "properties of text": ({"name": "like", "properties": "x"}, "bad_properties"),
    "nested properties": ({"name": "like", "properties": {"a": {}}}, "bad_properties"),
    "a list in properties": (
        {"name": "like", "properties": {"a": []}},
        "bad_properties",
    ),
    "an empty key": ({"name": "like", "properties": {"": 1}}, "bad_properties"),
    "a long key": ({"name": "like", "properties": {"k" * 65: 1}}, "bad_properties"),
    "long text": ({"name": "like", "properties": {"a": "x" * 1025}}, "bad_properties"),
    "too many properties": ({"name": "like", "properties": MANY}, "bad_properties"),
    "too large": ({"name": "like", "properties": LARGE}, "event_too_large"),
    "text where a sum wants a number": (
        {"name": "sale", "properties": {"amount": PAYLOAD}},
        "bad_value",
    ),
    "a dimension that is too long": (
        {"name": "like", "properties": {"post": "x" * 1024}},
        "bad_value",
    ),
    "a sum out of range": (
        {"name": "sale", "properties": {"amount": 1e300}},
        "bad_value",
    ),
}


@pytest.mark.parametrize(("event", "name"), EVENTS.values(), ids=list(EVENTS))
def test_a_wrong_event_is_rejected_by_number(
    node: NodeProcess, client: Client, event: Any, name: str
) -> None:
    """The events beside it count; its number is used up, and the ack says why."""
    good = {"name": "like", "properties": {"post": "42"}}
    before = value(node, "likes", post="42", window="total")
    client.say("track", first=1, events=[good, event, good])
    ack = client.until("ack")

    assert ack["acked"] == 3
    [rejected] = ack["rejected"]
    assert (rejected["seq"], rejected["name"]) == (2, name)
    assert value(node, "likes", post="42", window="total") == before + 2


def test_numbers_that_go_backwards_count_once(
    node: NodeProcess, client: Client
) -> None:
    """Repeats are acknowledged again; of an overlap, only the new part is counted."""
    post = {"post": "backwards"}
    like = {"name": "like", "properties": post}
    for first, count, acked in ((1, 3, 3), (1, 2, 3), (2, 4, 5), (1, 5, 5), (6, 1, 6)):
        client.say("track", first=first, events=[like] * count)
        client.until("ack", acked=acked)

    assert value(node, "likes", window="total", **post) == 6


def test_a_device_that_goes_back_in_time_learns_its_mark(
    node: NodeProcess, devices: Iterator[str]
) -> None:
    """A restored phone that forgot what it sent is told where to go on."""
    device = next(devices)
    with Client(node.ws_url) as phone:
        phone.hello(device=device)
        phone.track(1, "like", "like", "like")
        phone.until("ack", acked=3)
    with Client(node.ws_url) as restored:
        assert restored.hello(device=device, acked=1)["acked"] == 3
