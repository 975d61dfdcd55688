"""Asking a model whether its own answer is right; helps from about 8 billion parameters up, harms below."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from llmsaver.router.asked import asked_of
from llmsaver.router.confidence import Confidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.router.views import Answer

__all__ = ["self_check_body", "self_check_read"]

_QUESTION = """\
You check answers. Below are a task and a proposed answer.

Task:
{task}

Proposed answer:
{answer}

Is the proposed answer correct and complete? Reply with one word: Yes or No."""
_WORD = re.compile(r"^[\s\"'*(]*(yes|no|true|false|correct|incorrect)\b", re.IGNORECASE)
_RIGHT = frozenset({"yes", "true", "correct"})
# As much of a task as a check needs; its end is where the question is.
_TASK, _ANSWER = 12_000, 6_000
_TOKENS = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}
_ROOM = 16  # the least that the responses dialect accepts


def self_check_body(dialect: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return the body of a call that asks the same model whether ``answer`` is right, for ``self_check_read``.

    One user message of its own: nothing of the caller's tools, formats or sampling; what bills and authorises the
    call stays (``user``, ``metadata``, ``service_tier``). Tools called count as the answer's text.
    """
    asked = asked_of(dialect, body)
    task = "\n\n".join(filter(None, (asked.system[:_TASK], *asked.turns[-2:], asked.text)))[-_TASK:]
    calls = "\n".join(f"{call.name}({call.arguments})" for call in answer.calls)
    said = "\n".join(filter(None, (answer.text, calls)))[-_ANSWER:]
    text = _QUESTION.format(task=task, answer=said)
    kept = {key: body[key] for key in ("model", "user", "metadata", "service_tier", "safety_identifier") if key in body}
    limit = _TOKENS.get(dialect, "max_tokens")
    if "max_completion_tokens" in body:
        limit = "max_completion_tokens"
    turns = "input" if dialect == "responses" else "messages"
    check = {**kept, turns: [{"role": "user", "content": text}], limit: _ROOM}
    return {**check, "store": False} if dialect == "responses" else check


def self_check_read(answer: Answer) -> Confidence | None:
    """Return the confidence that the answer to a self-check gives; None where it says neither yes nor no.

    With log-probabilities the probability of yes (of the first token, or what a no leaves for it), else 1.0 or 0.0.
    """
    found = _WORD.match(answer.text)
    if found is None:
        return None
    right = found[1].lower() in _RIGHT
    first = (answer.logprobs or (math.nan,))[0]
    sure = 1.0 if math.isnan(first) else math.exp(min(0.0, first))
    return Confidence(sure if right else 1.0 - sure, "self-check", {"yes": float(right), "sure": sure})
