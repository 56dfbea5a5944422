"""Events from track() to their acknowledgement, over a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    BadEvent,
    ClientClosed,
    CommandError,
    FlushTimeout,
    MemoryQueue,
    NotConnected,
    NumbersLost,
    QueueFull,
    RealtimeError,
    Renumbered,
    SQLiteQueue,
    State,
    TrackingRefused,
)

pytestmark = pytest.mark.anyio


async def test_an_event_is_sent_and_acknowledged() -> None:
    """track() returns its number at once; flush() waits for the acknowledgement."""
    async with scene() as it:
        client, conversation = await it.online()
        assert client.track("like", {"post": "42"}) == 1
        flushing = asyncio.ensure_future(client.flush())
        track = await conversation.receive("track")
        assert track["first"] == 1
        assert "lost" not in track
        assert track["sent_at"] == it.clock.time()
        (event,) = track["events"]
        at = it.clock.time()
        assert event == {"name": "like", "at": at, "properties": {"post": "42"}}
        assert not flushing.done()
        await conversation.send("ack", acked=1)
        await flushing
        assert (client.acked, client.pending) == (1, 0)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_both_codecs_carry_events(codec: str) -> None:
    """Every kind of property arrives as it was given."""
    properties: dict[str, Any] = {
        "text": "été ✓",
        "whole": -(2**63),
        "part": 0.1,
        "yes": True,
        "nothing": None,
    }
    async with scene() as it:
        client, conversation = await it.online(codec=codec)
        client.track("e", properties, at=1234.5)
        track = await conversation.receive("track")
        assert track["events"] == [
            {"name": "e", "at": 1234.5, "properties": properties}
        ]


async def test_events_tracked_together_travel_together() -> None:
    """What one callback tracks goes in one frame, without waiting."""
    async with scene() as it:
        client, conversation = await it.online()
        for _ in range(3):
            client.track("e")
        track = await conversation.receive("track")
        assert len(track["events"]) == 3


async def test_events_while_sending_wait_for_others() -> None:
    """For 50 ms; then they go together."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        await conversation.receive("track")
        for _ in range(3):
            client.track("e")
            await asyncio.sleep(0)
        await eventually(lambda: 0.05 in it.clock.delays)
        it.clock.advance(0.05)
        track = await conversation.receive("track")
        assert (track["first"], len(track["events"])) == (2, 3)


async def test_offline_events_are_sent_on_connecting() -> None:
    """track() needs no connection; numbers begin before there is one."""
    async with scene() as it:
        client = it.make()
        assert client.track("e") == 1
        with pytest.raises(NotConnected):
            await client.flush()
        client.start()
        conversation = await it.again(client)
        assert (await conversation.receive("track"))["first"] == 1


async def test_after_a_cut_the_same_events_go_again() -> None:
    """With the same numbers and times, stamped anew; hello says what is acked."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("one")
        client.track("two")
        first = await conversation.receive("track")
        await conversation.send("ack", acked=1)
        await eventually(lambda: client.acked == 1)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.server.accept()
        hello = await conversation.welcome(acked=1)
        assert hello["acked"] == 1
        again = await conversation.receive("track")
        assert again["first"] == 2
        assert again["events"] == first["events"][1:]
        assert again["sent_at"] > first["sent_at"]


async def test_slow_down_is_obeyed() -> None:
    """Silence for as long as the server asks, then the same again."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        await conversation.receive("track")
        fields = {"first": 1, "retry_after_s": 1.5, "reason": "busy"}
        await conversation.send("slow_down", **fields)
        await eventually(lambda: 1.5 in it.clock.delays)
        it.clock.advance(1.5)
        assert (await conversation.receive("track"))["first"] == 1


async def test_a_gap_is_filled() -> None:
    """From the number that the server expects."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        client.track("e")
        track = await conversation.receive("track")
        more = {"retry": "resend", "expected": 2}
        await conversation.refuse(track, 112, "gap", **more)
        assert (await conversation.receive("track"))["first"] == 2


async def test_what_the_ledger_forgot_is_declared() -> None:
    """The application hears of the loss, the server of the hole."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        client.track("e")
        await conversation.receive("track")
        await conversation.send("ack", acked=2)
        await eventually(lambda: client.acked == 2)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client, acked=0)
        client.track("e")
        track = await conversation.receive("track")
        assert (track["first"], track["lost"]) == (3, 2)
        assert it.notices == [NumbersLost(1, 2)]


async def test_a_device_that_was_used_before_is_renumbered() -> None:
    """A fixed device with a queue in memory counts on where the server is."""
    async with scene() as it:
        client = it.make(device="phone-1", secret="0123456789abcdef")
        client.track("e")
        client.start()
        conversation = await it.again(client, acked=41)
        assert (await conversation.receive("track"))["first"] == 42
        assert it.notices == [Renumbered(1, 42)]
        assert client.track("e") == 43


async def test_rejections_are_reported() -> None:
    """With the number, the reason and the event; the rest of the batch counts."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e", {"amount": "much"})
        client.track("e")
        await conversation.receive("track")
        rejected = {"seq": 1, "code": 205, "name": "bad_value", "reason": "a number"}
        await conversation.send("ack", acked=2, rejected=[rejected])
        await client.flush()
        (rejection,) = it.rejected
        assert (rejection.seq, rejection.name) == (1, "bad_value")
        assert rejection.event is not None
        assert rejection.event["properties"] == {"amount": "much"}


async def test_a_callback_that_raises_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and the client goes on."""

    def explode(_: object) -> None:
        raise RuntimeError("boom")

    async with scene() as it:
        client, conversation = await it.online(on_rejected=explode)
        client.track("e")
        await conversation.receive("track")
        rejected = {"seq": 1, "code": 205, "name": "bad_value", "reason": "a number"}
        await conversation.send("ack", acked=1, rejected=[rejected])
        await client.flush()
        assert "boom" in caplog.text


