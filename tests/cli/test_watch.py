"""What ``realtime watch`` draws on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pytest
from rich.console import Console

from realtime.cli import watch
from realtime.cli.remote import RemoteError


def test_the_age_of_a_value_grows_while_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Drawn again, the same value is older; the terminal is drawn every second."""
    now = 100.0
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: now))
    console = Console(file=io.StringIO(), width=80)
    live = watch._live(console, {"live:likes": ({"value": 7}, 100.0, 1)})

    def drawn() -> str:
        with console.capture() as capture:
            console.print(live.get_renderable())
        return capture.get()

    first = drawn()
    now = 105.0

    assert "0s ago" in first
    assert "5s ago" in drawn()
    assert (live.auto_refresh, live.refresh_per_second) == (True, 1)


def test_nothing_is_drawn_before_the_first_value() -> None:
    """A server that cannot be reached leaves its one line of error, and no table."""
    assert watch._live(Console(file=io.StringIO()), {}).get_renderable() == ""


async def read(
    text: str,
    stream: watch.Stream | None = None,
    heard: Callable[[httpx.Request], object] = lambda _: None,
) -> list[object]:
    """Read a stream of events whose server says *text*, and has *heard* a request."""

    def answer(request: httpx.Request) -> httpx.Response:
        heard(request)
        return httpx.Response(200, text=text)

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        stream = stream or watch.Stream(client, ["chat:a"])
        stream._client = client
        return [event async for event in stream.read()]


@pytest.mark.anyio
async def test_what_is_lost_is_said_beside_what_came(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the standard error, so that the lines stay what others can read."""
    pushes = await read(
        'event: push\ndata: {"channel":"chat:a","data":1}\n\n'
        'event: gap\ndata: {"channel":"chat:a"}\n\n'
        'event: join\ndata: {"channel":"chat:a","member":{}}\n\n'
        'event: unsubscribed\ndata: {"channel":"chat:a","code":120,"reason":"why"}\n\n'
        'event: push\ndata: {"channel":"chat:a","data":2}\n\n'
    )

    assert pushes == [{"channel": "chat:a", "data": n} for n in (1, 2)]
    assert capsys.readouterr().err == (
        "realtime: something of chat:a is lost\n"
        "realtime: chat:a is not sent any more: why\n"
    )


@pytest.mark.anyio
async def test_the_server_says_when_to_come_back() -> None:
    """After an end that it has planned; otherwise soon."""
    async with httpx.AsyncClient() as client:
        stream = watch.Stream(client, ["chat:a"])
        await read('event: end\nretry: 2500\ndata: {"reconnect":true}\n\n', stream)
        planned = stream.again_s
        await read("", stream)

    assert (planned, stream.again_s) == (2.5, watch.AGAIN_S)


@pytest.mark.anyio
async def test_a_stream_goes_on_where_it_was() -> None:
    """On each channel that has ids; the others are just watched again."""
    asked: list[httpx.QueryParams] = []
    async with httpx.AsyncClient() as client:
        stream = watch.Stream(client, ["log:a", "log:b;c", "plain:a"])
        for text in (
            "id: 5,e,log:a\n\n"
            'event: push\ndata: {"channel":"log:a","data":1}\nid: 6,e,log:a\n\n'
            "id: 9,e,log:b%3Bc\n\n",
            "",
        ):
            await read(text, stream, lambda one: asked.append(one.url.params))

    assert [one.get_list("since") for one in asked] == [
        [],
        ["6,e,log:a", "9,e,log:b%3Bc"],
    ]
    assert asked[1].get_list("channel") == ["log:a", "log:b;c", "plain:a"]


@pytest.mark.anyio
async def test_an_end_for_good_is_an_error() -> None:
    """It would come again."""
    end = 'event: end\ndata: {"reconnect":false,"reason":"the token has expired"}\n\n'

    with pytest.raises(RemoteError, match="the token has expired"):
        await read(end)
