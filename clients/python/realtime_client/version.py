"""The version of this package, and how it names itself to the server."""

from __future__ import annotations

__version__ = "0.1.0"

USER_AGENT = f"realtime-client-python/{__version__}"
