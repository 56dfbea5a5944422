"""The files that the simulator reads: costs, and what the users do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson

from realtime.bench.errors import BenchError
from realtime.bench.result import Result
from realtime.bench.simulate.costs import Costs, costs_of_result
from realtime.bench.simulate.traffic import Audience, Kind, Traffic


def read_costs(paths: Sequence[str]) -> Costs:
    """
    Return the measured costs of the project, and over them those of *paths*.

    Raises:
        BenchError: If a file cannot be read, or says something wrong.
    """
    own = files(__package__).joinpath("costs.toml").read_text("utf-8")
    sources = [tomllib.loads(own), *(_costs(path) for path in paths)]
    try:
        return Costs.of(*sources)
    except ValueError as exc:
        raise BenchError(f"--costs: {exc}") from exc


def read_traffic(path: str | None, connections: int) -> Traffic:
    """
    Return the traffic that a file describes, or the usual one.

    The file has the keys of ``Traffic``, and a table ``[[audiences]]`` for each.

    Raises:
        BenchError: If it cannot be read, or says something wrong.
    """
    given = _table(path, "--traffic") if path else {}
    try:
        audiences = given.pop("audiences", None)
        if audiences is not None:
            given["audiences"] = tuple(_audience(one) for one in audiences)
        known = {field.name for field in fields(Traffic)} - {"connections"}
        for name in given.keys() - known:
            raise ValueError(f"{name} is not a key: {', '.join(sorted(known))}")
        return Traffic(connections=connections, **given)
    except (ValueError, TypeError) as exc:
        where = f"--traffic {path}" if path else "--connections"
        raise BenchError(f"{where}: {exc}") from exc


def _audience(given: Mapping[str, Any]) -> Audience:
    return Audience(**{**given, "kind": Kind(given.get("kind"))})


def _costs(path: str) -> Mapping[str, Any]:
    table = _table(path, "--costs")
    if "scenario" not in table:
        return table
    result = Result.from_json(Path(path).read_bytes())
    found = costs_of_result(result.scenario, result.rows)
    if not found:
        raise BenchError(
            f"--costs {path}: a result of {result.scenario} tells no cost "
            "(only of servers that were started for the run is it known)"
        )
    return found


def _table(path: str, option: str) -> dict[str, Any]:
    try:
        text = Path(path).read_bytes()
        if path.endswith(".json"):
            found = orjson.loads(text)
        else:
            found = tomllib.loads(text.decode("utf-8"))
    except (OSError, ValueError) as exc:
        raise BenchError(f"{option} {path} cannot be read: {exc}") from exc
    if not isinstance(found, dict):
        raise BenchError(f"{option} {path} is no table")
    return found
