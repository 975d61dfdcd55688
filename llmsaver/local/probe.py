"""What a server of the user's can do, found out by asking it once: a dozen requests of a token or a few each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.local.probe_http import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ABILITIES", "Abilities", "Refused", "probe"]

ABILITIES = {
    "chat": "chat completions",
    "stream": "streamed answers",
    "responses": "responses",
    "messages": "messages",
    "usage": "token usage",
    "stream_usage": "token usage in streams",
    "cached_tokens": "cached tokens in usage",
    "logprobs": "log probabilities",
    "json_schema": "answers held to a JSON schema",
    "tools": "tools",
    "forced_tools": "a named tool is called",
}
_ONE = {"max_tokens": 1}
_FEW = 96  # enough for {"ok": true} and a tool's name, with tokens of a character each
_SAY = "Say hello."
_SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
_TOOL = {"name": "report_ok", "description": "Report whether all is well.", "parameters": _SCHEMA}
_CHAT, _RESPONSES, _MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
_UNAUTHORIZED = frozenset({401, 403})
_UNDECIDED = frozenset({408, 409, 425, 429, *range(502, 600)})  # says something of the moment, not of the server


class Refused(Exception):  # noqa: N818 - reads as what it says
    """The server wants a key, or another one; ``answer`` is what it said."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words())
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server can do: True, False, or None where the probe could not tell.

    ``server`` names its program and version, ``context`` is its limit in tokens where it says so, ``models`` are the
    first it lists, and ``notes`` say in its own words why something is not so.
    """

    server: str
    model: str
    models: tuple[str, ...] = ()
    context: int | None = None
    chat: bool | None = None
    stream: bool | None = None
    responses: bool | None = None
    messages: bool | None = None
    usage: bool | None = None
    stream_usage: bool | None = None
    cached_tokens: bool | None = None
    logprobs: bool | None = None
    json_schema: bool | None = None
    tools: bool | None = None
    forced_tools: bool | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def certain(self) -> bool:
        """Return whether every question was answered."""
        return all(getattr(self, name) is not None for name in ABILITIES)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "models": list(self.models), "notes": dict(self.notes)}

    def lines(self) -> list[str]:
        """Return a line for each ability, for people."""
        words = {True: "yes", False: "no", None: "unknown"}
        shown = [f"server: {self.server or 'unknown'}", f"model: {self.model}"]
        if self.context is not None:
            shown.append(f"context: {self.context} tokens")
        for name, what in ABILITIES.items():
            note = f" ({self.notes[name]})" if name in self.notes else ""
            shown.append(f"{what}: {words[getattr(self, name)]}{note}")
        return shown

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Abilities:
        """Return what ``as_dict`` gave. Raises TypeError, ValueError or KeyError for anything else."""
        names = {"server", "model", "models", "context", "notes", *ABILITIES}
        if set(found) != names or not all(found[name] in (True, False, None) for name in ABILITIES):
            raise ValueError("these are no abilities")
        return cls(**{**found, "models": tuple(found["models"]), "notes": dict(found["notes"])})


class _Probe:
    """One round of questions; ``found`` and ``notes`` fill up."""

    def __init__(self, root: str, key: str | None, model: str, timeout: float) -> None:
        self._root, self._key, self._model, self._timeout = root, key, model, timeout
        self.found: dict[str, bool | None] = {}
        self.notes: dict[str, str] = {}

    def send(self, path: str, body: Mapping[str, Any]) -> Answer | None:
        """Send one request; None where it broke off or took too long. Raises Refused."""
        headers = {"anthropic-version": "2023-06-01"} if path == _MESSAGES else {}
        whole = {"model": self._model, **body}
        try:
            answer = ask(self._root, path, key=self._key, body=whole, timeout=self._timeout, headers=headers)
        except OSError:
            return None
        if answer.status in _UNAUTHORIZED:
            raise Refused(answer)
        return answer

    def settle(self, name: str, answer: Answer | None, judge: Callable[[Answer], bool | None], fix: str = "") -> bool:
        """Note what an answer says about one ability; return whether it was an answer at all."""
        if answer is None or answer.status in _UNDECIDED:
            self.found[name] = None
            self.notes[name] = "it did not answer" if answer is None else f"status {answer.status}: {answer.words()}"
            return False
        if not answer.ok:
            self.found[name] = False
            self.notes[name] = f"status {answer.status}: {answer.words()}"
            return False
        self.found[name] = judge(answer)
        if self.found[name] is False and fix:
            self.notes[name] = fix
        return True

    def chat(self, **more: Any) -> Answer | None:
        """Send one short chat request."""
        return self.send(_CHAT, {"messages": [{"role": "user", "content": _SAY}], **_ONE, **more})

    def run(self) -> None:
        """Ask everything; what needs chat is not asked where there is none."""
        self.settle("chat", answer := self.chat(), lambda found: bool(_choice(found)))
        if self.found["chat"]:
            self._usage(answer)
            self._chat_features()
        else:
            self.found |= dict.fromkeys(set(ABILITIES) - {"chat", "responses", "messages"}, self.found["chat"])
        # 16 is the least that responses may be asked for.
        body = {"input": _SAY, "max_output_tokens": 16, "store": False}
        self.settle("responses", self.send(_RESPONSES, body), lambda found: "output" in found.json())
        body = {"messages": [{"role": "user", "content": _SAY}], **_ONE}
        self.settle("messages", self.send(_MESSAGES, body), lambda found: found.json().get("type") == "message")

    def _usage(self, answer: Answer | None) -> None:
        usage = answer.json().get("usage") if answer is not None else None
        usage = usage if isinstance(usage, dict) else {}
        self.found["usage"] = isinstance(usage.get("prompt_tokens"), int)
        details = usage.get("prompt_tokens_details")
        self.found["cached_tokens"] = isinstance(details, dict) and "cached_tokens" in details
        if not self.found["cached_tokens"]:
            self.notes["cached_tokens"] = "a vLLM needs --enable-prompt-tokens-details"

    def _chat_features(self) -> None:
        streamed = self.chat(stream=True, stream_options={"include_usage": True})
        self.settle("stream", streamed, lambda found: bool(_events(found)))
        if self.found["stream"] is False:  # it may stream, and only not know the option
            self.settle("stream", self.chat(stream=True), lambda found: bool(_events(found)))
        self.settle("stream_usage", streamed, lambda found: any(event.get("usage") for event in _events(found)))
        self.settle("logprobs", self.chat(logprobs=True, top_logprobs=1), _has_logprobs, "it leaves them out")
        schema = {"type": "json_schema", "json_schema": {"name": "ok", "strict": True, "schema": _SCHEMA}}
        fix = "it takes the schema and does not keep to it"
        self.settle("json_schema", self.chat(response_format=schema, max_tokens=_FEW), _keeps_schema, fix)
        tools = [{"type": "function", "function": _TOOL}]
        self.settle("tools", self.chat(tools=tools, tool_choice="auto"), lambda _: True)
        named = {"type": "function", "function": {"name": _TOOL["name"]}}
        answer = self.chat(tools=tools, tool_choice=named, max_tokens=_FEW)
        self.settle("forced_tools", answer, _calls_tool, "it takes the choice and does not keep to it")


def probe(
    root: str,
    model: str,
    *,
    key: str | None = None,
    server: str = "",
    models: tuple[str, ...] = (),
    context: int | None = None,
    timeout: float = 60.0,
) -> Abilities:
    """Ask a server what it can do; ``timeout`` in seconds for each of a dozen requests, the first of which may load it.

    Raises Refused where it wants a key; whatever else goes wrong is part of the result.
    """
    asked = _Probe(root, key, model, timeout)
    asked.run()
    return Abilities(server, model, models, context, **asked.found, notes=asked.notes)


def _choice(answer: Answer) -> dict[str, Any]:
    choices = answer.json().get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _message(answer: Answer) -> dict[str, Any]:
    message = _choice(answer).get("message")
    return message if isinstance(message, dict) else {}


def _events(answer: Answer) -> list[dict[str, Any]]:
    """Return the JSON objects of a stream's events."""
    found = []
    for line in answer.text.splitlines():
        name, _, value = line.partition(":")
        if name == "data" and value.strip().startswith("{"):
            try:
                event = json.loads(value)
            except ValueError:
                continue
            found.append(event)
    return found


def _has_logprobs(answer: Answer) -> bool:
    logprobs = _choice(answer).get("logprobs")
    return isinstance(logprobs, dict) and bool(logprobs.get("content"))


def _keeps_schema(answer: Answer) -> bool | None:
    """Tell from the beginning: nobody says hello with a brace; None where no visible text came at all."""
    message = _message(answer)
    text = str(message.get("content") or "").lstrip()
    return text.startswith("{") if text else None


def _calls_tool(answer: Answer) -> bool:
    calls = _message(answer).get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    return isinstance(first, dict) and first.get("function", {}).get("name") == _TOOL["name"]
