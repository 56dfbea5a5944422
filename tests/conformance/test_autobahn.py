"""
RFC 6455 by Autobahn's own cases, against the real server stack with an echo behind it.

The cases drive uvicorn, the front door, the frame reader and the closing handshake as
the product has them; only the peer, which echoes, is the test's.

In the cases about compression, 12 and 13, it compresses every message, however small,
since their client takes no other. A server may choose for each message (RFC 7692, 6).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence

import kosoku
import pytest

from realtime.settings import LimitSettings, ServerSettings
from realtime.testing.host import SimpleHost
from realtime.testing.server import running

COMPRESSION = ["12.*", "13.*"]
LARGE = ["9.*"]  # messages of up to 16 MiB, and many of them

NOT_OK = {
    # The bad character ends a text frame's payload byte by byte. The frame is judged
    # when it is complete, not at the first bad byte, which the RFC leaves open.
    "6.4.3": "NON-STRICT",
    "6.4.4": "NON-STRICT",
    # The RFC does not say what is right; the verdict is for the reader.
    "7.1.6": "INFORMATIONAL",
    "7.13.1": "INFORMATIONAL",
    "7.13.2": "INFORMATIONAL",
}


@pytest.fixture(autouse=True)
def own_modules() -> Iterator[None]:
    """Take back what Autobahn's shim leaves behind: a pkg_resources that is none."""
    path, known = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    if "pkg_resources" not in known:
        sys.modules.pop("pkg_resources", None)


def verdicts(
    loop: str,
    cases: list[str] | None,
    exclude: Sequence[str] = (),
    compression: bool = False,
) -> dict[str, str]:
    """Run Autobahn's cases; return those that are not simply OK, and how many ran."""
    host = SimpleHost(
        limits=LimitSettings(max_frame_bytes=32 * 1024 * 1024),
        server=ServerSettings(compression=compression),
    )
    with running(host, loop=loop) as port:
        url = f"ws://127.0.0.1:{port}/v1/ws"
        try:
            results = asyncio.run(kosoku.run_fuzzingclient(url, cases, list(exclude)))
        except kosoku.FailureError as failure:
            results = failure.results
    notable = {
        result.case_id: result.behavior.value
        if result.behavior.value != "OK"
        else f"close {result.behavior_close.value}"
        for result in results
        if (result.behavior.value, result.behavior_close.value) != ("OK", "OK")
    }
    return {"cases": str(len(results)), **notable}


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_no_case_of_autobahn_fails(loop: str) -> None:
    """All 247 cases but the large ones: OK, save for the five explained above."""
    assert verdicts(loop, None, COMPRESSION + LARGE) == {"cases": "247", **NOT_OK}


@pytest.mark.slow
def test_large_and_many_messages_come_back_whole() -> None:
    """All 54 cases with messages of up to 16 MiB, in fragments and chopped, are OK."""
    assert verdicts("uvloop", LARGE) == {"cases": "54"}


# Autobahn's cases leave the files open that they take their messages from.
careless = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@careless
@pytest.mark.slow
def test_small_messages_come_back_compressed() -> None:
    """The first case of each group of 12 and 13 is OK: a thousand messages each."""
    cases = [f"12.{number}.1" for number in range(1, 6)]
    cases += [f"13.{number}.1" for number in range(1, 8)]

    assert verdicts("uvloop", cases, compression=True) == {"cases": "12"}


# 18,000 messages of up to 128 KiB each: minutes, or many on a machine that is busy.
patient = [
    pytest.mark.conformance,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


@pytest.mark.parametrize(
    "number", [pytest.param(each, marks=patient) for each in range(1, 6)]
)
def test_compressed_messages_of_all_kinds_come_back(number: int) -> None:
    """All 90 cases 12 are OK: text, pictures, pages; large, small and in fragments."""
    assert verdicts("uvloop", [f"12.{number}.*"], compression=True) == {"cases": "18"}


@pytest.mark.parametrize(
    "number", [pytest.param(each, marks=patient) for each in range(1, 8)]
)
def test_compression_is_agreed_on_whatever_is_offered(number: int) -> None:
    """All 126 cases 13 are OK: no context, windows of 9 and 15 bits, several offers."""
    assert verdicts("uvloop", [f"13.{number}.*"], compression=True) == {"cases": "18"}
