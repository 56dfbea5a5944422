"""By which names a server that trusts everybody may be called."""

from __future__ import annotations

import pytest

from realtime.edges.local import is_safe_name


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "shop.localhost:8080",
        "127.0.0.1:8080",
        "10.0.2.2:8080",
        "[::1]:8080",
        "[::1]",
    ],
)
def test_addresses_and_localhost_are_safe(host: str) -> None:
    """Nobody can let them point elsewhere."""
    assert is_safe_name(host, ())


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8080", "localhost.evil.example", "["]
)
def test_other_names_may_be_anybodys(host: str) -> None:
    """A page that calls us so may have let its own name point here."""
    assert not is_safe_name(host, ("https://app.example",))


def test_names_can_be_allowed() -> None:
    """One by one, or all of them."""
    assert is_safe_name("app.example:8080", ("https://app.example",))
    assert is_safe_name("app.example", ("https://APP.example:8443",))
    assert is_safe_name("whatever.example", ("*",))
