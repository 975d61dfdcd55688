"""A turn: one request and the answer to it, settled, before any dialect writes it down."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmsaver.testing.answer import Answer, ToolCall
from llmsaver.testing.schema import example
from llmsaver.testing.text import JSON, count, dumps, identifier, pieces

_LIMITS = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
_TOKENS_PER_MESSAGE = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """The settled answer to one request.

    `texts` has one entry per choice, `finish` is in the words of `Answer.finish`. `visible_tokens` are the output
    tokens that a stream carries: all but the reasoning that OpenAI hides.
    """

    dialect: str
    number: int
    request: JSON
    answer: Answer
    texts: tuple[str, ...]
    tool_calls: tuple[ToolCall, ...]
    reasoning: str
    finish: str
    input_tokens: int
    reasoning_tokens: int
    visible_tokens: int
    output_tokens: int
    batch: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def model(self) -> str:
        """The model that answers: the one asked for, unless the answer says otherwise."""
        return str(self.answer.extra.get("model", self.request.get("model", "azure-deployment")))

    def id(self, prefix: str, *seed: object, length: int = 24) -> str:
        """Make an id that belongs to this turn."""
        return identifier(prefix, self.number, *seed, length=length)

    def wants_logprobs(self, *, asked: bool) -> bool:
        """Decide whether log probabilities are sent, given whether the request asked for them."""
        chosen = self.answer.logprobs
        return chosen if isinstance(chosen, bool) else asked

    def logprob(self, position: int) -> float:
        """Give the log probability of the token at a position of its choice."""
        given = self.answer.logprobs if isinstance(self.answer.logprobs, tuple) else ()
        return given[position] if position < len(given) else -0.01 * (1 + position % 7)

    def report(self, automatic: JSON) -> JSON | None:
        """Choose the usage object to report: the scripted one, none, or the one counted."""
        scripted = self.answer.usage
        if scripted == "missing":
            return None
        return automatic if scripted == "auto" else dict(scripted)


def arguments(call: ToolCall) -> str:
    """Write a call's arguments as the model would stream them."""
    return call.arguments if isinstance(call.arguments, str) else dumps(dict(call.arguments)).decode()


def tool_tokens(call: ToolCall) -> int:
    """Count the tokens of a tool call: its name and its arguments."""
    return count(call.name) + count(arguments(call))


def settle(dialect: str, number: int, request: JSON, answer: Answer, *, batch: bool = False) -> Turn:
    """Fill in what the answer leaves open and apply the request's token limit, as the model behind the API would."""
    answer = _default(dialect, request, answer)
    choices = request.get("n") or 1 if dialect == "chat" else 1
    given = answer.text if isinstance(answer.text, tuple) else (answer.text or "",)
    texts = tuple(given[index % len(given)] for index in range(choices))
    calls = tuple(
        call if call.id else replace(call, id=_call_id(dialect, number, index))
        for index, call in enumerate(answer.tool_calls)
    )
    finish = answer.finish or ("refusal" if answer.refusal is not None else "tool_calls" if calls else "stop")
    reasoning = answer.reasoning
    limit = next((request[name] for name in _LIMITS[dialect] if isinstance(request.get(name), int)), None)
    if limit is not None and answer.finish is None:
        thoughts = pieces(reasoning)[:limit]
        short = tuple("".join(pieces(text)[: limit - len(thoughts)]) for text in texts)
        left = limit - len(thoughts) - count(max(short, key=len))
        kept = calls if sum(map(tool_tokens, calls)) <= left else ()
        if (len(thoughts), short, kept) != (count(reasoning), texts, calls):
            reasoning, texts, calls, finish = "".join(thoughts), short, kept, "length"
    thought = count(reasoning)
    # What the messages dialect says about a refusal is not the model's output.
    refused = 0 if dialect == "messages" else count(answer.refusal or "")
    said = sum(map(count, texts)) + len(texts) * (refused + sum(map(tool_tokens, calls)))
    return Turn(
        dialect,
        number,
        request,
        answer,
        texts,
        calls,
        reasoning,
        finish,
        input_tokens=input_tokens(request),
        reasoning_tokens=thought,
        visible_tokens=said + (thought if dialect == "messages" else 0),
        output_tokens=said + thought,
        batch=batch,
    )


def input_tokens(request: JSON) -> int:
    """Count what the model reads."""
    said = sum(count(text) for text in request_texts(request))
    return said + _TOKENS_PER_MESSAGE * (1 + len(_messages(request)))


def _call_id(dialect: str, number: int, index: int) -> str:
    return identifier("toolu_01" if dialect == "messages" else "call_", number, "call", index)


def _default(dialect: str, request: JSON, answer: Answer) -> Answer:
    if answer.text is not None or answer.tool_calls or answer.refusal is not None:
        return answer
    tool = _forced_tool(request)
    if tool is not None:
        return replace(answer, tool_calls=(tool,))
    schema = _asked_schema(dialect, request)
    text = "Echo: " + last_user_text(request) if schema is None else json.dumps(example(schema))
    return replace(answer, text=text)


def _asked_schema(dialect: str, request: JSON) -> Mapping[str, Any] | None:
    name = {"chat": "response_format", "responses": "text", "messages": "output_config"}[dialect]
    form = request.get(name) or {}
    form = form if dialect == "chat" else form.get("format") or {}
    if form.get("type") == "json_object":
        return {}
    if form.get("type") != "json_schema":
        return None
    schema: Mapping[str, Any] = form["json_schema"]["schema"] if dialect == "chat" else form["schema"]
    return schema


def _forced_tool(request: JSON) -> ToolCall | None:
    choice, tools = request.get("tool_choice"), request.get("tools") or []
    name = None
    if isinstance(choice, dict):
        name = choice.get("name") or (choice.get("function") or {}).get("name")
        forced = name is not None or choice.get("type") == "any"
    else:
        forced = choice == "required"
    for tool in tools if forced else []:
        inner = tool.get("function", tool)
        if name in (None, inner.get("name")):
            return ToolCall(
                inner["name"], example(inner.get("parameters") or inner.get("input_schema") or {"type": "object"})
            )
    return None


def _messages(request: JSON) -> list[Any]:
    found = request.get("messages", request.get("input"))
    return found if isinstance(found, list) else [{"role": "user", "content": found}]


def last_user_text(request: JSON) -> str:
    """Find what the user said last, in any dialect."""
    said = [message for message in _messages(request) if isinstance(message, dict) and message.get("role") == "user"]
    return " ".join(_strings(said[-1].get("content"))) if said else ""


def request_texts(request: JSON) -> Iterator[str]:
    """List all the text a request makes the model read: messages, instructions, system text and tools."""
    for name in ("system", "instructions"):
        yield from _strings(request.get(name))
    for message in _messages(request):
        yield from _strings(message.get("content") if isinstance(message, dict) and "content" in message else message)
    if request.get("tools"):
        yield json.dumps(request["tools"])


def _strings(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _strings(part)
    elif isinstance(content, dict):
        for key in ("text", "content", "output", "arguments", "input", "thinking"):
            value = content.get(key)
            yield from [json.dumps(value)] if key == "input" and isinstance(value, dict) else _strings(value)
