"""Whose word is taken for where a request comes from."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.edges.proxy import Client, TrustedProxies, trusted_proxies
from realtime.errors import ConfigError

TRUSTED = ("10.0.0.0/8", "2001:db8::/32", "203.0.113.1")


def resolve(
    headers: dict[str, str | list[str]],
    *,
    peer: str = "10.0.0.1",
    scheme: str = "http",
    trusted: tuple[str, ...] = TRUSTED,
) -> Client:
    """Return who is behind *peer*."""

    def get_all(name: str) -> Sequence[str]:
        value = headers.get(name, [])
        return [value] if isinstance(value, str) else value

    return trusted_proxies(trusted).resolve(peer, scheme, get_all)


def test_a_stranger_is_not_believed() -> None:
    """Whoever is not named is the client itself, whatever its headers say."""
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": "192.0.2.9",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=192.0.2.9;proto=https",
    }

    assert resolve(headers, peer="198.51.100.1") == Client("198.51.100.1", "http")


def test_without_headers_a_proxy_is_the_client() -> None:
    """A health check of the proxy itself, for example."""
    assert resolve({}) == Client("10.0.0.1", "http")


@pytest.mark.parametrize(
    "chain, address",
    [
        ("192.0.2.9", "192.0.2.9"),
        ("6.6.6.6, 192.0.2.9", "192.0.2.9"),
        ("192.0.2.9, 10.0.0.2", "192.0.2.9"),
        ("6.6.6.6, 192.0.2.9, 203.0.113.1, 10.9.9.9", "192.0.2.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (["6.6.6.6", "192.0.2.9, 10.0.0.2"], "192.0.2.9"),
        ("192.0.2.9:4711", "192.0.2.9"),
        ("[2001:db9::1]:4711", "2001:db9::1"),
        ("2001:db9::1", "2001:db9::1"),
        ("192.0.2.9, 2001:db8::7", "192.0.2.9"),
        ("::ffff:192.0.2.9, ::ffff:10.0.0.2", "::ffff:192.0.2.9"),
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, garbage, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
    ],
)
def test_the_right_most_stranger_of_the_chain_is_the_client(
    chain: str | list[str], address: str
) -> None:
    """What stands to the left of it is that client's own claim."""
    assert resolve({"X-Forwarded-For": chain}).address == address


@pytest.mark.parametrize(
    "value, client",
    [
        ("for=192.0.2.9", Client("192.0.2.9", "http")),
        ("For=192.0.2.9;Proto=HTTPS;by=10.0.0.1", Client("192.0.2.9", "https")),
        ('for="[2001:db9::1]:4711"', Client("2001:db9::1", "http")),
        ("for=6.6.6.6, for=192.0.2.9;proto=https", Client("192.0.2.9", "https")),
        ("for=192.0.2.9;proto=https, for=10.0.0.2", Client("192.0.2.9", "https")),
        ('for="_a,b;c", for=10.0.0.2;proto=https', Client("10.0.0.2", "https")),
        ("for=unknown", Client("10.0.0.1", "http")),
        ("proto=https", Client("10.0.0.1", "http")),
        (r'for="192.0.2\.9"', Client("192.0.2.9", "http")),
        ("nonsense", Client("10.0.0.1", "http")),
        (['for="6.6.6.6', "for=192.0.2.9"], Client("10.0.0.1", "http")),
    ],
)
def test_the_standard_header_is_read(value: str | list[str], client: Client) -> None:
    """RFC 7239, with quotes, ports, hidden names and several elements."""
    assert resolve({"Forwarded": value}) == client


@pytest.mark.parametrize(
    "schemes, scheme",
    [
        ("https", "https"),
        ("wss", "https"),
        ("http, https", "https"),
        ("https, http", "https"),
        ("ftp", "http"),
        ("http, http, https", "https"),
    ],
)
def test_the_scheme_comes_with_the_address(schemes: str, scheme: str) -> None:
    """One scheme stands for all hops; as many as hops are taken one by one."""
    chain = "192.0.2.9, 10.0.0.2"
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": chain if schemes == "https, http" else "6.6.6.6, 192.0.2.9",
        "X-Forwarded-Proto": schemes,
    }

    assert resolve(headers) == Client("192.0.2.9", scheme)


def test_two_headers_that_agree_are_believed() -> None:
    """Some proxies set both."""
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": "192.0.2.9",
        "X-Forwarded-Proto": "https",
        "Forwarded": "for=192.0.2.9",
    }

    assert resolve(headers) == Client("192.0.2.9", "https")


def test_two_headers_that_differ_are_not_believed() -> None:
    """One of them is the client's own, passed on by a proxy that sets the other."""
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": "192.0.2.9",
        "Forwarded": "for=6.6.6.6",
    }

    assert resolve(headers) == Client("10.0.0.1", "http")


@pytest.mark.parametrize(
    "appended",
    ["for=192.0.2.9", 'for="[2001:db9::1]"', 'for="[2001:db9::1]";by="[2001:db8::1]"'],
)
@pytest.mark.parametrize(
    "claim", ['for=6.6.6.6;x="', r'for=6.6.6.6;x="\"', 'for="', '"', 'for=6.6.6.6"']
)
def test_an_open_quote_cannot_swallow_what_the_proxy_says(
    claim: str, appended: str
) -> None:
    """Whether appended to the line or in a line of its own, 6.6.6.6 is not believed."""
    for value in (f"{claim}, {appended}", [claim, appended]):
        assert resolve({"Forwarded": value}).address == "10.0.0.1"


def test_a_unix_socket_is_trusted_by_its_name() -> None:
    """Its other end has no address."""
    headers: dict[str, str | list[str]] = {"X-Forwarded-For": "192.0.2.9"}

    assert resolve(headers, peer="", trusted=("unix",)).address == "192.0.2.9"
    assert resolve(headers, peer="", trusted=TRUSTED).address == ""
    assert "" not in TrustedProxies()


def test_an_ipv4_peer_on_an_ipv6_socket_is_recognised() -> None:
    """A dual-stack listener sees ::ffff:10.0.0.1."""
    headers: dict[str, str | list[str]] = {"X-Forwarded-For": "192.0.2.9"}

    assert resolve(headers, peer="::ffff:10.0.0.1").address == "192.0.2.9"


@pytest.mark.parametrize("name", ["proxy.example", "10.0.0.1/8", "300.0.0.1", ""])
def test_a_name_that_is_no_address_is_a_mistake(name: str) -> None:
    """The configuration is refused with a sentence that shows the value."""
    with pytest.raises(ConfigError) as failure:
        trusted_proxies((name,))

    assert failure.value.key == "server.trusted_proxies"
    assert name in str(failure.value)


@given(st.text(), st.text(), st.text())
def test_whatever_a_header_says_nothing_breaks(
    usual: str, proto: str, std: str
) -> None:
    """The result is the proxy's address or one that a header named."""
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": usual,
        "X-Forwarded-Proto": proto,
        "Forwarded": std,
    }
    client = resolve(headers)

    assert client.scheme in ("http", "https")
    assert client.address == "10.0.0.1" or client.address in usual + std
