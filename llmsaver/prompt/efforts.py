"""Which models know how much to think and how much to say, in which words, and where a request says so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EFFORTS", "VERBOSITIES", "efforts", "verbosities", "with_effort", "with_verbosity"]

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITIES: Final = ("low", "medium", "high")
_USUAL: Final = frozenset({"low", "medium", "high"})
# Of one level only, or of none: they would refuse the call.
_FIXED: Final = re.compile(r"-chat|-pro|deep-research|^o1-(?:mini|preview)|-codex-mini")
_GPT: Final = re.compile(r"^(?:ft:)?gpt-(\d+)(?:\.(\d+))?")
_CLAUDE: Final = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2})(?!\d))?(?!\d)")
_REASONS: Final = re.compile(r"^(?:ft:)?o[134](?:-|$)")


def efforts(dialect: str, model: str) -> frozenset[str]:
    """Return the efforts that a model takes in a dialect, by the vendors' model pages; none where that is not known."""
    if dialect == "messages":
        return _claude(model)
    if dialect not in {"chat", "responses"} or _FIXED.search(model):
        return frozenset()
    if _REASONS.search(model):
        return _USUAL
    return _gpt_efforts(_gpt(model), codex="codex" in model)


def _gpt_efforts(version: tuple[int, int], *, codex: bool) -> frozenset[str]:
    if version < (5, 0):
        return frozenset()
    if codex:
        return _USUAL
    if version == (5, 0):
        return _USUAL | {"minimal"}
    return _USUAL | {"none"} | ({"xhigh"} if version >= (5, 2) else set())


def _gpt(model: str) -> tuple[int, int]:
    found = _GPT.search(model)
    return (0, 0) if found is None else (int(found[1]), int(found[2] or 0))


def _claude(model: str) -> frozenset[str]:
    found = _CLAUDE.search(model)
    if found is None:
        return frozenset()
    family, version = found[1], (int(found[2]), int(found[3] or 0))
    if version < ((4, 5) if family == "opus" else (4, 6)):
        return frozenset()
    more = ({"max"} if version >= (4, 6) else set()) | ({"xhigh"} if version >= (4, 7) else set())
    return _USUAL | more


def verbosities(dialect: str, model: str) -> frozenset[str]:
    """Return the verbosities that a model takes: OpenAI's since GPT-5, but for those that have one only."""
    if dialect not in {"chat", "responses"} or _FIXED.search(model) or "codex" in model or _gpt(model) < (5, 0):
        return frozenset()
    return frozenset(VERBOSITIES)


def with_effort(dialect: str, body: Mapping[str, Any], effort: str) -> dict[str, Any] | None:
    """Return a request with this effort; None where the model does not take it or the caller chose one.

    A caller who gives Claude a budget of thinking tokens, or switches thinking off, chose.
    """
    if effort not in efforts(dialect, str(body.get("model") or "")):
        return None
    if dialect == "chat":
        return None if body.get("reasoning_effort") is not None else {**body, "reasoning_effort": effort}
    if dialect == "messages" and as_dict(body.get("thinking")).get("type") in {"enabled", "disabled"}:
        return None
    return _inside(body, "reasoning" if dialect == "responses" else "output_config", "effort", effort)


def with_verbosity(dialect: str, body: Mapping[str, Any], verbosity: str) -> dict[str, Any] | None:
    """Return a request with this verbosity; None where the model does not take it or the caller chose one."""
    if verbosity not in verbosities(dialect, str(body.get("model") or "")):
        return None
    if dialect == "chat":
        return None if body.get("verbosity") is not None else {**body, "verbosity": verbosity}
    return _inside(body, "text", "verbosity", verbosity)


def _inside(body: Mapping[str, Any], name: str, key: str, word: str) -> dict[str, Any] | None:
    given = body.get(name)
    if (given is not None and not isinstance(given, dict)) or as_dict(given).get(key) is not None:
        return None
    return {**body, name: {**as_dict(given), key: word}}
