"""
The dashboard's files, as they lie in ``realtime/edges/page``, and what it should show.

Laws: nothing but these files can be reached, whatever the path says; a page may load
from here only, and be framed by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response

from realtime.edges.http.errors import JSONResponse, not_found
from realtime.edges.http.host import Host

INDEX = "index.html"

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}

_HEADERS: Mapping[str, str] = {
    "cache-control": "no-cache",  # keep it, but ask whether it is still the same
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file with what is told of it."""

    content: bytes
    media_type: str
    etag: str


def load(folder: Traversable) -> Mapping[str, PageFile]:
    """Read the files that a page may ask for, by their path below *folder*."""
    return {path: _file(path, found.read_bytes()) for path, found in _walk(folder, "")}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for found in folder.iterdir():
        path = prefix + found.name
        if found.is_dir():
            yield from _walk(found, path + "/")
        elif PurePosixPath(path).suffix in _TYPES:
            yield path, found


def _file(path: str, content: bytes) -> PageFile:
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    return PageFile(content, _TYPES[PurePosixPath(path).suffix], etag)


class Page:
    """The handlers of the dashboard."""

    def __init__(self, host: Host, folder: Traversable | None = None) -> None:
        self._host = host
        self._files = load(folder or files("realtime.edges") / "page")

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return self._answer(request, INDEX)

    async def file(self, request: Request) -> Response:
        """What the page loads."""
        return self._answer(request, request.path_params["path"])

    async def describe(self, request: Request) -> Response:
        """What the page shows here."""
        return JSONResponse(dict(self._host.page))

    def _answer(self, request: Request, path: str) -> Response:
        found = self._files.get(path)
        if found is None:
            raise not_found(request)
        headers = {**_HEADERS, "etag": found.etag}
        if _holds(request.headers.get("if-none-match", ""), found.etag):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)


def _holds(header: str, etag: str) -> bool:
    """Whether the sender has this version already (RFC 9110, 13.1.2)."""
    held = {one.strip().removeprefix("W/") for one in header.split(",")}
    return etag in held or "*" in held
