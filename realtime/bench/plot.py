"""
Plots of a result: PNG by matplotlib (extra ``bench``), HTML by nothing but this file.

The HTML is one page with the table and the plots as SVG; it loads nothing.
"""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path

from realtime.bench.errors import BenchError
from realtime.bench.result import Result, Series

COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#65a30d")
WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 72, 32, 40, 48

# Options that do not tell what was measured, or are nobody's business in a picture.
_UNTOLD = (
    *("token", "token_file", "secret", "secret_file", "api_key", "issuer", "audience"),
    *("insecure", "yes_this_is_mine", "url", "redis", "metrics", "label", "limit"),
    *("quiet", "smoke", "costs"),
)

Point = tuple[float, float]


def check_format(path: str) -> None:
    """
    Check that *path* can be drawn.

    Raises:
        BenchError: If its ending is unknown, or matplotlib is needed and missing.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".png", ".html"):
        raise BenchError(f"--plot is {path!r}; it must end in .html or .png")
    if ending == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise BenchError(
            "--plot FILE.png needs matplotlib, which the extra 'bench' installs: "
            "pip install -e '.[bench]' in a clone; FILE.html needs nothing"
        )


def draw(result: Result, path: str) -> None:
    """
    Draw all series of *result* into a file.

    Raises:
        BenchError: If there is nothing to draw, or the file cannot be written.
    """
    check_format(path)
    charts = charts_of(result.series)
    if not charts:
        raise BenchError(f"--plot {path}: there is too little to draw")
    try:
        if path.lower().endswith(".png"):
            _draw_png(result, charts, path)
        else:
            Path(path).write_text(page_of(result, charts), "utf-8")
    except OSError as exc:
        raise BenchError(f"--plot {path} cannot be written: {exc}") from exc


def charts_of(series: Sequence[Series]) -> dict[str, list[Series]]:
    """Return the lines by plot, without points that cannot be drawn."""
    found: dict[str, list[Series]] = {}
    for one in series:
        points = tuple(
            (x, y)
            for x, y in one.points
            if math.isfinite(x) and math.isfinite(y) and (y > 0 or not one.log)
        )
        if points:
            line = Series(one.chart, one.name, one.x, one.y, points, one.log)
            found.setdefault(one.chart, []).append(line)
    return found


# -- PNG -------------------------------------------------------------------------------


def _draw_png(result: Result, charts: dict[str, list[Series]], path: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    # Not pyplot: it would look for a display and keep every figure.
    figure = Figure(figsize=(9, 4.5 * len(charts)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{about(result)}\n{result.started_at}", fontsize=9)
    for place, (title, lines) in enumerate(charts.items(), 1):
        axes = figure.add_subplot(len(charts), 1, place)
        for line, colour in zip(lines, _colours(len(lines)), strict=True):
            xs, ys = zip(*line.points, strict=True)
            axes.plot(
                xs,
                ys,
                marker="o",
                markersize=3,
                color=colour,
                label=line.name,
                clip_on=False,
            )
        axes.margins(y=0.1)
        plain = FuncFormatter(lambda value, place: _tick(value))
        axes.xaxis.set_major_formatter(plain)
        if lines[0].log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            low = min(y for line in lines for _, y in line.points)
            axes.set_ylim(bottom=None if low < 0 else 0)
        axes.yaxis.set_major_formatter(plain)
        axes.set_title(title)
        axes.set_xlabel(lines[0].x)
        axes.set_ylabel(lines[0].y)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # it hides no curve
    figure.savefig(path, dpi=120)


def about(result: Result) -> str:
    """Return a title: the scenario, and what it was run with."""
    said = [
        f"{name.replace('_', ' ')} {_text(value)}"
        for name, value in result.parameters.items()
        if name not in _UNTOLD
    ]
    return textwrap.fill(f"{result.scenario}: {', '.join(said)}".rstrip(": "), 120)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "/".join(map(_text, value))
    return _tick(value) if isinstance(value, float) else str(value)


# -- HTML ------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; margin: 2rem auto;
       max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; display: block; font-size: 13px; margin: 1rem 0;
        overflow-x: auto }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
th { border-bottom: 1px solid #9ca3af }
svg { width: 100%; height: auto; font-size: 12px }
pre, .fact { color: #4b5563; white-space: pre-wrap }
.warning { color: #b45309 }
"""


