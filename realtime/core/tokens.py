"""
Tokens: from the text that a client presents to who it is and what it may do.

Laws: before the signature has been verified, nothing that a token says is looked at but
to choose a key; time is an argument; no part of a token appears in an error.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from enum import Enum

import orjson
from jwt import PyJWS, PyJWTError

from realtime.core.access import NOTHING, Grants, Identity, Kind
from realtime.core.keys import Algorithm, ApiKeys, Key, KeySet
from realtime.errors import RealtimeError
from realtime.settings import AuthSettings
from realtime.types import UserId

__all__ = [
    "Algorithm",
    "ApiKeys",
    "Key",
    "KeySet",
    "TokenError",
    "TokenProblem",
    "identity_of",
    "verify",
]

MAX_TOKEN_CHARS = 32 * 1024
MAX_GRANTS = 256
MAX_TEXT_CHARS = 255
YEAR_10000 = 253_402_300_800.0
"""No time is later; a greater number is milliseconds taken for seconds."""

_JWS = PyJWS(algorithms=[str(algorithm) for algorithm in Algorithm])


class TokenProblem(Enum):
    """What is wrong with a token."""

    INVALID = "invalid"
    EXPIRED = "expired"
    UNKNOWN_KEY = "unknown_key"  # signed by a key that is not known here, perhaps yet


class TokenError(RealtimeError):
    """A token is refused; *reason* is safe to be told and logged."""

    def __init__(self, kind: TokenProblem, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


def verify(
    token: str,
    keys: KeySet,
    now: float,
    settings: AuthSettings,
    *,
    require_expiry: bool = True,
) -> Identity:
    """
    Return whom *token* speaks for; *now* is the wall clock in seconds.

    Raises:
        TokenError: If the token is malformed, forged, not valid now, or not for us.
    """
    algorithm, kid = _read_header(token)
    candidates = keys.candidates(algorithm, kid)
    for key in candidates:
        payload = _open(token, key)
        if payload is not None:
            return identity_of(
                _parse(payload), now, settings, require_expiry=require_expiry
            )
    if any(key.kid == kid for key in candidates):
        raise _invalid("token: the signature is wrong")
    if algorithm is Algorithm.HS256:  # its keys are never fetched
        raise _invalid(
            "token: the signature is wrong, or of a secret that is not known here"
        )
    raise TokenError(
        TokenProblem.UNKNOWN_KEY,
        "token: it is signed by a key that this server does not know"
        if kid is not None
        else "token: it does not name its key (kid), and none here fits",
    )


def _read_header(token: str) -> tuple[Algorithm, str | None]:
    """Return what the header says of the key, or refuse the token."""
    if len(token) > MAX_TOKEN_CHARS:
        raise _invalid(f"token: it has more than {MAX_TOKEN_CHARS} characters")
    if not token.isascii() or token.count(".") != 2:
        raise _invalid("token: it is no JSON Web Token of three parts")
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError):
        header = None
    if not isinstance(header, dict):
        raise _invalid("token: its header can not be read")
    # RFC 7515, 4.1.11: an extension that is not understood makes the token invalid.
    if "crit" in header or "b64" in header:
        raise _invalid("token: its header asks for extensions that are not supported")
    named, kid = header.get("alg"), header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _invalid("token: its header's kid must be a string")
    for algorithm in Algorithm:
        if named == algorithm:
            return algorithm, kid
    raise _invalid(f"token: its algorithm must be one of {', '.join(Algorithm)}")


def _open(token: str, key: Key) -> bytes | None:
    """Return the payload if *key* has signed it."""
    try:
        payload = _JWS.decode(token, key.material, algorithms=[key.algorithm])
    except (PyJWTError, ValueError):
        return None
    assert isinstance(payload, bytes)
    return payload


def _parse(payload: bytes) -> Mapping[str, object]:
    try:
        claims = orjson.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise _invalid("token: its claims are no JSON object")
    return claims


def identity_of(
    claims: Mapping[str, object],
    now: float,
    settings: AuthSettings,
    *,
    require_expiry: bool = True,
) -> Identity:
    """
    Return whom verified *claims* speak for.

    Raises:
        TokenError: If they are malformed, not valid at *now*, or not for us.
    """
    expires_at = _check_times(claims, now, settings.leeway_s)
    if expires_at is None and require_expiry:
        raise _invalid("token: it has no exp; tokens must say when they expire")
    _check_issuer(claims, settings.issuer)
    _check_audience(claims, settings.audience)
    user = None
    if claims.get("sub") is not None:
        user = UserId(_text("sub", claims["sub"]))
    kind = Kind.ANONYMOUS if user is None else Kind.USER
    return Identity(user, expires_at, _grants(claims.get("realtime")), kind)


def _check_times(
    claims: Mapping[str, object], now: float, leeway_s: float
) -> float | None:
    """Return when the token expires; refuse it if it is not valid now."""
    expires_at = _seconds("exp", claims.get("exp"))
    for name in ("nbf", "iat"):
        start = _seconds(name, claims.get(name))
        if start is not None and start > now + leeway_s:
            raise _invalid(f"token: {name} is {start - now:.0f} s in the future")
    if expires_at is not None and now >= expires_at + leeway_s:
        raise TokenError(
            TokenProblem.EXPIRED, f"token: it expired {now - expires_at:.0f} s ago"
        )
    return expires_at


def _check_issuer(claims: Mapping[str, object], issuer: str | None) -> None:
    if issuer is not None and claims.get("iss") != issuer:
        raise _invalid("token: iss is not the issuer that this server believes")


def _check_audience(claims: Mapping[str, object], audience: str | None) -> None:
    claimed = claims.get("aud")
    if audience is None:
        # RFC 7519, 4.1.3: who does not find itself among the audience must refuse.
        if claimed is not None:
            raise _invalid(
                "token: it has aud, but this server is configured without audience"
            )
        return
    if claimed != audience and not (isinstance(claimed, list) and audience in claimed):
        raise _invalid("token: aud does not name this server's audience")


def _grants(claim: object) -> Grants:
    if claim is None:
        return NOTHING
    if not isinstance(claim, dict):
        raise _invalid("token: claim realtime must be an object of lists")
    return Grants(
        _patterns("subscribe", claim.get("subscribe")),
        _patterns("publish", claim.get("publish")),
        _patterns("track", claim.get("track")),
    )


def _patterns(verb: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    name = f"claim realtime.{verb}"
    if not isinstance(value, list):
        raise _invalid(f'token: {name} must be a list of strings, such as ["chat:*"]')
    if len(value) > MAX_GRANTS:
        raise _invalid(
            f"token: {name} has {len(value)} entries, at most {MAX_GRANTS} are taken"
        )
    return tuple(_text(f"{name}[{i}]", text) for i, text in enumerate(value))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARS:
        raise _invalid(
            f"token: {name} must be a string of 1 to {MAX_TEXT_CHARS} characters"
        )
    if not value.isprintable():
        raise _invalid(f"token: {name} must not have control characters")
    return value


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"token: {name} must be a number of seconds since 1970")
    if not 0 <= value < YEAR_10000:
        raise _invalid(f"token: {name} must be seconds since 1970, not milliseconds")
    return float(value)


def _invalid(reason: str) -> TokenError:
    return TokenError(TokenProblem.INVALID, reason)
