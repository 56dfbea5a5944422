"""Connecting, staying connected, and giving up."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from realtime_client import (
    BadReply,
    ClientClosed,
    CommandError,
    ConnectFailed,
    ConnectTimeout,
    Disconnected,
    HandshakeRefused,
    NotConnected,
    RealtimeClient,
    State,
)

pytestmark = pytest.mark.anyio


async def test_connect_returns_after_the_welcome() -> None:
    """Connecting ends with the state ONLINE and the server's limits known."""
    async with scene() as it:
        client = it.make()
        connecting = asyncio.ensure_future(client.connect())
        conversation = await it.server.accept()
        hello = await conversation.welcome(user="ann")
        await connecting
        assert client.state is State.ONLINE
        assert client.user == "ann"
        assert client.limits is not None
        assert client.limits.max_batch_events == 1000
        assert hello["device"] == client.device
        assert hello["acked"] == 0
        assert hello["sent_at"] == it.clock.time()


async def test_closing_says_goodbye() -> None:
    """The server is told by a close frame, the application by the state CLOSED."""
    async with scene() as it:
        client, conversation = await it.online()
        assert await client.aclose() == 0
        assert await conversation.closed() == 1000
        assert client.state is State.CLOSED
        assert await client.aclose() == 0
        with pytest.raises(ClientClosed):
            client.start()


async def test_the_context_manager_connects_and_closes() -> None:
    """Entering waits for the welcome, leaving closes."""
    async with scene() as it:

        async def application(client: RealtimeClient) -> State:
            async with client:
                return client.state

        client = it.make()
        running = asyncio.ensure_future(application(client))
        await (await it.server.accept()).welcome()
        assert await running is State.ONLINE
        assert client.state is State.CLOSED


async def test_a_client_that_does_not_track_names_no_device() -> None:
    """A watcher leaves no trace in the server's ledger."""
    async with scene() as it:
        client = it.make(tracking=False)
        client.start()
        hello = await (await it.server.accept()).welcome(acked=None)
        assert not {"device", "secret", "acked"} & set(hello)
        assert client.device is None


# -- giving up -------------------------------------------------------------------------


async def test_a_refused_hello_is_final() -> None:
    """The error of hello is raised by connect; no further attempt is made."""
    async with scene() as it:
        client = it.make(token="bad")
        connecting = asyncio.ensure_future(client.connect())
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        assert hello["token"] == "bad"
        await conversation.refuse(hello, 104, "unauthorized", field="token")
        await conversation.close(4501)
        with pytest.raises(CommandError, match="104 unauthorized") as caught:
            await connecting
        assert caught.value.field == "token"
        assert client.state is State.CLOSED
        assert it.states[-1].error is caught.value
        with pytest.raises(CommandError):
            await client.connect()


@pytest.mark.parametrize("code", [4500, 4501, 4503, 4999, 1002, 1007, 1009])
async def test_some_close_codes_are_final(code: int) -> None:
    """After these the same would happen again."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.close(code, "because")
        await eventually(lambda: client.state is State.CLOSED)
        assert isinstance(client.error, Disconnected)
        assert client.error.code == code
        assert "because" in str(client.error)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4001, 4004, 4499, 3000])
async def test_other_close_codes_bring_it_back(code: int) -> None:
    """The client waits a random while and connects again."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.close(code)
        change = await it.offline(client)
        assert isinstance(change.error, Disconnected)
        assert change.error.code == code
        assert change.retry_in_s == 0.25
        it.clock.advance(0.25)
        await it.again(client)


async def test_a_refused_handshake_is_final_at_first() -> None:
    """An address that is wrong is reported instead of tried for ever."""
    async with scene() as it:
        it.server.refuse(HTTPStatus.NOT_FOUND)
        with pytest.raises(HandshakeRefused, match="404 Not Found"):
            await it.make().connect()


