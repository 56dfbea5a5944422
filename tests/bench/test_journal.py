"""The bookkeeping of what clients have got, and of what they were told is lost."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from realtime.bench.journal import Account, Journal


def test_everything_came() -> None:
    """What comes in order and once is delivered, and nothing else is to be told."""
    journal = Journal(3, 1, 0)
    for index in range(3):
        assert not journal.has_all
        journal.take(index)

    assert journal.has_all
    assert journal.close(()) == Account(expected=3, delivered=3)


def test_only_the_own_channel_is_owed() -> None:
    """Of two channels by turns, each client is owed every other publication."""
    journal = Journal(5, 2, 1)
    journal.take(1)
    journal.take(3)

    assert journal.has_all
    assert journal.close(()) == Account(expected=2, delivered=2)


def test_what_comes_twice_or_late_is_counted() -> None:
    """Twice is doubled; after a later one is out of order; both are delivered once."""
    journal = Journal(3, 1, 0)
    for index in (0, 2, 1, 2):
        journal.take(index)

    assert journal.close(()) == Account(3, 3, doubled=1, disordered=1)


def test_a_loss_without_a_word_is_missing() -> None:
    """A hole that nobody has admitted."""
    journal = Journal(4, 1, 0)
    journal.take(0)
    journal.take(3)

    assert journal.close(()) == Account(4, 2, missing=2)


def test_a_loss_that_was_told_is_admitted() -> None:
    """It reaches from the last delivery before to the first one after."""
    journal = Journal(5, 1, 0)
    journal.take(0)
    journal.admit()
    journal.take(3)
    journal.take(4)

    assert journal.close(()) == Account(5, 3, admitted=2)


def test_a_loss_that_was_told_last_reaches_to_the_end() -> None:
    """Nothing has come after it."""
    journal = Journal(3, 1, 0)
    journal.take(0)
    journal.admit()

    assert journal.close(()) == Account(3, 1, admitted=2)


def test_what_was_not_published_is_not_expected() -> None:
    """Nor is it when it came all the same: nobody knows of it."""
    journal = Journal(3, 1, 0)
    journal.take(0)
    journal.take(2)

    assert journal.close({1, 2}) == Account(1, 1)


@given(st.integers(0, 60), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_sums_are_right(count: int, every: int, chance: random.Random) -> None:
    """Whatever happens, what is expected is delivered, admitted or missing."""
    place = chance.randrange(every)
    journal = Journal(count, every, place)
    owed = range(place, count, every)
    for _ in range(chance.randrange(100)):
        if owed and chance.random() < 0.8:
            journal.take(chance.choice(owed))
        else:
            journal.admit()
    account = journal.close(())

    assert account.expected == len(owed)
    parts = account.delivered + account.admitted + account.missing
    assert parts == account.expected
