"""The prompts of a file, as the rows of a comparison: JSON lines, CSV or plain text."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Prompt", "as_chat", "as_messages", "prompts_of"]

_COLUMN = "prompt"
_CSV = {".csv": ",", ".tsv": "\t"}
_WHOLE = ".json"
_JSON = frozenset({_WHOLE, ".jsonl", ".ndjson"})
# Where a row is no whole request ("model" is in none but those), its other keys are a data set's own.
_KNOWN = frozenset(
    {
        "system", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format",
        "max_tokens", "max_completion_tokens", "stop", "stop_sequences",
    }
)  # fmt: skip
# What the comparison decides by itself, and what only the one who made the request had a use for.
_OURS = frozenset(
    {"model", "stream", "stream_options", "n", "temperature", "seed", "logprobs", "top_logprobs", "top_p"}
)
_THEIRS = frozenset({"user", "store", "metadata", "service_tier", "llmsaver"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row: the line where it begins, a request's body without a model, and whose dialect it is written in.

    "any": of messages and texts alone, so that both dialects can say it.
    """

    line: int
    body: Mapping[str, Any]
    dialect: Literal["any", "chat", "messages"] = "any"

    @property
    def shown(self) -> str:
        """The last thing that is said in it."""
        return _text(self.body["messages"][-1].get("content"))


def prompts_of(path: str | Path, limit: int | None = None) -> list[Prompt]:
    """Return the prompts of a file, the first ``limit`` of them.

    JSON lines (or the elements of a list in a .json file) hold a text each, or an object with ``prompt`` (and
    ``system``), with ``messages``, or a whole request's body of the chat or messages dialect, also as lines of a batch
    job; CSV has a column ``prompt`` (and ``system``); anything else is a prompt per line. Raises ``ConfigurationError``
    with the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--data {path} cannot be read: {error}") from None
    suffix = path.suffix.lower()
    rows = _csv(path, text, _CSV[suffix]) if suffix in _CSV else _json(path, text) if suffix in _JSON else _lines(text)
    found: list[Prompt] = []
    for line, row in rows:
        if limit is not None and len(found) >= limit:
            break
        found.append(_prompt(row, line, f"{path} line {line}"))
    if not found:
        raise ConfigurationError(f"--data {path} holds no prompt")
    return found


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _csv(path: Path, text: str, separator: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=separator)
    names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
    if _COLUMN not in names:
        raise ConfigurationError(f"--data {path} needs a column {_COLUMN!r}; it has {', '.join(names) or 'none'}")
    line = 2
    for row in reader:
        yield line, {key: row[name] for key, name in names.items() if key in {_COLUMN, "system"} and row[name]}
        line = reader.line_num + 1


def _json(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    whole = path.suffix.lower() == _WHOLE and text.lstrip().startswith("[")
    for number, line in [(1, text)] if whole else _lines(text):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{path} line {number} is no JSON: {error}") from None
        yield from enumerate(found, start=1) if whole else [(number, found)]


def _prompt(row: Any, line: int, where: str) -> Prompt:
    if isinstance(row, str):
        row = {_COLUMN: row}
    elif isinstance(row, list):
        row = {"messages": row}
    if isinstance(row, dict) and isinstance(row.get("body"), dict):
        row = row["body"]
    if isinstance(row, dict) and isinstance(row.get(_COLUMN), str):
        row = {"messages": [{"role": "user", "content": row[_COLUMN]}]} | (
            {"system": row["system"]} if row.get("system") else {}
        )
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise ConfigurationError(f"{where} has neither a prompt nor messages: a text, or an object with one of them")
    dropped = _OURS | _THEIRS
    body = {key: value for key, value in row.items() if (key not in dropped if "model" in row else key in _KNOWN)}
    return Prompt(line, body, _dialect(body))


def _dialect(body: Mapping[str, Any]) -> Literal["any", "chat", "messages"]:
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict)]
    if any("input_schema" in tool for tool in tools) or "thinking" in body:
        return "messages"
    shared = {"system", "messages", "max_tokens", "stop", "stop_sequences", "max_completion_tokens"}
    return "any" if body.keys() <= shared and all(map(_plain, body["messages"])) else "chat"


def _plain(message: Mapping[str, Any]) -> bool:
    """Tell whether a message is of text and a role that both dialects have."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return message.keys() <= {"role", "content"} and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in parts
    )


def as_chat(prompt: Prompt, max_tokens: int, limit_name: str) -> dict[str, Any]:
    """Return a row as a chat body without a model; ``limit_name`` is what the model calls its limit of tokens."""
    body = dict(prompt.body)
    system = body.pop("system", None)
    if system:
        body["messages"] = [{"role": "system", "content": _text(system)}, *body["messages"]]
    if "stop_sequences" in body:
        body["stop"] = body.pop("stop_sequences")
    given = [body.pop(name, None) for name in ("max_completion_tokens", "max_tokens")]
    return {**body, limit_name: next((limit for limit in given if limit is not None), max_tokens)}


def as_messages(prompt: Prompt, max_tokens: int) -> dict[str, Any]:
    """Return a row as a body of the messages dialect without a model."""
    body = dict(prompt.body)
    said = [_text(body.get("system"))] if body.get("system") else []
    said += [_text(turn.get("content")) for turn in body["messages"] if turn.get("role") in {"system", "developer"}]
    body["messages"] = [turn for turn in body["messages"] if turn.get("role") not in {"system", "developer"}]
    if said and prompt.dialect == "any":
        body["system"] = "\n\n".join(said)
    if "stop" in body:
        stop = body.pop("stop")
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    limit = body.pop("max_completion_tokens", None)
    return {"max_tokens": limit or max_tokens, **body}


def _text(content: Any) -> str:
    """Return the text of a message's content, a string or a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
