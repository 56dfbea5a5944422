"""Names of keys and channels, whatever the channels are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.adapters.redis.keys import (
    broker_channel,
    broker_history,
    broker_meta,
    broker_seen,
    check_prefix,
)
from realtime.adapters.redis.slots import slot_of
from realtime.errors import ConfigError
from realtime.types import Channel

names = st.text("ab:{}%257BD\u00fc", max_size=8)


@given(channel=names, key=names)
def test_all_of_a_channel_is_in_one_slot(channel: str, key: str) -> None:
    """What a channel keeps is in the slot of its pub/sub channel."""
    name = broker_channel("realtime", Channel(channel))
    for each in (broker_meta(name), broker_history(name), broker_seen(name, key)):
        assert slot_of(each) == slot_of(name)


@given(one=names, other=names)
def test_different_channels_have_different_names(one: str, other: str) -> None:
    """Escaping braces makes no two names alike."""
    found = [broker_channel("realtime", Channel(each)) for each in (one, other)]
    assert (found[0] == found[1]) == (one == other)


def test_usual_names_are_left_as_they_are() -> None:
    """A channel can be found by its name in PUBSUB CHANNELS."""
    assert broker_channel("realtime", Channel("chat:42")) == b"realtime:b:chat:42"
    assert broker_channel("realtime", Channel("a:{b}%")) == b"realtime:b:a:%7Bb%7D%25"


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b"])
def test_prefixes_that_would_break_slots(prefix: str) -> None:
    """A prefix is not empty and has no braces."""
    with pytest.raises(ConfigError, match=r"redis\.prefix"):
        check_prefix(prefix)
