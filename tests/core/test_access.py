"""Who may do what: grants, rules, kinds of session, and what stays closed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.access import (
    ANONYMOUS,
    BACKEND,
    NOTHING,
    Access,
    Grants,
    Identity,
    Kind,
    Patterns,
)
from realtime.core.channels import Rule
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import (
    BAD_CHANNEL,
    PERMISSION_DENIED,
    UNKNOWN_CHANNEL,
    CommandError,
)
from realtime.settings import EventSettings
from realtime.types import UserId


@dataclass
class Counter:
    """As much of a counter as access looks at."""

    watch: str


NAMESPACES = {
    "closed": NamespaceDefinition("closed"),
    "users": NamespaceDefinition("users", Rule.USER, Rule.USER),
    "open": NamespaceDefinition("open", Rule.ANYONE, Rule.ANYONE),
}
COUNTERS = {
    "likes": Counter("token"),
    "views": Counter("user"),
    "top": Counter("anyone"),
}
DEVELOPER = Identity(None, None, NOTHING, Kind.DEVELOPER)


def user(**grants: tuple[str, ...]) -> Identity:
    """A signed-in user with these grants."""
    return Identity(UserId("ann"), None, Grants(**grants), Kind.USER)


def access(track: str = "token") -> Access:
    """The rules of this file's namespaces and counters."""
    return Access(NAMESPACES, COUNTERS, EventSettings(track=track))


def allowed(check, identity: Identity, channel: str) -> bool:
    """Whether *check* lets it pass; anything but PERMISSION_DENIED is a failure."""
    try:
        check(identity, channel)
    except CommandError as exc:
        if exc.code is PERMISSION_DENIED:
            return False
        raise
    return True


@pytest.mark.parametrize(
    "channel, who",
    [
        ("closed:x", {"backend", "developer"}),
        ("users:x", {"user", "backend", "developer"}),
        ("open:x", {"anonymous", "user", "backend", "developer"}),
        ("live:likes;window=total", {"backend", "developer"}),
        ("live:views;window=total", {"user", "backend", "developer"}),
        ("live:top", {"anonymous", "user", "backend", "developer"}),
    ],
)
def test_rules_open_channels_to_kinds_of_sessions(channel, who):
    """Without grants, the namespace's or the counter's rule decides alone."""
    kinds = {
        "anonymous": ANONYMOUS,
        "user": user(),
        "backend": BACKEND,
        "developer": DEVELOPER,
    }
    check = access().check_subscribe
    assert {name for name in kinds if allowed(check, kinds[name], channel)} == who


def test_subscribing_and_publishing_are_granted_apart():
    """A grant to subscribe is no grant to publish, and the other way round."""
    reader, writer = user(subscribe=("closed:*",)), user(publish=("closed:*",))
    assert allowed(access().check_subscribe, reader, "closed:1")
    assert not allowed(access().check_publish, reader, "closed:1")
    assert not allowed(access().check_subscribe, writer, "closed:1")
    assert allowed(access().check_publish, writer, "closed:1")


def test_an_anonymous_token_may_carry_grants():
    """A verified token that names nobody still grants what it grants."""
    guest = Identity(None, None, Grants(subscribe=("closed:1",)), Kind.ANONYMOUS)
    assert allowed(access().check_subscribe, guest, "closed:1")
    assert not allowed(access().check_subscribe, guest, "users:1")


def test_a_grant_opens_a_live_channel_by_its_canonical_name():
    """The pattern is matched against the whole name, window included."""
    watcher = user(subscribe=("live:likes;post=42;*",))
    check = access().check_subscribe
    assert allowed(check, watcher, "live:likes;post=42;window=5m")
    assert not allowed(check, watcher, "live:likes;post=43;window=5m")


@pytest.mark.parametrize("identity", [user(publish=("*",)), BACKEND, DEVELOPER])
def test_nobody_publishes_to_a_live_channel(identity):
    """Neither a grant of everything nor a backend nor a developer may."""
    with pytest.raises(CommandError) as caught:
        access().check_publish(identity, "live:top")
    assert caught.value.code is PERMISSION_DENIED
    assert "track events instead" in caught.value.reason


def test_an_undeclared_namespace_is_unknown_to_all_but_developers():
    """A grant of everything opens only what the configuration declares."""
    for identity in (user(subscribe=("*",), publish=("*",)), BACKEND):
        for check in (access().check_subscribe, access().check_publish):
            with pytest.raises(CommandError) as caught:
                check(identity, "news:1")
            assert caught.value.code is UNKNOWN_CHANNEL
            assert "[namespaces.news]" in caught.value.reason
    access().check_subscribe(DEVELOPER, "news:1")
    access().check_publish(DEVELOPER, "news:1")


def test_an_undeclared_counter_is_unknown_to_everybody():
    """There is nothing to watch, not even for a developer."""
    with pytest.raises(CommandError) as caught:
        access().check_subscribe(DEVELOPER, "live:clicks;window=5m")
    assert caught.value.code is UNKNOWN_CHANNEL
    assert "[counters.clicks]" in caught.value.reason


def test_a_malformed_channel_is_refused_before_anything_else():
    """Its name is judged whoever asks."""
    for check in (access().check_subscribe, access().check_publish):
        with pytest.raises(CommandError) as caught:
            check(DEVELOPER, "no namespace")
        assert caught.value.code is BAD_CHANNEL


@pytest.mark.parametrize(
    "channel, told",
    [
        ("closed:1", "a token whose claim realtime.subscribe grants it"),
        ("users:1", "a signed-in user, or a token"),
    ],
)
def test_a_refusal_says_what_would_be_needed(channel, told):
    """The reason is a sentence for the developer of the app."""
    with pytest.raises(CommandError) as caught:
        access().check_subscribe(ANONYMOUS, channel)
    assert told in caught.value.reason
    assert channel in caught.value.reason


@pytest.mark.parametrize(
    "rule, who",
    [
        ("token", {"granted", "backend", "developer"}),
        ("user", {"granted", "user", "backend", "developer"}),
        ("anyone", {"granted", "user", "anonymous", "backend", "developer"}),
    ],
)
def test_events_are_taken_by_rule_or_grant(rule, who):
    """A grant to track opens its events whatever the rule."""
    kinds = {
        "granted": Identity(None, None, Grants(track=("li*",)), Kind.ANONYMOUS),
        "user": user(),
        "anonymous": ANONYMOUS,
        "backend": BACKEND,
        "developer": DEVELOPER,
    }
    rules = access(rule)
    assert {name for name in kinds if rules.may_track(kinds[name], "like")} == who
    assert {name for name in kinds if rules.may_track_any(kinds[name])} == who


def test_a_grant_to_track_is_for_the_events_it_names():
    """Other events stay closed."""
    assert not access().may_track(user(track=("like", "view_*")), "purchase")
    assert access().may_track(user(track=("like", "view_*")), "view_item")
    assert access().may_track_any(user(track=("like", "view_*")))


@given(
    st.lists(st.text("ab*", max_size=6), max_size=4),
    st.text("ab", max_size=8),
)
def test_patterns_match_as_regular_expressions_would(texts, name):
    """The star is any run of characters, the empty one too; all else is literal."""
    expected = any(
        re.fullmatch(".*".join(map(re.escape, text.split("*"))), name) for text in texts
    )
    assert Patterns(tuple(texts)).match(name) == expected


def test_a_pattern_of_many_stars_takes_no_exponential_time():
    """Each part is searched once; a backtracking matcher would not end."""
    evil = Patterns(("*a" * 127 + "b",))
    assert not evil.match("a" * 255)
