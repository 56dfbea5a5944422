"""asyncio without sockets and without Redis: what drives the decisions."""
