"""
The questions of hooks, and their answers, as JSON: for backends that are asked by HTTP.

A question is the fields of its value in ``realtime.hooks``, beside ``point``, ``id``
and ``at``. An answer is an object; what it leaves out, it leaves to the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import orjson

from realtime.core.hook_answers import HookFailed
from realtime.hooks import (
    UNCHANGED,
    ChangeEvent,
    ChangePublication,
    Deny,
    EventAnswer,
    EventBatch,
    Point,
    PublishRequest,
    RejectEvent,
    User,
)


def question(point: Point, id: str, at: float, request: object) -> bytes:
    """Return what is asked at *point*, as the body of an HTTP request."""
    head: dict[str, object] = {"point": point, "id": id, "at": at}
    return orjson.dumps(head | _FORMS.get(type(request), _plain)(request))


def answer(point: Point, body: bytes) -> object:
    """
    Return what *body* answers, as a function of the point's name would return it.

    Raises:
        Deny: If it refuses.
        HookFailed: If it is no such answer.
    """
    if point not in _ANSWERS:
        return None  # it was only told; it may say what it likes
    try:
        told = orjson.loads(body)
    except ValueError:
        raise HookFailed("its answer is not JSON") from None
    if not isinstance(told, dict):
        raise HookFailed("its answer is not a JSON object")
    allow = told.get("allow")
    if allow is not None and not isinstance(allow, bool):
        raise HookFailed("allow must be true, false or null")
    if allow is False:
        raise Deny(_text(told, "reason"))
    return _ANSWERS[point](told, allow)


# -- questions ---------------------------------------------------------------------


def _plain(request: Any) -> dict[str, object]:
    return {field.name: getattr(request, field.name) for field in fields(request)}


def _publish(request: PublishRequest) -> dict[str, object]:
    form = _plain(request)
    form["data"] = orjson.Fragment(form.pop("raw"))  # type: ignore[arg-type]
    form["tags"] = dict(request.tags)
    return form


def _events(batch: EventBatch) -> dict[str, object]:
    form = _plain(batch)
    form["events"] = [
        _plain(event) | {"properties": dict(event.properties)} for event in batch.events
    ]
    return form


_FORMS: Mapping[type, Callable[[Any], dict[str, object]]] = MappingProxyType(
    {PublishRequest: _publish, EventBatch: _events}
)


# -- answers -----------------------------------------------------------------------

Told = Mapping[str, Any]


def _user(told: Told, allow: bool | None) -> User | None:
    user = told.get("user")
    if user is None:
        if allow:
            raise HookFailed("allow is true, but user is missing")
        return None
    if not isinstance(user, dict):
        raise HookFailed("user must be an object")
    unknown = user.keys() - _USER_FIELDS
    if unknown:  # a misspelt grant would otherwise be a mystery
        raise HookFailed(f"user has unknown fields, such as {min(unknown)!r}")
    return User(**user)


_USER_FIELDS = {field.name for field in fields(User)}


def _decision(told: Told, allow: bool | None) -> bool | None:
    return allow


def _publication(told: Told, allow: bool | None) -> object:
    if "data" not in told and "tags" not in told:
        return allow
    tags = told.get("tags")
    return ChangePublication(
        told.get("data", UNCHANGED), UNCHANGED if tags is None else tags, allow
    )


def _event_answers(told: Told, allow: bool | None) -> list[EventAnswer] | None:
    answers = told.get("events")
    if answers is None:
        return None
    if not isinstance(answers, list):
        raise HookFailed("events must be a list")
    return [_event_answer(one) for one in answers]


def _event_answer(one: Any) -> EventAnswer:
    if one is None or one == {}:
        return None
    if isinstance(one, dict):
        if one.keys() == {"properties"} and isinstance(one["properties"], dict):
            return ChangeEvent(one["properties"])
        if one.keys() == {"reject"}:
            return RejectEvent(_text(one, "reject"))
    raise HookFailed('each of events must be null, {"properties": ...} or {"reject"}')


_ANSWERS: Mapping[Point, Callable[[Told, bool | None], object]] = MappingProxyType(
    {
        Point.AUTHENTICATE: _user,
        Point.AUTHORISE_SUBSCRIBE: _decision,
        Point.ON_PUBLISH: _publication,
        Point.ON_EVENTS: _event_answers,
    }
)


def _text(told: Told, name: str) -> str:
    text = told.get(name)
    return text if isinstance(text, str) else ""
