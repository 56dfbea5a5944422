"""Notices of real servers that share Redis, and are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realtime.testing.servers import ValkeyServer
from tests.faults.backends import notice_backend
from tests.faults.support import (
    BASE,
    Client,
    eventually,
    start_node,
    user_token,
    write_config,
)

SETTINGS = """
[presence]
lease = "1s"

[users]
online = true
linger = "100ms"

[webhooks]
url = "{url}"
secret = "a secret that signs what is sent"
events = ["user_online", "user_offline"]
"""


@pytest.mark.slow
def test_a_killed_node_s_users_are_told_of_as_offline_by_another(
    tmp_path: Path,
) -> None:
    """Whichever of them delivers: each is told of once, in order, by its ids."""
    with ValkeyServer() as valkey, notice_backend() as (url, heard):
        write_config(tmp_path, BASE + SETTINGS.format(url=url))
        more = ("--redis", valkey.url)
        with (
            start_node(tmp_path, *more, name="one") as one,
            start_node(tmp_path, *more, name="other") as other,
            Client(other.ws_url) as ben,
        ):
            ben.hello(token=user_token("ben"))
            ann = Client(one.ws_url)
            ann.hello(token=user_token("ann"))
            eventually(lambda: len(told(heard)) == 2, "two users online")
            one.kill()
            ann.close()
            eventually(lambda: len(told(heard)) == 3, "one offline")
            assert sorted(told(heard)[:2]) == [
                ("user_online", "ann"),
                ("user_online", "ben"),
            ]
            assert told(heard)[2] == ("user_offline", "ann")
            assert other.stop() == 0
        print("told:", told(heard))


def told(heard: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What was told, without what was told again."""
    once = {one["id"]: (one["event"], one["user"]) for one in heard}
    return list(once.values())
