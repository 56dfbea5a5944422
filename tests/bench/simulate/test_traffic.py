"""What the users do."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.errors import BenchError
from realtime.bench.simulate.files import read_traffic
from realtime.bench.simulate.traffic import DAY_S, Audience, Kind, Traffic


def live(cadence_s: float) -> Audience:
    """Values pushed at most once in so many seconds."""
    return Audience("live", Kind.LIVE, 1.0, 10, 1.0, cadence_s)


@given(st.floats(0.001, 1e4), st.floats(0.05, 60))
def test_values_are_pushed_neither_more_often_than_they_change_nor_than_the_cadence(
    changes_per_s: float, cadence_s: float
) -> None:
    """Whichever is less, and more of both is never less."""
    pushes = live(cadence_s).pushes_per_s(changes_per_s)

    assert 0 < pushes <= min(changes_per_s, 1 / cadence_s) * (1 + 1e-9)
    assert live(cadence_s).pushes_per_s(changes_per_s * 2) >= pushes * (1 - 1e-9)


@pytest.mark.parametrize("changes_per_s", [0.2, 1.0, 5.0])
def test_the_rate_of_pushes_is_that_of_a_cadence_that_is_played(
    changes_per_s: float,
) -> None:
    """The first change leaves at once, those within the cadence at its end."""
    random, cadence_s, now, pushes, free_at = Random(2), 1.0, 0.0, 0, 0.0
    while now < 20_000:
        now += random.expovariate(changes_per_s)
        if now >= free_at:  # quiet: at once
            pushes, free_at = pushes + 1, now + cadence_s
        elif free_at > 0:  # one push stands for all until free_at
            until = free_at
            while (later := now + random.expovariate(changes_per_s)) < until:
                now = later
            pushes, free_at = pushes + 1, until + cadence_s
            now = until

    expected = live(cadence_s).pushes_per_s(changes_per_s)
    assert pushes / now == pytest.approx(expected, rel=0.03)


def test_publications_all_arrive() -> None:
    """Only values are merged."""
    assert Audience("a", Kind.PLAIN, 1.0, 10, 1.0).pushes_per_s(77.0) == 77.0


def test_the_population_has_its_peak_and_its_trough() -> None:
    """At the hour that is given, and twelve hours away."""
    traffic = Traffic(1000, trough=0.25, peak_hour=20.0)

    assert traffic.population(20 * 3600) == pytest.approx(1000)
    assert traffic.population(8 * 3600) == pytest.approx(250)
    assert traffic.population(0) == pytest.approx(traffic.population(DAY_S))


def test_traffic_is_read_from_a_file(tmp_path: Path) -> None:
    """Keys of the traffic, and audiences in place of the usual ones."""
    path = tmp_path / "traffic.toml"
    path.write_text(
        "session_s = 60\n[[audiences]]\n"
        'name = "all"\nkind = "plain"\nshare = 1.0\nmembers = 0\nper_minute = 0.1\n'
    )

    found = read_traffic(str(path), 500)

    assert (found.connections, found.session_s) == (500, 60)
    assert [one.name for one in found.audiences] == ["all"]


@pytest.mark.parametrize(
    "text",
    ["sesion_s = 60", "trough = 2.0", '[[audiences]]\nname = "x"\nkind = "loud"'],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str) -> None:
    """With the option that named the file."""
    path = tmp_path / "traffic.toml"
    path.write_text(text)

    with pytest.raises(BenchError, match="--traffic"):
        read_traffic(str(path), 500)


@pytest.mark.parametrize(
    "wrong",
    [{"share": 1.5}, {"members": -1}, {"cadence_s": 0}, {"joined": 0.5}],
)
def test_an_audience_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """By name and value."""
    with pytest.raises(ValueError, match="odd"):
        Audience(
            **{  # type: ignore[arg-type]
                "name": "odd",
                "kind": Kind.PLAIN,
                "share": 1.0,
                "members": 1,
                "per_minute": 1,
                **wrong,
            }
        )
