"""``realtime token``: make a token for a test, or for a backend that has no library."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from realtime.cli.options import add_config, load_config, new_parser
from realtime.config.files import read_secret
from realtime.core.tokens import Algorithm, KeySet, TokenError, identity_of
from realtime.errors import ConfigError
from realtime.settings import AuthSettings
from realtime.units import parse_duration_s

DESCRIPTION = """\
Print a signed token. Without --secret-file or --private-key it is signed with the HMAC
secret of the configuration, whose issuer and audience are filled in as well.

In --subscribe, --publish, --track, --history and --members, * stands for any run of
characters; each may be given several times. Quote it, or the shell will take it for
file names.
"""

EPILOG = """\
examples:
  realtime token --user ann --subscribe 'chat:*' --track '*' --expires 1h
      for ann, signed with auth.hmac_secret of ./realtime.toml
  realtime token --user ann --publish chat:42 --secret-file /run/secrets/hmac
  realtime token --user ann --private-key issuer.pem --key-id 2026-01
      RS256 or ES256, as the key is; --key-id names it in the key set (JWKS)
  realtime watch live:likes --key "$(realtime token --subscribe 'live:*')"
"""


VERBS = {
    "subscribe": "channels that may be subscribed",
    "publish": "channels that may be published to",
    "track": "events that may be sent",
    "history": "channels whose history may be read",
    "members": "channels whose members may be asked for",
}


def add_parser(subparsers: Any) -> None:
    """Describe the command's arguments."""
    parser = new_parser(subparsers, "token", "make a token", DESCRIPTION, EPILOG)
    add_config(parser)
    signed = parser.add_mutually_exclusive_group()
    signed.add_argument(
        "--secret-file", metavar="FILE", help="sign with the secret in FILE (HS256)"
    )
    signed.add_argument(
        "--private-key", metavar="FILE", help="sign with the PEM key in FILE"
    )
    parser.add_argument("--key-id", metavar="KID", help="the key's name in a key set")
    parser.add_argument("--user", help="whom the token is of (none: nobody)")
    for verb, what in VERBS.items():
        parser.add_argument(
            f"--{verb}", metavar="PATTERN", action="append", default=[], help=what
        )
    parser.add_argument(
        "--info", metavar="JSON", help="what members of a channel are told of the user"
    )
    parser.add_argument(
        "--expires",
        metavar="DURATION",
        default="1h",
        help="how long it is valid, such as 15m or 30d (default 1h)",
    )
    parser.add_argument("--issuer", help="default: auth.issuer")
    parser.add_argument("--audience", help="default: auth.audience")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Signer:
    """A key to sign with."""

    algorithm: Algorithm
    key: bytes | RSAPrivateKey | EllipticCurvePrivateKey


def run(args: argparse.Namespace) -> int:
    """Print the token; return the exit code."""
    settings = _settings(args)
    signer = _signer(args, settings)
    claims = _claims(args, settings, time.time())
    try:
        identity_of(claims, time.time(), settings)
    except TokenError as exc:
        raise ConfigError("realtime token", f"it would be refused: {exc}") from exc
    headers = {"kid": args.key_id} if args.key_id is not None else None
    print(jwt.encode(claims, signer.key, algorithm=signer.algorithm, headers=headers))
    return 0


def _settings(args: argparse.Namespace) -> AuthSettings:
    """Return what the configuration says of tokens, with the arguments applied."""
    settings = load_config(args).auth
    return replace(
        settings,
        issuer=args.issuer or settings.issuer,
        audience=args.audience or settings.audience,
    )


def _signer(args: argparse.Namespace, settings: AuthSettings) -> Signer:
    if args.private_key is not None:
        return _private_key(args.private_key)
    if args.secret_file is not None:
        secret = _read("--secret-file", args.secret_file)
    elif settings.hmac_secret is not None:
        secret = settings.hmac_secret
    else:
        raise ConfigError(
            "auth.hmac_secret",
            "is not set, so there is nothing to sign with; set it, or give "
            "--secret-file or --private-key",
        )
    try:
        KeySet.configured(AuthSettings(hmac_secret=secret))
    except ConfigError as exc:
        raise ConfigError("--secret-file", exc.problem) from None
    return Signer(Algorithm.HS256, secret.encode())


def _read(option: str, path: str) -> str:
    try:
        return read_secret(path)
    except ValueError as exc:
        raise ConfigError(option, str(exc)) from None


def _private_key(path: str) -> Signer:
    try:
        key = load_pem_private_key(_read("--private-key", path).encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if isinstance(key, RSAPrivateKey):
        return Signer(Algorithm.RS256, key)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return Signer(Algorithm.ES256, key)
    raise ConfigError(
        "--private-key",
        f"{path} must be the PEM text of an RSA or P-256 private key without password",
    )


def _claims(
    args: argparse.Namespace, settings: AuthSettings, now: float
) -> dict[str, Any]:
    try:
        expires_s = parse_duration_s(args.expires)
    except ValueError as exc:
        raise ConfigError("--expires", str(exc)) from None
    claims: dict[str, Any] = {"iat": int(now), "exp": int(now + expires_s)}
    if args.user is not None:
        claims["sub"] = args.user
    if settings.issuer is not None:
        claims["iss"] = settings.issuer
    if settings.audience is not None:
        claims["aud"] = settings.audience
    grants: dict[str, Any] = {
        verb: getattr(args, verb) for verb in VERBS if getattr(args, verb)
    }
    if args.info is not None:
        grants["info"] = _info(args.info)
    return {**claims, "realtime": grants} if grants else claims


def _info(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ConfigError("--info", f"must be JSON, not {text!r}: {exc}") from None
