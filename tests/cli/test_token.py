"""``realtime token``: what it prints is a token that the server accepts."""

from __future__ import annotations

import time

import jwt
import pytest

from realtime.cli import main
from realtime.core.access import Grants, Kind
from realtime.core.tokens import KeySet, verify
from realtime.settings import AuthSettings
from tests.signing import SECRET, ec_key, private_pem, public_pem, rsa_key


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Run where nothing is configured unless the test writes realtime.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def configured(place) -> AuthSettings:
    """A realtime.toml with a secret, an issuer and an audience."""
    (place / "realtime.toml").write_text(
        f'[auth]\nhmac_secret = "{SECRET}"\nissuer = "us"\naudience = "them"\n'
    )
    return AuthSettings(hmac_secret=SECRET, issuer="us", audience="them")


def printed(capsys, *arguments: str) -> str:
    """The token that the command prints, alone on its line."""
    assert main(["token", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    (token,) = captured.out.splitlines()
    return token


def test_the_configured_secret_signs(configured, capsys):
    """User, grants, expiry, issuer and audience are in it."""
    text = printed(
        capsys,
        *("--user", "ann", "--subscribe", "chat:*", "--subscribe", "live:*"),
        *("--publish", "chat:1", "--track", "*", "--expires", "1h"),
    )
    now = time.time()
    identity = verify(text, KeySet.configured(configured), now, configured)
    assert identity.user == "ann"
    assert identity.kind is Kind.USER
    assert identity.grants == Grants(("chat:*", "live:*"), ("chat:1",), ("*",))
    assert identity.expires_at == pytest.approx(now + 3600, abs=5)


def test_arguments_override_issuer_and_audience(configured, capsys):
    """For a server that is configured otherwise."""
    text = printed(capsys, "--issuer", "me", "--audience", "you")
    claims = jwt.decode(text, options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == ("me", "you")
    assert "sub" not in claims
    assert "realtime" not in claims


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["RS256", "ES256"])
def test_a_private_key_signs_by_its_own_algorithm(key, place, capsys):
    """And the header names it when asked to."""
    (place / "key.pem").write_text(private_pem(key))
    text = printed(
        capsys, "--user", "ann", "--private-key", "key.pem", "--key-id", "k1"
    )
    settings = AuthSettings(public_key=public_pem(key))
    identity = verify(text, KeySet.configured(settings), time.time(), settings)
    assert identity.user == "ann"
    assert jwt.get_unverified_header(text)["kid"] == "k1"


def test_a_secret_file_signs(place, capsys):
    """Its last line end is not a part of the secret."""
    (place / "secret").write_text(SECRET + "\n")
    text = printed(capsys, "--secret-file", "secret")
    settings = AuthSettings(hmac_secret=SECRET)
    verify(text, KeySet.configured(settings), time.time(), settings)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "there is nothing to sign with"),
        (["--secret-file", "none"], "--secret-file: the file none cannot be read"),
        (["--secret-file", "weak"], "--secret-file: has 4 bytes, at least 32"),
        (["--private-key", "weak"], "RSA or P-256 private key"),
        (["--secret-file", "good", "--expires", "soon"], "--expires: 'soon' is not a"),
        (["--secret-file", "good", "--expires", "9999999d"], "token: exp must be sec"),
        (["--secret-file", "good", "--user", "x" * 256], "sub must be a string of 1"),
        (["--secret-file", "good", "--track", ""], "realtime.track[0] must be"),
    ],
)
def test_what_would_be_refused_is_not_printed(place, capsys, arguments, told):
    """One line says why, with exit code 2."""
    (place / "weak").write_text("weak")
    (place / "good").write_text(SECRET)
    assert main(["token", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
    assert SECRET not in err


def test_history_members_and_info_are_granted(configured, capsys):
    """As the claims of the same names, of which info is JSON."""
    text = printed(
        capsys,
        *("--user", "ann", "--history", "chat:*", "--members", "room:*"),
        *("--info", '{"name": "Ann"}'),
    )
    claims = jwt.decode(text, options={"verify_signature": False})
    assert claims["realtime"] == {
        "history": ["chat:*"],
        "members": ["room:*"],
        "info": {"name": "Ann"},
    }


def test_info_that_is_no_json_is_refused(configured, capsys):
    """Naming the option."""
    assert main(["token", "--user", "ann", "--info", "{name"]) == 2
    assert "--info: must be JSON" in capsys.readouterr().err
