"""Calls of the recall tool, answered here: the model is asked again with the original, and the caller sees one answer.

A streaming caller gets its answer as a stream, told when it is whole: nobody can know before whether it is a recall.
No call of the tool reaches the application, which never declared it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.prompt.stub_recall import (
    answered,
    billed_together,
    recalls_at_all,
    recalls_in,
    withdrawn,
    without_recalls,
)
from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.request import Request
    from llmsaver.core.stack import CallNext

__all__ = ["ROUNDS", "recalling"]

# How often a model may call originals back before it must do without.
ROUNDS = 3
_STREAM_KEYS = frozenset({"stream", "stream_options"})
_FRAMING = frozenset({"content-length", "content-encoding", "transfer-encoding"})
# What a provider says of a request that is too long for it.
_REFUSED = frozenset({400, 413})
_UNKNOWN = "There is no output under that reference in this conversation."


async def recalling(name: str, request: Request, originals: Mapping[str, str], call_next: CallNext) -> Response:
    """Pass on, and answer recalls of ``originals`` (by reference) until the answer is another; usage is that of all.

    After ``ROUNDS`` the tool is withdrawn, and at once where it is called beside others or so that it cannot be
    answered. Where the originals make a request that the provider refuses, it is sent as it was first accepted, without
    the tool.
    """
    dialect = request.dialect
    first = body = {key: value for key, value in request.body.items() if key not in _STREAM_KEYS}
    answers: list[dict[str, Any]] = []
    rounds, there, refused = 0, True, False
    while True:
        response = await call_next(request.replace(body=body))
        await response.read()
        outcome = response.outcome
        message = outcome.message if outcome is not None and outcome.complete else None
        if message is None and rounds and not refused and response.status in _REFUSED:
            body, there, refused = withdrawn(first), False, True
            continue
        if message is None or not recalls_at_all(dialect, message):
            break
        if not there:
            message = without_recalls(dialect, message)
            break
        answers.append(message)
        calls = recalls_in(dialect, message)
        if calls:
            texts = [(call, originals.get(call.reference.strip(), _UNKNOWN)) for call in calls]
            body = answered(dialect, body, message, texts)
            rounds += 1
        if not calls or rounds == ROUNDS:
            body, there = withdrawn(body), False
    if not answers or message is None:
        return response
    request.entry.act(name, "recalled", _why(rounds, there=there))
    return _whole(response, dialect, billed_together([*answers, message]))


def _why(rounds: int, *, there: bool) -> str:
    told = f"the model called originals back {rounds} time{'' if rounds == 1 else 's'}"
    return told if there else f"{told}, then was asked without the tool"


def _whole(response: Response, dialect: str, message: Mapping[str, Any]) -> Response:
    """Return an answer in the place of the last that came."""
    headers = {key: value for key, value in response.headers.items() if key.lower() not in _FRAMING}
    headers["content-type"] = "application/json"
    content = json.dumps(message).encode()
    return Response(response.status, headers, content=content, meter=DIALECTS[dialect].meter(streamed=False))
