"""As many file descriptors as connections are allowed, if the system gives them."""

from __future__ import annotations

import resource
from typing import Any

import pytest
from structlog.testing import capture_logs

from realtime.edges.descriptors import SPARE, allow_connections
from realtime.engine.admission import MAX_WAITING
from realtime.settings import LimitSettings

LIMITS = LimitSettings(max_connections=10_000, max_http_connections=1_000)
WANTED = 11_000 + MAX_WAITING + SPARE
NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "becomes", "warned"),
    [
        (1_024, 500_000, WANTED, False),
        (1_024, NO_LIMIT, WANTED, False),
        (500_000, 500_000, None, False),
        (NO_LIMIT, NO_LIMIT, None, False),
        (1_024, 12_000, 12_000, False),
        (1_024, 4_096, 4_096, True),
        (4_096, 4_096, None, True),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    becomes: int | None,
    warned: bool,
) -> None:
    """And what that leaves too few of is told, with how many are needed."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
    with capture_logs() as logs:
        allow_connections(LIMITS)

    assert found == ([] if becomes is None else [(becomes, hard)])
    assert [line["event"] for line in logs] == ["few_file_descriptors"] * warned
    if warned:
        assert logs[0]["needed"] == 10_000 + SPARE
        assert logs[0]["allowed"] == 4_096


def test_a_system_that_refuses_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts with what there is, and says that it is little."""

    def refuse(*_: Any) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, NO_LIMIT))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with capture_logs() as logs:
        allow_connections(LIMITS)
        allow_connections(LIMITS, warn=False)

    assert [line["allowed"] for line in logs] == [256]
