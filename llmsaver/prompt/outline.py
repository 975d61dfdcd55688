"""What a cache sees of a request: what never changes, then each message, its end with a hash of all before it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BYTES_PER_TOKEN", "Outline", "is_short", "outline_of"]

# Three or four bytes of English are a token; bounds of what a provider will cache are in tokens.
BYTES_PER_TOKEN = 4.0
_write = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
# What ends a cache's prefix beside the text: another effort or way of thinking is another cache at Anthropic's.
_PART_OF_IT = ("tool_choice", "thinking", "output_config", "reasoning_effort", "reasoning", "text", "response_format")


@dataclass(frozen=True, slots=True)
class Outline:
    """A request's prefixes, in the order a provider reads them.

    ``static`` is the hash of tools and instructions under this model, ``static_tokens`` their estimated size;
    ``points`` has the hash at the end of each message and ``tokens`` the estimated size up to there; ``blocks`` counts
    each message's content blocks. ``turns``: how many answers of the model are among the messages; ``tools``: whether
    it may call any. ``leading``: how many messages at the beginning are instructions.
    """

    static: str
    static_tokens: int
    points: Sequence[str]
    tokens: Sequence[int]
    blocks: Sequence[int]
    turns: int
    tools: bool
    leading: int = 0

    @property
    def whole(self) -> str:
        """The hash of the whole request."""
        return self.points[-1] if self.points else self.static

    @property
    def total_tokens(self) -> int:
        """The estimated size of the whole request."""
        return self.tokens[-1] if self.tokens else self.static_tokens


def is_short(body: Mapping[str, Any], tokens: int) -> bool:
    """Return whether a request is surely of fewer tokens, without reading more of it than that takes.

    A guess for speed: most calls are short, and end here after a microsecond or two.
    """
    if body.get("tools") or body.get("previous_response_id"):
        return False
    left = int(tokens * BYTES_PER_TOKEN)
    for name in ("system", "instructions", "input", "messages"):
        value = body.get(name)
        for turn in value if isinstance(value, list) else (value,):
            content = turn.get("content") if isinstance(turn, dict) else turn
            if isinstance(content, str):
                left -= len(content)
            elif content is not None:
                return False  # parts, whose size is not told by their number
            if left <= 0:
                return False
    return True


def outline_of(dialect: str, body: Mapping[str, Any], salt: bytes = b"") -> Outline | None:
    """Return a request's outline, None where it has no list of messages or is no JSON."""
    turns = body.get("messages", body.get("input"))
    if isinstance(turns, str) and dialect == "responses":
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or not turns:
        return None
    running = blake2b(digest_size=12, key=salt[:64], person=b"outline")
    size = 0

    def take(value: Any) -> None:
        nonlocal size
        if value is not None:
            text = _bytes(value)
            running.update(text + b"\n")
            size += len(text)

    try:
        running.update(str(body.get("model")).encode("utf-8", "replace"))
        for name in _PART_OF_IT:
            if body.get(name) is not None:
                running.update(f"{name}{_write(body[name])}".encode("utf-8", "replace"))
        take(body.get("tools"))
        take(body.get("system", body.get("instructions")))
        leading = _leading(turns)
        points: list[str] = []
        tokens: list[int] = []
        blocks: list[int] = []
        static, static_size = running.hexdigest(), size
        for at, turn in enumerate(turns):
            take(turn)
            points.append(running.hexdigest())
            tokens.append(_tokens(size))
            blocks.append(_blocks(turn))
            if at + 1 == leading:
                static, static_size = points[-1], size
    except (TypeError, ValueError, RecursionError):
        return None
    answers = sum(isinstance(turn, dict) and _is_answer(turn) for turn in turns)
    return Outline(static, _tokens(static_size), points, tokens, blocks, answers, bool(body.get("tools")), leading)


def _bytes(value: Any) -> bytes:
    """Return a message as bytes; most are a role and a text, for which JSON would cost several times as much."""
    if type(value) is dict and len(value) == 2:  # noqa: PLR2004 - those two
        role, content = value.get("role"), value.get("content")
        if type(role) is str and type(content) is str:
            return f"{role}\0{content}".encode("utf-8", "replace")
    return _write(_unmarked(value)).encode("utf-8", "replace")


def _tokens(size: int) -> int:
    return round(size / BYTES_PER_TOKEN)


def _leading(turns: Sequence[Any]) -> int:
    """Return how many messages at the beginning are instructions."""
    for at, turn in enumerate(turns):
        if not (isinstance(turn, dict) and turn.get("role") in {"system", "developer"}):
            return at
    return len(turns)


def _is_answer(turn: Mapping[str, Any]) -> bool:
    return turn.get("role") == "assistant" or turn.get("type") in {"function_call", "reasoning"}


def _blocks(turn: Any) -> int:
    content = turn.get("content") if isinstance(turn, dict) else None
    return max(1, len(content)) if isinstance(content, list) else 1


def _unmarked(value: Any) -> Any:
    """Return a message without the marks of caches, which are no part of what is cached."""
    if isinstance(value, dict):
        marks = {"cache_control", "prompt_cache_breakpoint"} & value.keys()
        kept = {key: part for key, part in value.items() if key not in marks} if marks else value
        content = kept.get("content")
        return {**kept, "content": _unmarked(content)} if isinstance(content, list) else kept
    return [_unmarked(part) for part in value] if isinstance(value, list) else value
