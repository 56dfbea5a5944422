"""Commands are read in both codecs, and what is wrong with one is named exactly."""

from __future__ import annotations

from math import inf, nan

import pytest

from realtime.errors import BAD_MESSAGE, UNKNOWN_TYPE, CommandError
from realtime.types import Channel, JSONText, Position
from realtime.wire.checks import MAX_SAFE, shown
from realtime.wire.codecs import InvalidUtf8, Undecodable, json_text
from realtime.wire.messages import (
    Command,
    Hello,
    Ping,
    Publish,
    ReadHistory,
    ReadPresence,
    ReadPresenceStats,
    Refresh,
    Subscribe,
    Track,
    Unsubscribe,
)
from realtime.wire.native import JSON_V1, MSGPACK_V1, NativeDialect
from realtime.wire.native_decode import to_command

DIALECTS = pytest.mark.parametrize(
    "dialect", [JSON_V1, MSGPACK_V1], ids=lambda d: d.name
)

# A correct value of every required field, to spoil one at a time.
REQUIRED: dict[str, dict[str, object]] = {
    "hello": {},
    "track": {"first": 1, "events": []},
    "subscribe": {"channel": "chat:lobby"},
    "unsubscribe": {"channel": "chat:lobby"},
    "publish": {"channel": "chat:lobby", "data": 1},
    "history": {"channel": "chat:lobby"},
    "presence": {"channel": "chat:lobby"},
    "presence_stats": {"channel": "chat:lobby"},
    "ping": {},
    "refresh": {"token": "t"},
}

BOUNDS: dict[tuple[str, str], tuple[list[object], list[object]]] = {
    ("hello", "id"): ([0, 1, MAX_SAFE], [-1, MAX_SAFE + 1, 1.0, True, "1", [], {}]),
    ("hello", "token"): (["t", "x" * 8192], ["", "x" * 8193, 1, False, ["t"]]),
    ("hello", "device"): (
        ["a", "A-Z_0.9:x", "x" * 128],
        ["", "x" * 129, "a b", "é", "a\n", "a/b", 7, True],
    ),
    ("hello", "secret"): (
        ["x" * 16, " ~" * 64],
        ["x" * 15, "x" * 129, "x" * 16 + "\n", "é" * 16, 10**16, {}],
    ),
    ("hello", "acked"): ([0, MAX_SAFE], [-1, MAX_SAFE + 1, 0.0, False, "0"]),
    ("hello", "sent_at"): ([0, -1.5, 1.7e9, 2**63], ["1.7e9", True, [1], nan, inf]),
    ("hello", "keepalive_s"): ([1, 0.001, 1e9], [0, 0.0, -1, "25", True, nan, inf]),
    ("hello", "client"): (["", "x" * 128], ["x" * 129, 1, {}]),
    ("track", "first"): ([1, MAX_SAFE], [0, -1, MAX_SAFE + 1, 1.5, True, "1"]),
    ("track", "events"): ([[], [1, None, {}]], [{}, "[]", 0, True]),
    ("track", "id"): ([0], [-1, 2.0]),
    ("track", "lost"): ([0, 2**53], [-1, 2**53 + 1, False, 1.0, "1"]),
    ("track", "sent_at"): ([0], ["now"]),
    ("subscribe", "channel"): (["a", "é" * 4096], ["", "x" * 4097, 1, ["a"], True]),
    ("subscribe", "id"): ([0], ["0"]),
    ("subscribe", "interval_s"): ([1, 0.001], [0, -1, "1", True, nan, inf]),
    ("subscribe", "filter"): ([{}, {"tag": 1}], ["a", 1, [{}], True]),
    ("subscribe", "join_leave"): ([True, False], [0, 1, "true", []]),
    ("unsubscribe", "channel"): (["a", "x" * 4096], ["", "x" * 4097, {}]),
    ("unsubscribe", "id"): ([0], [-1]),
    ("publish", "channel"): (["a", "x" * 255], ["", "x" * 256, False]),
    ("publish", "id"): ([0], [[]]),
    ("publish", "tags"): (
        [{}, {"a": ""}, {"A-Z_0.9": "é" * 128}, {str(n): "x" for n in range(16)}],
        [[], "a", 1, {str(n): "x" for n in range(17)}, {"": "x"}, {"a b": "x"}],
    ),
    ("publish", "idempotency_key"): (["k", "é" * 128], ["", "x" * 129, 1, True]),
    ("publish", "version"): ([0, MAX_SAFE], [-1, MAX_SAFE + 1, 1.0, True, "1"]),
    ("publish", "exclude_self"): ([True, False], [0, "yes"]),
    ("history", "channel"): (["a", "x" * 4096], ["", "x" * 4097]),
    ("history", "id"): ([0], [-1]),
    ("history", "limit"): ([0, MAX_SAFE], [-1, 1.0, True, "1"]),
    ("history", "reverse"): ([True, False], [0, "yes"]),
    ("presence", "channel"): (["a"], ["", 1]),
    ("presence", "id"): ([0], ["1"]),
    ("presence", "limit"): ([1, MAX_SAFE], [0, -1, 1.0, True]),
    ("presence", "cursor"): (["", "x" * 1024], ["x" * 1025, 1]),
    ("presence_stats", "channel"): (["a"], [""]),
    ("presence_stats", "id"): ([0], [0.5]),
    ("ping", "id"): ([0], [0.5]),
    ("ping", "sent_at"): ([0], [{}]),
    ("refresh", "token"): (["t"], ["", "x" * 8193, 1]),
    ("refresh", "id"): ([0], [True]),
}


