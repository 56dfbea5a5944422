"""The OpenAPI description of the HTTP edge, as data: one module per resource."""

from realtime.edges.http.openapi.document import document

__all__ = ["document"]
