"""Requests and answers as a judge sees them, whatever dialect they came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Answer", "Asked", "ToolCall"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool in an answer; ``arguments`` is the JSON text as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, less what no judge needs.

    ``text`` is the last user text, ``system`` all instructions, ``turns`` the user texts before the last, oldest first.
    ``tools``: the parameters' JSON schema by tool name; ``schema``: the JSON schema the answer must keep to, ``json``
    whether it must at least be JSON; ``needs``: which of a tier's skills the request needs; ``prompt_bytes``: the
    request's size, from which tokens are estimated; ``max_output``: the answer's limit in tokens as the request has it;
    ``in_tool_loop``: whether the last message carries a tool's result.
    """

    text: str
    system: str = ""
    turns: Sequence[str] = ()
    tools: Mapping[str, Any] = field(default_factory=dict)
    tool_choice: Any = None
    schema: Mapping[str, Any] | None = None
    json: bool = False
    needs: frozenset[str] = frozenset()
    prompt_bytes: int = 0
    max_output: int | None = None
    in_tool_loop: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text, the tool calls, why it ended, and the log-probabilities of its tokens where told.

    ``finish``: "stop", "length", "tools", "refusal" or "filter"; anything else a provider says is "stop".
    """

    text: str
    calls: Sequence[ToolCall] = ()
    finish: str = "stop"
    logprobs: Sequence[float] | None = None
