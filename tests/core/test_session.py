"""The session decides what is allowed now; what it refuses changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.core.access import NOTHING, Identity, Kind
from realtime.core.session import Numbered, Phase, Session, proofs_of
from realtime.errors import (
    ALREADY_SUBSCRIBED,
    BAD_MESSAGE,
    GAP,
    LIMIT_EXCEEDED,
    NO_DEVICE,
    NOT_READY,
    NOT_SUBSCRIBED,
    TOKEN_EXPIRED,
    TOO_MANY_ERRORS,
    UNAUTHORIZED,
    CommandError,
    Disconnect,
)
from realtime.settings import LimitSettings
from realtime.types import Channel, DeviceId, UserId
from realtime.wire.checks import MAX_SAFE
from realtime.wire.messages import Hello, Ping, Refresh, Subscribe, Track

NEWS = Channel("chat:news")
PHONE = DeviceId("phone")


def identity(user: str | None = "ann") -> Identity:
    """A signed-in user without any grants."""
    return Identity(UserId(user) if user else None, None, NOTHING, Kind.USER)


def ready(
    mark: int | None = 0, device: DeviceId | None = PHONE, **limits: Any
) -> Session:
    """A session that has been welcomed."""
    session = Session(LimitSettings(**limits))
    session.greet()
    session.welcome(identity(), device, mark)
    return session


def track(first: int, count: int, lost: int = 0) -> Track:
    """A command with *count* events from number *first*."""
    return Track(first, list(range(first, first + count)), lost=lost)


def refused(session: Session, command: Any) -> CommandError:
    """Check that *command* is refused and return the error."""
    with pytest.raises(CommandError) as caught:
        session.check(command)
    return caught.value


@pytest.mark.parametrize("command", [Subscribe(NEWS), Refresh("t"), track(1, 1)])
def test_nothing_but_hello_and_ping_is_answered_first(command: Any) -> None:
    """Before hello every other command is refused as not ready."""
    session = Session(LimitSettings())
    session.check(Hello())
    session.check(Ping())

    assert refused(session, command).code is NOT_READY


def test_a_second_hello_is_refused() -> None:
    """Hello is said once."""
    session = ready()

    assert refused(session, Hello()).code is BAD_MESSAGE


def test_hello_may_be_repeated_when_it_could_not_be_checked() -> None:
    """An unavailable ledger leaves the session as if hello had not been said."""
    session = Session(LimitSettings())
    session.greet()
    session.greet_again()

    session.check(Hello())
    assert session.phase is Phase.NEW


def test_after_the_token_only_refresh_and_ping_are_answered() -> None:
    """An expired session names the remedy."""
    session = ready()
    session.expire()
    session.check(Refresh("t"))
    session.check(Ping())

    assert refused(session, Subscribe(NEWS)).code is TOKEN_EXPIRED


def test_refresh_makes_an_expired_session_ready() -> None:
    """A new token of the same user revives the session."""
    session = ready()
    session.expire()
    session.refresh(identity())

    session.check(Subscribe(NEWS))


def test_a_token_of_another_user_is_no_refresh() -> None:
    """The session keeps its user for life."""
    session = ready()
    with pytest.raises(CommandError) as caught:
        session.refresh(identity("bob"))

    assert caught.value.code is UNAUTHORIZED
    assert session.identity == identity("ann")


def test_the_next_number_follows_the_mark() -> None:
    """A batch that continues the mark is taken whole."""
    session = ready(mark=41)

    assert session.take(track(42, 2)) == Numbered(42, [42, 43], 0)


def test_what_was_sent_before_is_skipped() -> None:
    """Of a batch that overlaps, only the unsent end is taken."""
    session = ready(mark=41)

    assert session.take(track(40, 4)) == Numbered(42, [42, 43], 0)


def test_a_batch_sent_before_is_not_taken_again() -> None:
    """Nothing is left of a repeated batch."""
    session = ready(mark=41)

    assert session.take(track(40, 2)) is None


def test_a_hole_is_refused_with_the_number_expected() -> None:
    """The device learns what to send."""
    session = ready(mark=41)
    with pytest.raises(CommandError) as caught:
        session.take(track(44, 1))

    assert (caught.value.code, caught.value.expected) == (GAP, 42)


def test_a_declared_hole_is_taken() -> None:
    """Numbers declared lost are covered by the batch after them."""
    session = ready(mark=41)

    assert session.take(track(44, 1, lost=2)) == Numbered(44, [44], 2)


def test_a_declared_hole_that_was_counted_is_no_loss() -> None:
    """Only the numbers that are really missing are lost."""
    session = ready(mark=43)

    assert session.take(track(45, 1, lost=3)) == Numbered(45, [45], 1)


def test_a_bare_declaration_of_loss_is_taken() -> None:
    """A device may declare a hole with no events after it."""
    session = ready(mark=41)

    assert session.take(track(44, 0, lost=2)) == Numbered(44, [], 2)


def test_taken_numbers_are_not_taken_twice() -> None:
    """What is on its way to the ledger is skipped when it comes again."""
    session = ready()
    numbered = session.take(track(1, 3))
    assert numbered is not None
    session.took(numbered)

    assert session.take(track(1, 3)) is None
    assert not session.settled


def test_the_session_is_settled_once_all_is_counted() -> None:
    """Counting what was taken settles the session."""
    session = ready()
    numbered = session.take(track(1, 3))
    assert numbered is not None
    session.took(numbered)
    session.counted(3)

    assert session.settled


def test_counting_by_another_connection_moves_the_number_on() -> None:
    """A mark past this session's own numbers is believed."""
    session = ready()
    session.counted(10)

    assert session.next_seq == 11


