"""Events by request: numbered batches, keys, refusals."""

from __future__ import annotations

from typing import Any

import msgpack
import orjson
import pytest

from realtime.errors import LedgerUnavailable
from realtime.settings import AuthSettings, LedgerSettings, LimitSettings
from realtime.testing.clock import settle
from tests.edges.http.support import (
    KEY,
    OTHER_KEY,
    Answer,
    World,
    bearer,
    running,
    token,
)

pytestmark = pytest.mark.anyio

LIKE = {"name": "like", "properties": {"post": "42"}}


def batch(first: int = 1, times: int = 1, **more: Any) -> dict[str, Any]:
    """A numbered batch of likes."""
    return {"device": "backend-1", "first": first, "events": [LIKE] * times, **more}


async def likes(world: World) -> int:
    """How many likes post 42 has."""
    answer = await world.get("/v1/counters/likes?post=42&window=total", KEY)
    value: int = answer.json["value"]
    return value


async def test_a_batch_is_counted_before_it_is_answered(world: World) -> None:
    """The answer names the last number, and the counter has moved by then."""
    answer = await world.post("/v1/events", batch(times=3), KEY)
    assert (answer.status, answer.json) == (200, {"acked": 3, "rejected": []})
    assert await likes(world) == 3


async def test_a_repeated_batch_counts_once(world: World) -> None:
    """Sending numbers again acknowledges them and adds nothing."""
    for _ in range(3):
        answer = await world.post("/v1/events", batch(times=2), KEY)
        assert answer.json["acked"] == 2
    assert await likes(world) == 2


async def test_an_overlap_counts_its_new_part(world: World) -> None:
    """Of a batch that begins before the mark, only what follows the mark is added."""
    await world.post("/v1/events", batch(times=2), KEY)
    answer = await world.post("/v1/events", batch(first=2, times=3), KEY)
    assert answer.json["acked"] == 4
    assert await likes(world) == 4


async def test_a_gap_names_the_number_expected(world: World) -> None:
    """A batch after a hole is refused with 409 and counts nothing."""
    answer = await world.post("/v1/events", batch(first=5), KEY)
    assert answer.status == 409
    assert answer.error["name"] == "gap"
    assert answer.error["expected"] == 1
    assert answer.error["retry"] == "resend"
    assert await likes(world) == 0


async def test_a_declared_loss_fills_the_hole(world: World) -> None:
    """Numbers declared lost are used up, and the batch after them counts."""
    answer = await world.post("/v1/events", batch(first=5, lost=4), KEY)
    assert answer.json["acked"] == 5
    assert await likes(world) == 1


async def test_more_cannot_be_lost_than_there_are_numbers(world: World) -> None:
    """A loss that reaches back before number one is refused by field."""
    answer = await world.post("/v1/events", batch(first=5, lost=5), KEY)
    assert (answer.status, answer.error["field"]) == (400, "lost")


async def test_a_batch_without_a_number_is_told_both_ways(world: World) -> None:
    """Neither a device nor a key: the refusal says how either is sent."""
    answer = await world.post("/v1/events", {"events": [LIKE]}, KEY)
    assert (answer.status, answer.error["field"]) == (400, "device")
    assert answer.error["reason"] == (
        "device: is missing; number the batch with device and first, or send an "
        "Idempotency-Key header"
    )


async def test_a_bad_event_is_rejected_by_number(world: World) -> None:
    """One bad event of a batch is named with its number; the others count."""
    body = batch(times=1)
    body["events"] = [LIKE, {"name": "9"}, LIKE, 7]
    answer = await world.post("/v1/events", body, KEY)
    rejected = [(one["seq"], one["name"]) for one in answer.json["rejected"]]
    assert answer.json["acked"] == 4
    assert rejected == [(2, "bad_event_name"), (4, "bad_event")]
    assert await likes(world) == 2


async def test_message_pack_is_taken_too(world: World) -> None:
    """A MessagePack body says the same as a JSON body."""
    answer = await world.ask(
        "POST",
        "/v1/events",
        body=msgpack.packb(batch(times=2)),
        headers={**KEY, "content-type": "application/msgpack"},
    )
    assert answer.json["acked"] == 2


