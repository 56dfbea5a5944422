"""The real server, configured for a benchmark, and tokens that it takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jwt

from realtime.testing.processes import NodeProcess

LIMITS = """
[limits]
connect_rate = 0
publish_rate = 0

"""
"""Nobody is held back: what is measured is what it costs, not what is allowed."""

SECRET = "a secret of the benchmarks, thirty-two bytes or more"


def token(user: str) -> str:
    """Return a token that lets *user* do what the benchmarks do."""
    claims = {
        "sub": user,
        "exp": int(time.time()) + 86400,
        "realtime": {
            "subscribe": ["bench:*", "live:*"],
            "publish": ["bench:*"],
            "track": ["*"],
        },
    }
    return jwt.encode(claims, SECRET, "HS256")


@contextmanager
def serving(
    config: str, nodes: int = 1, redis: str | None = None
) -> Iterator[list[NodeProcess]]:
    """Run ``realtime serve`` with *config*, closed but for the tokens made here."""
    text = f'[auth]\nhmac_secret = "{SECRET}"\n\n[namespaces.bench]\n\n{LIMITS}{config}'
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "realtime.toml"
        file.write_text(text)
        arguments = ["--config", str(file)]
        if redis is not None:
            arguments += ["--redis", redis]
        yield [
            stack.enter_context(NodeProcess(arguments, folder / f"{number}.log"))
            for number in range(nodes)
        ]


def pid_of(node: NodeProcess) -> int:
    """Return the process of a node that runs."""
    if node.pid is None:
        raise RuntimeError(f"the server has ended: {node.log}")
    return node.pid
