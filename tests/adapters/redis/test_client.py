"""The link to one server: what it survives and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.script import Script
from realtime.errors import ConfigError, Unavailable
from realtime.settings import RedisSettings
from realtime.testing.ledger_kit import eventually
from realtime.testing.relay import Relay
from realtime.testing.servers import ValkeyServer, free_port
from tests.adapters.conftest import MakeLink, MakePubSub

pytestmark = pytest.mark.anyio


async def test_calls_at_once_get_their_own_replies(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """A thousand calls share the connection, and each gets its own reply."""
    link = make_link(valkey.url, timeout_s=30)
    replies = await asyncio.gather(*(link.call("ECHO", str(n)) for n in range(1000)))
    assert replies == [b"%d" % n for n in range(1000)]


async def test_a_cancelled_call_does_not_disturb_the_others(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """The reply to a call that nobody waits for is dropped, and no other."""
    link = make_link(valkey.url)
    await link.start()
    tasks = [asyncio.create_task(link.call("ECHO", str(n))) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    assert await asyncio.gather(*tasks[1::2]) == [b"%d" % n for n in range(1, 50, 2)]
    assert await link.call("ECHO", "after") == b"after"


async def test_an_error_reply_is_told(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """What Redis refuses is Unavailable, with its own words, and no reconnect."""
    link = make_link(valkey.url)
    with pytest.raises(Unavailable, match="Redis refused: unknown command"):
        await link.call("NOSUCHCOMMAND")
    with pytest.raises(Unavailable, match="wrong kind"):
        await link.call_many([("SET", "t:s", "1"), ("HGET", "t:s", "f"), ("PING",)])
    assert await link.call("PING") == b"PONG"


async def test_batches_are_answered_in_order(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """A batch gives one reply per command; an empty one gives none."""
    link = make_link(valkey.url)
    assert await link.call_many([("ECHO", "1"), ("ECHO", "2")]) == [b"1", b"2"]
    assert await link.call_many([]) == []


async def test_nobody_there(make_link: MakeLink) -> None:
    """Without a server, start gives up after the timeout and names the address."""
    port = free_port()
    link = make_link(f"redis://127.0.0.1:{port}", timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable, match=str(port)):
        await link.start()
    assert time.monotonic() - started < 2


def test_a_url_is_needed() -> None:
    """A link without redis.url is a mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"redis\.url"):
        RedisLink(RedisSettings(None))


async def test_password_and_database(make_link: MakeLink) -> None:
    """The url's password and database are used; a wrong password is told at once."""
    with ValkeyServer(password="hunter2") as server:
        link = make_link(f"redis://:hunter2@127.0.0.1:{server.port}/3")
        await link.call("SET", "k", "v")
        assert b"db3" in await link.call("INFO", "keyspace")
        wrong = make_link(f"redis://:wr0ng@127.0.0.1:{server.port}", timeout_s=5)
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await wrong.start()
        assert "wr0ng" not in str(caught.value)
        assert time.monotonic() - started < 2


async def test_tls(valkey: ValkeyServer, tmp_path: Path, make_link: MakeLink) -> None:
    """With rediss:// the connection is encrypted."""
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with Relay(valkey.port, tls=context) as relay:
        url = f"rediss://127.0.0.1:{relay.port}?ssl_ca_certs={certificate}"
        assert await make_link(url).call("PING") == b"PONG"


async def test_certificates_are_checked(tmp_path: Path, make_link: MakeLink) -> None:
    """A server whose certificate nobody vouches for is not talked to."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(tmp_path))

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # also ssl.SSLError
            while True:
                with contextlib.suppress(ssl.SSLError):
                    context.wrap_socket(listener.accept()[0], server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        link = make_link(f"rediss://127.0.0.1:{listener.getsockname()[1]}", 3.0)
        with pytest.raises(Unavailable, match="certificate"):
            await link.call("PING")
        listener.shutdown(socket.SHUT_RDWR)
        await serving


def self_signed(folder: Path) -> Path:
    """Write a key and a certificate of 127.0.0.1 into one file."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, secret.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "both.pem"
    path.write_bytes(
        secret.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(pem)
    )
    return path


async def test_unix_sockets(tmp_path: Path, make_link: MakeLink) -> None:
    """A server behind a Unix socket is reached by unix://."""
    path = tmp_path / "s"
    with ValkeyServer(options=[("unixsocket", str(path))]):
        assert await make_link(f"unix://{path}").call("PING") == b"PONG"