async def test_the_mark_is_told_for_resuming(world: World) -> None:
    """A backend learns after a restart how far its device was counted."""
    await world.post("/v1/events", batch(times=3), KEY)
    answer = await world.get("/v1/devices/backend-1", KEY)
    assert answer.json == {"device": "backend-1", "acked": 3}


async def test_a_new_device_has_the_mark_zero(world: World) -> None:
    """A device that was never heard of begins with number one."""
    answer = await world.get("/v1/devices/backend-9", KEY)
    assert answer.json["acked"] == 0


async def test_a_device_has_an_alphabet(world: World) -> None:
    """Odd characters in a device's name are refused by field."""
    answer = await world.get("/v1/devices/caf%C3%A9", KEY)
    assert (answer.status, answer.error["field"]) == (400, "device")


async def test_a_device_of_another_key_is_taken(world: World) -> None:
    """Another key can neither move nor read the mark of a device."""
    await world.post("/v1/events", batch(), KEY)
    moved = await world.post("/v1/events", batch(first=2), bearer(OTHER_KEY))
    read = await world.get("/v1/devices/backend-1", bearer(OTHER_KEY))
    assert (moved.status, moved.error["name"]) == (403, "device_taken")
    assert (read.status, read.error["name"]) == (403, "device_taken")


async def test_the_mark_of_a_device_with_a_secret_is_told_to_who_shows_it(
    world: World,
) -> None:
    """As the address is logged by proxies, the secret is shown in a header."""
    secret = "sixteen characters"
    await world.post("/v1/events", batch(times=3, secret=secret), KEY)

    async def ask(shown: str) -> Answer:
        headers = {**KEY, "x-device-secret": shown}
        return await world.get("/v1/devices/backend-1", headers)

    assert (await ask(secret)).json == {"device": "backend-1", "acked": 3}
    without = await world.get("/v1/devices/backend-1", KEY)
    assert without.error["name"] == "device_taken"
    assert (await ask(secret + "!")).error["name"] == "device_taken"
    for wrong in ("short", ""):
        answer = await ask(wrong)
        assert (answer.status, answer.error["field"]) == (400, "X-Device-Secret")


async def test_a_user_tracks_what_the_token_grants(world: World) -> None:
    """Events that the token does not grant are rejected one by one."""
    body = batch()
    body["events"] = [LIKE, {"name": "sale"}]
    answer = await world.post("/v1/events", body, bearer(token(track=["like"])))
    assert answer.json["acked"] == 2
    assert [one["name"] for one in answer.json["rejected"]] == ["event_denied"]


async def test_a_user_cannot_send_events_of_another(world: World) -> None:
    """Only a backend may say whose events they are."""
    headers = bearer(token("ann", track=["*"]))
    own = await world.post("/v1/events", batch(user="ann"), headers)
    other = await world.post("/v1/events", batch(first=2, user="bob"), headers)
    assert own.status == 200
    assert (other.status, other.error["field"]) == (403, "user")


async def test_a_backend_sends_events_of_users(world: World) -> None:
    """Unique users are told apart by what the backend says."""
    for first, user in enumerate(("ann", "bob", "ann"), 1):
        await world.post("/v1/events", batch(first=first, user=user), KEY)
    answer = await world.get("/v1/counters/hidden", KEY)
    assert answer.json["value"] == 2


def by(user: object) -> dict[str, object]:
    """A like that names its user."""
    return {**LIKE, "user": user}


async def test_a_backend_sends_the_events_of_many_users(world: World) -> None:
    """In one batch each event may name its own user; null means the batch's."""
    body = batch(user="cat")
    body["events"] = [by("ann"), by("bob"), by("ann"), LIKE, by(None)]
    answer = await world.post("/v1/events", body, KEY)
    assert answer.json == {"acked": 5, "rejected": []}
    unique = await world.get("/v1/counters/hidden", KEY)
    assert unique.json["value"] == 3


