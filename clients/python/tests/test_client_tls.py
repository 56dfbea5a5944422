"""Encrypted connections."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from client_support.manual_clock import eventually
from client_support.online import scene
from client_support.scripted_server import ScriptedServer
from realtime_client import HandshakeRefused, RealtimeClient, State

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl"),
]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed, and its key."""
    path = tmp_path / "server.pem"
    command = "openssl req -x509 -nodes -days 1 -newkey rsa:2048 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", path]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    text = path.read_text()
    public = text[text.index("-----BEGIN CERTIFICATE") :]
    (tmp_path / "public.pem").write_text(public[: public.index("-----END") + 26])
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    """Return what the server needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_an_untrusted_certificate_is_refused(certificate: Path) -> None:
    """Trying again would not help, so connect() says so at once."""
    async with ScriptedServer(server_tls(certificate)) as server:
        client = RealtimeClient(server.url)
        with pytest.raises(HandshakeRefused, match="certificate is not trusted"):
            await client.connect(timeout_s=10)
        await client.aclose()


async def test_a_certificate_of_ones_own_can_be_trusted(certificate: Path) -> None:
    """By a TLS context that the application gives."""
    tls = ssl.create_default_context(cafile=certificate.parent / "public.pem")
    async with scene(server_tls(certificate)) as it:
        client, conversation = await it.online(ssl=tls)
        assert client.state is State.ONLINE
        client.track("e")
        await asyncio.wait_for(conversation.receive("track"), 5)
        await conversation.send("ack", acked=1)
        await eventually(lambda: client.pending == 0)
