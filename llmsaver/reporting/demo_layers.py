"""Three small layers of the demo's own: what an application would write to add a saving to its stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.stack import CallNext

__all__ = ["FailOnce", "HouseStyle", "Memo"]

# How each dialect says "at most so many tokens"; the first one is set where a request has none.
_LIMITS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
# A request that has one of these wants a given shape of answer, which must not be cut or styled.
_SHAPED = ("response_format", "text", "output_config", "tools")


class HouseStyle:
    """Asks every plain request for a short answer: an instruction of the house, and a cap on output tokens.

    ``cap`` is in tokens; a lower limit of the caller's stays. Requests for JSON or tools pass as they are.
    """

    name = "house-style"

    def __init__(self, instruction: str = "Answer in one short sentence.", cap: int = 40) -> None:
        self.instruction = instruction
        self.cap = cap

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass the request on with the instruction and the cap in it; the entry then says which keys changed."""
        limits = _LIMITS.get(request.dialect)
        if limits is None or any(name in request.body for name in _SHAPED):
            request.entry.act(self.name, "passed", "what is no plain text must not be cut")
            return await call_next(request)
        limit = next((name for name in limits if request.body.get(name) is not None), limits[0])
        asked = request.body.get(limit)
        cap = min(asked, self.cap) if isinstance(asked, int) else self.cap
        return await call_next(request.with_body(**self._instructed(request), **{limit: cap}))

    def _instructed(self, request: Request) -> dict[str, Any]:
        """Return the key that holds instructions in this dialect, with ours; what the caller said there stays."""
        body = request.body
        if request.dialect == "chat":
            messages = list(body.get("messages", ()))
            if messages and messages[0].get("role") in {"system", "developer"}:
                return {}
            return {"messages": [{"role": "system", "content": self.instruction}, *messages]}
        key = "instructions" if request.dialect == "responses" else "system"
        return {} if body.get(key) else {key: self.instruction}


class Memo:
    """Answers a request that was answered before, streamed or not, without going upstream.

    The key is the whole request and the caller's account; only complete answers are kept, at most ``size`` of them.
    """

    name = "memo"

    def __init__(self, size: int = 100) -> None:
        self._size = size
        self._answers: dict[str, Mapping[str, Any]] = {}

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Return the remembered answer, or remember the one that comes back."""
        asked = {key: value for key, value in request.body.items() if key not in {"stream", "stream_options"}}
        key = json.dumps([request.account, request.dialect, asked], sort_keys=True)
        known = self._answers.get(key)
        if known is not None:
            request.entry.tier = self.name
            return Response.of(known)
        response = await call_next(request)

        def remember(outcome: Outcome) -> None:
            if outcome.complete and outcome.message is not None and len(self._answers) < self._size:
                self._answers[key] = outcome.message

        response.on_complete(remember)
        return response


class FailOnce:
    """Stands in for an upstream in trouble: once armed, the next attempt gets a 503 and never leaves.

    ``retried`` lists the numbers of the SDK's attempts at the call that failed, from 0.
    """

    name = "fail-once"

    def __init__(self) -> None:
        self.retried: list[int] = []
        self._armed = False
        self._entry: Entry | None = None

    def arm(self) -> None:
        """Fail the next attempt."""
        self._armed = True

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on, but for the one attempt that fails."""
        if not self._armed:
            if request.entry is self._entry:
                self.retried.append(request.attempt)
            return await call_next(request)
        self._armed, self._entry, self.retried = False, request.entry, [request.attempt]
        request.entry.act(self.name, "failed", "a simulated 503")
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "simulated by llmsaver demo"}}
        content = json.dumps(error).encode()
        return Response(503, {"content-type": "application/json", "retry-after-ms": "50"}, content=content)