@pytest.mark.parametrize("user", ["", "x" * 256, 7, {}])
async def test_a_wrong_user_of_one_event_spoils_no_other(
    world: World, user: object
) -> None:
    """An event that names a wrong user is rejected by number."""
    body = batch()
    body["events"] = [by("ann"), by(user)]
    answer = await world.post("/v1/events", body, KEY)
    [rejected] = answer.json["rejected"]
    assert (rejected["seq"], rejected["name"]) == (2, "bad_event")
    assert rejected["reason"].startswith("user")


async def test_only_a_backend_names_users_of_events(world: World) -> None:
    """An event of a token's user that names one is rejected, whoever it names."""
    body = batch()
    body["events"] = [by("ann"), by("bob"), LIKE]
    answer = await world.post("/v1/events", body, bearer(token(track=["like"])))
    assert [one["seq"] for one in answer.json["rejected"]] == [1, 2]
    assert await likes(world) == 1


async def test_numbers_end_where_doubles_do(world: World) -> None:
    """A batch whose last number no double can hold is refused by field."""
    body = batch(first=2**53 - 1, times=2, lost=2**53 - 2)
    answer = await world.post("/v1/events", body, KEY)
    assert (answer.status, answer.error["field"]) == (413, "first")


async def test_the_anonymous_need_a_secret() -> None:
    """Without key and user, the field secret proves the device, as on a socket."""
    secret = "sixteen characters"
    async with running(auth=AuthSettings(anonymous=True)) as world:
        without = await world.post("/v1/events", batch())
        short = await world.post("/v1/events", batch(secret="short"))
        proven = await world.post("/v1/events", batch(secret=secret))
        foreign = await world.post("/v1/events", batch(first=2, secret=secret + "!"))
    assert (without.status, without.error["field"]) == (401, "secret")
    assert (short.status, short.error["field"]) == (400, "secret")
    assert proven.json["rejected"][0]["name"] == "event_denied"
    assert foreign.status == 403


async def test_too_many_events_are_over_a_limit() -> None:
    """A batch over max_batch_events is refused whole, with the limit."""
    async with running(limits=LimitSettings(max_batch_events=3)) as world:
        answer = await world.post("/v1/events", batch(times=4), KEY)
    assert answer.status == 413
    assert answer.error["name"] == "limit_exceeded"
    assert "3" in answer.error["reason"]


