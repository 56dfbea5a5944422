"""
Whom the clients load, and how each of them signs in.

A load generator must not be pointed at strangers by a typo: what is not on this machine
is refused unless ``--yes-this-is-mine`` is given.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from realtime.bench.errors import BenchError

EXAMPLE = "ws://127.0.0.1:8080"
GRANTS: Mapping[str, Sequence[str]] = {
    "subscribe": ("bench:*", "bench_history:*", "live:*"),
    "publish": ("bench:*", "bench_history:*"),
    "track": ("*",),
}
"""What the tokens that are made with --secret allow, and others have to."""

TOKEN_LIFE_S = 86400
MIN_SECRET_BYTES = 32  # as servers have it (core/keys.py)
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_SECURE = ("wss", "https")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of the target. *path* is empty where the dialect knows it."""

    secure: bool
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """What goes into the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"
        )

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, by every address that its name has."""
        found = self.addresses()
        return all(ipaddress.ip_address(address).is_loopback for _, address in found)

    def addresses(self) -> list[tuple[socket.AddressFamily, str]]:
        """
        Return the addresses of its name, of one family.

        Raises:
            BenchError: If the name has none.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise BenchError(f"{self.host} cannot be found: {exc}") from exc
        family = found[0][0]
        # A name may stand for several machines; a zone (fe80::1%eth0) is no address.
        return [
            (one[0], str(one[4][0]).partition("%")[0])
            for one in found
            if one[0] is family
        ]

    def __str__(self) -> str:
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://{self.authority}{self.path}"


def parse_endpoint(url: str) -> Endpoint:
    """
    Read ``ws://``, ``wss://``, ``http://`` or ``https://``.

    Raises:
        BenchError: If it is no such address.
    """
    wrong = f"--url is {url!r}; it must be an address such as {EXAMPLE}"
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError as exc:
        raise BenchError(f"{wrong}: {exc}") from exc
    if parts.scheme not in _PORTS or not port or not parts.hostname:
        raise BenchError(wrong)
    if parts.query or parts.fragment:
        raise BenchError(wrong)
    if parts.username is not None:
        raise BenchError(f"{wrong}, without a user; give --token or --secret")
    path = parts.path.rstrip("/")
    return Endpoint(parts.scheme in _SECURE, parts.hostname, port, path)


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    How clients sign in: by *tokens*, taken in turn, or by one that is made for each
    with *secret* (HS256). With neither, they are anonymous.
    """

    tokens: tuple[str, ...] = field(default=(), repr=False)
    secret: str | None = field(default=None, repr=False)
    issuer: str | None = None
    audience: str | None = None

    def token(self, number: int, user: str) -> str | None:
        """Return the token of client *number*; *user* is whom one is made for."""
        if self.secret is not None:
            return self._make(user, self.secret)
        return self.tokens[number % len(self.tokens)] if self.tokens else None

    def _make(self, user: str, secret: str) -> str:
        import jwt

        claims: dict[str, object] = {
            "sub": user,
            "exp": int(time.time()) + TOKEN_LIFE_S,
            "realtime": GRANTS,
        }
        if self.issuer is not None:
            claims["iss"] = self.issuer
        if self.audience is not None:
            claims["aud"] = self.audience
        return jwt.encode(claims, secret, "HS256")


@dataclass(frozen=True, slots=True)
class Target:
    """
    Whom to load. Connection N goes to endpoint N modulo their number.

    *processes* are those whose processor time and memory can be read, by name
    (``node 1``, ``redis``); there are none when the target was given by --url.
    *tick_s* is that of its ledger, where it is known. Picklable: each process of a
    crowd is given it.
    """

    endpoints: tuple[Endpoint, ...]
    credentials: Credentials = Credentials()
    insecure: bool = False
    processes: Mapping[str, int] = field(default_factory=dict)
    tick_s: float | None = None

    @property
    def is_local(self) -> bool:
        """Whether it was started for this run, so that its costs can be read."""
        return bool(self.processes)

    @property
    def nodes(self) -> list[int]:
        """The processes of its nodes."""
        return [pid for name, pid in self.processes.items() if name.startswith("node")]

    def endpoint(self, number: int) -> Endpoint:
        """Return where connection *number* goes."""
        return self.endpoints[number % len(self.endpoints)]

    def only(self, *indices: int) -> Target:
        """Return the same target with some of its endpoints; -1 is the last."""
        chosen = tuple(self.endpoints[index] for index in indices)
        return replace(self, endpoints=chosen)

    def tls(self) -> ssl.SSLContext:
        """Return how certificates are checked."""
        context = ssl.create_default_context()
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def __str__(self) -> str:
        return ", ".join(map(str, self.endpoints))


