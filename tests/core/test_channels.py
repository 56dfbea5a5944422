"""Channels and namespaces: which names are accepted, and what errors say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.channels import (
    check_channel,
    namespace_of,
)
from realtime.errors import BAD_CHANNEL, CommandError


@pytest.mark.parametrize(
    "channel, namespace",
    [("chat:42", "chat"), ("a:b:c", "a"), ("chat", ""), (":x", ""), ("", "")],
)
def test_the_namespace_is_the_text_before_the_first_colon(channel, namespace):
    """What follows may have colons of its own; without one there is no namespace."""
    assert namespace_of(channel) == namespace


@pytest.mark.parametrize(
    "name",
    [
        "chat:42",
        "live:likes;post=42;window=1h/1m",
        "münchen:straße",
        "a:" * 127,
        "live:" + "x" * 4091,
    ],
)
def test_printable_names_with_a_namespace_are_channels(name):
    """
    Letters of any script, punctuation and up to 255 characters are allowed; 4,096 of a
    live channel.
    """
    assert check_channel(name) == name


@pytest.mark.parametrize(
    "name, told",
    [
        ("", "empty"),
        ("c:" + "x" * 254, "256 characters, at most 255"),
        ("live:" + "x" * 4092, "4097 characters, at most 4096"),
        ("chat", "has no namespace"),
        (":42", "has no namespace"),
        ("@control", "the servers' own"),
        ("@control:n1", "the servers' own"),
        ("chat:a b", "character 7 of the name is a space"),
        ("chat:\n", "U+000A"),
        ("chat:\x00", "U+0000"),
        ("chat:\u202e", "U+202E"),
        ("chat:\ud800", "U+D800"),
        ("chat:\xa0", "U+00A0"),
    ],
)
def test_a_malformed_name_is_refused_and_the_offence_named(name, told):
    """The error names the offending character by its code point and place."""
    with pytest.raises(CommandError) as caught:
        check_channel(name)
    assert caught.value.code is BAD_CHANNEL
    assert caught.value.field == "channel"
    assert told in caught.value.reason


@given(st.text(max_size=300))
def test_arbitrary_text_is_a_channel_or_a_documented_error(name):
    """Nothing but BAD_CHANNEL comes out, and its reason is printable."""
    error = None
    try:
        check_channel(name)
    except CommandError as exc:
        error = exc
    if error is not None:
        assert error.code is BAD_CHANNEL
        assert error.reason.isprintable()
