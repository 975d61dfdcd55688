"""Asking for the log-probabilities of an answer's tokens, and hiding them from a caller who did not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from llmsaver.router.needs import known_skills
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.router.tier import Tier

__all__ = ["hide_logprobs", "wants_logprobs"]

_INCLUDED = "message.output_text.logprobs"
# Reasoning models that return log-probabilities where they are told not to reason (OpenAI's guide to GPT-5.2).
_UNREASONED = re.compile(r"^(?:ft:)?gpt-(?:5\.[1-9]|6)(?!.*(?:chat|pro|codex))")


def wants_logprobs(dialect: str, body: Mapping[str, Any], tier: Tier) -> dict[str, Any] | None:
    """Return the keys of a body that make ``tier`` tell log-probabilities, as ``Request.with_body`` takes them.

    ``dialect`` and ``body`` are those the tier gets. None where the body asks already, and where the tier is not known
    to tell any: a model that refuses the parameter would fail the call.
    """
    if dialect not in ("chat", "responses") or _asks(body) or not _tells(tier, body):
        return None
    if dialect == "chat":
        return {"logprobs": True}
    return {"include": [*as_list(body.get("include")), _INCLUDED]}


def hide_logprobs(dialect: str, message: Mapping[str, Any], asked_body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer, or one chunk or event of a stream, as it looks to a caller who did not ask for them.

    What is given is never changed, and returned itself where there is nothing to hide.
    """
    if _asks(asked_body):
        return message
    if dialect == "chat":
        choices = message.get("choices")
        if isinstance(choices, list) and any(as_dict(each).get("logprobs") is not None for each in choices):
            hidden = [{**each, "logprobs": None} if "logprobs" in as_dict(each) else each for each in choices]
            return {**message, "choices": hidden}
        return message
    return _hidden(message) if dialect == "responses" else message


def _asks(body: Mapping[str, Any]) -> bool:
    included = _INCLUDED in as_list(body.get("include"))
    return bool(body.get("logprobs") or body.get("top_logprobs") or included)


def _tells(tier: Tier, body: Mapping[str, Any]) -> bool:
    skills = known_skills(tier.model) if tier.skills is None else tier.skills
    if skills is not None and "logprobs" in skills:
        return True
    effort = body.get("reasoning_effort") or as_dict(body.get("reasoning")).get("effort")
    return tier.skills is None and effort == "none" and bool(_UNREASONED.search(tier.model))


def _hidden(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a response, or an event that carries a delta, a part, an item or a response, without them."""
    changes: dict[str, Any] = {}
    if event.get("logprobs"):
        changes["logprobs"] = []
    for key in ("response", "item", "part"):
        inner = event.get(key)
        if isinstance(inner, dict) and (less := _hidden(inner)) is not inner:
            changes[key] = less
    for key in ("output", "content"):
        listed = as_list(event.get(key))
        less_listed = [_hidden(each) if isinstance(each, dict) else each for each in listed]
        if any(less is not each for less, each in zip(less_listed, listed, strict=True)):
            changes[key] = less_listed
    return {**event, **changes} if changes else event
