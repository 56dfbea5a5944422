"""
What a hook's answer comes to: checked before anything is done with it.

A developer's function may return anything, and so may a backend. What is none of the
answers that its point knows is a failure of the hook, and told as one; no part of it
is quoted, since it may hold what somebody sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from realtime.core.access import Identity
from realtime.core.tokens import TokenError, identity_of
from realtime.hooks import (
    UNCHANGED,
    ChangeEvent,
    ChangePublication,
    EventAnswer,
    PublishAnswer,
    RejectEvent,
    User,
)
from realtime.settings import AuthSettings
from realtime.types import JSONText
from realtime.wire import checks

MAX_REASON_CHARS = 255


class HookFailed(Exception):
    """
    No answer can be had from a hook, or none that makes sense.

    *problem* is for the log. ``__cause__`` is what the hook's own code raised, if so.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def reason_of(told: object, otherwise: str) -> str:
    """Return what a hook gave as its reason, as it may be told to a client."""
    if not isinstance(told, str) or not told.strip():
        return otherwise
    text = "".join(c if c.isprintable() else " " for c in told[:MAX_REASON_CHARS])
    return text.encode("utf-8", "replace").decode()


def decision_of(answer: object) -> bool | None:
    """
    Return what ``authorise_subscribe`` has decided.

    Raises:
        HookFailed: If it is neither True, False nor None.
    """
    if answer is not None and not isinstance(answer, bool):
        raise _wrong(answer, "True, False or None")
    return answer


def user_of(answer: object) -> User | None:
    """
    Return whom ``authenticate`` has named.

    Raises:
        HookFailed: If it is neither a User nor None.
    """
    if answer is not None and not isinstance(answer, User):
        raise _wrong(answer, "a User or None")
    return answer


def publication_of(answer: object) -> PublishAnswer:
    """
    Return what ``on_publish`` has decided.

    Raises:
        HookFailed: If it is none of the answers there are.
    """
    if isinstance(answer, ChangePublication):
        if answer.allow is False:
            raise HookFailed("a ChangePublication cannot be refused: answer False")
        if answer.tags is not UNCHANGED:
            _check_tags(answer.tags)
        return answer
    if answer is not None and not isinstance(answer, bool):
        raise _wrong(answer, "True, False, None or a ChangePublication")
    return answer


def event_answers(answer: object, count: int) -> Sequence[EventAnswer] | None:
    """
    Return what ``on_events`` has decided of each of *count* events; None: keep them.

    Raises:
        HookFailed: If it is not one answer for each.
    """
    if answer is None:
        return None
    if not isinstance(answer, list | tuple):
        raise _wrong(answer, "a list or None")
    if len(answer) != count:
        raise HookFailed(f"it answered {len(answer)} times for {count} events")
    for one in answer:
        if one is not None and not isinstance(one, ChangeEvent | RejectEvent):
            raise _wrong(one, "None, ChangeEvent or RejectEvent for each event")
        if isinstance(one, ChangeEvent) and not isinstance(one.properties, Mapping):
            raise _wrong(one.properties, "a mapping as properties")
    return answer


def data_of(change: ChangePublication, before: JSONText, limit: int) -> JSONText:
    """
    Return the data of the publication as *change* has it; *limit* is in bytes.

    Raises:
        HookFailed: If it is larger, or JSON cannot say it.
    """
    if change.data is UNCHANGED:
        return before
    try:
        text = orjson.dumps(change.data)
    except TypeError as exc:  # orjson names types, never values
        raise HookFailed(f"its data cannot be JSON: {exc}") from None
    if len(text) > limit:
        raise HookFailed(f"its data has {len(text)} bytes as JSON, at most {limit}")
    return JSONText(text)


def identity_of_user(user: User, now: float) -> Identity:
    """
    Return the identity that *user* is, by the rules that hold for tokens.

    Raises:
        HookFailed: If a field is not as it must be.
    """
    claims: dict[str, object] = {
        "sub": user.id,
        "iat": now,
        "exp": user.expires_at,
        "realtime": {
            "subscribe": _list(user.subscribe),
            "publish": _list(user.publish),
            "track": _list(user.track),
            "history": _list(user.history),
            "members": _list(user.members),
            "info": user.info,
        },
    }
    try:
        return identity_of(claims, now, _ANY_ISSUER, require_expiry=False)
    except TokenError as exc:
        reason = exc.reason.removeprefix("token: ").replace("claim realtime.", "")
        raise HookFailed(f"of its User, as claims of a token: {reason}") from None
    except TypeError as exc:
        raise HookFailed(f"the info of its User cannot be JSON: {exc}") from None


_ANY_ISSUER = AuthSettings()


def _list(names: object) -> object:
    """Return a tuple as the list that claims have; a single text is left wrong."""
    if isinstance(names, Sequence | set | frozenset) and not isinstance(names, str):
        return list(names)
    return names


def _check_tags(tags: object) -> None:
    if not isinstance(tags, Mapping):
        raise _wrong(tags, "a mapping as tags")
    try:
        orjson.dumps(checks.tags(dict(tags)))  # which half a surrogate pair fails
    except (checks.Wrong, TypeError):  # they quote the value
        raise HookFailed(
            f"its tags must be at most {checks.MAX_TAGS}, well-named, and texts of at "
            f"most {checks.MAX_TAG_CHARS} characters"
        ) from None


def _wrong(answer: object, right: str) -> HookFailed:
    return HookFailed(f"it answered a {type(answer).__name__}; right is {right}")
