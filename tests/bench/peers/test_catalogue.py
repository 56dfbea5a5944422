"""Who is compared, and how they are started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime.bench.compare import _chosen
from realtime.bench.errors import BenchError
from realtime.bench.peers.catalogue import (
    OURS,
    PEERS,
    Surroundings,
    _centrifugo_config,
)


def titles(only: str | None) -> list[str]:
    """Return the rows of a table."""
    return [peer.title for peer in _chosen(only)]


def test_ours_comes_first_in_each_deployment() -> None:
    """Ratios are to the last row of ours above."""
    alone = [peer.name for peer in PEERS if not peer.redis]
    joined = [peer.name for peer in PEERS if peer.redis]

    assert [peer.name for peer in PEERS] == alone + joined
    assert alone[0] == joined[0] == OURS


def test_titles_are_unique() -> None:
    """Each row of the table is another server or another deployment."""
    assert len(set(titles(None))) == len(PEERS)


def test_ours_is_there_whoever_is_chosen() -> None:
    """In each deployment in which there is somebody to compare with."""
    assert titles("websockets") == ["realtime", "websockets"]
    assert titles("Channels (core layer)") == [
        "realtime + Redis",
        "Channels (core layer) + Redis",
    ]
    assert titles("centrifugo, picows") == [
        "realtime",
        "Centrifugo",
        "picows",
        "realtime + Redis",
        "Centrifugo + Redis",
    ]


@pytest.mark.parametrize("name", sorted({peer.name for peer in PEERS}))
def test_everybody_can_be_chosen(name: str) -> None:
    """No name has a comma, which stands between names."""
    assert {peer.name for peer in _chosen(name)} == {name, OURS}


def test_unknown_names_are_refused() -> None:
    """The sentence says which, and which there are."""
    with pytest.raises(BenchError, match=r"there is no 'pusher'; there are .*picows"):
        _chosen("pusher")


def test_what_is_not_there_has_no_version(tmp_path: Path) -> None:
    """Neither packages of npm in an empty folder, nor a binary that nobody named."""
    nowhere = Surroundings(5.0, tmp_path)
    missing = {peer.name for peer in PEERS if peer.version(nowhere) is None}

    assert {"Socket.IO", "Centrifugo"} <= missing
    assert OURS not in missing
    assert "websockets" not in missing


def test_a_binary_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    """A mistyped path is not the same as none."""
    where = Surroundings(5.0, tmp_path, str(tmp_path / "centrifugo"))
    [centrifugo] = [one for one in PEERS if one.title == "Centrifugo"]

    with pytest.raises(BenchError, match="does not run"):
        centrifugo.version(where)


def test_whatever_is_missing_says_how_to_get_it() -> None:
    """Every peer but ours."""
    assert all(peer.install for peer in PEERS if peer.name != OURS)


def test_centrifugo_waits_for_pongs_shorter_than_it_pings() -> None:
    """It refuses to start otherwise."""
    client = _centrifugo_config(5.0, 8000, None)["client"]

    assert isinstance(client, dict)
    assert (client["ping_interval"], client["pong_timeout"]) == ("5s", "3s")


def test_centrifugo_is_joined_by_redis_if_there_is_one() -> None:
    """The configuration is JSON and names the Redis."""
    config = json.loads(json.dumps(_centrifugo_config(25.0, 8000, "redis://h:1/0")))

    assert config["engine"] == {"type": "redis", "redis": {"address": "redis://h:1/0"}}
