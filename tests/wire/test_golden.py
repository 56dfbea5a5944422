"""
The examples for authors of clients are what the server understands and says.

docs/reference/examples/native.json has the bytes of every message in both codecs; the
tables here have their meaning. A message that changes is changed in both, by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from realtime.errors import (
    BAD_PROPERTIES,
    GAP,
    PERMISSION_DENIED,
    UNAVAILABLE,
    UNKNOWN_TYPE,
)
from realtime.types import (
    Channel,
    ConnectionId,
    DeviceId,
    JSONText,
    Member,
    Position,
    Publication,
    PublicationKind,
    UserId,
)
from realtime.wire.codecs import JSON, MSGPACK, Undecodable
from realtime.wire.frames import FrameKey, PreparedPush, server_frame
from realtime.wire.messages import (
    Ack,
    Command,
    ErrorReply,
    Goodbye,
    Hello,
    HistoryPage,
    Limits,
    Ping,
    Pong,
    PresenceCount,
    PresencePage,
    Publish,
    Published,
    ReadHistory,
    ReadPresence,
    ReadPresenceStats,
    Recovering,
    Refresh,
    Refreshed,
    Rejection,
    Reply,
    SlowDown,
    Subscribe,
    Subscribed,
    TokenExpired,
    Track,
    Unsubscribe,
    Unsubscribed,
    Welcome,
)
from realtime.wire.native import JSON_V1, MSGPACK_V1
from realtime.wire.native_encode import plain_member

FILE = Path(__file__).parents[2] / "docs" / "reference" / "examples" / "native.json"

LIKES = Channel("live:likes;post=42;window=5m")
ROOM = Channel("chat:lobby")
PRICES = Channel("prices:all")
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJl"
VALUE = JSONText(b'{"value":12,"at":1700000100.0,"rev":12,"final":false}')
GREETING = JSONText(b'{"text":"Hello, \xc3\xa9t\xc3\xa9!"}')
EPOCH = "m3Xq"
MISSED = [
    Publication(ROOM, JSONText(b'{"text":"Anybody here?"}'), Position(58, EPOCH)),
    Publication(ROOM, GREETING, Position(59, EPOCH), {"lang": "fr"}),
]
ANNA = Member(ConnectionId("c-5kq0v7"), UserId("anna"), JSONText(b'{"name":"Anna"}'))
SOMEBODY = Member(ConnectionId("c-81xm2d"))


def presence_notice(member: Member, kind: PublicationKind) -> Publication:
    """Make what tells that *member* came or went."""
    data = JSON.encode(plain_member(member, JSON.embed))
    return Publication(ROOM, JSONText(data), kind=kind)


COMMANDS: dict[str, Command] = {
    "hello": Hello(
        id=1,
        token=TOKEN,
        device=DeviceId("phone-7f3a"),
        acked=41,
        sent_at=1700000000.25,
        keepalive_s=25.0,
        client="example/1.0",
    ),
    "hello_anonymous": Hello(
        device=DeviceId("phone-7f3a"), secret="Zk3vQ9x_hT2mLr8Y", sent_at=1700000000.25
    ),
    "hello_watcher": Hello(id=1, token=TOKEN),
    "hello_resume": Hello(
        id=1,
        token=TOKEN,
        device=DeviceId("phone-7f3a"),
        acked=43,
        sent_at=1700000060.5,
        subscriptions=(Subscribe(LIKES, 2), Subscribe(ROOM, 3, Position(57, EPOCH))),
    ),
    "track": Track(
        first=42,
        events=[
            {"name": "like", "at": 1700000001.5, "properties": {"post": "42"}},
            {"name": "purchase", "properties": {"amount": 9.99, "gift": True}},
        ],
        sent_at=1700000002.75,
    ),
    "track_lost": Track(first=47, events=[{"name": "like"}], id=2, lost=3),
    "subscribe": Subscribe(LIKES, 3),
    "subscribe_since": Subscribe(ROOM, 3, Position(57, EPOCH), join_leave=True),
    "subscribe_filter": Subscribe(
        PRICES,
        8,
        interval_s=0.5,
        filter={
            "any": [
                {"tag": "symbol", "in": ["BTC", "ETH"]},
                {
                    "all": [
                        {"tag": "volume", "gte": 1000},
                        {"not": {"tag": "test", "exists": True}},
                    ]
                },
            ]
        },
    ),
    "unsubscribe": Unsubscribe(LIKES, 4),
    "publish": Publish(ROOM, GREETING, 5),
    "publish_null": Publish(ROOM, JSONText(b"null")),
    "publish_once": Publish(
        ROOM, GREETING, 5, {"lang": "fr"}, "phone-7f3a.17", exclude_self=True
    ),
    "publish_version": Publish(
        PRICES,
        JSONText(b'{"BTC":67012.5}'),
        9,
        {"symbol": "BTC", "volume": "1200"},
        version=8814,
    ),
    "history": ReadHistory(ROOM, 10, Position(40, EPOCH), 2),
    "history_latest": ReadHistory(ROOM, 11, limit=20, reverse=True),
    "presence": ReadPresence(ROOM, 12, 2),
    "presence_next": ReadPresence(ROOM, 13, 2, "YzE3"),
    "presence_stats": ReadPresenceStats(ROOM, 14),
    "ping": Ping(6, 1700000010.5),
    "refresh": Refresh(TOKEN, 7),
}

REPLIES: dict[str, Reply] = {
    "welcome": Welcome(
        connection="c-5kq0v7",
        node="n-1",
        version="0.1.0",
        received_at=1700000003.5,
        sent_at=1700000003.625,
        keepalive_s=25.0,
        limits=Limits(262144, 32768, 1000, 65536, 512),
        id=1,
        user="anna",
        acked=41,
        expires_at=1700003600.0,
    ),
    "welcome_anonymous": Welcome(
        connection="c-5kq0v8",
        node="n-1",
        version="0.1.0",
        received_at=1700000003.5,
        sent_at=1700000003.625,
        keepalive_s=25.0,
        limits=Limits(262144, 32768, 1000, 65536, 512),
    ),
    "ack": Ack(43),
    "ack_rejected": Ack(
        43,
        [
            Rejection(
                43,
                BAD_PROPERTIES.code,
                BAD_PROPERTIES.name,
                "property 'amount' is an object; it must be a string, a number, a "
                "boolean or null",
            )
        ],
    ),
    "slow_down": SlowDown(44, 1.5, "the ledger does not answer; events wait"),
    "subscribed": Subscribed(LIKES, 7, 3, VALUE),
    "subscribed_plain": Subscribed(ROOM, 8, 3),
    "subscribed_position": Subscribed(ROOM, 8, 3, position=Position(57, EPOCH)),
    "subscribed_recovered": Subscribed(
        ROOM,
        8,
        3,
        position=Position(59, EPOCH),
        recovered=True,
        publications=MISSED,
    ),
    "subscribed_not_recovered": Subscribed(
        ROOM, 8, 3, position=Position(12, "p90s"), recovered=False
    ),
    "subscribed_last_value": Subscribed(
        PRICES,
        9,
        8,
        JSONText(b'{"BTC":67012.5}'),
        Position(731, "a81c"),
        skips=True,
    ),
    "subscribed_last_value_tags": Subscribed(
        PRICES,
        9,
        8,
        JSONText(b'{"price":67012.5}'),
        Position(731, "a81c"),
        skips=True,
        tags={"symbol": "BTC"},
    ),
    "recovering": Recovering(ROOM, Position(59, EPOCH), MISSED, 3),
    "unsubscribed": Unsubscribed(LIKES, 4),
    "unsubscribed_by_server": Unsubscribed(
        ROOM, None, PERMISSION_DENIED.code, "the new token does not grant chat:lobby"
    ),
    "published": Published(5),
    "published_position": Published(5, Position(59, EPOCH)),
    "published_duplicate": Published(5, Position(59, EPOCH), "duplicate"),
    "published_local": Published(5, local=True),
    "history_page": HistoryPage(
        ROOM,
        Position(59, EPOCH),
        [
            Publication(
                ROOM, JSONText(b'{"text":"Good morning"}'), Position(41, EPOCH)
            ),
            Publication(
                ROOM, JSONText(b'{"text":"Good morning, Anna"}'), Position(42, EPOCH)
            ),
        ],
        complete=True,
        more=True,
        id=10,
    ),
    "presence_page": PresencePage(ROOM, [ANNA, SOMEBODY], 12, "YzE3"),
    "presence_count": PresenceCount(ROOM, 4, 3, 14),
    "goodbye": Goodbye(3.5, "this process is about to stop"),
    "pong": Pong(1700000013.75, 1700000013.75, 6),
    "refreshed": Refreshed(7, 1700007200.0),
    "token_expired": TokenExpired(25.0),
    "error": ErrorReply(
        PERMISSION_DENIED,
        "channel: publishing to chat:lobby is not granted",
        5,
        "channel",
    ),
    "error_without_id": ErrorReply(
        UNKNOWN_TYPE,
        "type: must be one of hello, track, subscribe, unsubscribe, publish, history, "
        "presence, presence_stats, ping, refresh, not 'shout'",
        field="type",
    ),
    "error_gap": ErrorReply(
        GAP, "first: 47 leaves a hole, 44 is expected", 2, "first", expected=44
    ),
    "error_unavailable": ErrorReply(
        UNAVAILABLE, "Redis does not answer", 3, retry_after_s=1.0
    ),
}

PUSHES: dict[str, PreparedPush] = {
    "push_live": PreparedPush(7, Publication(LIKES, VALUE)),
    "push": PreparedPush(8, Publication(ROOM, GREETING)),
    "push_position": PreparedPush(8, MISSED[1]),
    "gap": PreparedPush(
        8,
        Publication(
            ROOM,
            JSONText(b"null"),
            Position(120, EPOCH),
            kind=PublicationKind.GAP,
        ),
    ),
    "gap_without_position": PreparedPush(
        7, Publication(ROOM, JSONText(b"null"), kind=PublicationKind.GAP)
    ),
    "join": PreparedPush(8, presence_notice(ANNA, PublicationKind.JOIN)),
    "leave": PreparedPush(8, presence_notice(SOMEBODY, PublicationKind.LEAVE)),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One entry of the file: the same message in both codecs."""

    name: str
    direction: str  # "up" or "down"
    json: bytes
    msgpack: bytes


