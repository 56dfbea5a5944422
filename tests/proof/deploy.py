"""``python -m tests.proof.deploy``: a rolling restart with 5,000 clients."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.proof.rolling import Deploy, Plan, Result


def main() -> int:
    """Run it; return 0 if nothing was lost and no limit passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1_000, help="limits.connect_rate")
    parser.add_argument("--over", type=float, default=10.0, help="drain.over, seconds")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    args = parser.parse_args()
    plan = Plan(
        clients=args.clients,
        channels=args.channels,
        connect_rate=args.rate,
        over_s=args.over,
        return_s=5.0,
        patience_s=120.0,
    )
    console = Console()
    with tempfile.TemporaryDirectory() as made:
        folder = args.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            deploy = Deploy(plan, folder, lambda *told: live.update(_line(*told)))
            result = deploy.run()
    _show(console, result)
    return 1 if result.faults else 0


def _line(phase: str, result: Result, connected: int) -> Text:
    tally = result.tally
    return Text(
        f"{phase}: {connected:,} of {result.plan.clients:,} connected, "
        f"{tally.heard:,} publications heard, {tally.acked:,} of {tally.made:,} events "
        f"acknowledged, {tally.goodbyes:,} goodbyes, {tally.lost} lost"
    )


def _show(console: Console, result: Result) -> None:
    tally, plan = result.tally, result.plan
    away = sorted(tally.away_s) or [0.0]
    table = Table(title="a rolling restart of two nodes", show_header=False)
    rows = {
        "clients": f"{plan.clients:,} on {plan.channels} channels",
        "publications": f"{result.publications:,}, heard {tally.heard:,} times",
        "lost, repeated, wrong": f"{tally.lost}, {tally.repeated}, {tally.wrong}",
        "not recovered, clients behind": f"{tally.unrecovered}, {result.behind}",
        "events made, acknowledged": f"{tally.made:,}, {tally.acked:,}",
        "events in the ledger": f"{result.counted:,}",
        "goodbyes, refusals": f"{tally.goodbyes:,}, {tally.refusals:,}",
        "unasked ends, errors": f"{tally.failures:,}, {tally.errors:,}",
        "away, median and longest": f"{away[len(away) // 2]:.1f} s, {away[-1]:.1f} s",
        "drains": ", ".join(f"{one['seconds']:.1f} s" for one in result.drains),
        "most connects in a second": f"{result.connects} (limit {plan.connect_rate})",
        "took": f"{result.seconds:.0f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for name, count in result.faults.items():
        console.print(f"{name}: {count}", style="red")
    for event in sorted(set(result.defects)):
        console.print(f"  {event}", style="red")


if __name__ == "__main__":
    sys.exit(main())
