"""A chat answer's chunks with its tool calls made real: from bound text, or the server's own, checked either way."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.local.tools_split import Splitter
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.local.tools import Plan

__all__ = ["Calls"]


class Calls:
    """Takes the chunks of one chat stream and returns those to hand on.

    Raises ``LocalModelError`` before the chunk that ends a choice whose calls do not keep to their tools.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._choices: dict[int, _Choice] = {}

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what becomes of one chunk."""
        choices = as_list(chunk.get("choices"))
        if not choices:
            yield dict(chunk)
            return
        for given in choices:
            index = given.get("index", 0)
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice(self._plan)
            for changed in choice.take(given):
                yield {**chunk, "choices": [changed]}


class _Choice:
    """One choice: its text on its way into calls, and the arguments of each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._splitter = Splitter(plan.form, plan.name, plan.checks) if plan.form is not None else None
        self._calls: dict[int, tuple[str, list[str]]] = {}

    def take(self, choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choices that one becomes: what it says, then each piece of a call, then its end."""
        delta = dict(as_dict(choice.get("delta")))
        reason = choice.get("finish_reason")
        pieces = []
        if self._splitter is not None:
            text = delta.pop("content", None)
            if "role" in delta:
                delta["content"] = None
            pieces = self._splitter.feed(text) if text else []
            if reason is not None:
                pieces += self._splitter.finish()
        for call in as_list(delta.get("tool_calls")):
            self._server_call(call)
        if any(value is not None for value in delta.values()) or choice.get("logprobs"):
            yield {**choice, "delta": delta, "finish_reason": None}
        for piece in pieces:
            told = self._told(piece.kind, piece.text)
            if told:
                yield {"index": choice.get("index", 0), "delta": told, "finish_reason": None}
        if reason is not None:
            self._check(cut=reason == "length")
            yield {
                "index": choice.get("index", 0),
                "delta": {},
                "finish_reason": "tool_calls" if self._calls else reason,
            }

    def _told(self, kind: str, text: str) -> dict[str, Any] | None:
        """Return a piece of text as a delta."""
        if kind == "text":
            return {"content": text}
        index = len(self._calls) - 1
        if kind == "call":
            index += 1
            self._calls[index] = (text, [])
            function = {"name": text, "arguments": ""}
            call = {"index": index, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
            return {"tool_calls": [call]}
        if kind == "end":
            return None
        self._calls[index][1].append(text)
        return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def _server_call(self, given: Mapping[str, Any]) -> None:
        """Note a piece of a call that the server made itself."""
        function = as_dict(given.get("function"))
        index = given.get("index", 0)
        call = self._calls.setdefault(index, (str(function.get("name")), []))
        call[1].append(str(function.get("arguments") or ""))

    def _check(self, *, cut: bool) -> None:
        """Raise where a call is not whole, not known or not what its schema allows; ``cut``: a limit ended the text."""
        try:
            wrong = self._wrong()
        except LocalModelError as error:
            wrong = str(error)
        if wrong is not None and cut:
            wrong = (
                "the local model's tool call was cut off by the limit of output tokens (or its context is full): "
                "allow more tokens, or bound the tool's parameters (maxLength, maxItems, no free-form objects)"
            )
        if wrong is not None:
            raise LocalModelError(wrong)

    def _wrong(self) -> str | None:
        """Return what is wrong with the calls, in words, or raise it."""
        if self._splitter is not None and self._splitter.broken():
            return "the local model's tool call is not whole, or there is text around it; try again"
        if self._plan.forced and not self._calls:
            return "the local model wrote no tool call, which it was asked for; try again"
        for name, parts in self._calls.values():
            if name not in self._plan.checks:
                return f"the local model called a tool {name!r} that it was not given"
            self._plan.checks[name]("".join(parts))
        return None
