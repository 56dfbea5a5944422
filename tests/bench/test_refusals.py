"""A target that refuses is quoted, with the setting that it was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest

from realtime.bench import connect, fanout, ingest
from realtime.bench.errors import BenchError
from realtime.bench.hints import explained, hint_of
from realtime.bench.local import SCENARIOS, SECRET, configuration
from realtime.bench.program import main, opened, parser_of
from realtime.config import load
from realtime.testing.processes import NodeProcess

AUTH = f'[auth]\nhmac_secret = "{SECRET}"\n'
BENCH = "[namespaces.bench]\n"


@contextmanager
def server(folder: Path, config: str) -> Iterator[str]:
    """Run a server; yield its address."""
    file = folder / "realtime.toml"
    file.write_text(config)
    with NodeProcess(["--config", str(file)], folder / "log") as node:
        yield node.url


def told(name: str, *arguments: str) -> str:
    """Run a scenario that cannot succeed; return what it says."""
    with pytest.raises(BenchError) as caught:
        main(name, ["--smoke", *arguments])
    return str(caught.value)


def test_without_a_token(tmp_path: Path) -> None:
    """The server says that there must be one; we say which options make one."""
    with server(tmp_path, AUTH + BENCH) as url:
        said = told("fanout", "--url", url)

    assert "unauthorized" in said
    assert "--secret (auth.hmac_secret)" in said


def test_without_the_namespace(tmp_path: Path) -> None:
    """What must be added to the configuration is a command away."""
    with server(tmp_path, AUTH) as url:
        said = told("fanout", "--url", url, "--secret", SECRET)

    assert "unknown_channel" in said
    assert "`realtime bench config`" in said


@pytest.mark.parametrize(
    ("name", "arguments"), [("recovery", []), ("soak", ["--duration", "1s"])]
)
def test_nobody_inside_is_no_result(
    name: str, arguments: Sequence[str], tmp_path: Path
) -> None:
    """No row of zeros: it has failed, and says why, once for all channels."""
    with server(tmp_path, AUTH) as url:
        said = told(name, "--url", url, "--secret", SECRET, *arguments)

    assert "unknown_channel" in said
    assert said.count("unknown_channel") <= 2  # to subscribe, and to publish


def test_without_a_grant_to_publish(tmp_path: Path) -> None:
    """Nothing is published, so nothing can be missed."""
    config = AUTH + SCENARIOS + "[limits]\npublish_rate = 0\n"
    claims = {
        "sub": "ann",
        "exp": int(time.time()) + 600,
        "realtime": {"subscribe": ["bench_history:*"]},
    }
    token = jwt.encode(claims, SECRET, "HS256")
    with server(tmp_path, config) as url:
        said = told("recovery", "--url", url, "--token", token)

    assert "nothing was measured" in said
    assert "permission_denied" in said


def test_without_the_counter(tmp_path: Path) -> None:
    """The same for counters, where somebody watches one."""
    with server(tmp_path, AUTH + BENCH) as url:
        said = told("latency", "--url", url, "--secret", SECRET)

    assert "unknown_channel" in said
    assert "`realtime bench config`" in said


def test_with_what_config_prints_it_works(tmp_path: Path) -> None:
    """The printed configuration is valid, and enough."""
    with server(tmp_path, AUTH + configuration()) as url:
        options = parser_of("ingest").parse_args(["--url", url, "--secret", SECRET])
        vars(options).update(ingest.SMOKE)
        result = ingest.run(options)

    assert result.rows
    assert all(row.get("server_us") is None for row in result.rows)
    assert load(str(tmp_path / "realtime.toml"), {}, {}).counters


@pytest.mark.parametrize(
    ("limit", "setting"),
    [
        ("max_connections = 5", "limits.max_connections]"),
        ("max_connections_per_address = 5", "limits.max_connections_per_address"),
        ("max_connections_per_user = 5", "limits.max_connections_per_user"),
        ("connect_rate_per_address = 1", "limits.connect_rate_per_address"),
        ("connect_rate = 1", "limits.connect_rate]"),
    ],
)
def test_limits_of_connections(tmp_path: Path, limit: str, setting: str) -> None:
    """Those who came in are counted; the warning names the setting."""
    token = "--token" if "user" in limit else "--secret"
    value = _token() if "user" in limit else SECRET
    with server(tmp_path, f"{AUTH}{BENCH}[limits]\n{limit}\n") as url:
        options = parser_of("connect").parse_args(["--url", url, token, value])
        vars(options).update(connect.SMOKE)
        # A storm: however slow this machine is, they come at the same time.
        options.rate, options.steps = 0.0, 1
        result = connect.run(options)

    assert 0 < result.rows[-1]["connections"] < 40  # type: ignore[operator]
    assert [one for one in result.warnings if setting in one], result.warnings


def _token() -> str:
    from realtime.bench.local import token

    return token("one-user")


def test_who_is_told_to_come_back_does(tmp_path: Path) -> None:
    """With retries, a storm that is over the rate comes in later."""
    with server(tmp_path, f"{AUTH}{BENCH}[limits]\nconnect_rate = 20\n") as url:
        options = parser_of("connect").parse_args(
            ["--url", url, "--secret", SECRET, "--retries", "50"]
        )
        vars(options).update(connect.SMOKE)
        options.rate, options.steps, options.connections = 0.0, 1, 30
        result = connect.run(options)

    assert result.rows[-1]["connections"] == 30
    assert result.rows[-1]["failed"] == 0


def test_publishing_too_often_is_told(tmp_path: Path) -> None:
    """What was refused is lost, and the warning says why."""
    limits = "[limits]\npublish_rate = 1\n"
    with server(tmp_path, f"{AUTH}{BENCH}{limits}") as url:
        options = parser_of("fanout").parse_args(["--url", url, "--secret", SECRET])
        vars(options).update(fanout.SMOKE)
        options.rates, options.patience = [20.0], 0.5
        with opened(options, "fanout") as bench:
            result = fanout.measure(bench)

    assert result.rows[-1]["lost"] > 0  # type: ignore[operator]
    assert [one for one in result.warnings if "limits.publish_rate" in one]


def test_strangers_are_not_loaded() -> None:
    """The whole program refuses, before it has looked at anything else."""
    said = told("connect", "--url", "wss://192.0.2.1")

    assert "--yes-this-is-mine" in said


def test_what_is_unknown_is_only_quoted() -> None:
    """A hint that is wrong is worse than none."""
    assert hint_of("something new") is None
    assert explained("something new") == "something new"
