"""What providers' prompt caches read and write, by their published rules; nothing here knows of our planner.

Anthropic (prompt caching): tools, system and messages are one row of blocks. A mark, at most four, ends a prefix; from
each mark, at most 20 blocks back, the longest kept prefix is read, and what lies between it and the last mark is
written; a top-level ``cache_control`` marks the last block. Nothing is kept below the model's minimum. A read keeps the
prefix for as long again. OpenAI before GPT-5.6: the longest prefix of 128-token steps from 1,024 tokens on is read, for
ten minutes after its last use; writing is free. From GPT-5.6 on: prefixes end at breakpoints only, one of them implicit
at the last message unless ``mode`` is "explicit"; writing costs, and they are kept for half an hour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Anthropic", "Bill", "Block", "OpenAI", "OpenAIBefore", "row_of", "tokens_of"]

LOOK_BACK = 20
MOST_MARKS = 4
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Bill:
    """One request's input tokens: read from the cache, written to it (by multiple), and neither."""

    read: int
    written: Mapping[float, int]
    plain: int

    def cost(self, read: float) -> float:
        """Return the price in plain input tokens."""
        return self.read * read + sum(times * tokens for times, tokens in self.written.items()) + self.plain


@dataclass(slots=True)
class Block:
    """A piece of a prompt: its tokens, the hash of all up to its end, and its mark (seconds kept), if any."""

    tokens: int
    upto: str
    keep: float | None


