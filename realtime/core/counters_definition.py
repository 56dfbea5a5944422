"""
One counter as ``[counters.NAME]`` declares it, checked key by key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.core.channels import Rule
from realtime.core.counters_fields import Fields
from realtime.core.events import EVENT_NAME
from realtime.core.measures import AMOUNTS, Measure
from realtime.core.windows import Window
from realtime.errors import ConfigError
from realtime.types import Scalar
from realtime.units import format_duration

MAX_DIMENSIONS = 8
MAX_WINDOWS = 16
MAX_CELLS = 1_000_000
MAX_DECIMALS = 12
MAX_LATENESS_S = 90 * 86400.0
MAX_CADENCE_S = 3600.0

TOTAL = Window.parse("total")

SUBJECTS = ("user", "device")
"""What an event always has beside its properties; as ``of`` and in ``by``."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_DIMENSION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

_KEYS = (
    "event",
    "where",
    "measure",
    "of",
    "by",
    "windows",
    "lateness",
    "cadence",
    "max_cells",
    "decimals",
    "watch",
)


@dataclass(frozen=True, slots=True)
class CounterDefinition:
    """
    A declared aggregate over events; ``parse`` makes one that is checked.

    ``where`` lists for each property the values that count; all must agree. ``of`` is
    the property that is summed or told apart; None for count. ``by`` are the
    dimensions: one cell for each combination of their values. In all three, "user" and
    "device" mean the event's own.
    """

    name: str
    event: str
    measure: Measure = Measure.COUNT
    of: str | None = None
    by: tuple[str, ...] = ()
    windows: tuple[Window, ...] = (TOTAL,)
    where: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict, hash=False)
    lateness_s: float = 120.0  # how long after its end a bucket still takes events
    cadence_s: float = 0.1  # a live channel is published at most this often
    max_cells: int = 10_000  # combinations per bucket and shard; then ``~other``
    decimals: int = 6  # kept of amounts
    watch: Rule = Rule.TOKEN  # who may subscribe to its live channels

    @classmethod
    def parse(
        cls, name: str, raw: Mapping[str, object], tick_s: float
    ) -> CounterDefinition:
        """
        Read the table of counter *name*; *tick_s* is the shortest possible cadence.

        Raises:
            ConfigError: With the key, such as ``counters.likes.measure``, and a
                sentence that says what would be right.
        """
        if _NAME.fullmatch(name) is None:
            raise ConfigError(
                f"counters.{name}",
                "a counter's name is a small letter, then at most 63 small letters, "
                "digits, _ or -",
            )
        fields = Fields(name, raw)
        fields.check_keys(_KEYS)
        measure = fields.choice("measure", Measure, Measure.COUNT)
        return cls(
            name=name,
            event=_event(fields),
            measure=measure,
            of=_of(fields, measure),
            by=_by(fields),
            windows=_windows(fields),
            where=_where(fields),
            lateness_s=fields.duration("lateness", 120.0, 0.0, MAX_LATENESS_S),
            cadence_s=_cadence(fields, tick_s),
            max_cells=fields.integer("max_cells", 10_000, 1, MAX_CELLS),
            decimals=fields.integer("decimals", 6, 0, MAX_DECIMALS),
            watch=fields.choice("watch", Rule, Rule.TOKEN),
        )

    @property
    def grains(self) -> tuple[int, ...]:
        """The different lengths of buckets that the windows need; 0 for the total."""
        return tuple(dict.fromkeys(window.step_s for window in self.windows))

    def window(self, text: str) -> Window | None:
        """Return the window declared as *text*; None if there is none."""
        return next((each for each in self.windows if each.text == text), None)


def _event(fields: Fields) -> str:
    event = fields.text("event")
    if event is None:
        raise fields.error("event", "is missing: the name of the events to count")
    if EVENT_NAME.fullmatch(event) is None:
        raise fields.error(
            "event",
            f"{event[:40]!r} is no event's name: it is a letter, then at most 63 "
            "letters, digits or any of _ . : -",
        )
    return event


def _of(fields: Fields, measure: Measure) -> str | None:
    of = fields.text("of")
    if measure is Measure.COUNT:
        if of is not None:
            raise fields.error(
                "of", 'is not used by "count": leave it out, or measure "unique"'
            )
        return None
    if of is None:
        what = "a property that holds a number"
        if measure is Measure.UNIQUE:
            what = 'a property, "user" or "device"'
        raise fields.error("of", f'is missing: "{measure}" needs {what}')
    if measure in AMOUNTS and of in SUBJECTS:
        raise fields.error("of", f"{of!r} is no number: name a property to {measure}")
    return of


def _by(fields: Fields) -> tuple[str, ...]:
    by = fields.texts("by")
    if len(by) > MAX_DIMENSIONS:
        raise fields.error("by", f"has {len(by)} dimensions; at most {MAX_DIMENSIONS}")
    for name in by:
        if _DIMENSION.fullmatch(name) is None:
            raise fields.error(
                "by",
                f"{name[:40]!r} is no dimension: it is the name of a property, a "
                'letter or _ and then at most 63 letters, digits, _ . or -; or "user" '
                'or "device"',
            )
        if name == "window":
            raise fields.error(
                "by", '"window" cannot be a dimension: it names the window in channels'
            )
        if by.count(name) > 1:
            raise fields.error("by", f"{name!r} is named twice")
    return by


def _windows(fields: Fields) -> tuple[Window, ...]:
    texts = fields.texts("windows", ("total",))
    if not 1 <= len(texts) <= MAX_WINDOWS:
        raise fields.error(
            "windows", f'must list 1 to {MAX_WINDOWS} windows, such as ["total", "5m"]'
        )
    windows: dict[tuple[int, int], Window] = {}
    for text in texts:
        try:
            window = Window.parse(text)
        except ValueError as exc:
            raise fields.error("windows", str(exc)) from None
        same = windows.setdefault((window.size_s, window.step_s), window)
        if same is not window:
            raise fields.error("windows", f"{same.text!r} and {text!r} are the same")
    return tuple(windows.values())


def _where(fields: Fields) -> Mapping[str, tuple[Scalar, ...]]:
    where = {}
    for name, value in fields.table("where").items():
        values = tuple(value) if isinstance(value, list | tuple) else (value,)
        key = f"where.{name}"
        if not values:
            raise fields.error(key, "lists no value, so no event would count")
        for each in values:
            if not isinstance(each, str | int | float) or each != each:
                raise fields.error(
                    key, "must be a string, a number, a boolean or a list of these"
                )
        where[name] = values
    return where


def _cadence(fields: Fields, tick_s: float) -> float:
    cadence_s = fields.duration("cadence", tick_s, 0.0, MAX_CADENCE_S)
    if cadence_s < tick_s:
        raise fields.error(
            "cadence",
            f"{format_duration(cadence_s)} is shorter than the tick, "
            f"{format_duration(tick_s)}: values change once per tick (ledger.tick)",
        )
    return cadence_s
