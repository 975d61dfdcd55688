"""How long an answer may get: by the request, by the model's documentation, or by its context window."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["answers", "asked_tokens", "model_tokens", "thinks"]

# Most output tokens, by the vendors' model pages; the first match counts.
_MOST: Final = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"^gpt-5-pro", 272_000),
        (r"^gpt-5(?:[.-]\d+)?-chat", 128_000),
        (r"^gpt-(?:5|6)", 128_000),
        (r"^o1-mini", 65_536),
        (r"^o1-preview", 32_768),
        (r"^(?:o1|o3|o4)", 100_000),
        (r"^gpt-4\.1", 32_768),
        (r"^gpt-4o-2024-05-13", 16_384),
        (r"^(?:gpt-4o|chatgpt-4o)", 16_384),
        (r"^gpt-4", 8_192),
        (r"^gpt-3\.5", 4_096),
        (r"claude-(?:opus-4(?:-[01])?(?:-20|$)|opus-4\.[01])", 32_000),
        (r"claude-(?:opus-4-5|sonnet-4-[05]|sonnet-4(?:-20|$)|haiku-4|3-7)", 64_000),
        (r"claude-(?:[a-z]+-)?(?:[4-9])", 128_000),
        (r"claude-(?:fable|mythos)", 128_000),
        (r"claude-3-(?:haiku|opus|sonnet)", 4_096),
        (r"claude-3-5", 8_192),
    )
)
_CAPS: Final = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
# Models that have no hidden reasoning; a Claude of the fourth generation thinks only where it is told to.
_PLAIN: Final = re.compile(
    r"^(?:ft:)?(?:gpt-3\.5|gpt-4|chatgpt-4o|gpt-audio|gpt-5-chat|davinci|babbage|text-)"
    r"|claude-(?:2|3-(?:haiku|opus|sonnet|5)|3\.5|instant)|smollm"
)
_ON_DEMAND: Final = re.compile(r"claude-(?:3[-.]7|(?:opus|sonnet|haiku)-4|4)")


def asked_tokens(body: Mapping[str, Any], dialect: str) -> int | None:
    """Return the max-tokens value that a request carries, for one choice."""
    values = [body.get(name) for name in _CAPS.get(dialect, ())]
    numbers = [value for value in values if type(value) is int and value >= 0]
    return max(numbers, default=None)


def model_tokens(model: str, window: int | None) -> int | None:
    """Return a model's longest answer, its context window where nothing better is known."""
    for pattern, most in _MOST:
        if pattern.search(model):
            return most
    return window


def answers(body: Mapping[str, Any], dialect: str) -> int:
    """Return how many choices a request asks for."""
    n = body.get("n") if dialect == "chat" else 1
    return n if type(n) is int and n > 0 else 1


def thinks(body: Mapping[str, Any], model: str) -> bool:
    """Whether an answer may hold reasoning that nobody is shown; True where it is not known."""
    reasoning = body.get("reasoning")
    effort = body.get("reasoning_effort") or (reasoning.get("effort") if isinstance(reasoning, dict) else None)
    thinking = body.get("thinking")
    told = thinking.get("type") if isinstance(thinking, dict) else None
    if effort == "none" or told == "disabled" or _PLAIN.search(model):
        return False
    return not (_ON_DEMAND.search(model) and told is None)
