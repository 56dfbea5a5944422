"""What a hook may answer, and what it comes to."""

from __future__ import annotations

import pytest

from realtime.core.access import Kind
from realtime.core.hook_answers import (
    HookFailed,
    data_of,
    decision_of,
    event_answers,
    identity_of_user,
    publication_of,
    reason_of,
    user_of,
)
from realtime.hooks import UNCHANGED, ChangeEvent, ChangePublication, RejectEvent, User
from realtime.types import JSONText

NOW = 1_700_000_000.0
PAYLOAD = "payload-of-somebody"


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_decision_is_one_of_three(answer):
    """Yes, no, and no objection."""
    assert decision_of(answer) is answer
    assert publication_of(answer) is answer


@pytest.mark.parametrize("answer", [1, 0, "yes", PAYLOAD, {"allow": True}, object()])
def test_anything_else_is_no_decision(answer):
    """Also what Python takes for true or false; and nothing of it is quoted."""
    for read in (decision_of, publication_of, user_of):
        with pytest.raises(HookFailed) as caught:
            read(answer)
        assert type(answer).__name__ in caught.value.problem
        assert PAYLOAD not in caught.value.problem


def test_events_are_answered_one_by_one():
    """By a list or a tuple of as many answers as there are events."""
    answers = [None, ChangeEvent({"a": 1}), RejectEvent("no")]
    assert event_answers(answers, 3) == answers
    assert event_answers(tuple(answers), 3) == tuple(answers)
    assert event_answers(None, 3) is None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([], "0 times for 2 events"),
        ([None] * 3, "3 times for 2 events"),
        ("no", "a str; right is a list or None"),
        ({}, "a dict; right is a list or None"),
        ([None, True], "a bool; right is None, ChangeEvent or RejectEvent"),
        ([None, ChangeEvent([])], "a list; right is a mapping as properties"),
    ],
)
def test_answers_about_events_must_fit(answer, problem):
    """Otherwise nobody knew which event was meant."""
    with pytest.raises(HookFailed, match=problem):
        event_answers(answer, 2)


def test_a_publication_may_be_changed_in_part():
    """What is not named stays."""
    before = JSONText(b'{"text":"a"}')
    assert data_of(ChangePublication(), before, 100) == before
    assert data_of(ChangePublication(data=None), before, 100) == b"null"
    assert data_of(ChangePublication({"text": "b"}), before, 100) == b'{"text":"b"}'
    assert publication_of(ChangePublication(tags={})).tags == {}
    assert ChangePublication().tags is UNCHANGED


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (ChangePublication(object()), "cannot be JSON"),
        (ChangePublication("x" * 100), "102 bytes as JSON, at most 100"),
    ],
)
def test_data_must_be_json_and_no_larger_than_others(change, problem):
    """As if it had been sent."""
    with pytest.raises(HookFailed, match=problem):
        data_of(change, JSONText(b"1"), 100)


@pytest.mark.parametrize(
    "tags",
    [
        {"a": 1},
        {1: "a"},
        {"": "a"},
        {"a b": "c"},
        {"a": "x" * 129},
        {"a": "\ud800"},
        ["a"],
        None,
    ],
)
def test_tags_must_be_as_those_that_are_sent(tags):
    """Few short texts with plain names."""
    with pytest.raises(HookFailed):
        publication_of(ChangePublication(tags=tags))


def test_a_change_is_no_refusal():
    """Refusing and changing at once is a mistake."""
    with pytest.raises(HookFailed, match="cannot be refused"):
        publication_of(ChangePublication(1, allow=False))


def test_a_user_becomes_an_identity():
    """With the grants, the info and the end that a token could give him."""
    user = User(
        "ann", subscribe=["chat:*"], track=("like",), info={"a": 1}, expires_at=NOW + 9
    )
    identity = identity_of_user(user, NOW)
    assert (identity.user, identity.kind) == ("ann", Kind.USER)
    assert identity.grants.subscribable.match("chat:1")
    assert not identity.grants.publishable.match("chat:1")
    assert identity.grants.trackable.match("like")
    assert (identity.info, identity.expires_at) == (b'{"a":1}', NOW + 9)
    assert identity.issued_at == NOW


def test_a_user_without_an_id_is_anonymous():
    """And has no grants but those that are named."""
    identity = identity_of_user(User(), NOW)
    assert (identity.user, identity.kind) == (None, Kind.ANONYMOUS)
    assert identity.expires_at is None


@pytest.mark.parametrize(
    "user",
    [
        User(7),
        User(""),
        User("a" * 256),
        User("ann", subscribe="chat:*"),
        User("ann", publish=[1]),
        User("ann", info="x" * 3000),
        User("ann", info=object()),
        User("ann", expires_at=NOW - 60),
        User("ann", expires_at="soon"),
        User("ann", expires_at=NOW * 1000),
    ],
    ids=[
        "id is a number",
        "id is empty",
        "id is too long",
        "grants are a string",
        "a grant is a number",
        "info is too large",
        "info is no JSON",
        "expired",
        "expires_at is a word",
        "expires_at is in milliseconds",
    ],
)
def test_a_user_must_be_as_a_token_would_name_him(user):
    """Otherwise the hook has failed: who it meant is anybody's guess."""
    with pytest.raises(HookFailed):
        identity_of_user(user, NOW)


def test_reasons_are_short_and_printable():
    """They go to strangers, and into close frames."""
    assert reason_of("no entry", "else") == "no entry"
    assert reason_of("a\nb\x00", "else") == "a b "
    assert len(reason_of("x" * 1000, "else")) == 255
    assert reason_of("", "else") == reason_of(None, "else") == "else"
    assert reason_of(7, "else") == reason_of("  ", "else") == "else"
