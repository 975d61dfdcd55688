"""What is wrong with an answer on the face of it: few faults, and nearly always right about them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from llmsaver.errors import in_words
from llmsaver.router.language import mismatch
from llmsaver.router.loops import loop
from llmsaver.router.refusals import refusal
from llmsaver.router.schemas import schema, tool_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from llmsaver.router.views import Answer, Asked

__all__ = ["VALIDATORS", "Objection", "Validator", "empty", "named", "objection", "truncation"]

Validator: TypeAlias = "Callable[[Asked, Answer], str | None]"

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
# A caller who allows so few tokens wants the first ones, whatever would follow.
_LABEL = 16


@dataclass(frozen=True, slots=True)
class Objection:
    """Which validator rejects an answer, and why, in words that follow "the answer was rejected:"."""

    validator: str
    why: str


def empty(_: Asked, answer: Answer) -> str | None:
    """Reject an answer that says nothing and calls nothing, or only thinks."""
    if answer.calls:
        return None
    if not answer.text.strip():
        return "it is empty"
    return None if _THOUGHT.sub("", answer.text).strip() else "it holds thoughts and no answer"


def truncation(asked: Asked, answer: Answer) -> str | None:
    """Reject an answer that was cut off, unless the caller left room for a label only."""
    if answer.finish != "length" or (asked.max_output is not None and asked.max_output <= _LABEL):
        return None
    return "it was cut off at its limit of tokens"


VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "empty": empty,
        "refusal": refusal,
        "truncation": truncation,
        "schema": schema,
        "tools": tool_arguments,
        "language": mismatch,
        "loop": loop,
    }
)


def objection(asked: Asked, answer: Answer, validators: Mapping[str, Validator] = VALIDATORS) -> Objection | None:
    """Return what the first of the validators that objects has to say; None where none does.

    One that fails, or returns what is no sentence, objects too: a judge that cannot judge must not let an answer pass.
    """
    for name, validator in validators.items():
        try:
            why: Any = validator(asked, answer)
        except Exception as error:  # noqa: BLE001 - whatever a user's own validator raises, the call goes on
            return Objection(name, f"its validator raised {in_words(error)}")
        if why is not None:
            said = isinstance(why, str) and why
            return Objection(
                name, why if said else f"its validator returned {type(why).__name__}, not a sentence or None"
            )
    return None


def named(validators: Iterable[Validator]) -> dict[str, Validator]:
    """Return the built-in validators and then ``validators``, each under its function's name, numbered where taken."""
    chosen = dict(VALIDATORS)
    for validator in validators:
        name = plain = getattr(validator, "__name__", type(validator).__name__)
        number = 2
        while name in chosen:
            name, number = f"{plain} {number}", number + 1
        chosen[name] = validator
    return chosen
