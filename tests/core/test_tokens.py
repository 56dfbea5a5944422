"""Tokens: what good ones grant, and that no forged or malformed one gets through."""

from __future__ import annotations

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.access import NOTHING, Grants, Identity, Kind
from realtime.core.tokens import (
    KeySet,
    TokenError,
    TokenProblem,
    identity_of,
    verify,
)
from realtime.settings import AuthSettings
from tests.signing import (
    NOW,
    SECRET,
    claims,
    ec_key,
    jwk,
    public_pem,
    raw_token,
    rsa_key,
    token,
)

SETTINGS = AuthSettings(hmac_secret=SECRET)
HMAC_KEYS = KeySet.configured(SETTINGS)
RSA_KEYS = KeySet.configured(AuthSettings(public_key=public_pem(rsa_key())))
EC_KEYS = KeySet.configured(AuthSettings(public_key=public_pem(ec_key())))


def accepted(text: str, keys: KeySet = HMAC_KEYS, now: float = NOW, **settings):
    """The identity that the token gives at *now*."""
    return verify(text, keys, now, AuthSettings(**settings))


def refused(
    text: str, keys: KeySet = HMAC_KEYS, now: float = NOW, **settings
) -> TokenError:
    """The error about the token, which repeats no part of it."""
    with pytest.raises(TokenError) as caught:
        accepted(text, keys, now, **settings)
    for part in text.split("."):
        assert len(part) < 8 or part not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


# -- good ones -----------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, key, algorithm",
    [
        (HMAC_KEYS, SECRET, "HS256"),
        (RSA_KEYS, rsa_key(), "RS256"),
        (EC_KEYS, ec_key(), "ES256"),
    ],
    ids=["HS256", "RS256", "ES256"],
)
def test_a_signed_token_names_its_user(keys, key, algorithm):
    """Each accepted algorithm leads to the same identity."""
    identity = accepted(token(key, algorithm), keys)
    assert identity == Identity("ann", NOW + 60, NOTHING, Kind.USER, issued_at=NOW)


def test_the_claim_realtime_carries_the_grants():
    """Three lists of patterns; what is not there grants nothing."""
    grants = {"subscribe": ["chat:*", "live:likes*"], "track": ["like"], "later": 1}
    identity = accepted(token(realtime=grants))
    assert identity.grants == Grants(("chat:*", "live:likes*"), (), ("like",))


def test_a_token_without_sub_is_of_nobody():
    """Its grants count all the same."""
    identity = accepted(token(sub=None, realtime={"subscribe": ["a:*"]}))
    assert identity.user is None
    assert identity.kind is Kind.ANONYMOUS
    assert identity.grants.subscribe == ("a:*",)


def test_the_kid_selects_the_key():
    """Of two keys of an algorithm the named one is used, and only it."""
    keys = KeySet.from_jwks(
        {"keys": [jwk(rsa_key("a"), kid="a"), jwk(rsa_key("b"), kid="b")]}
    )
    assert accepted(token(rsa_key("b"), "RS256", kid="b"), keys).user == "ann"
    wrong = refused(token(rsa_key("b"), "RS256", kid="a"), keys)
    assert wrong.kind is TokenProblem.INVALID
    unnamed = refused(token(rsa_key("b"), "RS256"), keys)
    assert unnamed.kind is TokenProblem.UNKNOWN_KEY
    assert "kid" in unnamed.reason


def test_an_unknown_kid_may_be_a_new_key():
    """It is told apart from a wrong signature: asking the issuer may help."""
    keys = KeySet.from_jwks({"keys": [jwk(ec_key("a"), kid="a")]})
    assert (
        refused(token(ec_key("b"), "ES256", kid="b"), keys).kind
        is TokenProblem.UNKNOWN_KEY
    )
    assert refused(token(ec_key("b"), "ES256"), keys).kind is TokenProblem.UNKNOWN_KEY
    assert refused(token(ec_key(), "ES256"), KeySet()).kind is TokenProblem.UNKNOWN_KEY


# -- forged ones ---------------------------------------------------------------


def test_a_token_without_signature_is_refused():
    """The algorithm "none" is none of ours, however it is spelt."""
    unsigned = jwt.encode(claims(), None, algorithm="none")
    assert "algorithm" in refused(unsigned).reason
    for name in ("none", "None", "NONE", "", None, 5, ["HS256"]):
        assert refused(raw_token({"alg": name}, claims())).kind is TokenProblem.INVALID
    stripped = token().rpartition(".")[0] + "."
    assert "signature" in refused(stripped).reason


