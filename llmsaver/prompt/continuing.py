"""An answer that ended for length: whether it can be gone on with, how to ask for the rest, and how the parts join."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from llmsaver.prompt.forms import structured, tooled
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Joint", "asked_on", "can_continue", "cut_text", "joined", "prefills", "summed"]

# So much of the text is repeated to the model as the place to go on from, and so far back a repetition is looked for.
_ANCHOR: Final = 60
_TAIL: Final = 400
# Fewer characters in common are chance.
_LEAST: Final = 8
_VERSION: Final = re.compile(r"claude-(?:(?:opus|sonnet|haiku)-)?(\d)(?:[-.](\d{1,2})(?!\d))?")
_THOUGHT: Final = frozenset({"thinking", "redacted_thinking"})
_LOGPROBS: Final = "message.output_text.logprobs"
_TURNS: Final = {"chat": "messages", "responses": "input", "messages": "messages"}


def can_continue(dialect: str, body: Mapping[str, Any]) -> str | None:
    """Return why an answer to this request is never gone on with; None where it may be."""
    turns = body.get(_TURNS.get(dialect, ""))
    reasons = (
        (not turns or not isinstance(turns, list | str), "there is no conversation to add a turn to"),
        (tooled(body), "the answer may be a tool call"),
        (structured(body), "the answer must be JSON"),
        (body.get("n") not in (None, 1), "there are several choices"),
        (body.get("logprobs") or _LOGPROBS in as_list(body.get("include")), "log-probabilities are asked for"),
        (body.get("conversation") is not None or body.get("background"), "the provider keeps the conversation"),
        ("audio" in as_list(body.get("modalities")), "the answer may be sound"),
    )
    return next((why for found, why in reasons if found), None)


def prefills(dialect: str, body: Mapping[str, Any]) -> bool:
    """Whether the model goes on with an assistant's turn that a request ends in.

    Claude up to 4.5 does, unless it thinks; later ones refuse such a request (Anthropic's migration guide to 4.6).
    """
    if dialect != "messages" or as_dict(body.get("thinking")).get("type") in {"enabled", "adaptive"}:
        return False
    found = _VERSION.search(str(body.get("model")))
    return found is not None and (int(found[1]), int(found[2] or 0)) < (4, 6)


def cut_text(dialect: str, message: Mapping[str, Any]) -> str | None:
    """Return the text of an answer that ended for length; None where it ended otherwise, or is not text to its end."""
    reader = {"chat": _chat_text, "responses": _responses_text, "messages": _messages_text}[dialect]
    return reader(message) or None


def _chat_text(message: Mapping[str, Any]) -> str | None:
    choices = as_list(message.get("choices"))
    choice = as_dict(choices[0]) if len(choices) == 1 else {}
    said = as_dict(choice.get("message"))
    other = any(said.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))
    text = said.get("content")
    return text if choice.get("finish_reason") == "length" and not other and isinstance(text, str) else None


def _responses_text(message: Mapping[str, Any]) -> str | None:
    if as_dict(message.get("incomplete_details")).get("reason") != "max_output_tokens":
        return None
    items = [as_dict(item) for item in as_list(message.get("output"))]
    said = [item for item in items if item.get("type") == "message"]
    if not said or items[-1] is not said[-1] or any(item.get("type") not in {"message", "reasoning"} for item in items):
        return None
    parts = [as_dict(part) for item in said for part in as_list(item.get("content"))]
    if not as_list(said[-1].get("content")) or any(not _is_plain(part) for part in parts):
        return None
    return "".join(part["text"] for part in parts)


def _is_plain(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "output_text" and isinstance(part.get("text"), str) and not part.get("annotations")


def _messages_text(message: Mapping[str, Any]) -> str | None:
    blocks = [as_dict(block) for block in as_list(message.get("content"))]
    said = [block for block in blocks if block.get("type") not in _THOUGHT]
    if message.get("stop_reason") != "max_tokens" or not said or blocks[-1] is not said[-1]:
        return None
    if any(
        not isinstance(each.get("text"), str) or each.get("type") != "text" or each.get("citations") for each in said
    ):
        return None
    return "".join(block["text"] for block in said)


def asked_on(dialect: str, body: Mapping[str, Any], text: str, *, prefilling: bool) -> dict[str, Any]:
    """Return a request for what follows ``text``, the answer so far: ending in it, or asking for the rest of it."""
    name = _TURNS[dialect]
    turns = body[name]
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else list(turns)
    # Anthropic refuses a last turn that ends in white space; what is stripped here the joint takes off the answer.
    said = text.rstrip() if prefilling else text
    last = as_dict(turns[-1])
    if dialect == "messages" and last.get("role") == "assistant":
        # The caller's own beginning: the answer so far went on from it.
        own = last.get("content")
        whole: Any = own + said if isinstance(own, str) else [*as_list(own), {"type": "text", "text": said}]
        turns[-1] = {**last, "content": whole}
    else:
        turns.append({"role": "assistant", "content": said})
    if not prefilling:
        turns.append({"role": "user", "content": _ask(text)})
    return {**body, name: turns}


def _ask(text: str) -> str:
    """Return the words that ask for the rest; the model is to repeat the last few, which shows where the parts join."""
    anchor = text[-_ANCHOR:]
    if len(text) > _ANCHOR and (space := re.search(r"\s+", anchor)) is not None and space.end() < len(anchor):
        anchor = anchor[space.end() :]
    return (
        "Your last message was cut off by a length limit. Write the rest of it. Begin by repeating its last words "
        f"exactly, which are between the tags, and go straight on from there: <last>{anchor}</last> "
        "No introduction, no comment, no tags."
    )


class Joint:
    """Joins a part that arrives in pieces to ``text``, leaving out what it repeats of it.

    ``prefilled``: the part continues the very text, less white space at its end. Text is held only while it may still
    be a repetition, 400 characters at most.
    """

    __slots__ = ("_done", "_held", "_prefilled", "_tail")

    def __init__(self, text: str, *, prefilled: bool) -> None:
        self._tail = text[-_TAIL:]
        self._prefilled = prefilled
        self._held = ""
        self._done = False

    def feed(self, piece: str) -> str:
        """Return what of the part may go out now."""
        if self._done:
            return piece
        self._held += piece
        head = self._held.lstrip()
        if not head or (not self._prefilled and len(head) < len(self._tail) and head in self._tail):
            return ""
        return self.flush()

    def flush(self) -> str:
        """Return what is held, at the end of the part at the latest."""
        if self._done:
            return ""
        self._done = True
        held, head = self._held, self._held.lstrip()
        if self._prefilled:
            return head if self._tail != self._tail.rstrip() else held
        least = min(_LEAST, len(self._tail))
        for size in range(min(len(head), len(self._tail)), least - 1, -1):
            if self._tail.endswith(head[:size]):
                return head[size:]
        return held if not held or _meets(self._tail[-1:], held[0]) else f" {held}"


def _meets(before: str, after: str) -> bool:
    """Whether two characters may stand side by side; words that were not repeated nearly always start anew."""
    if not (after.isascii() and after.isalnum()):
        return True
    return not (before.isascii() and (before.isalnum() or before in ".,;:!?)"))


def summed(one: Any, other: Any) -> Any:
    """Return two usage objects as one: numbers are added, lists joined, and of all else the first is kept."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**other, **{key: summed(value, other.get(key)) for key, value in one.items()}}
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, bool) or isinstance(other, bool):
        return one
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one + other
    return other if one is None else one


