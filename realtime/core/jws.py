"""
The outer form of a token: three parts, a header that names the key, and a signature.

Laws: only the compact form of RFC 7515 with an agreed algorithm is read, to the letter;
the payload is not looked at here; no part of a token appears in an error.
"""

from __future__ import annotations

import hmac
import re
from binascii import a2b_base64
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from realtime.core.keys import Algorithm, Key
from realtime.errors import RealtimeError
from realtime.types import hot_value

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MAX_TOKEN_CHARS = 32 * 1024

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\.([A-Za-z0-9_-]*)")

# RFC 4648, 5: the other two characters of base64, what is missing at the end, and which
# characters may be the last ones: the bits beyond the last byte are zero.
_PLAIN = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")

_BLOCK_BYTES = 64  # of SHA-256
_INSIDE = bytes(byte ^ 0x36 for byte in range(256))
_OUTSIDE = bytes(byte ^ 0x5C for byte in range(256))

_MAX_KNOWN_BYTES = 128  # a header that is longer is nobody's usual one

# PyJWT's algorithms without its reading of tokens, which takes many times as long as
# all that is here (it looks at every character in Python), and a fleet of clients that
# comes back at once waits for it.
_VERIFIERS: Mapping[Algorithm, Any] = MappingProxyType(
    {
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


@hot_value
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
        raw = token.encode()
        header, payload, signature = raw.split(b".")
        known = len(header) <= _MAX_KNOWN_BYTES
        algorithm, kid = _remember(header) if known else _key_named(header)
        signed = raw[: match.end(2)]
        return cls(algorithm, kid, signed, _decode(signature), _decode(payload))

    def is_by(self, key: Key) -> bool:
        """Whether *key*, which must be of the token's algorithm, has signed it."""
        assert key.algorithm is self.algorithm
        if type(key.material) is bytes:
            expected = _sign(key.material, self.signed)
            return hmac.compare_digest(expected, self.signature)
        verifier = _VERIFIERS[key.algorithm]
        return bool(verifier.verify(self.signed, key.material, self.signature))


def _sign(secret: bytes, message: bytes) -> bytes:
    """Return the HMAC of *message* by SHA-256 (RFC 2104)."""
    # Hot: once per hello. OpenSSL looks the algorithm up at each call, unless a hash
    # that has begun is copied: 1.1 us then, not 2.4 (and not 10, after other work).
    begun_inside, begun_outside = _begun(secret)
    inside, outside = begun_inside.copy(), begun_outside.copy()
    inside.update(message)
    outside.update(inside.digest())
    return outside.digest()


@lru_cache(maxsize=4)
def _begun(secret: bytes) -> tuple[Hash, Hash]:
    """Return what both hashes begin with, for each of the few secrets of a server."""
    if len(secret) > _BLOCK_BYTES:
        secret = sha256(secret).digest()
    block = secret.ljust(_BLOCK_BYTES, b"\0")
    return sha256(block.translate(_INSIDE)), sha256(block.translate(_OUTSIDE))


def _decode(segment: bytes) -> bytes:
    """Decode base64url, of which only the characters have been checked."""
    left = len(segment) % 4
    if left == 1:
        raise invalid("token: a part of it is cut off")
    if left and segment[-1] not in _LAST[left]:
        raise invalid("token: a part of it is no base64url")
    return a2b_base64(segment.translate(_PLAIN) + _PADDING[left])


def _key_named(segment: bytes) -> tuple[Algorithm, str | None]:
    """Return what the header says of the key."""
    header = _decode(segment)
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


# An issuer's tokens have the same header, all of them: it names the key, no user.
_remember = lru_cache(maxsize=64)(_key_named)