async def test_a_full_node_says_when_to_come_back() -> None:
    """Events beyond what may wait are answered 429 with Retry-After."""
    async with running(ledger=LedgerSettings(max_pending_events=2)) as world:
        headers = {**KEY, "content-type": "application/json"}
        first = world.open("POST", "/v1/events", headers)
        first.feed(orjson.dumps(batch(times=2)))
        await settle()  # it waits for the tick
        answer = await world.post("/v1/events", batch(device="other"), KEY)
        await world.clock.elapse(0.2)
    assert (first.answer.status, answer.status) == (200, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.error["retry_after_s"] > 0


async def test_a_silent_ledger_is_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the ledger does not answer, the caller is told to repeat."""

    async def claim(*args: object) -> int:
        raise LedgerUnavailable("Redis does not answer")

    monkeypatch.setattr(world.adapters.ledger, "claim", claim)
    answer = await world.post("/v1/events", batch(), KEY)
    assert (answer.status, answer.error["name"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


# -- Idempotency-Key -------------------------------------------------------------------


def keyed(key: str, **more: str) -> dict[str, str]:
    """The headers of a batch with a key."""
    return {**KEY, "idempotency-key": key, **more}


async def test_a_key_makes_repeating_harmless(world: World) -> None:
    """The same key with the same body counts once, and is answered alike."""
    for _ in range(3):
        answer = await world.post("/v1/events", {"events": [LIKE, LIKE]}, keyed("a"))
        assert (answer.status, answer.json) == (200, {"acked": 2, "rejected": []})
    assert await likes(world) == 2


async def test_a_repetition_repeats_the_rejections(world: World) -> None:
    """Whoever did not get the first answer learns from the next what was rejected."""
    body = {"events": [LIKE, {"name": "9"}]}
    first = await world.post("/v1/events", body, keyed("a"))
    again = await world.post("/v1/events", body, keyed("a"))
    assert [one["seq"] for one in first.json["rejected"]] == [2]
    assert again.json == first.json


async def test_a_key_does_not_hide_other_errors() -> None:
    """What has nothing to do with the key is told as without one."""
    async with running(limits=LimitSettings(max_batch_events=1)) as world:
        answer = await world.post("/v1/events", {"events": [LIKE] * 2}, keyed("a"))
    assert (answer.status, answer.error["name"]) == (413, "limit_exceeded")


async def test_a_key_with_another_body_is_refused(world: World) -> None:
    """The same key with another body is a mistake, answered 422."""
    await world.post("/v1/events", {"events": [LIKE]}, keyed("a"))
    answer = await world.post("/v1/events", {"events": [LIKE, LIKE]}, keyed("a"))
    assert (answer.status, answer.error["name"]) == (422, "key_reused")
    assert await likes(world) == 1


async def test_keys_belong_to_their_senders(world: World) -> None:
    """The same key of two backends and a user are three batches."""
    headers = {"idempotency-key": "a"}
    for sender in (KEY, bearer(OTHER_KEY), bearer(token(track=["like"]))):
        await world.post("/v1/events", {"events": [LIKE]}, {**headers, **sender})
    assert await likes(world) == 3


async def test_a_key_excludes_numbers(world: World) -> None:
    """With a key there is neither device nor first."""
    answer = await world.post("/v1/events", batch(), keyed("a"))
    assert (answer.status, answer.error["field"]) == (400, "device")


@pytest.mark.parametrize("key", ["", "caf\xe9", "x" * 256])
async def test_a_key_is_printable(world: World, key: str) -> None:
    """A key is 1 to 255 printable ASCII characters."""
    answer = await world.post("/v1/events", {"events": [LIKE]}, keyed(key))
    assert (answer.status, answer.error["field"]) == (400, "Idempotency-Key")


async def test_no_client_can_name_the_device_of_a_key(world: World) -> None:
    """The devices that stand for keys lie outside of what a device may be called."""
    answer = await world.post("/v1/events", batch() | {"device": "idem/00"}, KEY)
    assert (answer.status, answer.error["field"]) == (400, "device")


# -- fields ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, field",
    [
        ({"device": None}, "device"),
        ({"device": ""}, "device"),
        ({"device": 7}, "device"),
        ({"first": None}, "first"),
        ({"first": 0}, "first"),
        ({"first": 1.5}, "first"),
        ({"first": True}, "first"),
        ({"first": 2**53}, "first"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"lost": -1}, "lost"),
        ({"sent_at": "now"}, "sent_at"),
        ({"user": ""}, "user"),
        ({"secret": 7}, "secret"),
        ({"frist": 1}, "frist"),
    ],
)
async def test_a_wrong_field_is_named(
    world: World, change: dict[str, object], field: str
) -> None:
    """Whatever is wrong with a field, the answer is 400 and names it."""
    answer = await world.post("/v1/events", batch() | change, KEY)
    assert answer.status == 400
    assert answer.error["name"] == "bad_message"
    assert answer.error["field"] == field
    assert answer.error["reason"].startswith(field)


async def test_an_integral_float_is_an_integer(world: World) -> None:
    """1.0 is the integer 1, as JSON Schema has it; 1e300 is out of range."""
    answer = await world.post("/v1/events", batch() | {"first": 1.0}, KEY)
    huge = await world.post("/v1/events", batch() | {"first": 1e300}, KEY)
    assert answer.json["acked"] == 1
    assert (huge.status, huge.error["field"]) == (400, "first")


async def test_null_counts_as_left_out(world: World) -> None:
    """As on sockets, an optional field that is null is as good as absent."""
    body = batch(lost=None, sent_at=None, user=None, secret=None)
    answer = await world.post("/v1/events", body, KEY)
    assert answer.status == 200


async def test_null_counts_as_left_out_beside_a_key(world: World) -> None:
    """What may not stand beside a key may be null, as if it were absent."""
    body = {"events": [LIKE], "device": None, "first": None, "lost": None}
    answer = await world.post("/v1/events", body, keyed("a"))
    assert answer.json["acked"] == 1