def cases(which: int) -> list[tuple[str, str, object]]:
    """List the good (0) or the bad (1) values of BOUNDS, one at a time."""
    return [
        (kind, field, value)
        for (kind, field), values in BOUNDS.items()
        for value in values[which]
    ]


def message(kind: str, **fields: object) -> dict[str, object]:
    """Make a correct message of a kind, and then give it these fields."""
    return {"type": kind, **REQUIRED[kind], **fields}


def refusal(value: object) -> CommandError:
    """Return the error with which a decoded message is answered."""
    with pytest.raises(CommandError) as caught:
        to_command(value)
    return caught.value


# -- what is taken ---------------------------------------------------------------------


@pytest.mark.parametrize("kind, field, value", cases(0), ids=str)
def test_values_within_bounds_are_taken(kind: str, field: str, value: object) -> None:
    """Every bound of every field is taken itself."""
    assert getattr(to_command(message(kind, **{field: value})), field) == value


@pytest.mark.parametrize(
    "kind, command",
    [
        ("hello", Hello()),
        ("track", Track(1, [])),
        ("subscribe", Subscribe(Channel("chat:lobby"))),
        ("unsubscribe", Unsubscribe(Channel("chat:lobby"))),
        ("publish", Publish(Channel("chat:lobby"), JSONText(b"1"))),
        ("history", ReadHistory(Channel("chat:lobby"))),
        ("presence", ReadPresence(Channel("chat:lobby"))),
        ("presence_stats", ReadPresenceStats(Channel("chat:lobby"))),
        ("ping", Ping()),
        ("refresh", Refresh("t")),
    ],
)
def test_optional_fields_have_defaults(kind: str, command: Command) -> None:
    """A message of nothing but its required fields is complete."""
    assert to_command(message(kind)) == command


def test_null_counts_as_left_out() -> None:
    """Encoders that cannot leave a field out write null instead."""
    fields = dict.fromkeys(("id", "token", "device", "acked", "sent_at"))

    assert to_command(message("hello", **fields)) == Hello()


def test_unknown_fields_are_ignored() -> None:
    """A newer client may say more than this server understands."""
    assert to_command(message("ping", shiny=[{}], id=3)) == Ping(3)


@pytest.mark.parametrize("data", [None, False, 0, "", [], {"a": [1.5, None, "é"]}])
def test_any_data_may_be_published(data: object) -> None:
    """Data is any JSON value, null and nothing-like values included."""
    command = to_command(message("publish", data=data))

    assert isinstance(command, Publish)
    assert command.data == json_text(data)


@pytest.mark.parametrize("field", ["sent_at", "keepalive_s"])
def test_whole_seconds_become_floats(field: str) -> None:
    """JSON writers drop the fraction of whole numbers; the message has a float."""
    value = getattr(to_command(message("hello", **{field: 25})), field)

    assert (value, type(value)) == (25.0, float)


def test_events_are_handed_on_as_they_are() -> None:
    """What is in a batch is judged by the core, event by event."""
    events: list[object] = [{"name": "like"}, None, 7, []]
    command = to_command(message("track", events=events))

    assert isinstance(command, Track)
    assert command.events is events


@pytest.mark.parametrize("kind", ["subscribe", "history"])
@pytest.mark.parametrize("offset, epoch", [(0, "e"), (MAX_SAFE, "x" * 64)])
def test_positions_are_taken(kind: str, offset: int, epoch: str) -> None:
    """A position is an object of two fields; what else is in it is ignored."""
    since = {"offset": offset, "epoch": epoch, "shiny": 1}
    command = to_command(message(kind, since=since))

    assert isinstance(command, Subscribe | ReadHistory)
    assert command.since == Position(offset, epoch)


def test_subscriptions_of_hello_are_subscribe_commands() -> None:
    """Each has the fields of one, and its own id."""
    one = {"channel": "chat:a", "id": 2, "since": {"offset": 5, "epoch": "e"}}
    two = {"channel": "chat:b", "join_leave": True, "type": "subscribe"}

    assert to_command(message("hello", subscriptions=[one, two])) == Hello(
        subscriptions=(
            Subscribe(Channel("chat:a"), 2, Position(5, "e")),
            Subscribe(Channel("chat:b"), join_leave=True),
        )
    )


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("kind, field, value", cases(1), ids=str)
def test_values_out_of_bounds_are_refused(kind: str, field: str, value: object) -> None:
    """The error names the field, says what would be right, and the session lives."""
    error = refusal(message(kind, **{field: value}))

    assert (error.code, error.field) == (BAD_MESSAGE, field)
    assert error.reason.startswith(f"{field}: must ")