def test_refusal_by_the_ledger_moves_the_number_back() -> None:
    """What followed a hole has to come again."""
    session = ready(mark=41)
    session.resend(30)

    assert (session.next_seq, session.settled) == (30, True)


def test_no_device_no_events() -> None:
    """A session whose hello named no device cannot track."""
    session = ready(mark=None, device=None)
    with pytest.raises(CommandError) as caught:
        session.take(track(1, 1))

    assert caught.value.code is NO_DEVICE


def test_a_batch_over_the_limit_is_refused() -> None:
    """The error names how many are taken."""
    session = ready(max_batch_events=2)
    with pytest.raises(CommandError, match="at most 2") as caught:
        session.take(track(1, 3))

    assert caught.value.code is LIMIT_EXCEEDED


def test_numbers_end_where_doubles_do() -> None:
    """A batch may reach the greatest number that a double can hold, and not pass it."""
    session = ready(mark=MAX_SAFE - 2)
    with pytest.raises(CommandError, match=str(MAX_SAFE)) as caught:
        session.take(track(MAX_SAFE - 1, 3))

    assert (caught.value.code, caught.value.field) == (LIMIT_EXCEEDED, "first")
    assert session.take(track(MAX_SAFE - 1, 2)) is not None


def test_subscribing_twice_is_refused() -> None:
    """A channel is subscribed once per connection."""
    session = ready()
    session.channels[NEWS] = 1
    with pytest.raises(CommandError) as caught:
        session.check_room(NEWS)

    assert caught.value.code is ALREADY_SUBSCRIBED


def test_subscriptions_are_bounded() -> None:
    """One more than the limit is refused."""
    session = ready(max_subscriptions=1)
    session.channels[NEWS] = 1
    with pytest.raises(CommandError) as caught:
        session.check_room(Channel("chat:other"))

    assert caught.value.code is LIMIT_EXCEEDED


def test_leaving_what_is_not_subscribed_is_refused() -> None:
    """The error names the channel."""
    with pytest.raises(CommandError, match="chat:news") as caught:
        ready().leave(NEWS)

    assert caught.value.code is NOT_SUBSCRIBED


def test_too_many_errors_end_the_session() -> None:
    """A client that errs again and again is sent away."""
    session = ready(max_errors=2)
    session.failed()
    session.failed()
    with pytest.raises(Disconnect) as caught:
        session.failed()

    assert caught.value.code is TOO_MANY_ERRORS


def test_the_secret_is_a_stronger_proof_than_the_user() -> None:
    """A device keeps its owner when another person signs in on it."""
    proofs = proofs_of(Hello(device=PHONE, secret="s" * 16), "ann")

    assert [proof.split(":")[0] for proof in proofs] == ["secret", "user"]


def test_the_secret_itself_is_not_in_the_proof() -> None:
    """What the ledger keeps does not reveal the secret."""
    assert "s" * 16 not in proofs_of(Hello(device=PHONE, secret="s" * 16), None)[0]


def test_an_anonymous_device_needs_a_secret() -> None:
    """Without user and secret nobody could prove whose the device is."""
    with pytest.raises(CommandError) as caught:
        proofs_of(Hello(device=PHONE), None)

    assert (caught.value.code, caught.value.field) == (UNAUTHORIZED, "secret")
