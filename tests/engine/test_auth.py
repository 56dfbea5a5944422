"""Authentication: who gets which identity, and who is told what instead."""

from __future__ import annotations

import pytest

from realtime.core.access import ANONYMOUS, Grants, Kind
from realtime.core.tokens import KeySet
from realtime.engine.auth import Authenticator
from realtime.errors import (
    TOKEN_EXPIRED,
    UNAUTHORIZED,
    CommandError,
    KeysUnavailable,
)
from realtime.settings import AuthSettings
from realtime.testing.clock import ManualClock
from tests.signing import NOW, SECRET, ec_key, jwk, token

pytestmark = pytest.mark.anyio


class Issuer:
    """A source of keys that publishes *later* when it is asked; None: it is down."""

    def __init__(self, later: KeySet | None) -> None:
        self.keys = keys_named("a")
        self.later = later
        self.asked = 0

    async def refresh(self) -> None:
        self.asked += 1
        if self.later is None:
            raise KeysUnavailable("the issuer of tokens does not answer")
        self.keys = self.later


def keys_named(*names: str) -> KeySet:
    """A key set of P-256 keys with these names."""
    return KeySet.from_jwks({"keys": [jwk(ec_key(name), kid=name) for name in names]})


def signed_by(name: str) -> str:
    """A token signed by the P-256 key of this name."""
    return token(ec_key(name), "ES256", kid=name)


def authenticator(
    source: Issuer | None = None, dev: bool = False, **settings
) -> Authenticator:
    """An authenticator with an HMAC secret unless it has a source."""
    if source is None:
        settings.setdefault("hmac_secret", SECRET)
    return Authenticator(AuthSettings(**settings), source, ManualClock(NOW), dev)


async def refusal(checked: Authenticator, presented: str | None) -> CommandError:
    """The error that the client is told."""
    with pytest.raises(CommandError) as caught:
        await checked.authenticate(presented)
    assert caught.value.field == "token"
    return caught.value


async def test_a_good_token_gives_its_identity():
    """User, expiry and grants come from the token."""
    identity = await authenticator().authenticate(
        token(realtime={"subscribe": ["chat:*"]})
    )
    assert identity.user == "ann"
    assert identity.expires_at == NOW + 60
    assert identity.grants == Grants(("chat:*",))
    assert identity.kind is Kind.USER


async def test_no_token_is_refused_unless_anonymous_sessions_are_allowed():
    """Closed by default."""
    error = await refusal(authenticator(), None)
    assert error.code is UNAUTHORIZED
    assert "anonymous" in error.reason
    assert await authenticator(anonymous=True).authenticate(None) is ANONYMOUS


async def test_a_bad_token_is_not_taken_for_an_anonymous_session():
    """Who presents a token is told that it is bad, where anonymous ones may come in."""
    error = await refusal(authenticator(anonymous=True), "garbage")
    assert error.code is UNAUTHORIZED


async def test_an_expired_token_is_told_apart():
    """The client may refresh it."""
    error = await refusal(authenticator(), token(exp=NOW - 60))
    assert error.code is TOKEN_EXPIRED
    assert "60 s ago" in error.reason


async def test_an_error_does_not_repeat_the_token():
    """It goes to logs."""
    text = token("x" * 32)
    error = await refusal(authenticator(), text)
    assert text.split(".")[1] not in str(error)


async def test_known_keys_need_no_waiting():
    """The synchronous answer is there, and the issuer is not asked."""
    issuer = Issuer(None)
    identity = authenticator(issuer).try_authenticate(signed_by("a"))
    assert identity is not None
    assert issuer.asked == 0


async def test_a_rotated_key_is_fetched_once_it_is_used():
    """A token of an unknown key makes the issuer be asked, then it is good."""
    issuer = Issuer(keys_named("a", "b"))
    checked = authenticator(issuer)
    assert checked.try_authenticate(signed_by("b")) is None
    assert (await checked.authenticate(signed_by("b"))).user == "ann"
    assert issuer.asked == 1
    assert checked.try_authenticate(signed_by("b")) is not None


async def test_a_key_that_the_issuer_does_not_know_is_refused():
    """After asking, the token is known to be bad."""
    issuer = Issuer(keys_named("a"))
    error = await refusal(authenticator(issuer), signed_by("b"))
    assert error.code is UNAUTHORIZED
    assert issuer.asked == 1


async def test_a_token_that_cannot_be_judged_is_not_refused():
    """While the issuer is down, nobody is told to go away for good."""
    with pytest.raises(KeysUnavailable):
        await authenticator(Issuer(None)).authenticate(signed_by("b"))


async def test_configured_keys_alone_leave_nothing_to_wait_for():
    """Without an issuer an unknown key is simply unknown."""
    assert (await refusal(authenticator(), signed_by("b"))).code is UNAUTHORIZED


async def test_everybody_is_a_developer_in_development():
    """Without a token, with a good one, and with one that nobody here can check."""
    checked = authenticator(dev=True)
    assert (await checked.authenticate(None)).kind is Kind.DEVELOPER
    named = await checked.authenticate(token(exp=None))
    assert (named.user, named.kind) == ("ann", Kind.DEVELOPER)
    for text in ("garbage", signed_by("b"), token("x" * 32)):
        unnamed = await checked.authenticate(text)
        assert (unnamed.user, unnamed.kind) == (None, Kind.DEVELOPER)
    down = authenticator(Issuer(None), dev=True)
    assert (await down.authenticate(signed_by("b"))).kind is Kind.DEVELOPER


async def test_an_expired_token_is_refused_in_development_too():
    """Refreshing in time is a part of what is developed."""
    error = await refusal(authenticator(dev=True), token(exp=NOW - 60))
    assert error.code is TOKEN_EXPIRED