async def test_a_full_queue_is_the_applications_decision() -> None:
    """QueueFull uses no number; after an acknowledgement there is room."""
    async with scene() as it:
        client, conversation = await it.online(queue=MemoryQueue(max_events=1))
        client.track("e")
        with pytest.raises(QueueFull):
            client.track("e")
        await conversation.receive("track")
        await conversation.send("ack", acked=1)
        await client.flush()
        assert client.track("e") == 2


async def test_a_bad_event_uses_no_number() -> None:
    """What the server's limit forbids is refused here, too."""
    async with scene() as it:
        client, _ = await it.online({"limits": {"max_event_bytes": 100}})
        with pytest.raises(BadEvent, match="name"):
            client.track("no spaces")
        with pytest.raises(BadEvent, match="at most 100"):
            client.track("e", {"x": "x" * 100})
        assert client.track("e") == 1


async def test_flush_gives_up_in_time() -> None:
    """The events stay queued."""
    async with scene() as it:
        client, _ = await it.online()
        client.track("e")
        flushing = asyncio.ensure_future(client.flush(timeout_s=2.0))
        await eventually(lambda: 2.0 in it.clock.delays)
        it.clock.advance(2.0)
        with pytest.raises(FlushTimeout, match="1 events"):
            await flushing
        assert client.pending == 1


async def test_flush_says_when_it_is_hopeless() -> None:
    """A server that refuses the events as a whole will acknowledge none."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        track = await conversation.receive("track")
        await conversation.refuse(track, 116, "no_device")
        with pytest.raises(CommandError, match="no_device"):
            await client.flush()
        assert isinstance(it.notices[0], TrackingRefused)
        assert client.pending == 1


async def test_a_session_that_may_track_nothing_loses_nothing() -> None:
    """Welcome then says no mark: what was acknowledged before is not lost."""
    async with scene() as it:
        client, conversation = await it.online()
        client.track("e")
        await conversation.receive("track")
        await conversation.send("ack", acked=1)
        await eventually(lambda: client.pending == 0)
        conversation.cut()
        await it.back_off(client)
        conversation = await it.again(client, acked=None)
        client.track("e")
        track = await conversation.receive("track")
        assert (track["first"], "lost" in track) == (2, False)
        await conversation.refuse(track, 116, "no_device")
        with pytest.raises(CommandError, match="no_device"):
            await client.flush()
        assert client.pending == 1


async def test_tracking_goes_on_after_a_final_error() -> None:
    """A queue in a file keeps events for the next client; closing ends it."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.close(4501)
        await eventually(lambda: client.state is State.CLOSED)
        assert client.track("e") == 1
        with pytest.raises(RealtimeError, match="4501"):
            await client.flush()
        assert await client.aclose() == 1
        with pytest.raises(ClientClosed):
            client.track("e")


async def test_closing_waits_for_acknowledgements() -> None:
    """As long as it was told to; then it says what is left."""
    async with scene() as it:
        client, conversation = await it.online(close_flush_s=5.0)
        client.track("e")
        closing = asyncio.ensure_future(client.aclose())
        await conversation.receive("track")
        await conversation.send("ack", acked=1)
        assert await closing == 0


async def test_closing_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """Events in memory end with the client: that is logged."""
    async with scene() as it:
        client, _ = await it.online()
        client.track("e")
        assert await client.aclose() == 1
        assert "1 events were never acknowledged and are lost" in caplog.text


async def test_a_file_carries_events_to_the_next_client(tmp_path: Path) -> None:
    """The same device goes on, with the same numbers, where the former one ended."""
    path = tmp_path / "events.sqlite3"
    async with scene() as it:
        client, conversation = await it.online(queue=path)
        device = client.device
        client.track("one")
        client.track("two")
        await conversation.receive("track")
        await conversation.send("ack", acked=1)
        await eventually(lambda: client.acked == 1)
        assert await client.aclose() == 1

        client = it.make(queue=SQLiteQueue(path, synchronous="FULL"))
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.welcome(acked=1)
        assert (hello["device"], hello["acked"]) == (device, 1)
        track = await conversation.receive("track")
        assert (track["first"], track["events"][0]["name"]) == (2, "two")
        assert client.track("three") == 3


async def test_an_expired_token_holds_events_back() -> None:
    """They are sent again as soon as there is a new one."""
    tokens = iter(["first", "second"])
    async with scene() as it:
        client, conversation = await it.online(token=lambda: next(tokens))
        client.track("e")
        track = await conversation.receive("track")
        await conversation.refuse(track, 105, "token_expired", retry="refresh")
        refresh = await conversation.receive("refresh")
        assert refresh["token"] == "second"
        await conversation.send("refreshed", id=refresh["id"])
        assert (await conversation.receive("track"))["first"] == 1


async def test_an_acknowledgement_that_cannot_be_recorded_is_made_up_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk costs a repetition, not the connection."""
    queue = SQLiteQueue(tmp_path / "events.sqlite3")
    async with scene() as it:
        client, conversation = await it.online(queue=queue)
        client.track("e")
        await conversation.receive("track")
        queue._db.execute("PRAGMA query_only = ON")
        await conversation.send("ack", acked=1)
        await eventually(lambda: "could not be recorded" in caplog.text)
        queue._db.execute("PRAGMA query_only = OFF")
        await conversation.send("ack", acked=1)
        await client.flush()