def load() -> list[Example]:
    """Read the file."""
    return [
        Example(
            entry["name"],
            entry["direction"],
            entry["json"].encode(),
            bytes.fromhex(entry["msgpack"]),
        )
        for entry in json.loads(FILE.read_text(encoding="utf-8"))
    ]


EXAMPLES = load()


def examples(table: Mapping[str, object]) -> pytest.MarkDecorator:
    """Give a test the examples that *table* explains."""
    chosen = [example for example in EXAMPLES if example.name in table]
    return pytest.mark.parametrize("example", chosen, ids=[one.name for one in chosen])


def test_every_example_is_explained_once() -> None:
    """The file and the tables have the same names, in the same directions."""
    assert [(example.name, example.direction) for example in EXAMPLES] == [
        *((name, "up") for name in COMMANDS),
        *((name, "down") for name in (*REPLIES, *PUSHES)),
    ]


def test_every_message_has_an_example() -> None:
    """No command and no reply is left out of the file."""
    assert {type(command) for command in COMMANDS.values()} == set(get_args(Command))
    assert {type(reply) for reply in REPLIES.values()} == set(get_args(Reply))


@examples(COMMANDS)
def test_commands_are_understood(example: Example) -> None:
    """Both forms of a command mean what the table says."""
    assert JSON_V1.decode(example.json) == COMMANDS[example.name]
    assert MSGPACK_V1.decode(example.msgpack) == COMMANDS[example.name]


