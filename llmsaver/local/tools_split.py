"""Tool calls out of a model's text while it arrives: the arguments leave character by character as they came."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container

__all__ = ["Form", "Piece", "Splitter"]

# bare: the text is one tool's arguments; single: {"name": ..., "arguments": {...}}; several: a list of those; tagged:
# free text in which <tool_call>...</tool_call> may stand, or that is a call of a known tool from its first sign on.
Form = Literal["bare", "single", "several", "tagged"]

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')
_SPACE = " \t\r\n"
# Told to use tags, a model may still fence the call like code (Qwen2.5-Coder does), or write nothing around it.
_FENCE = re.compile(r"\s*(?:```(?:json)?\s*)?")
_LONGEST_HEAD = 200


class Piece(NamedTuple):
    """What a stretch of text turned out to be: ``text``, a ``call`` (its name), its ``arguments``, or its ``end``."""

    kind: Literal["text", "call", "arguments", "end"]
    text: str = ""


class Splitter:
    """Cuts a text that arrives in any pieces; the arguments of all pieces together are exactly the model's own.

    ``name`` is the tool of the form "bare", ``known`` the tools of the form "tagged". ``broken`` tells at the end
    whether something was not in its form.
    """

    def __init__(self, form: Form, name: str = "", known: Container[str] = ()) -> None:
        self._form = form
        self._held = ""
        self._name = name
        self._known = known
        self._begun = False
        self._value = _Value()
        self._close = _CLOSE
        self._after_call = False
        self._state = {"bare": "arguments", "tagged": "start"}.get(form, "head")

    def feed(self, text: str) -> list[Piece]:
        """Take more text and return what it makes certain."""
        self._held += text
        pieces: list[Piece] = []
        if self._form == "bare" and not self._begun:
            self._begun = True
            pieces.append(Piece("call", self._name))
        while self._step(pieces):
            pass
        return pieces

    def finish(self) -> list[Piece]:
        """Return what was held at the end of the text: only free text can have been."""
        if self._state not in {"start", "text"} or not self._held:
            return []
        held, self._held = self._held, ""
        return [Piece("text", held)]

    def broken(self) -> bool:
        """Tell whether the text ended within a call, or holds something that is none."""
        rest = self._held.strip(_SPACE)
        if self._state == "tail":
            return self._form != "tagged" or rest != "}"  # models leave the closing tag out
        if self._state in {"start", "text"}:
            return False
        if self._state == "head" and self._form == "several":
            rest = rest.strip(_SPACE + ",[]")
        return self._state == "arguments" or bool(rest) or (self._state == "head" and self._form != "several")

    def _step(self, pieces: list[Piece]) -> bool:
        """Go on by one part of the form; return whether there may be more."""
        step: Callable[[list[Piece]], bool] | None = getattr(self, f"_{self._state}", None)
        return step is not None and step(pieces)

    def _start(self, pieces: list[Piece]) -> bool:
        """Look whether the whole text is a call; text that cannot become one any more goes on."""
        fence = _FENCE.match(self._held)
        at = fence.end() if fence is not None else 0
        found = _HEAD.match(self._held, at)
        if found is not None and _name(found) in self._known:
            self._held, self._close = self._held[at:], "```" if "`" in self._held[:at] else ""
            return self._head(pieces)
        may_become_one = self._held[at : at + 1] in {"", "{"} or "```json".startswith(self._held.strip(_SPACE))
        if found is None and may_become_one and len(self._held) < _LONGEST_HEAD:
            return False
        self._state = "text"
        return True

    def _text(self, pieces: list[Piece]) -> bool:
        if self._after_call:  # what separates a call from what follows may come in a piece of its own
            self._held = self._held.lstrip(_SPACE)
            self._after_call = not self._held
        before, tag, after = self._held.partition(_OPEN)
        if not tag:
            keep = next((size for size in range(len(_OPEN) - 1, 0, -1) if before.endswith(_OPEN[:size])), 0)
            before, after = before[: len(before) - keep], before[len(before) - keep :]
        if before:
            pieces.append(Piece("text", before))
        self._held = after
        if tag:
            self._state, self._close = "head", _CLOSE
        return bool(tag)

    def _head(self, pieces: list[Piece]) -> bool:
        # Only the signs between calls may be skipped, and only where there can be several.
        text = self._held.lstrip(_SPACE + "[," if self._form == "several" else _SPACE)
        found = _HEAD.match(text)
        if found is None:
            return False
        pieces.append(Piece("call", _name(found)))
        self._held = text[found.end() :]
        self._state = "arguments"
        self._value = _Value()
        return True

    def _arguments(self, pieces: list[Piece]) -> bool:
        text = self._held.lstrip(_SPACE) if not self._value.begun else self._held
        if not text:
            return False
        size = self._value.take(text)
        if size:
            pieces.append(Piece("arguments", text[:size]))
        self._held = text[size:]
        if not self._value.ended:
            return False
        pieces.append(Piece("end"))
        self._state = "done" if self._form == "bare" else "tail"
        return self._state == "tail"

    def _tail(self, pieces: list[Piece]) -> bool:  # noqa: ARG002 - the shape of every step
        text = self._held.lstrip(_SPACE)
        if not text.startswith("}"):
            return False
        if self._form == "tagged":
            rest = text[1:].lstrip(_SPACE)
            if not rest.startswith(self._close):
                return False
            self._held, self._state, self._after_call = rest[len(self._close) :], "text", True
            return True
        self._held = text[1:]
        self._state = "head" if self._form == "several" else "done"
        return self._form == "several"


def _name(head: re.Match[str]) -> str:
    try:
        return str(json.loads(head.group(1)))
    except ValueError:  # a bad escape: no tool is called that
        return head.group(1)


class _Value:
    """Finds the end of one JSON object in text that arrives in pieces."""

    __slots__ = ("_depth", "_escaped", "_quoted", "begun", "ended")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = self._escaped = self.begun = self.ended = False

    def take(self, text: str) -> int:
        """Return how much of ``text`` belongs to the value."""
        for at, sign in enumerate(text):
            self.begun = True
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = sign == "\\"
                self._quoted = sign != '"'
            elif sign == '"':
                self._quoted = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.ended = True
                    return at + 1
        return len(text)
