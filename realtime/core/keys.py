"""
The keys that prove who speaks: of the issuers of tokens, and of backends.

A key knows its one algorithm. The algorithm that a token names only chooses among keys;
it never decides how one is used, so a public key can not be taken for an HMAC secret.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from realtime.errors import ConfigError
from realtime.settings import ApiKey, AuthSettings

MIN_HMAC_BYTES = 32  # RFC 7518, 3.2: at least as long as the hash
MIN_RSA_BITS = 2048  # RFC 7518, 3.3
MAX_JWKS_KEYS = 64


class Algorithm(StrEnum):
    """The signatures that are accepted."""

    HS256 = "HS256"
    RS256 = "RS256"
    ES256 = "ES256"


Material = bytes | RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """One key with its one algorithm; ``kid`` is its name, if it has one."""

    algorithm: Algorithm
    material: Material = field(repr=False)
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys by which tokens are checked. ``ignored`` says which were unusable."""

    keys: tuple[Key, ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def configured(cls, settings: AuthSettings) -> KeySet:
        """
        Make the set of the keys that are given in place (files have been read before).

        Raises:
            ConfigError: If a key is malformed or too weak.
        """
        keys = []
        if settings.hmac_secret is not None:
            keys.append(Key(Algorithm.HS256, _hmac_secret(settings.hmac_secret)))
        if settings.public_key is not None:
            keys.append(_public_key(settings.public_key))
        return cls(tuple(keys))

    @classmethod
    def from_jwks(cls, document: object) -> KeySet:
        """
        Make the set of a JSON Web Key Set, without the keys that are of no use here.

        Raises:
            ValueError: If *document* is no such set.
        """
        listed = document.get("keys") if isinstance(document, Mapping) else None
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise ValueError('no key set: an object with a list "keys" is expected')
        if len(listed) > MAX_JWKS_KEYS:
            raise ValueError(f"{len(listed)} keys, at most {MAX_JWKS_KEYS} are taken")
        keys, ignored = [], []
        for index, jwk in enumerate(listed):
            try:
                keys.append(_from_jwk(jwk))
            except ValueError as exc:
                ignored.append(f"keys[{index}]: {exc}")
        return cls(tuple(keys), tuple(ignored))

    def __add__(self, other: KeySet) -> KeySet:
        """Return the keys of both."""
        return KeySet(self.keys + other.keys, self.ignored + other.ignored)

    def candidates(self, algorithm: Algorithm, kid: str | None) -> Sequence[Key]:
        """
        Return the keys that may have signed a token which names *algorithm* and *kid*.

        A key without a name may go with any *kid*. A token without *kid* goes with the
        keys that have no name, or else with the only key of its algorithm.
        """
        if len(self.keys) == 1:  # the usual case, and it is asked at every hello
            key = self.keys[0]
            fits = key.algorithm is algorithm
            named = kid is not None and key.kid is not None
            return self.keys if fits and not (named and key.kid != kid) else ()
        fitting = [key for key in self.keys if key.algorithm is algorithm]
        unnamed = [key for key in fitting if key.kid is None]
        if kid is not None:
            return [key for key in fitting if key.kid == kid] or unnamed
        return unnamed or (fitting if len(fitting) == 1 else [])


def _hmac_secret(text: str) -> bytes:
    secret = text.encode()
    if len(secret) < MIN_HMAC_BYTES:
        raise ConfigError(
            "auth.hmac_secret",
            f"has {len(secret)} bytes, at least {MIN_HMAC_BYTES} are needed; "
            "`openssl rand -hex 32` makes a good one",
        )
    try:
        return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ConfigError(
            "auth.hmac_secret",
            "is a public or private key, which is no secret; put it in public_key",
        ) from None


def _public_key(pem: str) -> Key:
    try:
        if "BEGIN CERTIFICATE" in pem:
            loaded: object = load_pem_x509_certificate(pem.encode()).public_key()
        else:
            loaded = load_pem_public_key(pem.encode())
        return _of_public(loaded, None)
    except ValueError as exc:
        reason = str(exc) if isinstance(exc, _Unusable) else "it can not be read"
        raise ConfigError(
            "auth.public_key",
            "must be the PEM text of an RSA or P-256 public key, such as "
            f'"-----BEGIN PUBLIC KEY-----..."; {reason}',
        ) from None


class _Unusable(ValueError):
    """The key is well-formed, but not for us."""


def _of_public(loaded: object, kid: str | None) -> Key:
    if isinstance(loaded, RSAPublicKey):
        if loaded.key_size < MIN_RSA_BITS:
            raise _Unusable(
                f"an RSA key of {loaded.key_size} bits, {MIN_RSA_BITS} are the least"
            )
        return Key(Algorithm.RS256, loaded, kid)
    if isinstance(loaded, EllipticCurvePublicKey):
        if not isinstance(loaded.curve, SECP256R1):
            raise _Unusable(f"a key on the curve {loaded.curve.name}, not P-256")
        return Key(Algorithm.ES256, loaded, kid)
    raise _Unusable("neither an RSA nor an elliptic curve key")


def _from_jwk(jwk: object) -> Key:
    if not isinstance(jwk, dict):
        raise _Unusable("no object")
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _Unusable("its kid is no string")
    if jwk.get("use", "sig") != "sig":
        raise _Unusable("not for signatures")
    key = _of_public(_load_jwk(jwk), kid)
    if jwk.get("alg", key.algorithm) != key.algorithm:
        raise _Unusable(f"not for {key.algorithm}")
    return key


def _load_jwk(jwk: dict[str, object]) -> object:
    # "oct" is left out on purpose: a secret that anybody can fetch is none.
    loaders = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk}
    loader = loaders.get(str(jwk.get("kty")))
    if loader is None:
        raise _Unusable("its kty is neither RSA nor EC")
    try:
        loaded: object = loader(jwk)
    except (InvalidKeyError, ValueError, TypeError, KeyError, AttributeError):
        raise _Unusable("malformed") from None
    if isinstance(loaded, RSAPrivateKey | EllipticCurvePrivateKey):
        raise _Unusable("a private key, which should never be published")
    return loaded


class ApiKeys:
    """The keys of backends, kept as SHA-256 digests."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple((key.sha256.lower().encode(), key) for key in keys)

    def match(self, presented: str) -> ApiKey | None:
        """
        Return the key that *presented* is, or None.

        All keys are compared, each in constant time: how long it takes tells nothing
        about how close a guess was.
        """
        digest = sha256(presented.encode(errors="surrogatepass")).hexdigest().encode()
        matched = None
        for expected, key in self._keys:
            if hmac.compare_digest(expected, digest):
                matched = key
        return matched
