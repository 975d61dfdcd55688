"""What a cache sees of a request: what never changes, then each message, its end with a hash of all before it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.core.shapes import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Outline", "is_short", "outline_of"]

_write = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
# What ends a cache's prefix beside the text: another effort or way of thinking is another cache at Anthropic's.
_PART_OF_IT = ("tool_choice", "thinking", "output_config", "reasoning_effort", "reasoning", "text", "response_format")


@dataclass(frozen=True, slots=True)
class Outline:
    """A request's prefixes, in the order a provider reads them.

    ``static`` is the hash of tools and instructions under this model, ``static_tokens`` their estimated size;
    ``points`` has the hash at the end of each message and ``tokens`` the estimated size up to there; ``blocks`` counts
    each message's content blocks. ``turns``: how many answers of the model are among the messages; ``tools``: whether
    it may call any. ``leading``: how many messages at the beginning are instructions. ``key`` names ``static`` whoever
    made the outline. ``old_results``: the estimated size of what tools said before the model's last answer.
    """

    static: str
    static_tokens: int
    points: Sequence[str]
    tokens: Sequence[int]
    blocks: Sequence[int]
    turns: int
    tools: bool
    leading: int = 0
    key: str = ""
    old_results: int = 0

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


def outline_of(dialect: str, body: Mapping[str, Any], salt: bytes = b"", *, scope: bytes = b"") -> Outline | None:
    """Return a request's outline, None where it has no list of messages or is no JSON.

    ``scope`` is in every hash but ``key``: who shares it knows the same prefixes by the same names, nobody else does.
    """
    turns = body.get("messages", body.get("input"))
    if isinstance(turns, str) and dialect == "responses":
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or not turns:
        return None
    try:
        begun = _Reader(body, salt)
        return _outlined(begun, turns, scope, tools=bool(body.get("tools")))
    except (TypeError, ValueError, RecursionError):
        return None


class _Reader:
    """What a provider has read so far: a hash of it, and its size in bytes."""

    __slots__ = ("hash", "size")

    def __init__(self, body: Mapping[str, Any], salt: bytes) -> None:
        self.hash = blake2b(digest_size=12, key=salt[:64], person=b"outline")
        self.size = 0
        self.hash.update(str(body.get("model")).encode("utf-8", "replace"))
        for name in _PART_OF_IT:
            if body.get(name) is not None:
                self.hash.update(f"{name}{_write(body[name])}".encode("utf-8", "replace"))
        self.take(body.get("tools"))
        self.take(body.get("system", body.get("instructions")))

    def take(self, value: Any) -> None:
        """Read on."""
        if value is not None:
            text = _bytes(value)
            self.hash.update(text + b"\n")
            self.size += len(text)

    def ends(self, scope: bytes) -> str:
        """Return the name of what was read by now, whoever reads it, and go on within ``scope``."""
        key = self.hash.hexdigest()
        self.hash.update(scope)
        return key


def _outlined(reader: _Reader, turns: Sequence[Any], scope: bytes, *, tools: bool) -> Outline:
    leading = _leading(turns)
    points: list[str] = []
    tokens: list[int] = []
    blocks: list[int] = []
    key = "" if leading else reader.ends(scope)
    static, static_size, results, old_results, answers = reader.hash.hexdigest(), reader.size, 0, 0, 0
    for at, turn in enumerate(turns):
        before = reader.size
        reader.take(turn)
        if at + 1 == leading:
            key = reader.ends(scope)
        points.append(reader.hash.hexdigest())
        tokens.append(_tokens(reader.size))
        blocks.append(_blocks(turn))
        if at + 1 == leading:
            static, static_size = points[-1], reader.size
        if isinstance(turn, dict):
            if _is_result(turn):
                results += reader.size - before
            elif _is_answer(turn):
                answers, old_results = answers + 1, results
    more = (answers, tools, leading, key, _tokens(old_results))
    return Outline(static, _tokens(static_size), points, tokens, blocks, *more)


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


def _is_result(turn: Mapping[str, Any]) -> bool:
    """Return whether a message brings what tools said; Anthropic's are in the user's messages."""
    if turn.get("role") == "tool" or turn.get("type") == "function_call_output":
        return True
    content = turn.get("content")
    return type(content) is list and bool(content) and _is_result_block(content[0])


def _is_result_block(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


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
