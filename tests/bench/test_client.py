"""Many clients in one process, against a real server."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from realtime.bench.client import Client, Clients, End, Phase, clock
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import (
    Acked,
    Delivery,
    Said,
    Subscribed,
    Welcome,
    due_of,
    stamped,
)
from realtime.bench.local import CREDENTIALS, serving
from realtime.bench.target import Credentials, Endpoint, Target
from tests.signing import certificate

PATIENCE_S = 20.0
RUN = b"abcdefgh"


class Ears:
    """Keeps what the clients tell."""

    def __init__(self) -> None:
        self.entered: list[Client] = []
        self.heard: list[tuple[int, Said]] = []
        self.ends: list[tuple[int, End]] = []

    def ready(self, client: Client, now: float) -> None:
        """Remember it."""
        self.entered.append(client)

    def said(self, client: Client, said: Said, now: float) -> None:
        """Remember it."""
        self.heard.append((client.number, said))

    def ended(self, client: Client, end: End, now: float) -> None:
        """Remember it."""
        self.ends.append((client.number, end))

    def count(self, kind: type) -> int:
        """How often something was said."""
        return sum(isinstance(said, kind) for _, said in self.heard)


class Party:
    """Clients and their ears."""

    def __init__(self, target: Target, codec: str = "json") -> None:
        self.target, self.ears, self.dialect = target, Ears(), Native(codec)
        self.clients = Clients(target, self.dialect, self.ears)

    def open(self, number: int, device: str | None = None) -> Client:
        """Begin to connect."""
        token = self.target.credentials.token(number, f"user-{number}")
        client = Client(number, token, device)
        self.clients.open(client, clock())
        return client

    def until(self, condition: Callable[[], bool]) -> None:
        """Handle what comes until the condition holds."""
        give_up = clock() + PATIENCE_S
        while not condition():
            assert clock() < give_up, (self.ears.heard, self.ears.ends)
            self.clients.poll(0.05)


@contextmanager
def party(target: Target, codec: str = "json") -> Iterator[Party]:
    """Open nothing yet; close everything in the end."""
    made = Party(target, codec)
    try:
        yield made
    finally:
        made.clients.shut()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_what_one_publishes_all_read(target: Target, codec: str) -> None:
    """With the moment at which it was due."""
    with party(target, codec) as one:
        ears = one.ears
        clients = [one.open(number) for number in range(20)]
        one.until(lambda: len(ears.entered) == 20)
        for client in clients:
            [said] = one.dialect.subscribe(f"bench:{codec}")
            one.clients.send(client, said)
        one.until(lambda: ears.count(Subscribed) == 20)
        data = stamped(RUN, 12.5, 70_000 // 2)
        one.clients.send(clients[3], one.dialect.publish(f"bench:{codec}", data))
        one.until(lambda: ears.count(Delivery) == 20)

    dues = [due_of(s.stamp, RUN) for _, s in ears.heard if isinstance(s, Delivery)]
    assert dues == [12.5] * 20


def test_events_are_acknowledged(target: Target) -> None:
    """A device signs in with its numbers, and its events count."""
    with party(target) as one:
        client = one.open(0, device="one-device")
        one.until(lambda: len(one.ears.entered) == 1)
        said = one.dialect.track(1, [{"name": "bench", "properties": {"post": "1"}}])
        one.clients.send(client, said)
        one.until(lambda: one.ears.count(Acked) == 1)

    assert one.ears.heard[0] == (0, Welcome(0))
    assert (0, Acked(1)) in one.ears.heard


def test_closing_ends_without_complaint(target: Target) -> None:
    """Of our own connections, the end is ours."""
    with party(target) as one:
        client = one.open(0)
        one.until(lambda: client.is_ready)
        one.clients.close(client)

    assert one.ears.ends == [(0, End("ours"))]
    assert client.phase is Phase.ENDED
    assert one.clients.open_count == 0


def test_a_bad_token_is_told_in_the_servers_words(target: Target) -> None:
    """First the error, then the code of the close."""
    stranger = replace(target, credentials=Credentials(tokens=("a.b.c",)))
    with party(stranger) as one:
        one.open(0)
        one.until(lambda: bool(one.ears.ends))

    [(_, end)] = one.ears.ends
    assert (end.kind, end.code) == ("closed", 4501)
    assert "unauthorized" in str(one.ears.heard)


def test_another_path_is_refused_with_the_right_one(target: Target) -> None:
    """The answer of HTTP becomes a sentence."""
    endpoint = replace(target.endpoints[0], path="/somewhere")
    with party(replace(target, endpoints=(endpoint,))) as one:
        one.open(0)
        one.until(lambda: bool(one.ears.ends))

    [(_, end)] = one.ears.ends
    assert end.sentence.startswith("refused with 404: ")
    assert "/v1/ws" in end.sentence


def test_where_nobody_listens_nobody_is_reached() -> None:
    """The system's word for it is told."""
    nowhere = Target((Endpoint(False, "127.0.0.1", 9),))
    with party(nowhere) as one:
        one.open(0)
        one.until(lambda: bool(one.ears.ends))

    assert one.ears.ends == [(0, End("unreachable", reason="Connection refused"))]


def test_many_come_from_several_addresses(target: Target) -> None:
    """There are 28,000 ports for one address; loopback has more addresses."""
    with party(target) as one:
        far = one.open(45_000)
        one.until(lambda: far.is_ready)
        assert far.sock is not None
        assert far.sock.getsockname()[0] == "127.0.0.3"


def test_certificates_are_checked(tmp_path: Path) -> None:
    """A server with one of its own making is refused, unless that is allowed."""
    cert, key = certificate(tmp_path)
    config = f'[server]\ntls_cert = "{cert}"\ntls_key = "{key}"\n'
    with serving(config) as [node]:
        secure = Target((Endpoint(True, "127.0.0.1", node.port),), CREDENTIALS)
        with party(secure) as strict:
            strict.open(0)
            strict.until(lambda: bool(strict.ears.ends))
        with party(replace(secure, insecure=True)) as lenient:
            client = lenient.open(0)
            lenient.until(lambda: client.is_ready)
            assert isinstance(client.sock, ssl.SSLSocket)

    [(_, end)] = strict.ears.ends
    assert end.kind == "unreachable"
    assert "certificate" in end.reason.lower()
