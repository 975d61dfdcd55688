"""Calls of the recall tool, answered here: the model is asked again with the original, and the caller sees one answer.

A streaming caller gets its answer as a stream, told when it is whole: nobody can know before whether it is a recall.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.prompt.stub_recall import answered, billed_together, recalls_in, withdrawn
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
_UNKNOWN = "There is no output under that reference in this conversation."


async def recalling(name: str, request: Request, originals: Mapping[str, str], call_next: CallNext) -> Response:
    """Pass on, and answer recalls of ``originals`` (by reference) until the answer is another; usage is that of all.

    After ``ROUNDS`` the tool is withdrawn. An answer that also calls a tool of the application's is left to it.
    """
    body = {key: value for key, value in request.body.items() if key not in _STREAM_KEYS}
    answers: list[dict[str, Any]] = []
    while True:
        response = await call_next(request.replace(body=body))
        await response.read()
        outcome = response.outcome
        message = outcome.message if outcome is not None and outcome.complete else None
        calls = [] if message is None else recalls_in(request.dialect, message)
        if message is None or not calls or len(answers) == ROUNDS:
            break
        answers.append(message)
        texts = [(call, originals.get(call.reference.strip(), _UNKNOWN)) for call in calls]
        body = answered(request.dialect, body, message, texts)
        if len(answers) == ROUNDS:
            body = withdrawn(body)
    if not answers or message is None:
        return response
    times = f"{len(answers)} time{'s' if len(answers) > 1 else ''}"
    request.entry.act(name, "recalled", f"the model called originals back {times}")
    content = json.dumps(billed_together([*answers, message])).encode()
    headers = {key: value for key, value in response.headers.items() if key.lower() not in _FRAMING}
    headers["content-type"] = "application/json"
    return Response(response.status, headers, content=content, meter=DIALECTS[request.dialect].meter(streamed=False))
