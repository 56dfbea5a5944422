"""The outer form of a token: read to the letter, or refused."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.jws import Signed, TokenError
from realtime.core.keys import Algorithm, Key
from tests.signing import SECRET, ec_key, rsa_key, token

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def problem(text: str) -> str:
    """Why *text* is refused."""
    with pytest.raises(TokenError) as caught:
        Signed.read(text)
    return caught.value.reason


@given(st.binary(max_size=60))
def test_what_pyjwt_writes_is_read(payload):
    """Header, payload and signature are found, whatever is signed."""
    text = jwt.PyJWS().encode(payload, SECRET, "HS256", headers={"kid": "k"})
    found = Signed.read(text)
    assert (found.algorithm, found.kid) == (Algorithm.HS256, "k")
    assert found.payload == payload
    assert found.is_by(Key(Algorithm.HS256, SECRET.encode()))
    assert not found.is_by(Key(Algorithm.HS256, b"x" * 32))


@pytest.mark.parametrize(
    "key, other, algorithm",
    [
        (rsa_key("a"), rsa_key("b"), Algorithm.RS256),
        (ec_key("a"), ec_key("b"), Algorithm.ES256),
    ],
    ids=["RS256", "ES256"],
)
def test_a_signature_is_by_its_key_alone(key, other, algorithm):
    """Another key of the same kind has not signed it; nor has any, once it is cut."""
    text = token(key, algorithm)
    found = Signed.read(text)
    assert found.is_by(Key(algorithm, key.public_key()))
    assert not found.is_by(Key(algorithm, other.public_key()))
    for length in (0, 4, 40):
        header, payload, signature = text.split(".")
        cut = Signed.read(f"{header}.{payload}.{signature[:length]}")
        assert not cut.is_by(Key(algorithm, key.public_key()))


def test_a_key_is_never_used_for_another_algorithm():
    """Not even by a mistake of ours."""
    found = Signed.read(token())
    with pytest.raises(AssertionError):
        found.is_by(Key(Algorithm.RS256, rsa_key().public_key()))


def test_a_part_of_impossible_length_is_refused():
    """No data has a base64 form of 4n + 1 characters."""
    header, payload, _ = token().split(".")
    assert problem(f"{header}.{payload}.AAAAA") == "token: a part of it is cut off"


def test_one_signature_has_one_spelling():
    """Unused bits of the last character must be zero, so no token has two forms."""
    text = token()
    last = ALPHABET.index(text[-1])
    assert last % 4 == 0
    for unused in (1, 2, 3):
        respelt = text[:-1] + ALPHABET[last + unused]
        assert problem(respelt) == "token: a part of it is no base64url"


@pytest.mark.parametrize("change", ["=", "+", "/", " ", "\n", "é", "."])
def test_other_characters_are_refused(change):
    """Padding, the other base64 alphabet, white space and further parts."""
    for text in (
        token() + change,
        change + token(),
        token().replace(".", f"{change}."),
    ):
        assert problem(text) == "token: it is no JSON Web Token of three parts"


@given(st.binary(min_size=32, max_size=200), st.binary(max_size=300))
def test_a_signature_is_what_hmac_makes(secret, payload):
    """Secrets shorter and longer than a block of the hash, and any message."""
    text = jwt.PyJWS().encode(payload, secret, "HS256")
    assert Signed.read(text).is_by(Key(Algorithm.HS256, secret))
    assert not Signed.read(text).is_by(Key(Algorithm.HS256, secret + b"x"))


@given(st.text(ALPHABET, min_size=1, max_size=9), st.sampled_from(["payload", "sign"]))
def test_every_part_is_base64url_to_the_letter(segment, part):
    """It is what encoding its bytes gives, or it is refused."""
    header = token().partition(".")[0]
    text = f"{header}.{segment}." if part == "payload" else f"{header}..{segment}"
    try:
        data = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        data = None
    if data is None or urlsafe_b64encode(data).rstrip(b"=").decode() != segment:
        assert "a part of it is" in problem(text)
    else:
        found = Signed.read(text)
        assert (found.payload if part == "payload" else found.signature) == data