def test_a_public_key_is_no_hmac_secret():
    """A token HMAC-signed with the public key's text is refused."""
    for key in (rsa_key(), ec_key()):
        pem = public_pem(key)
        forged = raw_token({"alg": "HS256", "typ": "JWT"}, claims(), pem.encode())
        for keys in (RSA_KEYS, EC_KEYS, RSA_KEYS + HMAC_KEYS):
            assert refused(forged, keys).kind is TokenProblem.INVALID


def test_an_rsa_header_on_an_hmac_signature_is_refused():
    """The key of the header's algorithm verifies, and finds no signature of its own."""
    forged = raw_token({"alg": "RS256"}, claims(), public_pem(rsa_key()).encode())
    assert refused(forged, RSA_KEYS + HMAC_KEYS).kind is TokenProblem.INVALID


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_of_the_same_family_are_refused(algorithm):
    """A right secret does not make up for an algorithm that was not agreed."""
    signed = jwt.encode(claims(), SECRET * 2, algorithm=algorithm)
    keys = KeySet.configured(AuthSettings(hmac_secret=SECRET * 2))
    assert "HS256, RS256, ES256" in refused(signed, keys).reason


def test_a_changed_payload_breaks_the_signature():
    """The signature of one token does not fit the claims of another."""
    header, _, signature = token().split(".")
    payload = token(sub="eve").split(".")[1]
    assert refused(f"{header}.{payload}.{signature}").kind is TokenProblem.INVALID


def test_another_secret_is_refused():
    """A token signed by somebody else is not ours."""
    assert refused(token("x" * 32)).kind is TokenProblem.INVALID


def test_a_key_inside_the_token_is_not_believed():
    """Neither a key in the header nor an address of one is looked at."""
    for extra in ({"jwk": jwk(ec_key("evil"))}, {"jku": "https://evil.example/"}):
        forged = jwt.encode(claims(), ec_key("evil"), "ES256", headers=extra)
        assert refused(forged, EC_KEYS).kind is TokenProblem.INVALID


@pytest.mark.parametrize("extra", [{"crit": ["x"], "x": 1}, {"b64": False}, {"kid": 1}])
def test_headers_that_change_the_meaning_are_refused(extra):
    """Extensions that are not understood must not be ignored."""
    text = raw_token({"alg": "HS256", **extra}, claims())
    assert "header" in refused(text).reason


# -- malformed ones ------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "abc", "a.b", "a.b.c.d", "é.é.é", "\ud800.a.b"],
)
def test_what_has_not_the_form_of_a_token_is_refused(text):
    """Whatever it is instead."""
    assert refused(text).kind is TokenProblem.INVALID


@pytest.mark.parametrize(
    "text", ["!!!.???.***", "e30.e30.e30", "bnVsbA.e30.", "W10.e30.", "A.e30.e30"]
)
def test_a_header_that_says_nothing_is_refused(text):
    """No base64, no object, or an object without algorithm."""
    assert refused(text).kind is TokenProblem.INVALID


@given(st.text(max_size=200) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_arbitrary_text_is_refused(text):
    """Nothing but TokenError comes out."""
    with pytest.raises(TokenError):
        verify(text, HMAC_KEYS, NOW, SETTINGS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "iat", "nbf", "iss", "aud", "realtime", "x"]),
        json_values | st.fixed_dictionaries({}, optional={"subscribe": json_values}),
    )
)
def test_arbitrary_claims_are_refused_or_understood(given_claims):
    """A signed token with any claims gives an identity or a TokenError."""
    outcome: Identity | TokenError
    try:
        outcome = identity_of(given_claims, NOW, AuthSettings())
    except TokenError as exc:
        outcome = exc
    if isinstance(outcome, TokenError):
        assert outcome.reason.isprintable()
    else:
        assert outcome.expires_at is not None


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":NaN}'])
def test_a_payload_that_is_no_object_is_refused(payload):
    """Even when it is signed."""
    assert "no JSON object" in refused(raw_token({"alg": "HS256"}, payload)).reason


@pytest.mark.parametrize("depth", [100, 20_000])
def test_deeply_nested_json_is_refused(depth):
    """Neither header nor payload can exhaust the stack."""
    nested = b"[" * depth + b"]" * depth
    assert refused(raw_token(nested, claims())).kind is TokenProblem.INVALID
    assert refused(raw_token({"alg": "HS256"}, nested)).kind is TokenProblem.INVALID


