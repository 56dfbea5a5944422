"""
Who sends a request: a backend by its API key, a user by token, or nobody in particular.

    Authorization: Bearer <API key or token>
    X-API-Key: <API key>
    ?access_token=<token>      only where a browser cannot send headers (GET /v1/live)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request

from realtime.core.access import BACKEND, Identity, Kind
from realtime.edges.http.host import Host
from realtime.edges.http.middleware import ACCESS_TOKEN
from realtime.errors import PERMISSION_DENIED, UNAUTHORIZED, CommandError

TOKEN_DOTS = 2
"""A JSON Web Token has three parts with dots between them."""

_TRUSTED = (Kind.BACKEND, Kind.DEVELOPER)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and how that is proved to the ledger."""

    identity: Identity
    key: str | None = None  # the API key's name, when there is one

    @property
    def trusted(self) -> bool:
        """Whether it is a backend, or anybody under ``--dev``."""
        return self.identity.kind in _TRUSTED

    def proofs(self, secret: str | None) -> Sequence[str]:
        """
        What may prove that a device is the caller's, as sockets prove it.

        Raises:
            CommandError: UNAUTHORIZED if there is neither key, user nor secret.
        """
        found = []
        if secret is not None:
            found.append(f"secret:{sha256(secret.encode()).hexdigest()}")
        if self.key is not None:
            found.append(f"key:{self.key}")
        if self.identity.user is not None:
            found.append(f"user:{self.identity.user}")
        if not found and self.identity.kind is Kind.DEVELOPER:
            found.append("key:dev")
        if not found:
            raise CommandError(
                UNAUTHORIZED,
                "events need an API key, a user's token, or a secret of "
                "16 characters or more in the field secret",
                field="secret",
            )
        return found


class Callers:
    """Finds out who sends a request."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def of(self, request: Request, *, in_address: bool = False) -> Caller:
        """
        Return the caller of *request*; *in_address* believes ``?access_token=``.

        Raises:
            CommandError: UNAUTHORIZED, TOKEN_EXPIRED, TOKEN_REVOKED or BLOCKED.
        """
        remote = "" if request.client is None else request.client.host
        key = request.headers.get("x-api-key")
        if key is not None:
            return await self._backend(key, remote)
        presented = _bearer(request)
        if presented is None and in_address:
            presented = request.scope.get(ACCESS_TOKEN)
        elif presented is not None:
            found = self._host.api_keys.match(presented)
            if found is not None:
                return Caller(BACKEND, found.name)
            if presented.count(".") != TOKEN_DOTS:
                return await self._stranger(presented, remote)
        return await self._caller(presented, remote)

    async def backend(self, request: Request) -> Caller:
        """
        Return the caller of *request*, which must be a backend.

        Raises:
            CommandError: UNAUTHORIZED, TOKEN_EXPIRED or PERMISSION_DENIED.
        """
        caller = await self.of(request)
        if not caller.trusted:
            raise CommandError(PERMISSION_DENIED, "this needs an API key")
        return caller

    async def _caller(self, presented: str | None, remote: str) -> Caller:
        authenticator = self._host.authenticator
        identity = await authenticator.authenticate(presented, remote)
        self._host.gate.check(identity)
        return Caller(identity)

    async def _stranger(self, presented: str, remote: str) -> Caller:
        """Answer what may have been meant as a key: it need not look like a token."""
        try:
            return await self._caller(presented, remote)
        except CommandError as exc:
            if exc.code is not UNAUTHORIZED:
                raise
            raise CommandError(
                UNAUTHORIZED,
                "what the Authorization header presents is neither a known API key "
                "nor a token",
            ) from exc

    async def _backend(self, presented: str, remote: str) -> Caller:
        found = self._host.api_keys.match(presented)
        if found is not None:
            return Caller(BACKEND, found.name)
        if self._host.server.dev:  # a key that is wrong is no worse than none
            return await self._caller(None, remote)
        raise CommandError(UNAUTHORIZED, "the API key is not known here")


def _bearer(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        raise CommandError(
            UNAUTHORIZED, "the Authorization header must be: Bearer <API key or token>"
        )
    return credentials.strip()


def has_credentials(request: Request) -> bool:
    """Whether the sender says who he is, truly or not."""
    return "authorization" in request.headers or "x-api-key" in request.headers
