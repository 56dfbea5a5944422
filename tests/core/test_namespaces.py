"""Facts of namespaces: what their tables may say, and what they then keep."""

from __future__ import annotations

import pytest

from realtime.core.channels import Rule
from realtime.core.namespaces import NamespaceDefinition, Overflow
from realtime.errors import ConfigError


def test_a_namespace_is_closed_by_default():
    """An empty table leaves everything to the token."""
    definition = NamespaceDefinition.parse("chat", {})
    assert definition == NamespaceDefinition("chat", Rule.TOKEN, Rule.TOKEN)


def test_a_namespace_states_who_may_subscribe_and_publish():
    """Both rules are read independently."""
    definition = NamespaceDefinition.parse(
        "chat", {"subscribe": "anyone", "publish": "user"}
    )
    assert definition.subscribe is Rule.ANYONE
    assert definition.publish is Rule.USER


@pytest.mark.parametrize(
    "name, raw, key, told",
    [
        ("live", {}, "namespaces.live", "reserved"),
        ("a b", {}, "namespaces.a b", "1 to 63 characters"),
        ("chat", {"publsh": "user"}, "namespaces.chat.publsh", "mean publish?"),
        ("chat", {"zzz": 1}, "namespaces.chat.zzz", "known are subscribe, publish"),
        (
            "chat",
            {"publish": "all"},
            "namespaces.chat.publish",
            "\"anyone\"; got 'all'",
        ),
        ("chat", {"publish": ["user"]}, "namespaces.chat.publish", "must be one of"),
    ],
)
def test_a_wrong_namespace_is_refused_by_its_key(name, raw, key, told):
    """The error names the dotted key and what would be right."""
    with pytest.raises(ConfigError) as caught:
        NamespaceDefinition.parse(name, raw)
    assert caught.value.key == key
    assert told in caught.value.problem


@pytest.mark.parametrize(
    "raw, field, value",
    [
        ({"history_size": 100}, "history_size", 100),
        ({"history_size": 1, "history_ttl": "1h"}, "history_ttl_s", 3600.0),
        ({"presence": True, "linger": "15s"}, "linger_s", 15.0),
        ({"conflate": "200ms", "conflate_by": "symbol"}, "conflate_by", "symbol"),
        ({"max_rate": 5}, "max_rate", 5),
        ({"batch": 0.05}, "batch_s", 0.05),
        ({"overflow": "drop"}, "overflow", Overflow.DROP),
        ({"history": "user"}, "history", Rule.USER),
        ({"members": "anyone"}, "members", Rule.ANYONE),
        ({"last_value": True}, "history_size", 1),
        ({"last_value": True}, "history_ttl_s", 86400.0),
        ({"last_value": True, "history_size": 7}, "history_size", 7),
    ],
)
def test_an_option_is_read(raw, field, value):
    """Each option fills one field; a last value is a history of one, for a day."""
    assert getattr(NamespaceDefinition.parse("chat", raw), field) == value


@pytest.mark.parametrize(
    "raw, option, told",
    [
        ({"history_size": -1}, "history_size", "between 0 and"),
        ({"history_size": True}, "history_size", "a whole number"),
        ({"history_ttl": "5 parsecs"}, "history_ttl", "unit"),
        ({"history_ttl": True}, "history_ttl", "a duration"),
        ({"conflate": "2h"}, "conflate", "between 0 and"),
        ({"presence": "yes"}, "presence", "true or false"),
        ({"overflow": "ignore"}, "overflow", '"drop"'),
        ({"conflate": 1, "conflate_by": "a b"}, "conflate_by", "name of a tag"),
        ({"conflate_by": "symbol"}, "conflate_by", "needs an interval"),
        ({"join_leave": True}, "join_leave", "presence = true"),
        ({"linger": "5s"}, "linger", "presence = true"),
        ({"last_value": True, "history_size": 0}, "history_size", "1 or more"),
    ],
)
def test_a_wrong_option_is_refused_by_its_key(raw, option, told):
    """The error names the option and says what would be right."""
    with pytest.raises(ConfigError) as caught:
        NamespaceDefinition.parse("chat", raw)
    assert caught.value.key == f"namespaces.chat.{option}"
    assert told in caught.value.problem


def test_history_is_kept_when_it_has_a_size():
    """Without a size there are no positions."""
    assert not NamespaceDefinition("chat").keeps_history
    assert NamespaceDefinition("chat", history_size=1).keeps_history
