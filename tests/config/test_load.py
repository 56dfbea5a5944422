"""Loading the configuration: three sources, one result, and every mistake by place."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from realtime.config import Config, ConfigErrors, find_file, load
from realtime.core.channels import Rule
from realtime.core.namespaces import NamespaceDefinition
from realtime.errors import ConfigError
from tests.signing import SECRET


def errors(path: str | None = None, environ=None, overrides=None) -> list[str]:
    """The lines of the error; each is said once."""
    with pytest.raises(ConfigErrors) as caught:
        load(path, environ or {}, overrides or {})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.errors)
    return [line.removeprefix(f"{path}, ") for line in lines]


# -- what comes out --------------------------------------------------------------------


def test_nothing_given_gives_the_defaults():
    """Each section is its dataclass as it is."""
    config = load(None, {}, {})
    assert config == Config(counters=config.counters)
    assert len(config.counters) == 0


def test_an_empty_file_gives_the_defaults(write):
    """There is nothing that must be set."""
    config = load(write("# nothing\n"), {}, {})
    assert config == Config(counters=config.counters)


def test_the_file_is_read_section_by_section(write):
    """Durations and sizes as people write them, or as plain numbers."""
    config = load(
        write(
            """
            [server]
            port = 9000
            allowed_origins = ["https://a.example", "*"]
            [limits]
            max_frame = "128KiB"
            max_body = 5000
            keepalive_max = 900
            [ledger]
            tick = "50ms"
            heal = 2.5
            [events]
            max_age = "72h"
            [logs]
            level = "debug"
            """
        ),
        {},
        {},
    )
    assert config.server.port == 9000
    assert config.server.allowed_origins == ("https://a.example", "*")
    assert config.limits.max_frame_bytes == 128 * 1024
    assert config.limits.max_body_bytes == 5000
    assert config.limits.keepalive_max_s == 900.0
    assert config.ledger.tick_s == 0.05
    assert config.ledger.heal_s == 2.5
    assert config.events.max_age_s == 72 * 3600.0
    assert config.logs.level == "debug"


def test_namespaces_and_counters_are_declared_by_name(write):
    """Each table makes one definition."""
    config = load(
        write(
            """
            [namespaces.chat]
            subscribe = "user"
            [counters.likes]
            event = "like"
            by = ["post"]
            windows = ["total", "5m"]
            [ledger]
            tick = "200ms"
            """
        ),
        {},
        {},
    )
    assert config.namespaces == {"chat": NamespaceDefinition("chat", Rule.USER)}
    likes = config.counters.get("likes")
    assert likes is not None
    assert likes.by == ("post",)
    assert [window.text for window in likes.windows] == ["total", "5m"]
    assert likes.cadence_s == 0.2


def test_api_keys_become_digests(write):
    """In place, as a digest, or in a file: the key itself is not kept."""
    key = "k" * 16
    digest = sha256(key.encode()).hexdigest()
    for how in (
        f'key = "{key}"',
        f'sha256 = "{digest.upper()}"',
        f'key_file = "{write(key + chr(10), "key")}"',
    ):
        (found,) = load(write(f"[api_keys.backend]\n{how}\n"), {}, {}).api_keys
        assert (found.name, found.sha256) == ("backend", digest)


def test_an_api_key_may_have_a_successor_under_its_name(write):
    """Both are believed while backends change over; the owner stays the same."""
    keys = ("k" * 16, "n" * 16)
    digests = [sha256(key.encode()).hexdigest() for key in keys]
    files = [write(key, f"key-{key[0]}") for key in keys]
    for option, values in (("key", keys), ("sha256", digests), ("key_file", files)):
        path = write(f"[api_keys.backend]\n{option} = {list(values)}\n")
        found = load(path, {}, {}).api_keys
        assert [(key.name, key.sha256) for key in found] == [
            ("backend", digest) for digest in digests
        ]
    given = {"REALTIME_API_KEYS__BACKEND__SHA256": ",".join(digests)}
    assert load(write(""), given, {}).api_keys == found


def test_secrets_are_read_from_files_beside_the_configuration(write):
    """A relative path is relative to the configuration; the line's end is cut off."""
    write(SECRET + "\n", "hmac")
    write("redis://:pw@localhost/0\n", "redis")
    path = write('[auth]\nhmac_secret_file = "hmac"\n[redis]\nurl_file = "redis"\n')
    config = load(path, {}, {})
    assert config.auth.hmac_secret == SECRET
    assert config.auth.hmac_secret_file == str(Path(path).parent / "hmac")
    assert config.redis.url == "redis://:pw@localhost/0"


