"""HTTP: events in, publications in, counters and server-sent events out."""

from realtime.edges.http.edge import Edge, routes, streams_of

__all__ = ["Edge", "routes", "streams_of"]
