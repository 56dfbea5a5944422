"""The page at /, in a real browser on a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import ROOT, Server, Window

pytestmark = pytest.mark.browser

DEADLINE_MS = 15_000
LIKES = "live:likes;post=42;window=total"
SECRET = "a secret of thirty-two characters"

expect.set_options(timeout=DEADLINE_MS)


def value(page: Page, channel: str) -> float | None:
    """Return what the card of *channel* shows, or None for a dash."""
    text = page.inner_text(f'[data-channel="{channel}"] .value').replace(",", "")
    return float(text) if re.fullmatch(r"-?[\d.]+", text) else None


def first_value(page: Page, channel: str) -> float:
    """Wait until the card of *channel* shows a number, and return it."""
    card = page.locator(f'[data-channel="{channel}"] .value')
    expect(card).to_have_text(re.compile(r"\d"))
    shown = value(page, channel)
    assert shown is not None
    return shown


def expect_value(page: Page, channel: str, wanted: float) -> None:
    """Wait until the card of *channel* shows *wanted*."""
    card = page.locator(f'[data-channel="{channel}"] .value')
    expect(card).to_have_text(f"{wanted:,.0f}")


def expect_live(page: Page) -> None:
    """Wait until the page is connected."""
    expect(page.locator("#state")).to_have_text("Live")


def expect_moving(page: Page, channel: str) -> None:
    """Wait until the card of *channel* shows a number, and then another one."""
    card = page.locator(f'[data-channel="{channel}"] .value')
    expect(card).to_have_text(re.compile(r"\d"))
    expect(card).not_to_have_text(card.inner_text())


def test_counters_move(demo: Server, window: Window) -> None:
    """Every headline counter shows a number, and those of the replay change by push."""
    page = window.open(demo.url)
    expect_live(page)
    expect_moving(page, "live:quakes;window=total")
    expect_moving(page, "live:quakes;window=1m/1s")
    expect_moving(page, "live:mean_magnitude;window=1m/1s")
    expect(page.locator(".card .value", has_text=re.compile(r"\d"))).to_have_count(6)
    expect(page.locator(".card canvas")).to_have_count(6)


def test_it_shows_the_server(demo: Server, window: Window) -> None:
    """Events per second, connections and the node that the page is connected to."""
    page = window.open(demo.url)
    expect(page.locator("#events-rate")).to_have_text(re.compile(r"^\d"))
    expect(page.locator("#connections")).to_have_text(re.compile(r"^[1-9]"))
    expect(page.locator("#node-count")).to_have_text("1")
    rows = page.locator("#nodes tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("this page")


def test_lists_are_ranked(demo: Server, window: Window) -> None:
    """The top cells of a counter are shown from the greatest to the smallest."""
    page = window.open(demo.url)
    expect(page.locator(".list")).to_have_count(2)
    strongest = page.locator(".list", has_text="Strongest so far")
    expect(strongest.locator("tbody tr").nth(4)).to_be_visible()
    shown = [float(text) for text in strongest.locator("td.number").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)


def test_the_button_sends_an_event(demo: Server, window: Window) -> None:
    """The page's own event is counted, and the page says that it arrived."""
    page = window.open(demo.url)
    expect_live(page)
    before = first_value(page, LIKES)
    page.click("#send")
    expect_value(page, LIKES, before + 1)
    expect(page.locator("#arrival")).to_contain_text("Your event arrived after")


@pytest.mark.parametrize("tool", ["realtime", "curl"])
def test_the_shown_command_sends_an_event(
    tool: str, demo: Server, window: Window
) -> None:
    """Running the command as it is shown makes the counter rise by one."""
    page = window.open(demo.url)
    expect_live(page)
    before = first_value(page, LIKES)
    form = page.locator(".form", has=page.get_by_label(f"command with {tool}"))
    command = form.locator("code").inner_text()
    assert demo.url.rstrip("/") in command
    subprocess.run(
        command, shell=True, check=True, cwd=ROOT, timeout=DEADLINE_MS / 1000
    )
    expect_value(page, LIKES, before + 1)
    expect(page.locator("#arrival")).to_contain_text("An event arrived")