def test_secrets_are_not_in_a_repr(write):
    """Somebody will log the configuration."""
    environ = {
        "REALTIME_AUTH__HMAC_SECRET": SECRET,
        "REALTIME_REDIS__URL": "redis://:hush@localhost",
        "REALTIME_API_KEYS__BACKEND__KEY": "k" * 16,
    }
    shown = repr(load(None, environ, {}))
    assert SECRET not in shown
    assert "hush" not in shown
    assert "k" * 16 not in shown
    assert sha256(b"k" * 16).hexdigest() not in shown


# -- the order of the sources --------------------------------------------------------


def test_the_command_line_overrides_the_environment_and_that_the_file(write):
    """Key by key: what one does not say, an earlier one may."""
    path = write('[server]\nport = 1\nhost = "::1"\n[ledger]\nshards = 2\nheal = 9\n')
    environ = {"REALTIME_SERVER__PORT": "2", "REALTIME_LEDGER__SHARDS": "3"}
    config = load(path, environ, {"server.port": 3, "server.host": None})
    assert config.server.port == 3
    assert config.server.host == "::1"
    assert config.ledger.shards == 3
    assert config.ledger.heal_s == 9.0


@pytest.mark.parametrize(
    "variable, text, section, field, value",
    [
        ("REALTIME_SERVER__DEV", "yes", "server", "dev", True),
        ("REALTIME_SERVER__DASHBOARD", "off", "server", "dashboard", False),
        ("REALTIME_SERVER__PORT", "0", "server", "port", 0),
        ("REALTIME_LEDGER__TICK", "50ms", "ledger", "tick_s", 0.05),
        ("REALTIME_LEDGER__TICK", "0.5", "ledger", "tick_s", 0.5),
        ("REALTIME_LIMITS__MAX_FRAME", "1MiB", "limits", "max_frame_bytes", 2**20),
        ("REALTIME_LIMITS__MAX_BODY", "2048", "limits", "max_body_bytes", 2048),
        (
            "REALTIME_SERVER__ALLOWED_ORIGINS",
            "https://a, https://b",
            "server",
            "allowed_origins",
            ("https://a", "https://b"),
        ),
        (
            "REALTIME_SERVER__TRUSTED_PROXIES",
            '["10.0.0.0/8"]',
            "server",
            "trusted_proxies",
            ("10.0.0.0/8",),
        ),
        ("REALTIME_SERVER__ALLOWED_ORIGINS", "", "server", "allowed_origins", ()),
        ("REALTIME_AUTH__ISSUER", "", "auth", "issuer", None),
        ("REALTIME_AUTH__ISSUER", "5", "auth", "issuer", "5"),
    ],
)
def test_texts_of_the_environment_mean_what_the_setting_needs(
    variable, text, section, field, value
):
    """Switches, numbers, lists and durations; empty takes a setting away."""
    config = load(None, {variable: text}, {})
    assert getattr(getattr(config, section), field) == value


def test_named_tables_come_from_the_environment_too():
    """Lists are separated by commas, a filter may be given key by key."""
    environ = {
        "REALTIME_COUNTERS__LIKES__EVENT": "like",
        "REALTIME_COUNTERS__LIKES__BY": "post, country",
        "REALTIME_COUNTERS__LIKES__WINDOWS": "total,1h/1m",
        "REALTIME_COUNTERS__LIKES__MAX_CELLS": "7",
        "REALTIME_COUNTERS__LIKES__WHERE__KIND": "video",
        "REALTIME_COUNTERS__BIG__EVENT": "buy",
        "REALTIME_COUNTERS__BIG__WHERE": '{size = [1, 2], kind = "x"}',
        "REALTIME_NAMESPACES__CHAT__PUBLISH": "user",
    }
    config = load(None, environ, {})
    likes, big = config.counters.get("likes"), config.counters.get("big")
    assert likes is not None
    assert big is not None
    assert likes.by == ("post", "country")
    assert likes.max_cells == 7
    assert likes.where == {"kind": ("video",)}
    assert big.where == {"size": (1, 2), "kind": ("x",)}
    assert config.namespaces["chat"].publish is Rule.USER


def test_other_programs_variables_are_not_ours():
    """Kubernetes makes such for a service called realtime."""
    environ = {
        "REALTIME_PORT": "tcp://10.0.0.1:8080",
        "REALTIME_SERVICE_HOST": "10.0.0.1",
        "REALTIME_CONFIG": "x",
        "SERVER__PORT": "1",
    }
    assert load(None, environ, {}).server.port == 8080


def test_the_file_is_found_by_argument_variable_or_place(tmp_path, monkeypatch):
    """In this order; and there need not be one."""
    monkeypatch.chdir(tmp_path)
    assert find_file(None, {}) is None
    (tmp_path / "realtime.toml").touch()
    assert find_file(None, {}) == "realtime.toml"
    assert find_file(None, {"REALTIME_CONFIG": "b.toml"}) == "b.toml"
    assert find_file("a.toml", {"REALTIME_CONFIG": "b.toml"}) == "a.toml"


