"""The resolved configuration, printed: it can be read back, but for its secrets."""

from __future__ import annotations

import tomllib
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from realtime.config import Config, load
from realtime.config.render import hide_password
from realtime.config.schema import SETTINGS, Form, Setting, format_bytes
from realtime.config.toml import to_toml
from realtime.core.namespaces import OPTIONS
from realtime.units import parse_bytes
from tests.signing import SECRET

FULL = """
[server]
host = "0.0.0.0"
port = 0
allowed_origins = ["https://a.example", "*"]
trusted_proxies = ["10.0.0.0/8"]
[redis]
prefix = "a:b"
timeout = 1.25
[auth]
issuer = "https://a.example/ \\"quoted\\" \\u00e9\\n"
anonymous = true
leeway = 0
[limits]
max_frame = 100001
max_event = "1kB"
[ledger]
tick = 0.0125
[namespaces.chat]
subscribe = "anyone"
[namespaces.news-2]
[namespaces.scores]
publish = "user"
history = "anyone"
members = "user"
history_size = 100
history_ttl = "10m"
last_value = true
presence = true
join_leave = true
linger = 2.5
conflate = "200ms"
conflate_by = "team"
max_rate = 20
batch = 0.0125
overflow = "coalesce"
[namespaces.last]
last_value = true
[namespaces.last-for-five-minutes]
last_value = true
history_size = 1
[counters.likes]
event = "like"
by = ["post", "user"]
windows = ["total", "5m", "1h/1m"]
[counters.revenue]
event = "purchase"
where = { currency = "EUR", size = [1, 2.5, true], "a.b" = "x" }
measure = "sum"
of = "amount"
lateness = "90s"
cadence = 1
max_cells = 5
decimals = 2
watch = "user"
"""


def same(one: Config, other: Config) -> bool:
    """Whether all settings, namespaces and counters are equal."""
    return all(
        getattr(one, field.name) == getattr(other, field.name)
        for field in fields(Config)
        if field.compare and field.name != "counters"
    ) and list(one.counters) == list(other.counters)


def test_what_is_printed_is_read_back_to_the_same(write):
    """Defaults, odd numbers, quotes, filters and all."""
    for text in ("", FULL):
        config = load(write(text), {}, {})
        again = load(write(config.render(), "again.toml"), {}, {})
        assert same(config, again)
        assert again.render() == config.render()


def test_every_setting_is_printed(write):
    """Also those that are not set, as a comment."""
    text = load(None, {}, {}).render()
    for section in SETTINGS.values():
        for setting in section.values():
            assert f"\n{setting.key} = " in text or f"# {setting.key} is not" in text


def test_what_a_namespace_has_of_its_own_is_printed(write):
    """Who may subscribe and publish always; the rest where it is not the default."""
    config = load(write(FULL), {}, {})
    shown = tomllib.loads(config.render())["namespaces"]
    assert shown["news-2"] == {"subscribe": "token", "publish": "token"}
    assert shown["scores"].keys() == OPTIONS.keys()
    assert shown["scores"]["history_ttl"] == "10m"
    assert shown["scores"]["conflate"] == "200ms"
    assert shown["last"] == {
        "subscribe": "token",
        "publish": "token",
        "history_size": 1,
        "history_ttl": "1d",
        "last_value": True,
    }


def test_secrets_are_printed_as_set(write):
    """In place they are hidden; from a file, the file is named."""
    write(SECRET, "hmac")
    path = write(
        f"""
        [redis]
        url = "redis://user:hush@localhost:6379/0"
        [auth]
        hmac_secret = "{SECRET}"
        [api_keys.backend]
        key = "{"k" * 16}"
        [api_keys.job]
        key = ["{"j" * 16}", "{"J" * 16}"]
        """
    )
    config = load(path, {}, {})
    shown = tomllib.loads(config.render())
    assert shown["auth"]["hmac_secret"] == "(set)"
    assert shown["redis"]["url"] == "redis://user:(set)@localhost:6379/0"
    assert shown["api_keys"]["backend"] == {"sha256": "(set)"}
    assert shown["api_keys"]["job"] == {"sha256": ["(set)", "(set)"]}
    for secret in (SECRET, "hush", "k" * 16, config.api_keys[0].sha256):
        assert secret not in config.render()


def test_a_secret_from_a_file_is_printed_as_its_file(write):
    """So that what is printed can be read back."""
    file = write(SECRET, "hmac")
    config = load(write('[auth]\nhmac_secret_file = "hmac"\n'), {}, {})
    shown = tomllib.loads(config.render())["auth"]
    assert shown["hmac_secret_file"] == file
    assert "hmac_secret" not in shown
    assert same(config, load(write(config.render(), "again.toml"), {}, {}))


def test_passwords_are_hidden_wherever_an_address_has_them():
    """Before the host, and in the options for sentinels."""
    hidden = hide_password("redis+sentinel://u:a@h:1,h:2/m?sentinel_password=b&db=0")
    assert hidden == "redis+sentinel://u:(set)@h:1,h:2/m?sentinel_password=(set)&db=0"
    assert hide_password("redis://:a@h") == "redis://:(set)@h"
    assert hide_password("redis://u:a@b@h") == "redis://u:(set)@h"
    assert hide_password("redis://h:1/0") == "redis://h:1/0"
    assert hide_password("unix:///run/redis.sock") == "unix:///run/redis.sock"


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_value_survives_the_way_through_toml(value):
    """Whatever a text contains, it comes back as it was."""
    assert tomllib.loads(f"value = {to_toml(value)}")["value"] == value


@given(st.integers(0, 2**40))
def test_any_size_survives_being_written(size):
    """In the largest unit that divides it."""
    assert parse_bytes(format_bytes(size)) == size


@given(st.just(0.0) | st.floats(1e-6, 1e9))
def test_any_duration_survives_being_written(seconds):
    """Every setting of that form is printed exactly."""
    setting = Setting("x", "y", "y_s", Form.DURATION, False, 1.0)
    written = tomllib.loads(f"value = {setting.display(seconds)}")["value"]
    assert setting.convert(written) == seconds
