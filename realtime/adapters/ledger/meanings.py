"""
What the stored cells of each counter mean, so that no node reads them as another thing.

Cells are kept under the counter's name. A node that declares the same name with another
measure would merge counts into sums, and one with other dimensions would mix their
values; neither could be seen in what is stored.
"""

from __future__ import annotations

import json

from realtime.adapters.redis.client import RedisLink
from realtime.adapters.redis.script import Script
from realtime.core.counters import CounterSet
from realtime.core.counters_definition import CounterDefinition
from realtime.core.measures import AMOUNTS
from realtime.errors import ConfigError

DECLARE = Script.load(__package__, "declare")


def meaning(counter: CounterDefinition) -> str:
    """Return the options that decide how cells of *counter* are read, as TOML."""
    options: list[tuple[str, object]] = [("measure", counter.measure.value)]
    if counter.of is not None:
        options.append(("of", counter.of))
    options.append(("by", counter.by))
    if counter.measure in AMOUNTS:  # others keep no fractions
        options.append(("decimals", counter.decimals))
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in options)


async def check_meanings(link: RedisLink, key: bytes, counters: CounterSet) -> None:
    """
    Record at *key* what the cells of *counters* mean; other counters stay recorded.

    Raises:
        ConfigError: If a counter was recorded with another meaning; nothing is changed.
        Unavailable: If Redis does not answer.
    """
    mine = {counter.name: meaning(counter) for counter in counters}
    if not mine:
        return
    pairs = [text for pair in mine.items() for text in pair]
    others = [text.decode() for text in await link.run_script(DECLARE, [key], *pairs)]
    if others:
        name, stored = others[:2]
        raise ConfigError(
            f"counters.{name}",
            f"is declared with {mine[name]}, but what Redis has of it was counted with "
            f"{stored}; keep that, or give the counter a new name, or delete what is "
            f"stored and then the field {name} of the hash {key.decode()}",
        )