@pytest.mark.parametrize(
    "kind, fields, path, problem",
    [
        ("subscribe", {"since": 5}, "since", "must be an object, not 5"),
        ("subscribe", {"since": {"epoch": "e"}}, "since.offset", "is missing"),
        ("history", {"since": {"offset": 1}}, "since.epoch", "is missing"),
        (
            "history",
            {"since": {"offset": -1, "epoch": "e"}},
            "since.offset",
            f"must be an integer from 0 to {MAX_SAFE}, not -1",
        ),
        (
            "subscribe",
            {"since": {"offset": 1, "epoch": ""}},
            "since.epoch",
            "must have 1 to 64 characters, not 0",
        ),
        ("publish", {"tags": {"a": 1}}, "tags.a", "must be a string, not 1"),
        (
            "publish",
            {"tags": {"a": "x" * 129}},
            "tags.a",
            "must have at most 128 characters, not 129",
        ),
        ("hello", {"subscriptions": {}}, "subscriptions", "must be an array, not an o"),
        (
            "hello",
            {"subscriptions": [{"channel": "a"}, 7]},
            "subscriptions[1]",
            "must be an object, not 7",
        ),
        ("hello", {"subscriptions": [{}]}, "subscriptions[0].channel", "is missing"),
        (
            "hello",
            {"subscriptions": [{"channel": "a", "since": {"offset": 1}}]},
            "subscriptions[0].since.epoch",
            "is missing",
        ),
    ],
)
def test_what_is_wrong_within_a_field_is_named_by_its_path(
    kind: str, fields: dict[str, object], path: str, problem: str
) -> None:
    """A list of five hundred subscriptions says which one is wrong, and where."""
    error = refusal(message(kind, **fields))

    assert (error.code, error.field) == (BAD_MESSAGE, path)
    assert error.reason.startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    "kind, field", [(kind, field) for kind in REQUIRED for field in REQUIRED[kind]]
)
def test_required_fields_are_missed_by_name(kind: str, field: str) -> None:
    """What is left out is named, and the answer carries the request's id."""
    without = message(kind, id=9)
    del without[field]

    error = refusal(without)
    assert (error.code, error.field, error.request) == (BAD_MESSAGE, field, 9)
    assert error.reason == f"{field}: is missing"


def test_null_is_no_value_of_a_required_field() -> None:
    """Null counts as left out here, too; only data may be null."""
    assert refusal(message("track", first=None)).reason == "first: is missing"


@pytest.mark.parametrize("kind", ["shout", "", "HELLO", "welcome", "push"])
def test_unknown_type_is_answered_with_the_known_ones(kind: str) -> None:
    """The error lists what could have been meant and carries the request's id."""
    error = refusal({"type": kind, "id": 5})

    assert (error.code, error.field, error.request) == (UNKNOWN_TYPE, "type", 5)
    assert ", ".join(REQUIRED) in error.reason


@pytest.mark.parametrize("kind", [None, 1, True, ["hello"], {"hello": 1}])
def test_type_that_is_no_string_is_a_bad_message(kind: object) -> None:
    """A type of the wrong type, hashable or not, is an error like any other."""
    error = refusal({"type": kind})

    assert (error.code, error.field) == (BAD_MESSAGE, "type")


def test_message_without_type_is_a_bad_message() -> None:
    """An object without a type is still a message, if a bad one."""
    assert refusal({"id": 4}).reason == "type: is missing"


@pytest.mark.parametrize("number", [-1, 1.0, True, "5", None, [], MAX_SAFE + 1])
def test_unreadable_id_is_left_out_of_the_answer(number: object) -> None:
    """A reply never repeats an id that no client could have sent on purpose."""
    assert refusal({"type": "shout", "id": number}).request is None


def test_secrets_and_tokens_are_never_quoted() -> None:
    """An error goes into logs, so it says nothing of what proves an identity."""
    for value in (
        message("hello", secret="hunter2"),
        message("hello", token=["hunter2"]),
        message("refresh", token="hunter2" * 2000),
    ):
        assert "hunter2" not in refusal(value).reason


@pytest.mark.parametrize(
    "value", ["x" * 10**6, "\x1b[31m\n" * 99, {"a": []}, [[]], 1e300]
)
def test_quoted_values_are_short_and_harmless(value: object) -> None:
    """Whatever a stranger sent, quoting it takes one short line."""
    text = shown(value)

    assert len(text) < 50
    assert text.isprintable()


# -- bytes -----------------------------------------------------------------------------


@DIALECTS
@pytest.mark.parametrize("value", [None, True, 7, 1.5, "hello", [], [{"type": "ping"}]])
def test_a_message_that_is_no_object_is_undecodable(
    dialect: NativeDialect, value: object
) -> None:
    """Only an object is a message: anything else ends the connection."""
    with pytest.raises(Undecodable, match="a message is an object, not "):
        dialect.decode(dialect.codec.encode(value))


def test_invalid_utf8_in_text_is_told_apart() -> None:
    """The JSON dialect lets the shell close with 1007 where RFC 6455 wants it."""
    with pytest.raises(InvalidUtf8):
        JSON_V1.decode(b'{"type":"ping","x":"\xff"}')