def page_of(result: Result, charts: dict[str, list[Series]]) -> str:
    """Return the page."""
    head, *body = result.table()
    rows = "".join(f"<tr>{_cells('td', row)}</tr>\n" for row in body)
    warnings = "".join(f'<p class="warning">{escape(w)}</p>' for w in result.warnings)
    plots = "".join(_svg(title, lines) for title, lines in charts.items())
    facts = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in result.versions.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(result.scenario)}</title><style>{_STYLE}</style>\n"
        f"<h1>{escape(result.scenario)}</h1>\n<pre>{escape(result.command)}</pre>\n"
        f"{warnings}<table><tr>{_cells('th', head)}</tr>\n{rows}</table>\n{plots}"
        f'<p class="fact">{escape(result.started_at)}. {escape(facts)}. '
        f"{escape(versions)}.</p></html>\n"
    )


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)


def _svg(title: str, lines: Sequence[Series]) -> str:
    scale = _Scale(lines)
    parts = [f'<text x="{LEFT}" y="18" font-weight="600">{escape(title)}</text>']
    parts += _axes(scale, lines[0])
    for place, (line, colour) in enumerate(
        zip(lines, _colours(len(lines)), strict=True)
    ):
        spots = [(scale.x(x), scale.y(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        pen = f'stroke="{colour}" stroke-width="2"'
        parts.append(f'<polyline points="{path}" fill="none" {pen}/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}">'
            f"<title>{escape(line.name)}: {_tick(at[0])}, {_tick(at[1])}</title>"
            "</circle>"
            for (x, y), at in zip(spots, line.points, strict=True)
        ]
        parts.append(
            f'<text x="{LEFT + 12 + place * 110}" y="{TOP - 4}" fill="{colour}">'
            f"&#9679; {escape(line.name)}</text>"
        )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>\n'


class _Scale:
    """Where values are in the picture."""

    def __init__(self, lines: Sequence[Series]) -> None:
        xs = [x for line in lines for x, _ in line.points]
        ys = [y for line in lines for _, y in line.points]
        self.log = lines[0].log
        self.x_ticks = _linear_ticks(min(0.0, *xs), max(xs))
        self.y_ticks = (
            _log_ticks(min(ys), max(ys))
            if self.log
            else _linear_ticks(min(0.0, *ys), max(ys))
        )

    def x(self, value: float) -> float:
        """From the left."""
        return LEFT + _part(value, self.x_ticks) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """From the top."""
        if self.log:
            part = _part(math.log10(value), [math.log10(tick) for tick in self.y_ticks])
        else:
            part = _part(value, self.y_ticks)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _part(value: float, ticks: Sequence[float]) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0])


def _axes(scale: _Scale, line: Series) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in scale.y_ticks:
        y = scale.y(tick)
        parts.append(
            f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e5e7eb"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{_tick(tick)}</text>"
        )
    for tick in scale.x_ticks:
        x = scale.x(tick)
        parts.append(
            f'<path d="M{x:.1f} {bottom}v5" stroke="#6b7280"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{_tick(tick)}</text>"
        )
    middle = (TOP + bottom) / 2
    parts.append(
        f'<path d="M{LEFT} {bottom}H{right}" stroke="#6b7280"/>'
        f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{escape(line.x)}</text>'
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(line.y)}</text>'
    )
    return parts


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return round numbers, the first not above *low*, the last not below *high*."""
    reach = high - low or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(reach / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if reach / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * at for at in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**at for at in range(first, max(last, first + 1) + 1)]


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]
