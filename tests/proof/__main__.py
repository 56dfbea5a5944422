"""``python -m tests.proof``: the long form, with progress and a table."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.proof.data import Dataset, flights, movielens
from tests.proof.run import Plan, Result, prove

DATA = {"movielens": movielens, "flights": flights}


def main() -> int:
    """Run the proof; return 0 if every cell is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help=f"{', '.join(DATA)} (default: all)")
    parser.add_argument("--limit", type=int, help="only so many events of each")
    parser.add_argument("--kills", type=int, default=12, help="nodes killed (12)")
    parser.add_argument("--shards", type=int, default=1, help="of the ledger (1)")
    args = parser.parse_args()
    console = Console()
    wrong = 0
    for name in args.data or DATA:
        data = DATA[name](args.limit)
        result = _run(console, data, Plan(args.kills, shards=args.shards))
        _show(console, result)
        wrong += result.wrong + (result.tally.acked != result.tally.total)
    return 1 if wrong else 0


def _run(console: Console, data: Dataset, plan: Plan) -> Result:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} {task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(data.name, total=len(data.frame), text="")
        return asyncio.run(
            prove(
                data,
                plan,
                lambda tally: bar.update(
                    task,
                    completed=tally.acked,
                    text=f"{tally.cuts} cuts, {tally.reconnects} reconnects",
                ),
            )
        )


def _show(console: Console, result: Result) -> None:
    tally, chaos = result.tally, result.chaos
    table = Table(title=f"{result.data.name}: counters against the offline answer")
    for column in ("counter", "measure", "window", "cells", "wrong", "worst error"):
        table.add_column(column, justify="left" if column == "counter" else "right")
    for row in result.rows:
        table.add_row(
            row.counter,
            row.measure,
            row.window,
            f"{row.cells:,}",
            str(row.wrong),
            f"{row.worst:.2%}" if row.worst else "0",
        )
    console.print(table)
    for row in result.rows:
        for example in row.examples[:3]:
            console.print(f"  {row.counter} {row.window}: {example}", style="red")
    console.print(
        f"{tally.total:,} events of {len(result.data.events()):,} devices; "
        f"{tally.sent:,} sent, {tally.duplicated_batches:,} of {tally.batches:,} "
        f"batches twice; {tally.cuts:,} cuts, {tally.reconnects:,} reconnects, "
        f"{tally.gaps:,} gaps, {tally.slow_downs:,} slow-downs; nodes killed "
        f"{chaos.killed_nodes} times, Valkey {chaos.killed_valkey}; "
        f"{tally.acked:,} acknowledged, {result.wrong} cells wrong; "
        f"{result.seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