def test_a_huge_token_is_refused_unread():
    """Its length is bounded before anything is decoded."""
    assert "32768 characters" in refused(token(padding="x" * 40_000)).reason


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"realtime": ["chat:*"]}, "claim realtime must be an object"),
        ({"realtime": {"subscribe": "chat:*"}}, "realtime.subscribe must be a list"),
        ({"realtime": {"publish": [1]}}, "realtime.publish[0] must be a string"),
        ({"realtime": {"track": [""]}}, "realtime.track[0] must be a string of 1"),
        ({"realtime": {"track": ["x" * 256]}}, "1 to 255 characters"),
        ({"realtime": {"subscribe": ["a"] * 257}}, "257 entries, at most 256"),
        ({"realtime": {"subscribe": ["a\n"]}}, "control characters"),
        ({"sub": "x" * 256}, "sub must be a string of 1 to 255"),
        ({"sub": ""}, "sub must be a string of 1 to 255"),
        ({"sub": "a\x00b"}, "sub must not have control characters"),
        ({"exp": "tomorrow"}, "exp must be a number of seconds"),
        ({"exp": True}, "exp must be a number of seconds"),
        ({"exp": NOW * 1000}, "not milliseconds"),
        ({"exp": -1}, "exp must be seconds"),
        ({"exp": 10**30}, "exp must be seconds"),
        ({"nbf": [1]}, "nbf must be a number"),
    ],
)
def test_claims_of_a_wrong_shape_are_refused_by_name(changed, told):
    """The reason names the claim and what would be right."""
    error = refused(token(**changed))
    assert error.kind is TokenProblem.INVALID
    assert told in error.reason


def test_a_sub_that_is_no_string_is_refused():
    """User ids are strings; a number would be another user in another library."""
    text = raw_token({"alg": "HS256"}, claims(sub=42))
    assert "sub must be a string" in refused(text).reason


# -- time ----------------------------------------------------------------------


def test_a_token_expires_after_the_leeway():
    """Clocks may differ by the leeway; from then on the token has expired."""
    text = token(exp=NOW)
    assert accepted(text, now=NOW + 4.9, leeway_s=5.0).user == "ann"
    error = refused(text, now=NOW + 5.0, leeway_s=5.0)
    assert error.kind is TokenProblem.EXPIRED
    assert error.reason == "token: it expired 5 s ago"


def test_only_a_genuine_token_is_said_to_have_expired():
    """A forged one learns nothing from its claims."""
    assert refused(token("x" * 32, exp=NOW - 99)).kind is TokenProblem.INVALID


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused(name):
    """It is not valid before its time, but for the leeway."""
    assert accepted(token(**{name: NOW + 5})).user == "ann"
    error = refused(token(**{name: NOW + 6}))
    assert error.kind is TokenProblem.INVALID
    assert f"{name} is 6 s in the future" in error.reason


def test_a_token_must_expire():
    """One without exp is refused, unless that is explicitly not required."""
    text = token(exp=None)
    assert "must say when they expire" in refused(text).reason
    identity = verify(text, HMAC_KEYS, NOW, SETTINGS, require_expiry=False)
    assert identity.expires_at is None


# -- for whom ------------------------------------------------------------------


def test_the_issuer_must_be_the_configured_one():
    """A missing or other iss is refused when an issuer is configured."""
    assert accepted(token(iss="https://a/"), issuer="https://a/").user == "ann"
    assert accepted(token(iss="https://a/")).user == "ann"
    for changed in ({"iss": "https://b/"}, {}):
        assert "iss" in refused(token(**changed), issuer="https://a/").reason


def test_the_audience_must_name_this_server():
    """Alone or in a list; and who has no name must refuse what is for somebody."""
    for audience in ("me", ["you", "me"]):
        assert accepted(token(aud=audience), audience="me").user == "ann"
    for changed in ({"aud": "you"}, {"aud": ["you"]}, {}, {"aud": "meme"}):
        assert "aud" in refused(token(**changed), audience="me").reason
    assert "aud" in refused(token(aud="me")).reason


def test_who_is_granted_the_same_is_given_the_same_object():
    """Thousands of users have the same grants: they are kept once."""
    realtime = {"subscribe": ["chat:*"], "track": ["like"]}
    one = accepted(token(realtime=realtime, sub="anna"))
    other = accepted(token(realtime=realtime, sub="ben"))
    assert one.grants == Grants(subscribe=("chat:*",), track=("like",))
    assert one.grants is other.grants
