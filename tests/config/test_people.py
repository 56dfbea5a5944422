"""What must hold of [users]."""

from __future__ import annotations

import pytest

from realtime.config import ConfigErrors, load, warnings
from realtime.testing.nodes import config_of

STATUS = "\n[namespaces.status]\n"


def problems(text: str) -> list[str]:
    """The errors of a configuration."""
    with pytest.raises(ConfigErrors) as caught:
        config_of(text)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    "channel, reason",
    [
        ("status:all", "must have {user} once"),
        ("status:{user}:{user}", "must have {user} once"),
        ("sta tus:{user}", "is no channel"),
        ("{user}", "is no channel"),
        ("nowhere:{user}", "[namespaces.nowhere] would declare it"),
        ("live:{user}", "is in no declared namespace"),
    ],
)
def test_the_channel_of_a_status_must_be_one_of_each_user(
    channel: str, reason: str
) -> None:
    """In a declared namespace, with the user in its name."""
    (told,) = problems(f'[users]\nonline = true\nchannel = "{channel}"{STATUS}')
    assert "users.channel" in told
    assert reason in told


def test_a_channel_alone_does_nothing() -> None:
    """Who is online must be kept, to be told."""
    (told,) = problems(f'[users]\nchannel = "status:{{user}}"{STATUS}')
    assert "needs users.online = true" in told


def test_a_status_channel_that_is_right_is_taken() -> None:
    """With the namespace that it is in."""
    text = f'[users]\nonline = true\nchannel = "status:{{user}}"{STATUS}'
    assert config_of(text).users.channel == "status:{user}"


def test_a_notice_that_never_comes_is_remarked_on() -> None:
    """Who is online is not known unless it is asked for."""
    settings = {
        "webhooks.url": "https://example.com",
        "webhooks.secret": "0123456789abcdef",
        "webhooks.events": ["user_online"],
    }
    (told,) = [one for one in warnings(load(None, {}, settings)) if "online" in one]
    assert "webhooks.events has user_online" in told
    known = warnings(load(None, {}, {**settings, "users.online": True}))
    assert not [one for one in known if "online" in one]
