"""The keys that prove who speaks: which are accepted, chosen, and refused."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from realtime.core import keys
from realtime.core.keys import Algorithm, ApiKeys, Key, KeySet
from realtime.errors import ConfigError
from realtime.settings import ApiKey, AuthSettings
from tests.signing import SECRET, ec_key, jwk, private_pem, public_pem, rsa_key


def test_configured_keys_know_their_one_algorithm():
    """A secret is for HS256, an RSA key for RS256, a P-256 key for ES256."""
    for settings, algorithm in (
        (AuthSettings(hmac_secret=SECRET), Algorithm.HS256),
        (AuthSettings(public_key=public_pem(rsa_key())), Algorithm.RS256),
        (AuthSettings(public_key=public_pem(ec_key())), Algorithm.ES256),
    ):
        (key,) = KeySet.configured(settings).keys
        assert key.algorithm is algorithm
        assert key.kid is None


def test_a_certificate_stands_for_its_public_key(certificate):
    """Some issuers publish their key only inside a certificate."""
    (key,) = KeySet.configured(AuthSettings(public_key=certificate)).keys
    assert key.material == rsa_key().public_key()


@pytest.fixture
def certificate() -> str:
    """A self-signed certificate of an RSA key, as PEM."""
    from datetime import datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    start = datetime(2026, 1, 1)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key().public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(rsa_key(), SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "settings, key, told",
    [
        ({"hmac_secret": "short"}, "auth.hmac_secret", "has 5 bytes, at least 32"),
        (
            {"hmac_secret": public_pem(ec_key())},
            "auth.hmac_secret",
            "put it in public_key",
        ),
        ({"public_key": "nonsense"}, "auth.public_key", "it can not be read"),
        ({"public_key": private_pem(ec_key())}, "auth.public_key", "can not be read"),
        (
            {"public_key": public_pem(rsa_key(bits=1024))},
            "auth.public_key",
            "1024 bits, 2048",
        ),
        (
            {"public_key": public_pem(ec_key(curve=ec.SECP384R1))},
            "auth.public_key",
            "secp384r1, not P-256",
        ),
    ],
)
def test_weak_and_wrong_keys_are_refused_at_start(settings, key, told):
    """The error names the setting, what is wrong with it, and never the key."""
    with pytest.raises(ConfigError) as caught:
        KeySet.configured(AuthSettings(**settings))
    assert caught.value.key == key
    assert told in caught.value.problem
    assert next(iter(settings.values())) not in str(caught.value)


def test_a_key_set_is_read_without_what_is_of_no_use():
    """Useful keys are kept; each of the others is ignored with a reason."""
    private = {**jwk(rsa_key()), **_private_parts()}
    found = KeySet.from_jwks(
        {
            "keys": [
                jwk(rsa_key(), kid="r", use="sig", alg="RS256"),
                jwk(ec_key(), kid="e"),
                {"kty": "oct", "k": "c2VjcmV0", "kid": "o"},
                jwk(rsa_key(), kid="x", use="enc"),
                jwk(rsa_key(), kid="ps", alg="PS256"),
                jwk(ec_key(curve=ec.SECP384R1), kid="p384"),
                jwk(rsa_key(), kid=7),
                {"kty": "RSA", "n": "!", "e": "AQAB"},
                {"kty": "EC"},
                private,
                "text",
            ]
        }
    )
    assert [(key.kid, key.algorithm) for key in found.keys] == [
        ("r", Algorithm.RS256),
        ("e", Algorithm.ES256),
    ]
    assert [reason.partition(":")[0] for reason in found.ignored] == [
        f"keys[{index}]" for index in range(2, 11)
    ]
    assert "neither RSA nor EC" in found.ignored[0]
    assert "never be published" in found.ignored[7]


def _private_parts() -> dict[str, str]:
    from jwt.algorithms import RSAAlgorithm

    return RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)


@pytest.mark.parametrize(
    "document", [None, [], {}, {"keys": "abc"}, {"keys": {}}, {"keys": [{}] * 65}]
)
def test_what_is_no_key_set_is_an_error(document):
    """Nor is a set of more keys than any issuer has."""
    with pytest.raises(ValueError, match="keys"):
        KeySet.from_jwks(document)


def test_the_kid_chooses_among_keys_of_the_algorithm():
    """Keys of other algorithms are no candidates even under the same name."""
    one, two = Key(Algorithm.RS256, b"", "1"), Key(Algorithm.RS256, b"", "2")
    other = Key(Algorithm.ES256, b"", "1")
    found = KeySet((one, two, other))
    assert found.candidates(Algorithm.RS256, "1") == [one]
    assert found.candidates(Algorithm.RS256, "3") == []
    assert found.candidates(Algorithm.RS256, None) == []
    assert found.candidates(Algorithm.ES256, None) == [other]
    assert found.candidates(Algorithm.HS256, "1") == []


def test_a_key_without_a_name_goes_with_any_kid():
    """Issuers put a kid into tokens whether or not anybody needs it."""
    unnamed, named = Key(Algorithm.RS256, b""), Key(Algorithm.RS256, b"", "1")
    found = KeySet((unnamed,)) + KeySet((named,))
    assert found.candidates(Algorithm.RS256, None) == [unnamed]
    assert found.candidates(Algorithm.RS256, "9") == [unnamed]
    assert found.candidates(Algorithm.RS256, "1") == [named]


def test_key_material_is_not_in_a_repr():
    """A key set may be logged by mistake."""
    assert SECRET not in repr(KeySet.configured(AuthSettings(hmac_secret=SECRET)))


def api_keys(*texts: str) -> ApiKeys:
    """The API keys that these texts are, named by their place."""
    return ApiKeys(
        [
            ApiKey(str(index), sha256(text.encode()).hexdigest())
            for index, text in enumerate(texts)
        ]
    )


def test_an_api_key_is_known_by_its_digest():
    """The name of the one that matches comes back; anything else is None."""
    known = api_keys("first-key", "second-key")
    matched = known.match("second-key")
    assert matched is not None
    assert matched.name == "1"
    assert known.match("third-key") is None
    assert known.match("") is None
    assert known.match("\ud800") is None
    assert api_keys().match("first-key") is None


def test_a_digest_may_be_written_in_capitals():
    """Hexadecimal digits are the same in either case."""
    upper = ApiKey("b", sha256(b"first-key").hexdigest().upper())
    assert ApiKeys([upper]).match("first-key") is upper


def test_every_api_key_is_compared_in_constant_time(monkeypatch):
    """The search does not stop at a match, and compares by hmac.compare_digest."""
    known = api_keys("first-key", "second-key", "third-key")
    real, compared = hmac.compare_digest, []

    def spy(expected: bytes, digest: bytes) -> bool:
        compared.append(expected)
        return real(expected, digest)

    monkeypatch.setattr(keys.hmac, "compare_digest", spy)
    assert known.match("first-key") is not None
    assert len(compared) == 3


@pytest.mark.parametrize("name", [None, "1"])
@pytest.mark.parametrize("asked", [None, "1", "2"])
@pytest.mark.parametrize("algorithm", [Algorithm.RS256, Algorithm.HS256])
def test_a_key_alone_is_a_candidate_as_among_others(name, asked, algorithm):
    """Which keys of other algorithms there are makes no difference."""
    one = Key(Algorithm.RS256, rsa_key().public_key(), name)
    other = Key(Algorithm.ES256, ec_key().public_key(), "1")
    alone = KeySet((one,)).candidates(algorithm, asked)
    among = KeySet((one, other)).candidates(algorithm, asked)
    assert list(alone) == list(among)
