"""
Makes docs/reference/cli.md of the command line itself, so that the page cannot lie.

    python -m tests.docs.cli_page > docs/reference/cli.md
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterator

from realtime import cli
from realtime.bench.program import parser_of
from realtime.bench.scenarios import SCENARIOS

HEAD = """\
# The command line

    realtime COMMAND [options]

This page is made of what `realtime COMMAND --help` says.

{contents}

**Settings** of `serve`, `check` and `token` are read from the file given by `--config`,
or by the variable `REALTIME_CONFIG`, or else from `./realtime.toml`; then from
variables such as `REALTIME_SERVER__PORT=8081`; then from the command line. See
[Configuration](configuration.md).

**Commands that talk to a running server** (`track` and all after it) take its address
from `--url` or `REALTIME_URL`, and an API key or a token from `--key` or
`REALTIME_KEY`; those from `nodes` on need an API key, or `--dev`. The variable is the
better place for a key: what stands on a command line, other users of the machine can
see.

| exit code | |
|---|---|
| 0 | it is done |
| 1 | it failed or was refused (standard error says why); a replay had rejected rows |
| 2 | the arguments or the configuration are wrong |
| 130 | interrupted by Ctrl-C (but `serve`, for which that is the way to stop); \
`bench` also when SIGTERM or `--limit` ended it before it was done |
"""

NOTES = {
    "serve": """\
It prints the address of its page when it listens. It stops in good order on Ctrl-C or
SIGTERM: clients are told to come back elsewhere, and events that wait are committed.
More in [Deploy](../howto/deploy.md) and [Scale](../howto/scale.md).""",
    "nodes": "The same by HTTP: [Orders](http.md#orders).",
    "block": "More in [Moderate](../howto/moderate.md#block).",
    "revoke": "More in [Moderate](../howto/moderate.md#revoke).",
    "disconnect": "More in [Moderate](../howto/moderate.md#disconnect).",
    "token": "More in [Make tokens](../howto/tokens.md).",
    "replay": "More in [Replay history](../howto/replay.md).",
    "bench": "More in [Load-test a deployment](../howto/load-test.md).",
}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command."""
    [actions] = [
        action
        for action in cli.new_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(actions.choices)


def bench_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every benchmark, by ``bench NAME``."""
    return {f"bench {name}": parser_of(name) for name in SCENARIOS}


def render() -> str:
    """Return the whole page."""
    commands = parsers()
    contents = "\n".join(f"- [realtime {name}](#realtime-{name})" for name in commands)
    pages = [HEAD.format(contents=contents)]
    for name, parser in commands.items():
        pages.append(_command(name, parser))
        if name == "bench":
            pages += _benchmarks()
    return "\n".join(pages)


def _benchmarks() -> Iterator[str]:
    """A section for each benchmark, and one for what they have in common."""
    common: dict[str, list[argparse.Action]] = {}
    for name, parser in bench_parsers().items():
        own, *groups = _groups(parser)
        lines = [f"### realtime {name}", "", (parser.description or "").strip(), ""]
        lines += [*_rows(own[1]), "", _code(_epilog(parser)), ""]
        yield "\n".join(lines)
        common.update(groups)
    for title, actions in common.items():
        yield "\n".join([f"### Every benchmark: {title}", "", *_rows(actions), ""])


def _groups(
    parser: argparse.ArgumentParser,
) -> list[tuple[str, list[argparse.Action]]]:
    shown = shown_actions(parser)
    # The first group of argparse is that of positional arguments.
    return [
        (group.title or "", [one for one in group._group_actions if one in shown])
        for group in parser._action_groups[1:]
    ]


def shown_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What the help shows, but for --help itself."""
    return [
        action
        for action in parser._actions
        if action.help is not argparse.SUPPRESS and action.dest != "help"
    ]


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## realtime {name}", "", _code(_usage(name, parser)), ""]
    lines += [(parser.description or "").strip(), ""]
    lines += [*_table(parser), ""]
    if name in NOTES:
        lines += [NOTES[name], ""]
    lines += [_code(_epilog(parser)), ""]
    return "\n".join(lines)


def _usage(name: str, parser: argparse.ArgumentParser) -> str:
    required, optional = [], []
    for action in shown_actions(parser):
        if not action.option_strings:
            required.append(_positional(action))
        else:
            optional.append(_option(action))
    for group in parser._mutually_exclusive_groups:
        names = [_option(action) for action in group._group_actions]
        optional = [one for one in optional if one not in names]
        (required if group.required else optional).insert(0, f"({' | '.join(names)})")
    words = f"realtime {name} {' '.join(required)}".rstrip()
    return f"{words} [options]" if optional else words


def _positional(action: argparse.Action) -> str:
    name = action.dest.upper()
    shapes = {"+": f"{name} ...", "*": f"[{name} ...]", "?": f"[{name}]"}
    return shapes.get(str(action.nargs), name)


def _option(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return action.option_strings[0] + value


def _table(parser: argparse.ArgumentParser) -> Iterator[str]:
    return _rows(shown_actions(parser))


def _rows(actions: list[argparse.Action]) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for action in actions:
        named = _option(action) if action.option_strings else action.dest.upper()
        text = " ".join((action.help or "").split()).replace("|", "\\|")
        text = text.replace("%%", "%")
        yield f"| `{named}` | {_as_code(text)} |"


def _as_code(text: str) -> str:
    """Put what is meant to be typed into backticks, as GitHub shows * otherwise."""
    return re.sub(r"(?<!\S)(\*\.\w+|live:\S+)", r"`\1`", text).replace("`,", "`,")


def _epilog(parser: argparse.ArgumentParser) -> str:
    return (parser.epilog or "").strip()


def _code(text: str) -> str:
    return textwrap.indent(text, "    ")


if __name__ == "__main__":
    sys.stdout.write(render())
