"""redis.url in all its forms."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)

from realtime.adapters.redis.address import Address, Kind, parse_target
from realtime.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "connection_class"),
    [
        ("redis://", Kind.SINGLE, [("localhost", 6379)], Connection),
        ("redis://h:1/2", Kind.SINGLE, [("h", 1)], Connection),
        ("redis://[::1]:1", Kind.SINGLE, [("::1", 1)], Connection),
        ("rediss://h", Kind.SINGLE, [("h", 6379)], SSLConnection),
        ("unix:///r.sock", Kind.SINGLE, [("/r.sock", 0)], UnixDomainSocketConnection),
        (
            "redis+cluster://a:1,b,[::1]:2",
            Kind.CLUSTER,
            [("a", 1), ("b", 6379), ("::1", 2)],
            Connection,
        ),
        ("rediss+cluster://a/0", Kind.CLUSTER, [("a", 6379)], SSLConnection),
        (
            "redis+sentinel://a:1,b/main/3",
            Kind.SENTINEL,
            [("a", 1), ("b", 26379)],
            Connection,
        ),
    ],
)
def test_forms(
    url: str, kind: Kind, addresses: list[tuple[str, int]], connection_class: type
) -> None:
    """Each form names its servers and how to talk to them."""
    target = parse_target(url)
    assert target.kind is kind
    assert target.addresses == tuple(Address(*each) for each in addresses)
    assert target.connection_class is connection_class


def test_credentials_and_options() -> None:
    """User, password, database and options of the query reach the connection."""
    options = "redis+sentinel://u:p%40ss@a,b/main/3?health_check_interval=7"
    target = parse_target(f"{options}&sentinel_password=s")
    assert target.master == "main"
    assert target.sentinel_options == {"password": "s"}
    connection = target.connection(Address("h", 1))
    assert (connection.username, connection.password) == ("u", "p@ss")
    assert (connection.db, connection.health_check_interval) == (3, 7)


def test_connections_carry_a_name_that_redis_accepts() -> None:
    """The name of the node is shown by CLIENT LIST, without spaces."""
    target = parse_target("redis://h", "my app:ü")
    assert target.connection(Address("h", 1)).client_name == "my_app:_"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "begins with ''; use redis://, rediss://, unix://"),
        ("localhost:6379", "begins with 'localhost:6379'"),
        ("http://h", "begins with 'http'"),
        ("redis+magic://h", r"begins with 'redis\+magic'"),
        ("unix+cluster://h", r"begins with 'unix\+cluster'"),
        ("redis://h:port", "cannot be read"),
        ("redis+cluster://a:1,:2", "has the host ':2'"),
        ("redis+cluster://a:1,b:99999", "has the host 'b:99999'"),
        ("redis+cluster://a/3", "asks a cluster for database 3"),
        ("redis+sentinel://a,b", "names no master"),
        ("redis://h?no_such_option=1", "an option that does not exist"),
    ],
)
def test_what_is_malformed_is_named(url: str, problem: str) -> None:
    """Anything else is refused with a sentence about the key redis.url."""
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_target(url)
    assert caught.value.key == "redis.url"


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:hunter2@h:port",
        "redis+cluster://u:hunter2@a:1,b:x",
        "redis+sentinel://u:hunter2@a",
        "redis://u:hunter2@h?nope=1",
    ],
)
def test_errors_do_not_tell_the_password(url: str) -> None:
    """Whatever is wrong, the password is not repeated."""
    with pytest.raises(ConfigError) as caught:
        parse_target(url)
    assert "hunter2" not in str(caught.value)
