"""
Who the client is when it comes through proxies: headers believed from the right.

A header can be written by anybody, so ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239)
count only when the TCP connection comes from a named address, and of the chain they
tell only the part that named addresses have appended: the client is the right-most
address that is not a trusted proxy. Everything to the left of it is the client's own
claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from realtime.errors import ConfigError

UNIX = "unix"
"""In the place of an address: whoever connects through a Unix domain socket."""

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf'\s*([A-Za-z]+)=({_QUOTED}|[^\s",;]*)\s*')
_ELEMENT = re.compile(rf'(?:{_QUOTED}|[^",])+')


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request really comes from. *address* is empty when nobody can tell."""

    address: str
    scheme: str  # http or https


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy has appended: whom it heard, and how."""

    address: str
    scheme: str | None = None


class TrustedProxies:
    """The addresses and networks whose forwarded headers are believed."""

    __slots__ = ("_networks", "_unix")

    def __init__(self, networks: Sequence[_Network] = (), unix: bool = False) -> None:
        self._networks = tuple(networks)
        self._unix = unix

    def __contains__(self, address: str) -> bool:
        """Whether *address* is one of them; the empty address is a Unix socket."""
        if not address:
            return self._unix
        if not self._networks:
            return False
        parsed = _parse_address(address)
        return parsed is not None and any(parsed in one for one in self._networks)

    def resolve(
        self, peer: str, scheme: str, headers: Callable[[str], Sequence[str]]
    ) -> Client:
        """
        Return the client behind *peer*, the other end of the TCP connection.

        *headers* gives all values of a header by its name. When both headers are
        there and tell different clients, neither is believed: a proxy that sets one
        of them may have passed on the other as the client wrote it.
        """
        direct = Client(peer, scheme)
        if peer not in self:
            return direct
        standard = _forwarded(headers("Forwarded"))
        usual = _x_forwarded(headers("X-Forwarded-For"), headers("X-Forwarded-Proto"))
        found = [self._walk(direct, hops) for hops in (standard, usual) if hops]
        if not found or len({client.address for client in found}) > 1:
            return direct
        return found[-1]

    def _walk(self, direct: Client, hops: Sequence[Hop]) -> Client:
        """Go from right to left as long as who appended the hop is trusted."""
        client = direct
        for hop in reversed(hops):
            if _parse_address(hop.address) is None:
                break  # hidden, unknown or garbage: no further can be told
            client = Client(hop.address, hop.scheme or client.scheme)
            if hop.address not in self:
                break
        return client


@lru_cache(maxsize=16)
def trusted_proxies(names: tuple[str, ...]) -> TrustedProxies:
    """
    Parse ``server.trusted_proxies``: addresses, networks and ``unix``.

    Raises:
        ConfigError: If one of them is none of these.
    """
    networks: list[_Network] = []
    for name in names:
        if name == UNIX:
            continue
        try:
            networks.append(ip_network(name))
        except ValueError as exc:
            problem = f'{exc}; want addresses, networks such as 10.0.0.0/8, or "unix"'
            raise ConfigError("server.trusted_proxies", problem) from exc
    return TrustedProxies(networks, UNIX in names)


def _x_forwarded(addresses: Sequence[str], schemes: Sequence[str]) -> list[Hop]:
    """Read the usual headers; one scheme stands for all hops, as most proxies do it."""
    hops = [_strip_port(one) for value in addresses for one in value.split(",")]
    given = [one.strip().lower() for value in schemes for one in value.split(",")]
    if len(given) == len(hops):
        pairs = zip(hops, given, strict=True)
    else:
        pairs = zip(hops, given[-1:] * len(hops), strict=False)
        if not given:
            return [Hop(address) for address in hops]
    return [Hop(address, _scheme(scheme)) for address, scheme in pairs]


def _forwarded(values: Sequence[str]) -> list[Hop]:
    """
    Read RFC 7239's header.

    A quote that a client leaves open would swallow what the proxy appends, and with it
    the proxy's word: the header counts as a whole or not at all.
    """
    text = ",".join(values)
    if _ELEMENT.sub("", text).strip(","):
        return []
    return [_hop(element) for element in _ELEMENT.findall(text)]


def _hop(element: str) -> Hop:
    """Read what one proxy has appended; the address is empty when it is malformed."""
    pairs: dict[str, str] = {}
    position = 0
    while (match := _PAIR.match(element, position)) is not None:
        pairs[match[1].lower()] = _unquote(match[2])
        position = match.end()
        if element[position : position + 1] != ";":
            break
        position += 1
    if position != len(element):
        return Hop("")
    return Hop(_strip_port(pairs.get("for", "")), _scheme(pairs.get("proto")))


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _scheme(name: str | None) -> str | None:
    """Return what *name* means here, if anything; wss is https with an upgrade."""
    known = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
    return known.get(name.lower()) if name is not None else None


def _strip_port(text: str) -> str:
    """Return the address of ``1.2.3.4:80``, ``[::1]:80``, ``[::1]`` or ``::1``."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parse_address(text: str) -> _Address | None:
    """Return the address, an IPv4 one also when it is written as IPv6."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address
