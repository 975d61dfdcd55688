"""What makes two requests the same: all of them, in one way of writing, hashed."""

from __future__ import annotations

import json
import marshal
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.request import Request

__all__ = ["Question", "embedding_keys", "exact_key", "question"]

# The same answer told in another form.
_FORM_ONLY = frozenset({"stream", "stream_options"})
# Stands where the question was: no string can be it.
_QUESTION = {"llmsaver": "question"}
_TEXT_PARTS = {"chat": "text", "responses": "input_text", "messages": "text"}
_TURNS = {"chat": "messages", "responses": "input", "messages": "messages"}

# Sorted keys, so that an order makes no difference; ASCII, so that lone surrogates, NUL and emoji are all just text;
# no NaN, which equals nothing.
_write = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Question:
    """A request as its last user ``text`` and a ``namespace``: the fingerprint of everything else."""

    text: str
    namespace: str


def exact_key(request: Request, policy: str = "") -> str | None:
    """Return 32 hex digits that only the same request has; None for one that has no such name (NaN, too deep, no JSON).

    Made of the dialect, the URL with its query, the headers that are not about transport, every parameter of the body
    but ``stream`` and ``stream_options``, the tenant, the account, and ``policy``: a hash of the layers beneath that
    change requests or answers. Numbers are the same where JSON writes them the same: 0 and 0.0 are not. The same in
    every process and version of Python.
    """
    return _hashed(request, _asked(request), policy, b"exact")


def question(request: Request, policy: str = "") -> Question | None:
    """Return the last user text and the fingerprint of the rest; None where other words could not ask for the same.

    That is: a last turn which is not the user's, or holds a tool's result, an image or sound, or no text at all.
    """
    turns_name = _TURNS.get(request.dialect)
    if turns_name is None:
        return None
    body = _asked(request)
    found = _last_text(body.get(turns_name), _TEXT_PARTS[request.dialect])
    if found is None or not found[0].strip():
        return None
    namespace = _hashed(request, {**body, turns_name: found[1]}, policy, b"question")
    return None if namespace is None else Question(found[0], namespace)


def _last_text(turns: Any, kind: str) -> tuple[str, Any] | None:
    """Return the text that asks, and the turns with a mark in its place; None where the last turn is no plain text."""
    if isinstance(turns, str):
        return turns, _QUESTION
    last = turns[-1] if isinstance(turns, list) and turns else None
    if not isinstance(last, dict) or last.get("role") != "user" or last.get("type", "message") != "message":
        return None
    content = last.get("content")
    if isinstance(content, str):
        return content, [*turns[:-1], {**last, "content": _QUESTION}]
    plain = isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == kind for part in content)
    if not plain or not content or not isinstance(content[-1].get("text"), str):
        return None
    parts = [*content[:-1], {**content[-1], "text": _QUESTION}]
    return content[-1]["text"], [*turns[:-1], {**last, "content": parts}]


def embedding_keys(request: Request, policy: str = "") -> list[str] | None:
    """Return a key for each input of an embeddings request, as if it had been asked for alone; None where unreadable.

    ``encoding_format`` and ``dimensions`` are in the keys: vectors are kept as they were sent.
    """
    body = _asked(request)
    inputs = body.pop("input", None)
    rest = _hashed(request, body, policy, b"embeddings")
    if rest is None:
        return None
    if not isinstance(inputs, list) or (inputs and isinstance(inputs[0], int)):
        inputs = [inputs]
    start = blake2b(rest.encode(), digest_size=16, person=b"llmsaver input")
    keys = []
    for each in inputs:
        if not isinstance(each, str | list) or not each:
            return None
        one = start.copy()
        try:
            one.update(_write(each).encode())
        except (TypeError, ValueError, RecursionError):
            return None
        keys.append(one.hexdigest())
    return keys


def _asked(request: Request) -> dict[str, Any]:
    return {name: value for name, value in request.body.items() if name not in _FORM_ONLY}


def _hashed(request: Request, body: Mapping[str, Any], policy: str, kind: bytes) -> str | None:
    whole = [request.dialect, request.url, request.terms, request.account, request.tenant, policy, body]
    person = b"llmsaver " + kind[:7]
    mark = _mark(whole, person)
    known = None if mark is None else _hashed_before.get(mark)
    if known is not None:
        return known
    try:
        written = _write(whole)
    except (TypeError, ValueError, RecursionError):
        return None
    found = blake2b(written.encode(), digest_size=16, person=person).hexdigest()
    if mark is not None:
        if len(_hashed_before) >= _REMEMBERED:
            _hashed_before.clear()
        _hashed_before[mark] = found
    return found


# The keys of requests that this program has hashed lately: a hit's request was, and writing it in the one way that all
# programs share is most of what finding its answer takes. ``marshal`` writes plain values five to twenty times as fast,
# each in a way of its own (0 is not 0.0, a tuple no list), and refuses others; between programs it would not do, since
# it keeps the order of keys.
_REMEMBERED = 4_096
_hashed_before: dict[bytes, str] = {}


def _mark(whole: list[Any], person: bytes) -> bytes | None:
    try:
        return blake2b(marshal.dumps(whole, 2), digest_size=16, person=person).digest()
    except ValueError:
        return None