# -- the command line ------------------------------------------------------------------


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whom to load, and who we are."""
    group = parser.add_argument_group("the target")
    group.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="load this server: ws://, wss://, http:// or https://; given several "
        "times, connections are spread over all (default: a server is started here for "
        "the run, and its processor time and memory are measured, too)",
    )
    _add_sign_in(group)
    group.add_argument(
        "--insecure", action="store_true", help="take any TLS certificate"
    )
    group.add_argument(
        "--yes-this-is-mine",
        action="store_true",
        help="you may load what is not on this machine; without it, only loopback "
        "addresses are taken, so that a typo hits no stranger",
    )
    _add_local(group)


def _add_sign_in(group: argparse._ArgumentGroup) -> None:
    signed = group.add_mutually_exclusive_group()
    signed.add_argument("--token", metavar="JWT", help="everybody signs in with this")
    signed.add_argument(
        "--token-file", metavar="FILE", help="tokens, one a line, taken in turn"
    )
    signed.add_argument(
        "--secret",
        metavar="TEXT",
        help="the server's auth.hmac_secret: every client gets a token of its own",
    )
    signed.add_argument(
        "--secret-file", metavar="FILE", help="the same, read from a file"
    )
    group.add_argument("--issuer", metavar="TEXT", help="with --secret: auth.issuer")
    group.add_argument(
        "--audience", metavar="TEXT", help="with --secret: auth.audience"
    )


def _add_local(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="N",
        help="without --url: start N servers joined by Redis (default 1)",
    )
    group.add_argument(
        "--redis",
        metavar="URL",
        help="without --url: the Redis or Valkey of those servers; 'auto' starts one "
        "(default: none for one server, one is started for several)",
    )


def remote_target(options: argparse.Namespace) -> Target:
    """
    Return the target that --url names.

    Raises:
        BenchError: If an option is wrong, or the target is not on this machine and
            nobody has said that it may be loaded.
    """
    endpoints = tuple(parse_endpoint(url) for url in options.url)
    if not options.yes_this_is_mine:
        for endpoint in endpoints:
            _check_is_ours(endpoint)
    return Target(endpoints, credentials_of(options), options.insecure)


def _check_is_ours(endpoint: Endpoint) -> None:
    if not endpoint.is_loopback:
        raise BenchError(
            f"{endpoint} is not on this machine. A benchmark is an attack on whom it "
            "is not agreed with; if this server is yours, add --yes-this-is-mine"
        )


def credentials_of(options: argparse.Namespace) -> Credentials:
    """
    Return how clients sign in.

    Raises:
        BenchError: If a file cannot be read or is empty, or a secret is too short.
    """
    secret: str | None = options.secret
    tokens: tuple[str, ...] = ()
    if options.secret_file is not None:
        secret = _read(options.secret_file, "--secret-file").strip()
    if secret is not None and len(secret.encode()) < MIN_SECRET_BYTES:
        raise BenchError(
            f"the secret has {len(secret.encode())} bytes; a server takes none under "
            f"{MIN_SECRET_BYTES} (auth.hmac_secret)"
        )
    if options.token is not None:
        tokens = (options.token,)
    if options.token_file is not None:
        lines = _read(options.token_file, "--token-file").splitlines()
        tokens = tuple(line.strip() for line in lines if line.strip())
        if not tokens:
            raise BenchError(f"--token-file {options.token_file} holds no token")
    return Credentials(tokens, secret, options.issuer, options.audience)


def _read(path: str, option: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BenchError(f"{option} {path} cannot be read: {exc}") from exc
