"""How members are written in Redis: as bytes, in the order of users and clients."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.adapters.presence.cursor import key_of, read_cursor, write_cursor
from realtime.adapters.presence.entries import (
    after,
    member_of,
    parts_of,
    range_of,
    tag_of,
)
from realtime.adapters.redis.slots import slot_of
from realtime.types import Channel, ConnectionId, JSONText, Member, UserId

_names = st.text(st.characters(codec="utf-8")) | st.text("\0\1\2au", max_size=6)
_members = st.builds(
    Member,
    st.builds(ConnectionId, _names),
    st.none() | st.builds(UserId, _names),
    st.none() | st.sampled_from([JSONText(b'"\\u0000"'), JSONText(b"{}")]),
)


def entry(member: Member) -> bytes:
    """The bytes of a member."""
    return bytes(parts_of(member))


@given(member=_members)
def test_a_member_is_read_as_it_was_written(member: Member) -> None:
    """Whatever is in its names, zeros too."""
    assert member_of(entry(member)) == member


@given(one=_members, other=_members)
def test_members_of_a_user_stand_together(one: Member, other: Member) -> None:
    """The range of a user has the user's members and no others."""
    if one.user is None:
        return
    begin, end = range_of(one.user)
    within = begin[1:] <= entry(other) < end[1:]
    assert within is (other.user == one.user)


@given(one=_members, other=_members)
def test_a_page_continues_after_a_member(one: Member, other: Member) -> None:
    """It passes by that member, whatever its information is by then, and no other."""
    begin = after(read_cursor(write_cursor(one.user, one.client)))
    assert begin.startswith(b"(")
    changed = Member(one.client, one.user, JSONText(b"[]"))
    assert not entry(one) > begin[1:]
    assert not entry(changed) > begin[1:]
    if key_of(other.user, other.client) != key_of(one.user, one.client):
        assert (entry(other) > begin[1:]) is (entry(other) > entry(one))


@given(st.text())
def test_a_foreign_cursor_is_refused_or_read(cursor: str) -> None:
    """It never does anything else."""
    try:
        key = read_cursor(cursor)
    except ValueError:
        return
    assert key is None or len(key) == 2


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_channel_has_one_slot(name: str) -> None:
    """All its keys begin with the same hash tag, whatever its name contains."""
    tag = tag_of("prefix", Channel(name))
    assert (tag[:1], tag[-1:]) == (b"{", b"}")
    assert b"{" not in tag[1:]
    assert b"}" not in tag[:-1]
    assert slot_of(tag + b":m:node") == slot_of(tag + b":l")
