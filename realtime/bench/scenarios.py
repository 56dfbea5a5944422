"""Which benchmarks there are; imports nothing, so that the command line stays quick."""

from __future__ import annotations

from collections.abc import Mapping

SCENARIOS: Mapping[str, str] = {
    "connect": "how fast clients come in, and what an idle one takes",
    "fanout": "how late publications reach many subscribers, and what each costs",
    "ingest": "how many events a second are counted, and how soon acknowledged",
    "latency": "how long from one device to another, over a series of loads",
    "recovery": "do clients that come back get what they have missed, and how soon",
    "soak": "does a server stay as it is under a load that goes on",
    "scale": "do more servers behind one Redis do more, and at what cost",
    "simulate": "what a fleet would do: a day, a storm, the loss of a machine",
    "compare": "what other push servers need for the same work",
}
"""
By name: the question in a line.

The module is ``realtime.bench.NAME``, or ``realtime.bench.NAME.scenario`` where that is
a package.
"""
