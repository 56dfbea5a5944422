"""
``/v1/events``: events by request, counted exactly once.

A batch is either numbered by a device of the sender (``device`` and ``first``), or
carries an ``Idempotency-Key``: then the key is a device of its own whose only batch it
is, and the digest of the body is the proof that a repetition is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from realtime.core.access import Kind
from realtime.edges.http.auth import Caller, Callers
from realtime.edges.http.body import Bodies
from realtime.edges.http.errors import KEY_REUSED, JSONResponse
from realtime.edges.http.fields import Body, integer, refuse, text
from realtime.edges.http.host import Host
from realtime.engine.backend import TrackResult
from realtime.errors import DEVICE_TAKEN, PERMISSION_DENIED, CommandError
from realtime.types import DeviceId, UserId
from realtime.wire import checks

MAX_CHARS = 255
"""Of a user's name and of an Idempotency-Key."""

KEYED = "idem/"
"""Begins the device of a key; no client can name such a device, for the slash."""

SECRET = "X-Device-Secret"
"""The header that shows a device's secret where there is no body."""

_FIELDS = ("device", "first", "events", "lost", "sent_at", "user", "secret")


@dataclass(frozen=True, slots=True)
class _Batch:
    """What both kinds of batches say."""

    events: list[object]
    sent_at: float | None
    user: UserId | None
    proofs: tuple[str, ...]


class Events:
    """The handlers of events."""

    def __init__(self, host: Host, callers: Callers, bodies: Bodies) -> None:
        self._host = host
        self._callers = callers
        self._bodies = bodies

    async def post(self, request: Request) -> Response:
        """Count a batch; answer after the commit."""
        caller = await self._callers.of(request)
        key = _idempotency_key(request)
        decoded, raw = await self._bodies.read(request)
        body = Body(decoded, _FIELDS)
        if key is None:
            result = await self._numbered(caller, body)
        else:
            result = await self._keyed(caller, body, key, raw)
        return JSONResponse(
            {
                "acked": result.acked,
                "rejected": [
                    {
                        "seq": one.seq,
                        "code": one.code,
                        "name": one.name,
                        "reason": one.reason,
                    }
                    for one in result.rejected
                ],
            }
        )

    async def mark(self, request: Request) -> Response:
        """Say how far a device of the backend has been counted."""
        caller = await self._callers.backend(request)
        path = Body(request.path_params, request.path_params)
        device = DeviceId(path.required("device", checks.device))
        acked = await self._host.mark(device, caller.proofs(_secret(request)))
        return JSONResponse({"device": device, "acked": acked})

    async def _numbered(self, caller: Caller, body: Body) -> TrackResult:
        batch = _read(caller, body)
        device = body.optional("device", checks.device)
        if device is None:
            refuse(
                "device",
                "is missing; number the batch with device and first, or send an "
                "Idempotency-Key header",
            )
        first = body.required("first", integer(1))
        lost = body.optional("lost", integer(0)) or 0
        if lost >= first:
            refuse("lost", f"must be less than first, {first}, not {lost}")
        return await self._track(caller, DeviceId(device), batch, first, lost)

    async def _keyed(
        self, caller: Caller, body: Body, key: str, raw: bytes
    ) -> TrackResult:
        body.without(("device", "first", "lost"), "the Idempotency-Key stands for it")
        batch = _read(caller, body)
        owner = batch.proofs[-1]
        name = sha256(f"{len(owner)}:{owner}:{key}".encode()).hexdigest()
        proof = f"body:{sha256(raw).hexdigest()}"
        try:
            return await self._track(
                caller,
                DeviceId(KEYED + name),
                _Batch(batch.events, batch.sent_at, batch.user, (proof,)),
                mark_ttl_s=self._host.parts.ledger_settings.idempotency_ttl_s,
            )
        except CommandError as exc:
            if exc.code is not DEVICE_TAKEN:
                raise
            raise CommandError(
                KEY_REUSED,
                f"the Idempotency-Key {key!r} came with another body before; "
                "a new batch needs a new key",
            ) from exc

    async def _track(
        self,
        caller: Caller,
        device: DeviceId,
        batch: _Batch,
        first: int = 1,
        lost: int = 0,
        mark_ttl_s: float | None = None,
    ) -> TrackResult:
        access, identity = self._host.access, caller.identity
        return await self._host.track(
            device,
            batch.proofs,
            first,
            batch.events,
            may_track=access.tracker(identity),
            lost=lost,
            sent_at=batch.sent_at,
            user=batch.user,
            mark_ttl_s=mark_ttl_s,
            names_users=caller.trusted,
            hooked=caller.identity.kind is not Kind.BACKEND,
        )


def _read(caller: Caller, body: Body) -> _Batch:
    return _Batch(
        body.required("events", checks.array),
        body.optional("sent_at", checks.moment),
        _user(caller, body.optional("user", text(MAX_CHARS))),
        tuple(caller.proofs(body.optional("secret", checks.secret))),
    )


def _user(caller: Caller, named: str | None) -> UserId | None:
    """Whose events they are: backends say it, tokens know it."""
    own = caller.identity.user
    if named is None or named == own:
        return own
    if not caller.trusted:
        raise CommandError(
            PERMISSION_DENIED,
            "user: only an API key may send events of another user",
            field="user",
        )
    return UserId(named)


def _secret(request: Request) -> str | None:
    shown = Body({SECRET: request.headers.get(SECRET)}, (SECRET,))
    return shown.optional(SECRET, checks.secret)


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_CHARS or not (key.isascii() and key.isprintable()):
        refuse(
            "Idempotency-Key",
            f"must be 1 to {MAX_CHARS} printable ASCII characters",
        )
    return key
