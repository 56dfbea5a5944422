"""
By which names a server that trusts everybody (``--dev``) may be called.

Only programs of this machine reach it, but a browser is one of them, and a page of
anybody may let its own name point to 127.0.0.1 (DNS rebinding): to the browser, our
answers are then of that page's origin. It is betrayed by the name that it calls us.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address


def is_safe_name(host: str, allowed_origins: Sequence[str]) -> bool:
    """
    Whether a page that calls us *host* (the header, with its port) may be trusted.

    Addresses are: nobody can let them point elsewhere. ``localhost`` is, and so is
    whatever the configuration allows.
    """
    name = _without_port(host.lower())
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    allowed = [origin.lower().partition("://")[2] for origin in allowed_origins]
    return "*" in allowed_origins or name in map(_without_port, allowed)


def refusal(host: str) -> str:
    """Return a sentence for whoever called us by another name."""
    return (
        f"Under --dev this server answers to localhost and to addresses, not to "
        f"{host[:80]!r}. A name can be allowed in the configuration, at "
        "server.allowed_origins."
    )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
