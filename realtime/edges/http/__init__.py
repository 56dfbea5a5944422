"""HTTP: events in, publications in, counters and server-sent events out."""

from realtime.edges.http.edge import Edge, close_streams, routes

__all__ = ["Edge", "close_streams", "routes"]