async def test_a_refused_handshake_is_not_final_later() -> None:
    """An address that was right before is tried again."""
    async with scene() as it:
        client, conversation = await it.online()
        it.server.refuse(HTTPStatus.NOT_FOUND)
        conversation.cut()
        await it.back_off(client)
        await eventually(lambda: isinstance(client.error, HandshakeRefused))
        it.server.refusal = None
        await it.back_off(client)
        await it.again(client)


async def test_another_websocket_is_recognised() -> None:
    """A server that does not agree on the sub-protocol is not ours."""
    async with scene() as it:
        it.server.subprotocols = []
        with pytest.raises(HandshakeRefused, match="does not speak realtime"):
            await it.make().connect()


# -- coming back -----------------------------------------------------------------------


async def test_a_full_server_says_when_to_come_back() -> None:
    """The jitter comes on top of Retry-After."""
    async with scene() as it:
        it.server.refuse(HTTPStatus.SERVICE_UNAVAILABLE, Retry_After="7")
        client = it.make()
        client.start()
        change = await it.offline(client)
        assert isinstance(change.error, HandshakeRefused)
        assert change.retry_in_s == 7.25
        it.server.refusal = None
        it.clock.advance(7.25)
        await it.again(client)


async def test_delays_grow_until_a_connection_holds() -> None:
    """Short connections count as failures; after ten seconds one is a success."""
    async with scene() as it:
        client, conversation = await it.online()
        delays = []
        for _ in range(3):
            conversation.cut()
            delays.append((await it.offline(client)).retry_in_s)
            it.clock.advance(delays[-1] or 0.0)
            conversation = await it.again(client)
        it.clock.advance(10.0)
        conversation.cut()
        delays.append((await it.offline(client)).retry_in_s)
        assert delays == [0.25, 0.5, 1.0, 0.25]


async def test_retry_now_cuts_the_wait_short() -> None:
    """The application may know that the network is back."""
    async with scene() as it:
        client, conversation = await it.online()
        conversation.cut()
        await it.offline(client)
        client.retry_now()
        await it.again(client)


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_an_unreachable_server_is_tried_again() -> None:
    """connect() can stop waiting; the client goes on trying."""
    async with scene() as it:
        client = it.make(url=f"http://127.0.0.1:{closed_port()}")
        connecting = asyncio.ensure_future(client.connect(timeout_s=0.2))
        change = await it.offline(client)
        assert isinstance(change.error, ConnectFailed)
        it.clock.advance(0.2)
        with pytest.raises(ConnectTimeout, match=r"no welcome within 0.2 s"):
            await connecting
        assert client.state is not State.CLOSED


async def test_a_hello_that_may_pass_soon_is_repeated_on_the_same_socket() -> None:
    """While the server's ledger is away, nobody reconnects because of it."""
    async with scene() as it:
        client = it.make()
        client.start()
        conversation = await it.server.accept()
        hello = await conversation.receive("hello")
        more = {"retry": "later", "retry_after_s": 1.0}
        await conversation.refuse(hello, 114, "unavailable", **more)
        await eventually(lambda: 1.25 in it.clock.delays)
        it.clock.advance(1.25)
        await conversation.welcome()
        await eventually(lambda: client.state is State.ONLINE)


async def test_a_server_that_never_says_welcome_is_left() -> None:
    """Ten seconds after hello the client gives up this connection."""
    async with scene() as it:
        client = it.make()
        client.start()
        await (await it.server.accept()).receive("hello")
        it.clock.advance(10.0)
        change = await it.offline(client)
        assert isinstance(change.error, Disconnected)
        assert "nothing was heard" in str(change.error)