def joined(dialect: str, answers: Sequence[Mapping[str, Any]], added: str) -> dict[str, Any]:
    """Return the first of ``answers`` with ``added`` after its text, the last one's end, and the usage of all."""
    first, last = answers[0], answers[-1]
    usage: Any = None
    for answer in answers:
        usage = summed(usage, answer.get("usage"))
    whole = {**first, **({} if usage is None else {"usage": usage})}
    if dialect == "chat":
        choice = first["choices"][0]
        message = {**choice["message"], "content": choice["message"]["content"] + added}
        reason = as_dict(next(iter(as_list(last.get("choices"))), None)).get("finish_reason") or "length"
        whole["choices"] = [{**choice, "message": message, "finish_reason": reason}]
    elif dialect == "messages":
        *blocks, text = first["content"]
        whole["content"] = [*blocks, {**text, "text": text["text"] + added}]
        whole.update({key: last[key] for key in ("stop_reason", "stop_sequence", "stop_details") if key in last})
    else:
        whole.update({key: last[key] for key in ("status", "incomplete_details", "completed_at") if key in last})
        *items, said = first["output"]
        *parts, part = said["content"]
        said = {**said, "content": [*parts, {**part, "text": part["text"] + added}], "status": last.get("status")}
        whole["output"] = [*items, said]
    return whole
