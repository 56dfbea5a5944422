"""The dashboard's files: what is served, how it is kept, what is out of reach."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from realtime.edges.http.page import load
from tests.edges.http.support import World, running

pytestmark = pytest.mark.anyio


async def test_the_page_is_at_the_root(world: World) -> None:
    """/ is index.html."""
    answer = await world.get("/")
    expected = (files("realtime.edges") / "page" / "index.html").read_bytes()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body == expected


@pytest.mark.parametrize(
    "path, media_type",
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("favicon.svg", "image/svg+xml"),
        ("uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_files_have_their_types(world: World, path: str, media_type: str) -> None:
    """Each file is sent as what it is, and browsers are told not to guess."""
    answer = await world.get(f"/page/{path}")
    assert answer.status == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_every_file_that_the_page_names_exists(world: World) -> None:
    """What index.html refers to can be had."""
    html = (await world.get("/")).body.decode()
    named = [part.split('"')[0] for part in html.split('="page/')[1:]]
    assert named
    for path in named:
        assert (await world.get(f"/page/{path}")).status == 200, path


async def test_the_policy_is_strict(world: World) -> None:
    """The page may load and connect to its own server only, and be framed by nobody."""
    policy = (await world.get("/")).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy


async def test_a_file_that_is_held_is_not_sent_again(world: World) -> None:
    """A matching ETag is answered 304 without a body."""
    first = await world.get("/page/app.js")
    etag = first.headers["etag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await world.get("/page/app.js", {"if-none-match": held})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == etag
    changed = await world.get("/page/app.js", {"if-none-match": '"other"'})
    assert changed.status == 200
    assert changed.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/page/README.md",
        "/page/uplot/LICENSE",
        "/page/../http/page.py",
        "/page/..%2Fhttp%2Fpage.py",
        "/page//etc/passwd",
        "/page/",
        "/page/uplot",
    ],
)
async def test_nothing_else_can_be_reached(world: World, path: str) -> None:
    """Paths outside of the table of files are 404, whatever they say."""
    answer = await world.get(path)
    assert answer.status == 404


async def test_the_description_is_what_the_node_says() -> None:
    """/v1/page tells what to show."""
    async with running(page={"title": "Likes", "channels": []}) as world:
        answer = await world.get("/v1/page")
    assert answer.json == {"title": "Likes", "channels": []}


def test_equal_files_have_equal_tags(tmp_path: Path) -> None:
    """The ETag follows from the content alone, on every node."""
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "b.js").write_text("1")
    (tmp_path / "c.js").write_text("2")
    found = load(tmp_path)
    assert found["a.js"].etag == found["b.js"].etag != found["c.js"].etag