@pytest.mark.parametrize("frame", ["{", "[]", "{}", '{"type":"ack","acked":"3"}'])
async def test_a_server_that_breaks_the_protocol_is_left(frame: str) -> None:
    """Nothing after it can be trusted; the next connection may be better."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.socket.send(frame)
        change = await it.offline(client)
        assert isinstance(change.error, BadReply)


async def test_messages_of_unknown_types_do_no_harm() -> None:
    """A newer server may say more than this client knows."""
    async with scene() as it:
        client, conversation = await it.online()
        await conversation.send("fireworks", colour="red")
        await conversation.send("push", channel=99, data=None, offset=3)
        pinging = asyncio.ensure_future(client.ping())
        ping = await conversation.receive("ping")
        await conversation.send("pong", id=ping["id"], received_at=1.0, sent_at=1.0)
        assert await pinging == 0.0


# -- silence and clocks ----------------------------------------------------------------


async def test_silence_is_broken_by_a_ping() -> None:
    """Shortly before the server would; an answer keeps the connection."""
    async with scene() as it:
        client, conversation = await it.online({"keepalive_s": 20.0})
        it.clock.advance(18.0)
        ping = await conversation.receive("ping")
        await conversation.send("pong", id=ping["id"], received_at=1.0, sent_at=1.0)
        assert await client_rtt(client, conversation) == 0.0
        it.clock.advance(17.0)
        assert client.state is State.ONLINE


async def client_rtt(client: RealtimeClient, conversation: object) -> float:
    """Return the round trip of a ping that is answered at once."""
    pinging = asyncio.ensure_future(client.ping())
    ping = await conversation.receive("ping")  # type: ignore[attr-defined]
    fields = {"id": ping["id"], "received_at": 5_000.0, "sent_at": 5_000.0}
    await conversation.send("pong", **fields)  # type: ignore[attr-defined]
    return await pinging


async def test_a_silent_server_is_left() -> None:
    """Ten seconds after a ping without any message, the connection is cut."""
    async with scene() as it:
        client, conversation = await it.online({"keepalive_s": 20.0})
        it.clock.advance(18.0)
        await conversation.receive("ping")
        it.clock.advance(10.0)
        change = await it.offline(client)
        assert "nothing was heard" in str(change.error)
        await it.back_off(client)
        await it.again(client)


async def test_server_time_is_measured() -> None:
    """By hello and by pings; the device's wall clock does not matter."""
    async with scene() as it:
        client = it.make()
        with pytest.raises(NotConnected):
            client.server_time()
        client.start()
        await it.again(client, received_at=2_000.0, sent_at=2_000.0)
        it.clock.advance(5.0)
        it.clock.jump(-1e6)
        assert client.server_time() == 2_005.0


async def test_ping_returns_the_round_trip() -> None:
    """In seconds, by the clock that never jumps, and measures the server's clock."""
    async with scene() as it:
        client, conversation = await it.online()
        it.clock.advance(3600.0)  # the sample of hello has aged by then
        pinging = asyncio.ensure_future(client.ping())
        ping = await conversation.receive("ping")
        assert ping["sent_at"] == it.clock.time()
        it.clock.advance(0.25)
        fields = {"received_at": 9_000.0, "sent_at": 9_000.0}
        await conversation.send("pong", id=ping["id"], **fields)
        assert await pinging == 0.25
        assert client.server_time() == 9_000.125


async def test_commands_need_a_connection() -> None:
    """Offline they fail at once; cut off, their outcome is unknown."""
    async with scene() as it:
        client = it.make()
        with pytest.raises(NotConnected):
            await client.ping()
        client.start()
        await it.again(client)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await client.ping()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "ftp://host"}, "url"),
        ({"url": "host:8080"}, "url"),
        ({"codec": "xml"}, "codec"),
        ({"device": "a b"}, "device"),
        ({"secret": "short"}, "secret"),
    ],
)
async def test_wrong_arguments_are_refused(options: dict[str, str], match: str) -> None:
    """With a sentence that names the argument."""
    with pytest.raises(ValueError, match=match):
        RealtimeClient(**{"url": "http://localhost", **options})  # type: ignore[arg-type]
