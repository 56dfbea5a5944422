"""
What all scenarios have in common: their options, their surroundings, their output.

A *scenario* is a module of this package with

    a docstring                 what --help says, the question first; PROGRAM stands for
                                the program's name
    SMOKE                       options of a run that only proves that it works
    add_arguments(parser)       its own options
    run(options) -> Result      ``with opened(options, NAME) as bench: ...``

and a line in ``scenarios.SCENARIOS``. One that loads no server sets ``NEEDS_TARGET`` to
false and has no options for one. ``realtime bench NAME`` and
``python benchmarks/NAME.py`` both run ``main``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from realtime.bench.costs import Costs
from realtime.bench.crowd import Crowd, Share, Worker, processes_for
from realtime.bench.dialects.native import Native
from realtime.bench.dialects.port import RUN_CHARACTERS, Dialect
from realtime.bench.errors import BenchError
from realtime.bench.local import local_target
from realtime.bench.progress import Display
from realtime.bench.report import print_table, say
from realtime.bench.result import Result, Row, Series, without_password
from realtime.bench.scenarios import SCENARIOS
from realtime.bench.stop import Stop, stopping
from realtime.bench.target import Target, add_target_arguments, remote_target

LIMIT_S = 3600
BUSY = 0.8  # of a core: beyond, a process of clients measures itself
FULL = 0.97  # of the machine
EXIT_STOPPED = 130

W = TypeVar("W", bound=Worker)


class Scenario(Protocol):
    """A module."""

    __doc__: str | None
    SMOKE: Mapping[str, object]

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the scenario's own options."""

    def run(self, options: argparse.Namespace, /) -> Result:
        """Measure."""


# -- the command line ------------------------------------------------------------------


def load(name: str) -> Scenario:
    """
    Return the module of a scenario.

    Raises:
        BenchError: If there is none.
    """
    if name not in SCENARIOS:
        names = ", ".join([*SCENARIOS, "config"])
        raise BenchError(f"there is no benchmark {name!r}; there are {names}")
    module: Any = importlib.import_module(f"realtime.bench.{name}")
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"realtime.bench.{name}.scenario")
    found: Scenario = module
    return found


