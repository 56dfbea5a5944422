"""The form in which publications travel and are kept."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.adapters.broker.wire import (
    decode_publication,
    encode_publication,
    join_publication,
    split_publication,
)
from realtime.types import (
    Channel,
    ConnectionId,
    JSONText,
    Position,
    Publication,
    PublicationKind,
)

CHAT = Channel("chat:42")

publications = st.builds(
    Publication,
    channel=st.just(CHAT),
    data=st.binary().map(JSONText),
    tags=st.none() | st.dictionaries(st.text(), st.text(), min_size=1),
    sender=st.none() | st.text(min_size=1).map(ConnectionId),
    kind=st.sampled_from(PublicationKind),
)
positions = st.builds(
    Position, offset=st.integers(0, 2**53), epoch=st.text("0123456789abcdef")
)


@given(publication=publications)
def test_a_publication_travels_unchanged(publication: Publication) -> None:
    """Encoding and decoding are inverse for what has no position."""
    assert decode_publication(CHAT, encode_publication(publication)) == publication


@given(publication=publications, position=positions)
def test_a_position_goes_between_data_and_tail(
    publication: Publication, position: Position
) -> None:
    """Head, data, offset, epoch and tail make the form that travels."""
    head, data, tail = split_publication(publication)
    place = msgpack.packb(position.offset) + msgpack.packb(position.epoch)
    found = decode_publication(CHAT, head + data + place + tail)
    assert found.position == position
    assert found.data == data == publication.data
    assert (found.tags, found.sender, found.kind) == (
        publication.tags,
        publication.sender,
        publication.kind,
    )


@given(publication=publications, position=positions)
def test_data_and_tail_are_enough_to_keep(
    publication: Publication, position: Position
) -> None:
    """What lies in the history becomes the same publication at its position."""
    _, data, tail = split_publication(publication)
    found = join_publication(CHAT, data, position, tail)
    assert found.position == position
    assert encode_publication(found) == encode_publication(publication)


@pytest.mark.parametrize("size", [0, 255, 256, 65535, 65536])
def test_data_of_any_size_has_the_right_header(size: int) -> None:
    """The lengths at which MessagePack changes its header are read back."""
    data = JSONText(b"x" * size)
    packed = encode_publication(Publication(CHAT, data))
    assert packed == msgpack.packb([bytes(data)])


def test_publications_travel_compactly() -> None:
    """A few bytes go beside the data of a plain publication."""
    assert len(encode_publication(Publication(CHAT, JSONText(b"x" * 100)))) == 103


def test_further_fields_are_left_to_later_versions() -> None:
    """Unknown fields and an unknown kind do not keep a publication from arriving."""
    packed = msgpack.packb([b"1", 7, "ab", {"a": "b"}, "c1", 99, "new", [1]])
    assert decode_publication(CHAT, packed) == Publication(
        CHAT, JSONText(b"1"), Position(7, "ab"), {"a": "b"}, ConnectionId("c1")
    )
    tail = b"".join(map(msgpack.packb, [None, None, 99, "new"]))
    place = Position(7, "ab")
    assert join_publication(CHAT, b"1", place, tail) == Publication(
        CHAT, JSONText(b"1"), place
    )
