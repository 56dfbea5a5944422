"""Keys, tokens and certificates for tests: good ones, and every way to forge one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0


@cache
def rsa_key(name: str = "a", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key called *name*; the same one in the whole run."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str = "a", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> Any:
    """Return the elliptic curve key called *name*; the same one in the whole run."""
    return ec.generate_private_key(curve())


def public_pem(key: Any) -> str:
    """Return the public half of *key* as PEM."""
    return (
        key.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(key: Any) -> str:
    """Return *key* as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(key: Any, **fields: Any) -> dict[str, Any]:
    """Return the public half of *key* as a JSON Web Key with *fields*."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **fields}


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a token that is good at NOW; None leaves one out."""
    given = {"sub": "ann", "exp": NOW + 60, "iat": NOW, **changed}
    return {name: value for name, value in given.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    """Return a token signed with *key*; ``kid`` goes to its header."""
    kid = changed.pop("kid", None)
    headers = {"kid": kid} if kid is not None else None
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


def raw_token(header: object, payload: object, secret: bytes = SECRET.encode()) -> str:
    """Return a token of any header and payload, HMAC-signed whatever they are."""
    body = f"{_segment(header)}.{_segment(payload)}"
    signature = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    return f"{body}.{_base64(signature)}"


def certificate(folder: Path, password: bytes | None = None) -> tuple[Path, Path]:
    """
    Write a certificate for 127.0.0.1 that has signed itself, and its key, as PEM.

    With a *password*, the key is encrypted.
    """
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "realtime tests")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, secret.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    locked = BestAvailableEncryption(password) if password else NoEncryption()
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return cert, key


def _segment(value: object) -> str:
    return _base64(value if isinstance(value, bytes) else json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