def parser_of(name: str, prog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a scenario, whose help is the module's docstring."""
    scenario = load(name)
    first, _, rest = (scenario.__doc__ or "").strip().partition("\n\n")
    prog = prog or f"realtime bench {name}"
    parser = argparse.ArgumentParser(
        prog=prog,
        description=first,
        epilog=rest.replace("PROGRAM", prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is secret is known by its name
    )
    scenario.add_arguments(parser)
    if getattr(scenario, "NEEDS_TARGET", True):
        add_target_arguments(parser)
        add_client_arguments(parser.add_argument_group("the clients"))
    add_run_arguments(parser.add_argument_group("the run"))
    return parser


def add_client_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options on who loads the target."""
    group.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes of clients (default: one per core; half of that where the "
        "server runs here, too; more where the limit of open files demands it)",
    )
    group.add_argument(
        "--codec",
        choices=("json", "msgpack"),
        default="json",
        help="what clients and server speak (default json)",
    )
    group.add_argument(
        "--label",
        metavar="NAME",
        help="goes into the names of users, devices and counter cells. Default: "
        "another one each time. With a name of your own, later runs use the same again "
        "and leave nothing more behind; runs at the same time need different ones",
    )


def add_run_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options on how to run, and what to write."""
    group.add_argument(
        "--limit",
        type=int,
        default=LIMIT_S,
        metavar="S",
        help=f"finish after S seconds with what there is (default {LIMIT_S}; 0: never)",
    )
    group.add_argument("--json", metavar="FILE", help="write the result there")
    group.add_argument(
        "--plot",
        metavar="FILE",
        help="draw it: FILE.html needs nothing, FILE.png needs the extra 'bench'",
    )
    group.add_argument("--quiet", action="store_true", help="show no progress")
    group.add_argument(
        "--smoke",
        action="store_true",
        help="prove in seconds that it works; the numbers mean nothing",
    )


def main(name: str, argv: Sequence[str], prog: str | None = None) -> int:
    """Run a scenario as a program; return the exit code. Raises BenchError."""
    options = parser_of(name, prog).parse_args(argv)
    if options.smoke:
        vars(options).update(load(name).SMOKE)
    check_files(options)
    for option, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            name_of = option.replace("_", "-")
            raise BenchError(f"--{name_of} is {value}; it must be a number")
    if options.limit < 0:
        raise BenchError(f"--limit is {options.limit}; it must be 0 or more")
    return finish(load(name).run(options), options)


def check_files(options: argparse.Namespace) -> None:
    """
    Check what is to be written, before anything is measured.

    Raises:
        BenchError: If it cannot be.
    """
    for path in filter(None, (options.json, options.plot)):
        if not Path(path).absolute().parent.is_dir():
            raise BenchError(f"{path} cannot be written: there is no such folder")
    if options.plot:
        from realtime.bench.plot import check_format

        check_format(options.plot)


def finish(result: Result, options: argparse.Namespace) -> int:
    """Print the table, write the files; return the exit code."""
    print_table(*result.table())
    for warning in result.warnings:
        say(f"warning: {warning}")
    if options.json:
        result.write(options.json)
    if options.plot:
        from realtime.bench.plot import draw

        draw(result, options.plot)
    if result.stopped:
        say(f"stopped: {result.stopped}; this is what was measured before")
        return EXIT_STOPPED
    return 0


# -- the surroundings of a run ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """
    What a scenario works with. ``run`` marks this run's publications, ``label`` its
    users and devices.
    """

    scenario: str
    options: argparse.Namespace
    target: Target
    dialect: Dialect
    display: Display
    stop: Stop
    run: bytes
    label: str

    def crowd(
        self,
        kind: type[W],
        connections: int,
        settings: object = None,
        target: Target | None = None,
    ) -> Crowd[W]:
        """Start processes for so many connections (to *target*, if given)."""
        chosen = target or self.target
        share = Share(chosen, self.dialect, connections, self.run, self.label, settings)
        count = processes_for(
            connections, self.options.processes, local=self.target.is_local
        )
        return Crowd(kind, share, count, self.stop)

    def costs(self) -> Costs:
        """Return what the server has used so far; subtract two of them."""
        return Costs.of(self.target)

    def result(
        self,
        columns: Mapping[str, str],
        rows: Sequence[Row],
        series: Sequence[Series] = (),
        warnings: Sequence[str] = (),
    ) -> Result:
        """
        Put the result together.

        Raises:
            BenchError: If there are no rows: then nothing was measured.
        """
        if not rows:
            why = self.stop.reason or "; ".join(dict.fromkeys(warnings))
            raise BenchError(f"nothing was measured: {why or 'nobody came in'}")
        return Result(
            scenario=self.scenario,
            columns=columns,
            rows=tuple(rows),
            series=tuple(series),
            warnings=tuple(dict.fromkeys(warnings)),
            stopped=self.stop.reason,
            parameters=parameters_of(self.options),
        )


@contextmanager
def opened(
    options: argparse.Namespace,
    scenario: str,
    target: Target | None = None,
    dialect: Dialect | None = None,
) -> Iterator[Bench]:
    """
    Prepare a run: the target (given, or by the options, or started here), progress,
    and an end in good order.

    Raises:
        BenchError: If an option is wrong, or a server does not start.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(stopping(options.limit))
        display = Display(quiet=options.quiet)
        stack.callback(display.close)
        if target is None:
            target = (
                remote_target(options)
                if options.url
                else stack.enter_context(local_target(options.nodes, options.redis))
            )
        yield Bench(
            scenario,
            options,
            target,
            dialect or Native(options.codec),
            display,
            stop,
            secrets.token_hex(RUN_CHARACTERS // 2).encode(),
            options.label or secrets.token_hex(4),
        )


def parameters_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a run for the record, without its secrets."""
    kept = {
        name: value
        for name, value in vars(options).items()
        if value not in (None, [], False) and name not in ("json", "plot", "run")
    }
    for name in ("token", "secret", "api_key"):
        if name in kept:
            kept[name] = "..."
    if "redis" in kept:
        kept["redis"] = without_password(kept["redis"])
    return kept


def doubts(busy: float, costs: Costs) -> list[str]:
    """Return warnings where the load generator, not the server, was measured."""
    found = []
    if busy > BUSY:
        found.append(
            f"a process of clients used {busy:.0%} of a core: the load generator was "
            "the bottleneck, not the server; use more --processes or more machines"
        )
    if costs.machine_busy is not None and costs.machine_busy > FULL:
        found.append(
            "this machine had no time left: latencies tell how clients and server "
            "waited for a processor; put them on different machines, or load less"
        )
    return found


def numbers(text: str) -> list[float]:
    """Read an option such as ``100,200,400``; for argparse."""
    try:
        found = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers") from None
    if not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"{text!r} holds what is no number")
    if any(one < 0 for one in found):
        raise argparse.ArgumentTypeError(f"{text!r} holds a number below 0")
    return found


def whole_numbers(text: str) -> list[int]:
    """Read an option such as ``1,20``; for argparse."""
    found = numbers(text)
    if any(one != int(one) or one < 1 for one in found):
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers from 1, with commas")
    return [int(one) for one in found]


def hand_over(name: str) -> None:
    """
    In a program of benchmarks/: with --url, run the scenario and exit. Without, return.
    """
    given = sys.argv[1:]
    if any(word == "--url" or word.startswith("--url=") for word in given):
        run_program(name)


def run_program(name: str) -> None:
    """Run a scenario as ``python benchmarks/NAME.py``, and exit."""
    try:
        code = main(name, sys.argv[1:], f"python benchmarks/{name}.py")
    except BenchError as exc:
        say(f"{name}: {exc}")
        code = 1
    except KeyboardInterrupt:
        code = EXIT_STOPPED
    sys.exit(code)