def test_the_command_can_be_copied(demo: Server, window: Window) -> None:
    """The button beside a command puts exactly that command on the clipboard."""
    page = window.open(demo.url, permissions=["clipboard-read", "clipboard-write"])
    form = page.locator(".form").first
    form.locator("button").click()
    expect(form.locator("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == form.locator("code").inner_text()


@pytest.mark.parametrize("width", [320, 390, 820])
def test_it_fits_a_phone(width: int, demo: Server, window: Window) -> None:
    """Nothing is wider than the screen, and what can be pressed is large enough."""
    page = window.open(demo.url, width=width, height=844, is_mobile=True)
    expect_live(page)
    expect(page.locator("#nodes tbody tr")).to_have_count(1)
    expect(page.locator(".list tbody tr").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 36
        assert box["x"] + box["width"] <= width


CONTRAST = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const part = (c) =>
      (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const texts = "h1,h2,h3,p,dt,dd,th,td,code,button,caption";
  return [...document.querySelectorAll(texts)]
    .filter((element) => element.checkVisibility() && element.innerText.trim())
    .map((element) => {
      const one = luminance(channels(getComputedStyle(element).color));
      const other = luminance(behind(element));
      const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      return [Math.round(ratio * 100) / 100, element.innerText.slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(scheme: str, demo: Server, window: Window) -> None:
    """Every text has a contrast of 4.5 to 1 or more (WCAG 2, level AA)."""
    page = window.open(demo.url, color_scheme=scheme)
    expect_live(page)
    expect(page.locator("#nodes tbody tr")).to_have_count(1)
    assert page.evaluate(CONTRAST) == []


def test_it_loads_nothing_from_elsewhere(demo: Server, window: Window) -> None:
    """Every request goes to the server itself, and no script or style is inline."""
    page = window.open(demo.url)
    expect_live(page)
    assert {url for url in window.requested if not url.startswith(demo.url)} == set()
    assert page.locator("style, [style*='<'], script:not([src])").count() == 0


def test_it_comes_back_after_a_crash(
    serve: Callable[..., Server], window: Window
) -> None:
    """
    When the server dies the page says so, comes back by itself once there is a server,
    and the event that was sent meanwhile is counted.
    """
    server = serve("--demo")
    page = window.open(server.url)
    expect_moving(page, "live:quakes;window=total")
    server.stop(signal.SIGKILL)
    expect(page.locator("#state")).to_contain_text("Reconnecting")
    page.click("#send")
    server.start()
    expect_live(page)
    expect_value(page, LIKES, 1)
    expect_moving(page, "live:quakes;window=total")
    refused = [text for text in window.complaints if "ERR_CONNECTION" in text]
    assert refused == window.complaints
    window.complaints.clear()


def test_it_leaves_when_it_is_asked_to(
    serve: Callable[..., Server], window: Window
) -> None:
    """A server that stops in an orderly way is left at once, and come back to."""
    server = serve("--demo")
    page = window.open(server.url)
    expect_live(page)
    page.evaluate(
        """() => {
            const close = WebSocket.prototype.close;
            window.closes = [];
            WebSocket.prototype.close = function (code) {
                window.closes.push(code);
                close.call(this, code);
            };
        }"""
    )
    server.stop()
    expect(page.locator("#state")).to_contain_text("Reconnecting")
    assert page.evaluate("window.closes[0]") == 1000
    server.start()
    expect_live(page)
    expect_moving(page, "live:quakes;window=total")
    refused = [text for text in window.complaints if "ERR_CONNECTION" in text]
    assert refused == window.complaints
    window.complaints.clear()


def production(folder: Path) -> str:
    """Write a configuration that lets nobody in without a token; return its path."""
    path = folder / "realtime.toml"
    path.write_text(
        f'[auth]\nhmac_secret = "{SECRET}"\n'
        '[counters.sales]\nevent = "sale"\nmeasure = "count"\n'
        'windows = ["total"]\nwatch = "user"\n',
        encoding="utf-8",
    )
    return str(path)


def test_it_asks_for_a_token(
    serve: Callable[..., Server], window: Window, tmp_path: Path
) -> None:
    """Where tokens are needed the page asks for one, and keeps it in its tab only."""
    server = serve("--config", production(tmp_path))
    page = window.open(server.url)
    expect(page.locator("#sign-in")).to_be_visible()
    page.fill("#token", "no token at all")
    page.press("#token", "Enter")
    expect(page.locator("#sign-in-reason")).to_contain_text("did not take this token")
    claims = {"sub": "anna", "exp": int(time.time()) + 600}
    page.fill("#token", jwt.encode(claims, SECRET, algorithm="HS256"))
    page.click("#sign-in button")
    expect_live(page)
    expect_value(page, "live:sales;window=total", 0)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.reload()
    expect_live(page)
    assert all("401" in text for text in window.complaints)
    window.complaints.clear()


PICTURES = {
    "page": {"width": 1280, "color_scheme": "light"},
    "page-dark": {"width": 1280, "color_scheme": "dark"},
    "page-phone": {"width": 390, "device_scale_factor": 1.5},
}


def test_it_makes_pictures(demo: Server, window: Window) -> None:
    """What a visitor sees, to be judged by eye; for the documentation, after long."""
    published = os.environ.get("REALTIME_SCREENSHOTS")
    folder = ROOT / (published or "build/browser")
    folder.mkdir(parents=True, exist_ok=True)
    pages = {name: window.open(demo.url, **how) for name, how in PICTURES.items()}
    first = pages["page"]
    first.wait_for_timeout(80_000 if published else 10_000)  # the lines need a past
    first.click("#send")
    for name, page in pages.items():
        expect(page.locator("#arrival")).to_contain_text("arrived")
        expect(page.locator(".arrived")).to_have_count(1)
        page.wait_for_timeout(1_700)  # until the highlight has faded
        page.screenshot(path=folder / f"{name}.png", full_page=True)
