"""``[hooks]`` and ``[webhooks]``: what they must say, and the developer's module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from realtime import cli
from realtime.config import Config, ConfigErrors, load, load_functions, warnings
from realtime.config.hooks import used_points
from realtime.hooks import Point

SECRET = "a secret that signs what is sent"
NUMBERS = count(1)

Write = Callable[..., str]


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the path as it was, and nothing imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("found"):
            del sys.modules[name]


def configured(write: Write, source: str, more: str = "") -> Config:
    """A configuration with this source as its module."""
    name = f"found{next(NUMBERS)}"
    write(source, f"{name}.py")
    return load(write(f'[hooks]\nmodule = "{name}"\n{more}'), {}, {})


def problems(write: Write, source: str, more: str = "") -> list[str]:
    """What is wrong with this source."""
    with pytest.raises(ConfigErrors) as caught:
        load_functions(configured(write, source, more))
    return [error.problem for error in caught.value.errors]


def test_hooks_are_found_by_their_names(write):
    """In the folder of realtime.toml; other names are the developer's own."""
    source = """
import asyncio
from functools import partial

async def authorise_subscribe(request): ...
def on_events(batch): ...
async def on_start(): ...
on_publish = partial(lambda extra, request: None, 1)

def helper(): ...
async def _on_something(): ...
class Online: ...
"""
    config = configured(write, source)
    functions = load_functions(config)
    assert set(functions.points) == {
        Point.AUTHORISE_SUBSCRIBE,
        Point.ON_EVENTS,
        Point.ON_PUBLISH,
    }
    assert not functions.points[Point.AUTHORISE_SUBSCRIBE].blocks
    assert functions.points[Point.ON_EVENTS].blocks
    assert functions.on_start is not None
    assert functions.on_stop is None
    assert list(used_points(functions, config).values()) == [functions.module] * 3


def test_reading_the_configuration_imports_nothing(write):
    """The module may need what only a server has."""
    config = configured(write, "raise RuntimeError('imported')")
    assert config.hooks.module not in sys.modules


def test_a_module_in_a_package_is_found(write, tmp_path):
    """By its dotted name."""
    (tmp_path / "foundpackage").mkdir()
    write("", "foundpackage/__init__.py")
    write("def on_connect(connection): ...", "foundpackage/hooks.py")
    config = load(write('[hooks]\nmodule = "foundpackage.hooks"'), {}, {})
    assert set(load_functions(config).points) == {Point.ON_CONNECT}


def test_without_a_module_there_are_no_functions(write):
    """Nothing is looked for."""
    assert load_functions(load(write(""), {}, {})) is None
    assert load_functions(Config()) is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = (", "SyntaxError"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("", "has no hook; there are authenticate,"),
        ("on_publish = 7", "on_publish is no function"),
        ("async def on_publish(): ...", "on_publish must take 1 argument"),
        ("async def on_publish(a, b): ...", "on_publish must take 1 argument"),
        ("async def on_start(a): ...", "on_start must take no arguments"),
        ("async def on_publish(a): yield", "on_publish must return its answer"),
    ],
)
def test_a_module_that_is_wrong_is_told_with_its_line(write, source, problem):
    """Of realtime.toml, and of the module where Python knows it."""
    with pytest.raises(ConfigErrors) as caught:
        load_functions(configured(write, source))
    told = str(caught.value)
    assert problem in told
    assert "realtime.toml, line 2: hooks.module: " in told
    if "import" in told:
        assert ".py, line 1)" in told


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("authorize_subscribe", "authorise_subscribe"),
        ("authorise_subscription", "authorise_subscribe"),
        ("on_event", "on_events"),
        ("authentication", "authenticate"),
        ("on_connected", "on_connect"),
        ("on_something_else", "authenticate, authorise_subscribe, on_publish"),
    ],
)
def test_a_name_that_looks_like_a_hook_is_a_mistake(write, name, meant):
    """Or it would never be called, and nobody knew why."""
    for kind in ("async def", "def"):
        [problem] = problems(write, f"{kind} {name}(request): ...")
        assert "looks like one" in problem
        assert f"did you mean {meant}" in problem


def test_names_from_elsewhere_are_left_alone(write):
    """What is imported, begins with an underscore, or is a class."""
    source = """
from realtime.hooks import *
from email.policy import EmailPolicy as on_events_policy

def on_publish(request): ...
def _on_event(batch): ...
class OnEvents: ...
"""
    assert set(load_functions(configured(write, source)).points) == {Point.ON_PUBLISH}


@pytest.mark.parametrize("name", ["myapp/hooks.py", "my-hooks", "hooks.", "1hooks"])
def test_a_module_is_named_not_pathed(write, name):
    """As Python imports it."""
    with pytest.raises(ConfigErrors, match="must be the name of a module"):
        load_functions(load(write(f'[hooks]\nmodule = "{name}"'), {}, {}))


