"""Questions and answers of hooks as JSON."""

from __future__ import annotations

import json

import pytest

from realtime.core.hook_answers import HookFailed
from realtime.core.hook_forms import answer, question
from realtime.hooks import (
    UNCHANGED,
    ChangeEvent,
    ChangePublication,
    ConnectionClosed,
    ConnectRequest,
    Deny,
    Event,
    EventBatch,
    Point,
    PublishRequest,
    Purpose,
    RejectEvent,
    SubscribeRequest,
    User,
)
from realtime.types import JSONText


def asked(point: Point, request: object) -> dict[str, object]:
    """The question as its receiver reads it."""
    told = json.loads(question(point, "q1", 17.5, request))
    assert (told.pop("point"), told.pop("id"), told.pop("at")) == (point, "q1", 17.5)
    return told


def test_questions_are_the_fields_of_their_values():
    """Under the same names."""
    subscribe = SubscribeRequest("chat:1", "ann", True, "c1")
    assert asked(Point.AUTHORISE_SUBSCRIBE, subscribe) == {
        "channel": "chat:1",
        "user": "ann",
        "granted": True,
        "connection": "c1",
        "wants": "subscribe",
    }
    connect = ConnectRequest("secret", Purpose.CONNECT, "10.0.0.1", "c1", "d1", "app/1")
    assert asked(Point.AUTHENTICATE, connect) == {
        "token": "secret",
        "purpose": "connect",
        "remote": "10.0.0.1",
        "connection": "c1",
        "device": "d1",
        "client": "app/1",
        "user": None,
    }


def test_what_is_published_is_asked_about_as_it_is():
    """Data as JSON, not as a text of JSON."""
    request = PublishRequest("chat:1", None, False, JSONText(b'{"a":[1]}'), {"k": "v"})
    told = asked(Point.ON_PUBLISH, request)
    assert (told["data"], told["tags"], told["granted"]) == (
        {"a": [1]},
        {"k": "v"},
        False,
    )
    assert "raw" not in told


def test_events_are_asked_about_together():
    """With number, name, time, user and properties."""
    batch = EventBatch("d1", "ann", (Event(3, "like", 9.5, "ann", {"post": 1}),), "c1")
    assert asked(Point.ON_EVENTS, batch) == {
        "device": "d1",
        "user": "ann",
        "connection": "c1",
        "events": [
            {
                "seq": 3,
                "name": "like",
                "at": 9.5,
                "user": "ann",
                "properties": {"post": 1},
            }
        ],
    }


def answered(point: Point, **told: object) -> object:
    """What an answer comes to."""
    return answer(point, json.dumps(told).encode())


@pytest.mark.parametrize("allow", [True, None])
def test_permission_is_given_or_left_to_the_rules(allow):
    """By allow."""
    assert answered(Point.AUTHORISE_SUBSCRIBE, allow=allow) is allow
    assert answered(Point.ON_PUBLISH, allow=allow) is allow
    assert answered(Point.AUTHORISE_SUBSCRIBE) is None


@pytest.mark.parametrize(
    "point",
    [
        Point.AUTHENTICATE,
        Point.AUTHORISE_SUBSCRIBE,
        Point.ON_PUBLISH,
        Point.ON_EVENTS,
    ],
)
def test_every_question_can_be_refused(point):
    """With a reason or without."""
    with pytest.raises(Deny) as caught:
        answered(point, allow=False, reason="not today")
    assert caught.value.reason == "not today"
    with pytest.raises(Deny) as caught:
        answered(point, allow=False, reason=7)
    assert caught.value.reason == ""


def test_a_user_is_named_by_his_fields():
    """As in the class of that name."""
    told = answered(Point.AUTHENTICATE, user={"id": "ann", "subscribe": ["a:*"]})
    assert told == User("ann", subscribe=["a:*"])
    assert answered(Point.AUTHENTICATE, allow=True, user={}) == User()
    assert answered(Point.AUTHENTICATE) is None


def test_publications_and_events_can_be_changed():
    """In part, and one by one."""
    change = answered(Point.ON_PUBLISH, allow=True, data={"a": 1})
    assert change == ChangePublication({"a": 1}, UNCHANGED, True)
    tagged = answered(Point.ON_PUBLISH, tags={"k": "v"})
    assert tagged == ChangePublication(UNCHANGED, {"k": "v"})
    told = answered(
        Point.ON_EVENTS, events=[None, {}, {"properties": {"a": 1}}, {"reject": "no"}]
    )
    assert told == [None, None, ChangeEvent({"a": 1}), RejectEvent("no")]


@pytest.mark.parametrize(
    ("point", "body"),
    [
        (Point.ON_PUBLISH, b""),
        (Point.ON_PUBLISH, b"[]"),
        (Point.ON_PUBLISH, b"true"),
        (Point.ON_PUBLISH, b'{"allow":1}'),
        (Point.ON_PUBLISH, b'{"allow":"false"}'),
        (Point.AUTHENTICATE, b'{"allow":true}'),
        (Point.AUTHENTICATE, b'{"user":"ann"}'),
        (Point.AUTHENTICATE, b'{"user":{"id":"ann","admin":true}}'),
        (Point.ON_EVENTS, b'{"events":{}}'),
        (Point.ON_EVENTS, b'{"events":[{"reject":"a","properties":{}}]}'),
        (Point.ON_EVENTS, b'{"events":[{"properties":[]}]}'),
        (Point.ON_EVENTS, b'{"events":["keep"]}'),
    ],
    ids=str,
)
def test_what_is_no_answer_is_a_failure(point, body):
    """Never an allowance."""
    with pytest.raises(HookFailed):
        answer(point, body)


def test_who_was_only_told_may_answer_anything():
    """It is not looked at."""
    told = ConnectionClosed("c1", None, None, None, "", 17.5, 1000, "bye", 2.5)
    assert asked(Point.ON_DISCONNECT, told)["seconds"] == 2.5
    for body in (b"", b"ok", b'{"allow":false}'):
        assert answer(Point.ON_DISCONNECT, body) is None
