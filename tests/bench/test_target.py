"""Whom the clients load: addresses, tokens, and nobody by mistake."""

from __future__ import annotations

import argparse
from pathlib import Path

import jwt
import pytest

from realtime.bench.errors import BenchError
from realtime.bench.target import (
    Credentials,
    Endpoint,
    Target,
    add_target_arguments,
    credentials_of,
    parse_endpoint,
    remote_target,
)

SECRET = "a secret of thirty-two bytes or more"


def options(*arguments: str) -> argparse.Namespace:
    """What the command line comes to."""
    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:8080", Endpoint(False, "127.0.0.1", 8080)),
        ("http://localhost", Endpoint(False, "localhost", 80)),
        ("https://rt.example.com/", Endpoint(True, "rt.example.com", 443)),
        ("wss://example.com:8443/v1/ws", Endpoint(True, "example.com", 8443, "/v1/ws")),
        ("ws://[::1]:9000", Endpoint(False, "::1", 9000)),
    ],
)  # fmt: skip
def test_addresses_are_read(url: str, expected: Endpoint) -> None:
    """With the usual ports, and a path where one is given."""
    assert parse_endpoint(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://example.com",
        "ftp://127.0.0.1:8080",
        "ws://",
        "ws://example.com:port",
        "ws://example.com/?token=x",
        "ws://user:secret@example.com",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    """The sentence names the option, the value and an example."""
    with pytest.raises(BenchError, match="must be an address such as ws://"):
        parse_endpoint(url)


@pytest.mark.parametrize(
    ("endpoint", "authority"),
    [
        (Endpoint(False, "example.com", 80), "example.com"),
        (Endpoint(True, "example.com", 80), "example.com:80"),
        (Endpoint(False, "::1", 8080), "[::1]:8080"),
    ],
)
def test_the_host_header_has_the_port_where_it_is_unusual(
    endpoint: Endpoint, authority: str
) -> None:
    """As browsers write it."""
    assert endpoint.authority == authority


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080", "ws://[::1]:80"])
def test_this_machine_may_be_loaded(url: str) -> None:
    """Without a further word."""
    assert remote_target(options("--url", url)).endpoints == (parse_endpoint(url),)


def test_others_may_not_be_loaded_by_mistake() -> None:
    """Loading a stranger takes more than a typo."""
    with pytest.raises(BenchError, match=r"192\.0\.2\.1 is not on this machine.*--yes"):
        remote_target(options("--url", "wss://192.0.2.1"))


def test_one_stranger_among_several_is_one_too_many() -> None:
    """Every address is looked at."""
    given = options("--url", "ws://127.0.0.1", "--url", "ws://192.0.2.1")

    with pytest.raises(BenchError, match=r"192\.0\.2\.1"):
        remote_target(given)


def test_what_is_mine_may_be_loaded() -> None:
    """The option says so."""
    given = options("--url", "wss://192.0.2.1", "--yes-this-is-mine")

    assert str(remote_target(given)) == "wss://192.0.2.1"


def test_connections_are_spread_over_endpoints() -> None:
    """In turn; and a part of a target is one, too."""
    first, last = parse_endpoint("ws://127.0.0.1:1"), parse_endpoint("ws://127.0.0.1:2")
    target = Target((first, last))

    assert [target.endpoint(number) for number in range(3)] == [first, last, first]
    assert target.only(-1).endpoints == (last,)


def test_tokens_are_taken_in_turn(tmp_path: Path) -> None:
    """Those of a file, which may have empty lines."""
    file = tmp_path / "tokens"
    file.write_text("one\n\ntwo\n")

    credentials = credentials_of(options("--token-file", str(file)))

    assert [credentials.token(n, "") for n in range(3)] == ["one", "two", "one"]


def test_with_a_secret_everybody_has_a_token_of_their_own(tmp_path: Path) -> None:
    """It names the user, and what the server's configuration demands."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    given = options("--secret-file", str(file), "--issuer", "me", "--audience", "you")

    token = credentials_of(given).token(7, "ann")

    assert token is not None
    claims = jwt.decode(token, SECRET, ["HS256"], audience="you", issuer="me")
    assert claims["sub"] == "ann"
    assert "bench:*" in claims["realtime"]["subscribe"]


def test_without_either_everybody_is_anonymous() -> None:
    """As on a server for development."""
    assert credentials_of(options()).token(0, "ann") is None


@pytest.mark.parametrize("option", ["--token-file", "--secret-file"])
def test_files_that_are_not_there_are_named(option: str) -> None:
    """With the option."""
    with pytest.raises(BenchError, match=rf"{option} /nowhere/at/all cannot be read"):
        credentials_of(options(option, "/nowhere/at/all"))


def test_a_file_without_tokens_is_refused(tmp_path: Path) -> None:
    """It would make everybody anonymous."""
    file = tmp_path / "tokens"
    file.write_text("\n")

    with pytest.raises(BenchError, match="holds no token"):
        credentials_of(options("--token-file", str(file)))


def test_short_secrets_are_refused() -> None:
    """No server takes them; the sentence says how long they must be."""
    with pytest.raises(BenchError, match="has 5 bytes; a server takes none under 32"):
        credentials_of(options("--secret", "wrong"))


def test_secrets_are_not_shown() -> None:
    """Neither in tracebacks nor in logs."""
    assert SECRET not in repr(Credentials(("a.b.c",), SECRET))
    assert "a.b.c" not in repr(Credentials(("a.b.c",), SECRET))