def tokens_of(text: str) -> int:
    """Return a count of tokens, a word or sign each four letters."""
    return max(1, len(text.encode()) // 4)


def row_of(dialect: str, body: Mapping[str, Any]) -> list[Block]:
    """Return a request's blocks in the order in which its provider reads them."""
    return _row(_anthropic_pieces(body) if dialect == "messages" else _openai_pieces(body))


def _row(pieces: Iterator[tuple[Any, float | None]]) -> list[Block]:
    running = blake2b(digest_size=16)
    row = []
    for piece, keep in pieces:
        text = json.dumps(piece, sort_keys=True)
        running.update(text.encode())
        row.append(Block(tokens_of(text), running.hexdigest(), keep))
    return row


@dataclass(slots=True)
class Anthropic:
    """``minimum``: tokens below which nothing is kept; ``write``: multiples by seconds kept."""

    minimum: int = 1024
    write: Mapping[float, float] = field(default_factory=lambda: {300.0: 1.25, 3600.0: 2.0})
    kept: dict[str, tuple[float, float]] = field(default_factory=dict)

    def bill(self, body: Mapping[str, Any], now: float) -> Bill:
        """Return what a request is billed, and keep what it marks."""
        row = _row(_anthropic_pieces(body))
        if body.get("cache_control"):
            row[-1].keep = _seconds(body["cache_control"])
        marks = [at for at, block in enumerate(row) if block.keep is not None]
        if len(marks) > MOST_MARKS:
            raise ValueError(
                f"400: a maximum of {MOST_MARKS} blocks with cache_control may be provided, found {len(marks)}"
            )
        keeps = [row[at].keep or 0.0 for at in marks]
        if keeps != sorted(keeps, reverse=True):
            raise ValueError("400: a ttl='1h' cache_control block must not come after a ttl='5m' one")
        sums = _sums(row)
        read_to = max((self._found(row, at, now) for at in marks), default=-1)
        written: dict[float, int] = {}
        begins = read_to
        for at in marks:
            if at > begins and sums[at] >= self.minimum:
                times = self.write[row[at].keep or 0.0]
                written[times] = written.get(times, 0) + sums[at] - (sums[begins] if begins >= 0 else 0)
                begins = at
            if sums[at] >= self.minimum:
                self.kept[row[at].upto] = (now + (row[at].keep or 0.0), row[at].keep or 0.0)
        if read_to >= 0:
            _, keep = self.kept[row[read_to].upto]
            self.kept[row[read_to].upto] = (now + keep, keep)
        read = sums[read_to] if read_to >= 0 else 0
        return Bill(read, written, sums[-1] - read - sum(written.values()))

    def _found(self, row: Sequence[Block], mark: int, now: float) -> int:
        """Return the longest kept prefix that a mark finds, -1 for none."""
        for at in range(mark, max(-1, mark - LOOK_BACK), -1):
            if self.kept.get(row[at].upto, (NEVER, 0.0))[0] >= now:
                return at
        return -1


@dataclass(slots=True)
class OpenAIBefore:
    """Models before GPT-5.6."""

    kept: dict[str, float] = field(default_factory=dict)

    def bill(self, body: Mapping[str, Any], now: float) -> Bill:
        """Return what a request is billed, and keep it."""
        row = _row(_openai_pieces(body))
        sums = _sums(row)
        read = 0
        for at, block in enumerate(row):
            if self.kept.get(block.upto, NEVER) >= now and sums[at] >= 1024:  # noqa: PLR2004 - the rule's
                read = sums[at] // 128 * 128
        for block in row:
            self.kept[block.upto] = now + 600
        return Bill(read, {}, sums[-1] - read)


@dataclass(slots=True)
class OpenAI:
    """Models from GPT-5.6 on."""

    write: float = 1.25
    kept: dict[str, float] = field(default_factory=dict)

    def bill(self, body: Mapping[str, Any], now: float) -> Bill:
        """Return what a request is billed, and keep its prefixes up to its breakpoints."""
        row = _row(_openai_pieces(body))
        sums = _sums(row)
        options = body.get("prompt_cache_options") or {}
        marks = [at for at, block in enumerate(row) if block.keep is not None]
        if options.get("mode") != "explicit":
            marks = sorted({*marks[-3:], len(row) - 1})
        marks = [at for at in marks[-MOST_MARKS:] if sums[at] >= 1024]  # noqa: PLR2004 - the rule's
        found = [at for at, block in enumerate(row) if self.kept.get(block.upto, NEVER) >= now] if marks else []
        read_to = max((at for at in found if at <= marks[-1]), default=-1)
        read = sums[read_to] if read_to >= 0 else 0
        written = max(0, sums[marks[-1]] - read) if marks else 0
        for at in {*marks, *([read_to] if read_to >= 0 else [])}:
            self.kept[row[at].upto] = now + 1800
        return Bill(read, {self.write: written} if written else {}, sums[-1] - read - written)


def _anthropic_pieces(body: Mapping[str, Any]) -> Iterator[tuple[Any, float | None]]:
    for tool in body.get("tools") or ():
        yield _plain(tool), _mark_of(tool)
    system = body.get("system")
    for block in [{"type": "text", "text": system}] if isinstance(system, str) else system or ():
        yield _plain(block), _mark_of(block)
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield [message["role"], _plain(block)], _mark_of(block)


def _openai_pieces(body: Mapping[str, Any]) -> Iterator[tuple[Any, float | None]]:
    for tool in body.get("tools") or ():
        yield tool, None
    if body.get("instructions"):
        yield body["instructions"], None
    for message in body.get("messages") or body.get("input") or ():
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        rest = {key: value for key, value in message.items() if key != "content"}
        for block in blocks:
            plain = {key: value for key, value in block.items() if key != "prompt_cache_breakpoint"}
            yield [rest, plain], 1800.0 if "prompt_cache_breakpoint" in block else None


def _sums(row: Sequence[Block]) -> list[int]:
    sums: list[int] = []
    for block in row:
        sums.append((sums[-1] if sums else 0) + block.tokens)
    return sums


def _plain(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "cache_control"}


def _mark_of(block: Mapping[str, Any]) -> float | None:
    return _seconds(block["cache_control"]) if block.get("cache_control") else None


def _seconds(mark: Mapping[str, Any]) -> float:
    return 3600.0 if mark.get("ttl") == "1h" else 300.0