def test_a_module_that_is_not_there_is_told(write, tmp_path):
    """With the folder that was looked into, and the variable that names it."""
    config = load(write(""), {"REALTIME_HOOKS__MODULE": "found_nowhere.hooks"}, {})
    with pytest.raises(ConfigErrors) as caught:
        load_functions(config)
    assert str(caught.value).startswith("REALTIME_HOOKS__MODULE: there is no module")
    assert str(tmp_path) in str(caught.value)


BOTH = f"""
url = "https://shop.example.com/hooks"
secret = "{SECRET}"
points = ["on_publish", "on_events"]
"""


def test_a_point_is_answered_in_one_place(write):
    """Either by the module or by the address."""
    [problem] = problems(write, "def on_publish(request): ...", BOTH)
    assert "on_publish is in the module" in problem
    config = configured(write, "def on_connect(connection): ...", BOTH)
    places = used_points(load_functions(config), config)
    assert list(places) == ["on_publish", "on_events", "on_connect"]
    assert places["on_events"] == "https://shop.example.com/hooks"


SOUND = {
    "hooks.url": "https://shop.example.com/hooks",
    "hooks.secret": SECRET,
    "hooks.points": ["on_publish"],
    "webhooks.url": "http://127.0.0.1:8000/notices",
    "webhooks.secret": SECRET,
    "webhooks.events": ["user_online"],
    "users.online": True,
}


def test_sound_settings_are_taken():
    """And nothing is remarked on: the plain address is of this machine."""
    config = load(None, {}, {**SOUND, "auth.anonymous": True})
    assert config.webhooks.events == ("user_online",)
    assert warnings(config) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"hooks.secret": None}, "hooks.url: needs hooks.secret"),
        ({"webhooks.secret": None}, "webhooks.url: needs webhooks.secret"),
        ({"hooks.secret": "short"}, "hooks.secret: has 5 characters, at least 16"),
        ({"hooks.points": None}, "hooks.url: needs hooks.points"),
        ({"webhooks.events": None}, "webhooks.url: needs webhooks.events"),
        ({"hooks.points": ["on_event"]}, "there is no point 'on_event'; did you mean"),
        ({"webhooks.events": ["online"]}, "there is no event 'online'; did you mean"),
        ({"webhooks.events": ["user_online"] * 2}, "names the same event twice"),
        ({"hooks.url": None}, "hooks.points: needs hooks.url"),
        ({"hooks.url": None, "hooks.points": None}, "hooks.secret: needs hooks.url"),
        ({"hooks.url": "ftp://shop.example.com"}, "hooks.url: must be an address"),
        ({"hooks.url": "shop.example.com"}, "hooks.url: must be an address"),
        ({"hooks.url": "http://"}, "hooks.url: must be an address"),
        ({"hooks.url": "http://a:b:c/"}, "hooks.url: must be an address"),
        ({"hooks.url": "https://ann:pass@shop.example.com/"}, "must not hold a name"),
    ],
)
def test_what_does_not_fit_is_told(changed, problem):
    """With its key; secrets and addresses are not quoted."""
    given = {key: value for key, value in {**SOUND, **changed}.items() if value}
    with pytest.raises(ConfigErrors) as caught:
        load(None, {}, given)
    told = str(caught.value).replace(" (from the command line)", "")
    assert problem in told
    assert SECRET not in told
    assert "pass@" not in told


def test_secrets_are_not_shown_and_may_be_files(write):
    """As other secrets."""
    write(SECRET + "\n", "hooks.secret")
    text = """
[hooks]
url = "https://shop.example.com/hooks"
points = ["on_publish"]
secret_file = "hooks.secret"

[webhooks]
url = "https://shop.example.com/notices"
events = ["user_online"]
secret = "another secret that signs"
"""
    config = load(write(text), {}, {})
    assert config.hooks.secret == SECRET
    assert 'secret = "(set)"' in config.render()
    assert "another secret" not in config.render() + repr(config)
    assert SECRET not in config.render() + repr(config)


def test_what_can_be_read_on_the_way_is_remarked_on():
    """Plain HTTP to another machine."""
    url = "http://shop.example.com/"
    given = {**SOUND, "hooks.url": url, "webhooks.url": url, "auth.anonymous": True}
    told = warnings(load(None, {}, given))
    assert [one.split()[0] for one in told] == ["hooks.url", "webhooks.url"]


def test_check_imports_the_module_and_says_what_is_used(write, capsys):
    """Or what is wrong with it."""
    config = configured(write, "def on_publish(request): ...")
    assert cli.main(["check", "--config", config.path]) == 0
    assert f"# hook on_publish: {config.hooks.module}\n" in capsys.readouterr().out
    config = configured(write, "def on_publishes(request): ...")
    assert cli.main(["check", "--config", config.path]) == 2
    assert "did you mean on_publish" in capsys.readouterr().err


def test_a_server_does_not_start_with_a_wrong_module(write, capsys, monkeypatch):
    """It says so before it listens."""
    monkeypatch.setattr("realtime.logs.configure", lambda settings, stream: None)
    config = configured(write, "def on_publishes(request): ...")
    assert cli.main(["serve", "--config", config.path, "--port", "0"]) == 2
    assert "did you mean on_publish" in capsys.readouterr().err