async def test_connections_that_are_killed_are_replaced(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """A repeatable call does not notice that its connection has been lost."""
    link = make_link(valkey.url)
    for _ in range(5):
        assert await link.call("PING") == b"PONG"
        valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def test_a_restart_is_waited_for(
    victim: ValkeyServer, make_link: MakeLink
) -> None:
    """A call made while the server is away is answered when it is back in time."""
    link = make_link(victim.url, timeout_s=10)
    await link.call("SET", "k", "v")
    victim.kill()
    call = asyncio.create_task(link.call("GET", "k"))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(victim.restart)
    assert await call == b"v"


async def test_a_server_that_hangs(victim: ValkeyServer, make_link: MakeLink) -> None:
    """A call gives up after its time; the link works again when the server does."""
    link = make_link(victim.url, timeout_s=0.2)
    await link.start()
    with victim.paused():
        started = time.monotonic()
        results = await asyncio.gather(
            *(link.call("PING") for _ in range(20)), return_exceptions=True
        )
        assert time.monotonic() - started < 2
        assert all(isinstance(result, Unavailable) for result in results)
        assert "0.2 s" in str(results[0])
    assert await link.call("PING") == b"PONG"


async def test_a_publication_is_not_repeated(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """If the connection is lost before the reply, a publication may have gone out."""
    async with Relay(valkey.port) as relay:
        link = make_link(f"redis://127.0.0.1:{relay.port}")
        await link.start()
        (connection,) = relay.connections
        connection.deaf = True
        before = valkey.calls("publish")
        publishing = asyncio.create_task(link.publish(b"channel", b"data"))
        await eventually(lambda: valkey.calls("publish") > before, "it has arrived")
        connection.cut()
        with pytest.raises(Unavailable):
            await publishing
        assert valkey.calls("publish") == before + 1
        await link.publish(b"channel", b"data")


async def test_publications_that_wait_keep_their_order(
    valkey: ValkeyServer, make_link: MakeLink, make_pubsub: MakePubSub
) -> None:
    """What is published while others wait for a connection goes out after them."""
    link = make_link(valkey.url, timeout_s=10)
    pubsub, messages = make_pubsub(make_link(valkey.url)), list[bytes]()
    await pubsub.start()
    await pubsub.subscribe(b"order", messages.append)
    expected = [b"%d" % number for number in range(150)]
    for _ in range(5):
        await link.start()
        valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        (line,) = link._lines.values()
        await asyncio.wait_for(line.lost.wait(), 10)
        tasks = []
        for data in expected:
            tasks.append(asyncio.create_task(link.publish(b"order", data)))
            if len(tasks) > 50:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await eventually(lambda: len(messages) == 150, "all arrive")
        assert messages == expected
        messages.clear()


async def test_scripts_are_taught_again(
    valkey: ValkeyServer, make_link: MakeLink
) -> None:
    """A server that has forgotten a script, or never knew it, gets its source."""
    link, script = (
        make_link(valkey.url),
        Script.load("realtime.adapters.ledger", "claim"),
    )
    for _ in range(2):
        assert await link.run_script(script, [b"t:m"], "7", "1000", "me") == b"7"
        valkey.command("SCRIPT", "FLUSH")
    with pytest.raises(Unavailable, match="refused"):
        await link.run_script(Script("bad", "return nonsense()", "0" * 40), [b"k"])


async def test_what_waits_is_bounded(
    victim: ValkeyServer, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many bytes without a reply, further calls fail instead of piling up."""
    monkeypatch.setattr("realtime.adapters.redis.line.MAX_BUFFERED_BYTES", 1_000_000)
    link = make_link(victim.url, timeout_s=0.5)
    await link.start()
    with victim.paused():
        calls = [link.call("ECHO", b"x" * 400_000) for _ in range(4)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    reasons = [str(result) for result in results]
    assert sum("too many commands" in reason for reason in reasons) == 2
    assert len(await link.call("ECHO", b"x" * 2_000_000)) == 2_000_000


@pytest.mark.parametrize(
    ("appendonly", "fsync", "expected"),
    [
        (True, "always", "appendfsync always"),
        (True, "everysec", "appendfsync everysec"),
        (True, "no", "appendfsync no"),
        (False, "always", "appendonly no"),
    ],
)
async def test_durability_is_read_from_the_server(
    make_link: MakeLink, appendonly: bool, fsync: str, expected: str
) -> None:
    """The server's own setting is told, whatever one hoped."""
    with ValkeyServer(appendonly=appendonly, fsync=fsync) as server:
        assert await make_link(server.url).durability() == expected


async def test_servers_that_evict_are_told(make_link: MakeLink) -> None:
    """Where keys are evicted when memory is short, counters may be lost."""
    policy = ("maxmemory-policy", "allkeys-lru")
    with ValkeyServer(appendonly=True, options=[policy]) as server:
        durability = await make_link(server.url).durability()
        assert durability == "maxmemory-policy allkeys-lru"


async def test_durability_may_be_unknown(make_link: MakeLink) -> None:
    """Where CONFIG is not permitted, nobody knows."""
    with ValkeyServer() as server:
        server.command(
            "ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-config"
        )
        link = make_link(f"redis://u:p@127.0.0.1:{server.port}")
        assert await link.durability() == "unknown"


async def test_closing(valkey: ValkeyServer, make_link: MakeLink) -> None:
    """Closing twice is harmless; a closed link does not open connections."""
    link = make_link(valkey.url, timeout_s=0.2)
    await link.start()
    await link.aclose()
    await link.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await link.call("PING")