@examples(REPLIES)
def test_replies_are_written(example: Example) -> None:
    """Both forms of a reply are written byte for byte."""
    reply = REPLIES[example.name]

    assert JSON_V1.encode(reply) == example.json
    assert MSGPACK_V1.encode(reply) == example.msgpack
    assert JSON_V1.frame(reply) == server_frame(JSON_V1.opcode, example.json)
    assert MSGPACK_V1.frame(reply) == server_frame(MSGPACK_V1.opcode, example.msgpack)


@examples(PUSHES)
def test_pushes_are_written(example: Example) -> None:
    """Both forms of a push are written byte for byte, as whole frames."""
    push = PUSHES[example.name]

    assert push.frame(FrameKey.JSON) == server_frame(JSON_V1.opcode, example.json)
    assert push.frame(FrameKey.MSGPACK) == server_frame(
        MSGPACK_V1.opcode, example.msgpack
    )


@examples({**COMMANDS, **REPLIES, **PUSHES})
def test_both_codecs_read_and_write_the_same_message(example: Example) -> None:
    """A client that has one codec right has the other one's answers, too."""
    message = JSON.decode(example.json)

    assert MSGPACK.decode(example.msgpack) == message
    assert JSON.encode(message) == example.json
    assert MSGPACK.encode(message) == example.msgpack


@examples(COMMANDS)
def test_a_command_cut_short_anywhere_is_undecodable(example: Example) -> None:
    """No beginning of a message is a message."""
    for length in range(len(example.json)):
        with pytest.raises(Undecodable):
            JSON_V1.decode(example.json[:length])
    for length in range(len(example.msgpack)):
        with pytest.raises(Undecodable):
            MSGPACK_V1.decode(example.msgpack[:length])
