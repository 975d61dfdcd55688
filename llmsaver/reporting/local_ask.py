"""One model that rows of prompts are put to, through the client and its whole stack, as an application would."""

from __future__ import annotations

import http
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.core.scope import feature
from llmsaver.errors import ConfigurationError
from llmsaver.local.catalogue import similar
from llmsaver.reporting.local_list import declared
from llmsaver.reporting.local_prompts import as_chat, as_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.clients.facade import Client
    from llmsaver.reporting.local_prompts import Prompt

__all__ = ["FEATURE", "Asked", "Said", "resolved"]

FEATURE = "check"
_LOCAL = "local/"
_FILES = ("/", "~", ".")
_MESSAGES_MODELS = ("claude", "anthropic.")
# What the comparison asks for beside the row's own; models that know one of them not are asked without.
_SEED = 0
_CHAT: Mapping[str, Any] = {"temperature": 0, "seed": _SEED, "logprobs": True}
_MESSAGES: Mapping[str, Any] = {"temperature": 0}
# Another row would fare no better.
_HOPELESS = frozenset({http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND})


def resolved(name: str) -> str:
    """Return a model's name as calls use it: a local tier's or a file's with ``local/`` before it, others as given."""
    bare = name.removeprefix(_LOCAL)
    if bare.startswith(_FILES):
        return f"{_LOCAL}{Path(bare).expanduser().absolute()}"
    tiers = declared()
    return _LOCAL + bare if bare != name or bare in tiers or bare.partition(":")[0] in tiers else name


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: its text, or its tool calls as JSON; the mean log-probability of its tokens, None where not told.

    ``seconds`` until it was whole; ``cost_nano`` as it was booked, None where the price is unknown; ``cut``: it ran
    into the limit of tokens.
    """

    text: str
    logprob: float | None
    seconds: float
    cost_nano: int | None
    cut: bool = False


class Asked:
    """A model that is asked row by row, with temperature 0 and a seed; its calls are booked as feature "check".

    ``without``: which of the comparison's own wishes it does not know.
    """

    def __init__(self, client: Client, model: str, max_tokens: int) -> None:
        self.model = resolved(model)
        self.without: set[str] = set()
        self._client = client
        self._max_tokens = max_tokens
        self._local = self.model.startswith(_LOCAL)

    def ready(self) -> None:
        """Start its server where it is local. Raises LocalModelError or MissingExtra, with the fix."""
        if self._local:
            self._client.saver.local.endpoint(self.model.removeprefix(_LOCAL))

    def ask(self, prompt: Prompt) -> Said:
        """Return its answer to one row.

        Raises what the SDK raises for it, ValueError for a row of a dialect that is not the model's, and
        ConfigurationError where no row could be answered: a wrong key, a model that is not there.
        """
        while True:
            try:
                return self._once(prompt)
            except Exception as error:
                status, words = getattr(error, "status_code", None), str(error)
                unknown = {name for name in (*_CHAT, *_MESSAGES) if name in words} - self.without
                if status == http.HTTPStatus.BAD_REQUEST and unknown:
                    self.without |= unknown
                    continue
                if status in _HOPELESS:
                    known = "" if self._local else similar(self.model, declared())
                    raise ConfigurationError(f"{self.model} cannot be asked: {words}{known}") from None
                raise

    def _once(self, prompt: Prompt) -> Said:
        messages = self._speaks_messages(prompt)
        began = time.monotonic()
        with feature(FEATURE):
            text, logprob, cut = self._messages(prompt) if messages else self._chat(prompt)
        seconds, entry = time.monotonic() - began, self._client.saver.last
        cost = None if entry is None or entry.unpriced else entry.cost_nano
        return Said(text, logprob, seconds, cost, cut)

    def _speaks_messages(self, prompt: Prompt) -> bool:
        """Tell which dialect to ask in; raises ValueError for a row that its model's cannot say."""
        theirs = self.model.startswith(_MESSAGES_MODELS)
        if not self._local and prompt.dialect == ("chat" if theirs else "messages"):
            raise ValueError(f"line {prompt.line} is written in the other dialect than {self.model}'s")
        return theirs or prompt.dialect == "messages"

    def _wishes(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in ours.items() if name not in self.without}

    def _chat(self, prompt: Prompt) -> tuple[str, float | None, bool]:
        body = as_chat(prompt, self._max_tokens, "max_tokens" if self._local else "max_completion_tokens")
        wishes = self._wishes(_CHAT)
        if body.get("tools"):
            wishes.pop("logprobs", None)  # the arguments of a call come without, or not at all
        answer: Any = self._client.chat.completions.create(
            model=self.model, messages=body.pop("messages"), extra_body={**body, **wishes}
        )
        choice = answer.choices[0]
        calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
        tokens = [token.logprob for token in getattr(choice.logprobs, "content", None) or ()]
        mean = sum(tokens) / len(tokens) if tokens else None
        return _calls(calls) or choice.message.content or "", mean, choice.finish_reason == "length"

    def _messages(self, prompt: Prompt) -> tuple[str, float | None, bool]:
        body = as_messages(prompt, self._max_tokens)
        answer: Any = self._client.messages.create(
            model=self.model,
            messages=body.pop("messages"),
            max_tokens=body.pop("max_tokens"),
            extra_body={**body, **self._wishes(_MESSAGES)},
        )
        calls = [(part.name, json.dumps(part.input)) for part in answer.content if part.type == "tool_use"]
        text = "".join(part.text for part in answer.content if part.type == "text")
        return _calls(calls) or text, None, answer.stop_reason == "max_tokens"


def _calls(calls: list[tuple[str, str]]) -> str:
    """Return tool calls as one JSON list, the arguments as the values they are; nothing for none."""
    told = []
    for name, arguments in calls:
        try:
            told.append({"name": name, "arguments": json.loads(arguments)})
        except ValueError:
            told.append({"name": name, "arguments": arguments})
    return json.dumps(told, ensure_ascii=False) if told else ""
