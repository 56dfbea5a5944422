"""
The outer form of a token: three parts, a header that names the key, and a signature.

Laws: only the compact form of RFC 7515 with an agreed algorithm is read, to the letter;
the payload is not looked at here; no part of a token appears in an error.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

import orjson
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from realtime.core.keys import Algorithm, Key
from realtime.errors import RealtimeError

MAX_TOKEN_CHARS = 32 * 1024

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)")

# PyJWT's algorithms without its reading of tokens, which takes four times as long as
# all that is here (it looks at every character in Python), and a fleet of clients that
# comes back at once waits for it.
_VERIFIERS: Mapping[Algorithm, Any] = MappingProxyType(
    {
        Algorithm.HS256: HMACAlgorithm(HMACAlgorithm.SHA256),
        Algorithm.RS256: RSAAlgorithm(RSAAlgorithm.SHA256),
        Algorithm.ES256: ECAlgorithm(ECAlgorithm.SHA256),
    }
)


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


def invalid(reason: str) -> TokenError:
    """Return the error that a token is good for nothing."""
    return TokenError(TokenProblem.INVALID, reason)


@dataclass(frozen=True, slots=True)
class Signed:
    """A token taken apart; nothing in it has been proved."""

    algorithm: Algorithm
    kid: str | None
    signed: bytes  # what the signature is of
    signature: bytes
    payload: bytes

    @classmethod
    def read(cls, token: str) -> Signed:
        """
        Take *token* apart.

        Raises:
            TokenError: If it has another form, or asks for what is not agreed.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise invalid(f"token: it has more than {MAX_TOKEN_CHARS} characters")
        match = _COMPACT.fullmatch(token)
        if match is None:
            raise invalid("token: it is no JSON Web Token of three parts")
        header, payload, signature = map(_decode, match.groups())
        algorithm, kid = _key_named(header)
        return cls(algorithm, kid, token[: match.end(2)].encode(), signature, payload)

    def is_by(self, key: Key) -> bool:
        """Whether *key*, which must be of the token's algorithm, has signed it."""
        assert key.algorithm is self.algorithm
        verifier = _VERIFIERS[key.algorithm]
        return bool(verifier.verify(self.signed, key.material, self.signature))


def _decode(segment: str) -> bytes:
    try:
        data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        raise invalid("token: a part of it is cut off") from None
    if urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise invalid("token: a part of it is no base64url")
    return data


def _key_named(header: bytes) -> tuple[Algorithm, str | None]:
    """Return what the header says of the key."""
    try:
        found = orjson.loads(header)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise invalid("token: its header can not be read")
    # RFC 7515, 4.1.11: an extension that is not understood makes the token invalid.
    if "crit" in found or "b64" in found:
        raise invalid("token: its header asks for extensions that are not supported")
    named, kid = found.get("alg"), found.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise invalid("token: its header's kid must be a string")
    for algorithm in Algorithm:
        if named == algorithm:
            return algorithm, kid
    raise invalid(f"token: its algorithm must be one of {', '.join(Algorithm)}")
