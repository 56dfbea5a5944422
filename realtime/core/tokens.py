"""
Tokens: from the text that a client presents to who it is and what it may do.

Laws: before the signature has been verified, nothing that a token says is looked at but
to choose a key; time is an argument; no part of a token appears in an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson

from realtime.core.access import NOTHING, Grants, Identity, Kind
from realtime.core.jws import Signed, TokenError, TokenProblem, invalid
from realtime.core.keys import Algorithm, ApiKeys, Key, KeySet
from realtime.settings import AuthSettings
from realtime.types import JSONText, UserId

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

MAX_GRANTS = 256
MAX_SHARED_GRANTS = 16  # who is granted more is granted things of his own, perhaps
MAX_TEXT_CHARS = 255
MAX_INFO_BYTES = 2048
"""Of what a token tells others of its user, as JSON: every member costs as much."""
YEAR_10000 = 253_402_300_800.0
"""No time is later; a greater number is milliseconds taken for seconds."""


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
    found = Signed.read(token)
    candidates = keys.candidates(found.algorithm, found.kid)
    if not any(found.is_by(key) for key in candidates):
        raise _not_signed(found, candidates)
    claims = _parse(found.payload)
    return identity_of(claims, now, settings, require_expiry=require_expiry)


def _not_signed(found: Signed, candidates: Sequence[Key]) -> TokenError:
    if any(key.kid == found.kid for key in candidates):
        return invalid("token: the signature is wrong")
    if found.algorithm is Algorithm.HS256:  # its keys are never fetched
        return invalid(
            "token: the signature is wrong, or of a secret that is not known here"
        )
    return TokenError(
        TokenProblem.UNKNOWN_KEY,
        "token: it is signed by a key that this server does not know"
        if found.kid is not None
        else "token: it does not name its key (kid), and none here fits",
    )


def _parse(payload: bytes) -> Mapping[str, object]:
    try:
        claims = orjson.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise invalid("token: its claims are no JSON object")
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
        raise invalid("token: it has no exp; tokens must say when they expire")
    _check_issuer(claims, settings.issuer)
    _check_audience(claims, settings.audience)
    user = None
    if claims.get("sub") is not None:
        user = UserId(_text("sub", claims["sub"]))
    kind = Kind.ANONYMOUS if user is None else Kind.USER
    claim = claims.get("realtime")
    if claim is None:
        claim = {}
    if not isinstance(claim, dict):
        raise invalid("token: claim realtime must be an object of lists")
    return Identity(
        user,
        expires_at,
        _grants(claim),
        kind,
        _info(claim.get("info")),
        _seconds("iat", claims.get("iat")),
    )


def _check_times(
    claims: Mapping[str, object], now: float, leeway_s: float
) -> float | None:
    """Return when the token expires; refuse it if it is not valid now."""
    expires_at = _seconds("exp", claims.get("exp"))
    for name in ("nbf", "iat"):
        start = _seconds(name, claims.get(name))
        if start is not None and start > now + leeway_s:
            raise invalid(f"token: {name} is {start - now:.0f} s in the future")
    if expires_at is not None and now >= expires_at + leeway_s:
        raise TokenError(
            TokenProblem.EXPIRED, f"token: it expired {now - expires_at:.0f} s ago"
        )
    return expires_at


def _check_issuer(claims: Mapping[str, object], issuer: str | None) -> None:
    if issuer is not None and claims.get("iss") != issuer:
        raise invalid("token: iss is not the issuer that this server believes")


def _check_audience(claims: Mapping[str, object], audience: str | None) -> None:
    claimed = claims.get("aud")
    if audience is None:
        # RFC 7519, 4.1.3: who does not find itself among the audience must refuse.
        if claimed is not None:
            raise invalid(
                "token: it has aud, but this server is configured without audience"
            )
        return
    if claimed != audience and not (isinstance(claimed, list) and audience in claimed):
        raise invalid("token: aud does not name this server's audience")


def _grants(claim: Mapping[str, object]) -> Grants:
    # Hot: once per hello. Most users of an app are granted the same, and are given the
    # same object for it.
    if claim.keys().isdisjoint(_VERBS):
        return NOTHING
    found = [claim.get(verb) for verb in _VERBS]
    lists = tuple([tuple(one) if type(one) is list else one for one in found])
    if sum([len(one) for one in lists if type(one) is tuple]) <= MAX_SHARED_GRANTS:
        try:
            return _shared(lists)
        except TypeError:
            pass  # a list or an object within a list
    return _make(lists)


_VERBS = ("subscribe", "publish", "track", "history", "members")


def _make(lists: tuple[object, ...]) -> Grants:
    """Check what is granted for each of the verbs, a tuple for a list."""
    return Grants(*map(_patterns, _VERBS, lists))


_shared = lru_cache(maxsize=1024)(_make)  # errors are not remembered


def _info(value: object) -> JSONText | None:
    if value is None:
        return None
    text = orjson.dumps(value)
    if len(text) > MAX_INFO_BYTES:
        raise invalid(
            f"token: claim realtime.info has {len(text)} bytes as JSON, at most "
            f"{MAX_INFO_BYTES} are taken"
        )
    return JSONText(text)


def _patterns(verb: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    name = f"claim realtime.{verb}"
    if not isinstance(value, tuple):
        raise invalid(f'token: {name} must be a list of strings, such as ["chat:*"]')
    if len(value) > MAX_GRANTS:
        raise invalid(
            f"token: {name} has {len(value)} entries, at most {MAX_GRANTS} are taken"
        )
    return tuple(_text(f"{name}[{i}]", text) for i, text in enumerate(value))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARS:
        raise invalid(
            f"token: {name} must be a string of 1 to {MAX_TEXT_CHARS} characters"
        )
    if not value.isprintable():
        raise invalid(f"token: {name} must not have control characters")
    return value


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(f"token: {name} must be a number of seconds since 1970")
    if not 0 <= value < YEAR_10000:
        raise invalid(f"token: {name} must be seconds since 1970, not milliseconds")
    return float(value)