# -- mistakes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, told",
    [
        (
            "[sever]\n",
            "line 1: sever: there is no section [sever]; did you mean server?",
        ),
        ("port = 1\n", "line 1: port: belongs into a section: [server]"),
        (
            "\n[server]\nprot = 1\n",
            "line 3: server.prot: there is no such setting; did ",
        ),
        (
            "[server]\ntick = 1\n",
            "line 2: server.tick: there is no such setting; it belo",
        ),
        ("[ledger]\ntick_s = 1\n", "did you mean tick?"),
        (
            "server = 5\n",
            "line 1: server: must be a table of settings, written [server]",
        ),
        ("[[server]]\n", "line 1: server: must be a table"),
        ("namespaces.chat = 1\n", "line 1: namespaces.chat: must be a table"),
        (
            "counters = []\n",
            "line 1: counters: must be a table of settings, written [co",
        ),
        (
            "[server]\nport = true\n",
            "server.port: must be a whole number, such as 8080; ",
        ),
        ('[server]\nport = "80"\n', 'such as 8080; got "80"'),
        ("[server]\nport = 70000\n", "must be between 0 and 65535; got 70000"),
        ("[server]\nhost = 1\n", 'must be a text, such as "127.0.0.1"; got 1'),
        ('[server]\nhost = " "\n', "server.host: must not be empty"),
        ("[server]\ndev = 1\n", "must be true or false, such as false; got 1"),
        (
            '[server]\nallowed_origins = "x"\n',
            'such as ["https://app.example.com"]; go',
        ),
        ("[server]\ntrusted_proxies = [1]\n", "must be a list of texts"),
        ("[ledger]\ntick = true\n", 'ledger.tick: must be a duration, such as "100ms"'),
        ('[ledger]\ntick = "5 parsecs"\n', "no known unit"),
        ("[ledger]\ntick = nan\n", "ledger.tick: nan is out of range"),
        ("[ledger]\ntick = -1\n", "ledger.tick: -1 is out of range"),
        ('[ledger]\ntick = "1ms"\n', 'must be between "10ms" and "10s"; got "1ms"'),
        ('[ledger]\ntick = "11s"\n', 'must be between "10ms" and "10s"; got "11s"'),
        ('[ledger]\nmarks_ttl = "23h"\n', 'must be between "1d" and "3650d"; got'),
        ("[limits]\nmax_frame = 1.5\n", 'must be a size, such as "256KiB"; got 1.5'),
        ('[limits]\nmax_frame = "1GiB"\n', 'must be between "1KiB" and "64MiB"'),
        ('[logs]\nlevel = "loud"\n', '"debug", "info", "warning", "error"; got "loud"'),
        ('[events]\ntrack = "all"\n', 'must be one of "token", "user", "anyone"'),
        ("[counters.likes]\nmeasure = 'count'\n", "counters.likes.event: is missing"),
        ("[counters.l]\nevent='l'\nwindows=[\n'x']\n", "line 3: counters.l.windows: "),
        ("[namespaces.live]\n", "line 1: namespaces.live: is reserved"),
        (
            "[namespaces.a]\npublsh = 1\n",
            "line 2: namespaces.a.publsh: is not a setting",
        ),
        ("a = \n", "line 1: not valid TOML: "),
        ("[a]\n[a]\n", "line 2: not valid TOML: "),
        ("[a]\nb = 1\nb = 2", "line 3: not valid TOML: Cannot overwrite a value"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(write, text, told):
    """One sentence: the place, the key, and what would be right."""
    (line,) = errors(write(text))
    assert told in line
    assert line.startswith("line ")


@pytest.mark.parametrize(
    "variable, text, told",
    [
        ("REALTIME_SERVER__PROT", "1", "no setting server.prot; did you mean port?"),
        ("REALTIME_SEVER__PORT", "1", "there is no section [sever]; did you mean serv"),
        ("REALTIME_SERVER__PORT", "x", "must be a whole number; got 'x'"),
        ("REALTIME_SERVER__PORT", "", "must be a whole number; got ''"),
        ("REALTIME_SERVER__DEV", "maybe", "must be true or false; got 'maybe'"),
        ("REALTIME_SERVER__ALLOWED_ORIGINS", "[1", "must be a list of texts; got '[1'"),
        ("REALTIME_LEDGER__TICK", "1x", "no known unit"),
        ("REALTIME_LEDGER__SHARDS", "0", "must be between 1 and 1024; got 0"),
        ("REALTIME_COUNTERS__A__WHERE", "x", "must be a table; got 'x'"),
        ("REALTIME_NAMESPACES__A__PUBLISH", "x", "must be one of"),
        ("REALTIME_SERVER__PORT__X", "1", "must be a whole number"),
    ],
)
def test_a_mistake_in_the_environment_is_named_by_its_variable(variable, text, told):
    """The variable is what the reader has to look for."""
    (line,) = errors(None, {variable: text})
    assert told in line
    assert line.startswith(f"{variable}: ")


def test_a_variable_inside_what_is_no_table_is_a_mistake_of_the_file(write):
    """The environment cannot hide it."""
    (line,) = errors(write("server = 5\n"), {"REALTIME_SERVER__PORT": "1"})
    assert "line 1: server: must be a table" in line


def test_a_mistake_on_the_command_line_says_so():
    """The reader looks at what they typed."""
    (line,) = errors(None, {}, {"server.port": 99999})
    assert line.startswith("server.port (from the command line): must be between")


def test_all_mistakes_are_reported_together(write):
    """Those of variables first, then those of the file by line."""
    path = write('[server]\nport = "x"\n[ledger]\ntick = "x"\n[nope]\n')
    lines = errors(path, {"REALTIME_LEDGER__SHARDS": "-1"})
    assert [line.partition(":")[0] for line in lines] == [
        "REALTIME_LEDGER__SHARDS",
        "line 2",
        "line 4",
        "line 5",
    ]


def test_the_error_is_a_config_error_with_the_first_key_and_line(write):
    """Whoever catches ConfigError gets the first of them."""
    with pytest.raises(ConfigError) as caught:
        load(write("[server]\nport = 1.5\n"), {}, {})
    assert (caught.value.key, caught.value.line) == ("server.port", 2)


def test_a_file_that_cannot_be_read_is_named(tmp_path, write):
    """Missing, a folder, or no text."""
    for path, told in (
        (str(tmp_path / "no.toml"), "No such file"),
        (str(tmp_path), "Is a directory"),
    ):
        assert told in errors(path)[0]
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in errors(str(binary))[0]


@pytest.mark.parametrize(
    "table, told",
    [
        ("", "give one of key, key_file and sha256"),
        ('key = "short"', "has 5 characters, at least 16"),
        ('sha256 = "abc"', "must be 64 hexadecimal digits"),
        ('kye = "x"', "did you mean key?"),
        ("key = 5", "must be a text"),
        ("key = []", "must be a text, or a list of texts"),
        (f'key = ["{"k" * 16}", 5]', "must be a text, or a list of texts"),
        (f'key = ["{"k" * 16}", "short"]', "has 5 characters, at least 16"),
        (f'sha256 = ["{"a" * 64}", "abc"]', "must be 64 hexadecimal digits"),
        ('key_file = ["missing", "too"]', "No such file"),
        ("key_file = [5]", "must be a text, or a list of texts"),
        (f'key = "{"k" * 16}"\nsha256 = "{"a" * 64}"', "give one of"),
        ('sha256 = "(set)"', "put the secret itself"),
        ('key_file = "missing"', "No such file"),
    ],
)
def test_a_wrong_api_key_is_named_but_not_quoted(write, table, told):
    """What is wrong is said; the key is not."""
    (line,) = errors(write(f"[api_keys.backend]\n{table}\n"))
    assert told in line
    assert "api_keys.backend" in line
    assert "short" not in line


def test_one_api_key_under_two_names_is_a_mistake(write):
    """Taking one back would not take back the other."""
    table = f'key = "{"k" * 16}"\n'
    (line,) = errors(write(f"[api_keys.a]\n{table}[api_keys.b]\n{table}"))
    assert "api_keys.b: is the same key as a" in line


def test_a_secret_given_twice_is_a_mistake(write):
    """In place and as a file: which one counts would be a guess."""
    path = write(f'[auth]\nhmac_secret = "{SECRET}"\nhmac_secret_file = "x"\n')
    (line,) = errors(path)
    assert "line 3: auth.hmac_secret_file: hmac_secret is given too" in line


@pytest.mark.parametrize(
    "content, told", [("", "is empty"), ("x" * 70_000, "longer than 65536 bytes")]
)
def test_a_secret_file_must_hold_a_secret(write, content, told):
    """Neither nothing nor a film."""
    file = write(content, "hmac")
    (line,) = errors(None, {"REALTIME_AUTH__HMAC_SECRET_FILE": file})
    assert line.startswith("REALTIME_AUTH__HMAC_SECRET_FILE: ")
    assert told in line


def test_a_weak_secret_is_named_by_the_file_it_came_from(write):
    """The reader must change the file."""
    write("weak", "hmac")
    (line,) = errors(write('[auth]\nhmac_secret_file = "hmac"\n'))
    assert "line 2: auth.hmac_secret_file: has 4 bytes, at least 32" in line
