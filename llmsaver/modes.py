"""Which layers a mode brings, and where they stand among those that a user names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING

from llmsaver.core.stack import layer_name
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from llmsaver.core.stack import Middleware

__all__ = ["Brought", "brought", "ordered"]

log = logging.getLogger("llmsaver")

_CASCADE = "cascade"
Brought = tuple[list["Middleware"], list["Middleware"]]


def brought(mode: str, stack: Sequence[Middleware | EllipsisType] | None) -> Brought:
    """Return the layers of a mode: those that answer instead of a model, and those that shape what goes to one.

    The semantic cache is one of them where its optional parts are installed and nobody names one.
    """
    if mode in {"off", "observe"}:
        return [], []
    from llmsaver.middleware.prompt_cache import PromptCache

    if mode == "safe":
        return [], [PromptCache()]
    from llmsaver.middleware.compress import Compress
    from llmsaver.middleware.exact_cache import ExactCache

    if mode == "balanced":
        return [ExactCache()], [Compress("lossless"), PromptCache()]
    from llmsaver.middleware.output_cap import OutputCap

    return [ExactCache(), *_semantic(stack)], [Compress("all"), PromptCache(), OutputCap()]


def _semantic(stack: Sequence[Middleware | EllipsisType] | None) -> list[Middleware]:
    from llmsaver.middleware.semantic_cache import SemanticCache

    if any(layer_name(layer) == SemanticCache.name for layer in stack or ()):
        return []
    try:
        return [SemanticCache()]
    except ConfigurationError as error:
        log.info("llmsaver: mode max goes on without the semantic cache: %s", error)
        return []


def ordered(
    stack: Sequence[Middleware | EllipsisType] | None, layers: Brought, spill: Sequence[Middleware]
) -> list[Middleware]:
    """Return the layers between the record and the budget, ``stack`` with ``...`` filled in.

    What answers instead of a model stands where ``...`` does, what shapes requests beneath all that is named; spilling
    is beneath a cascade, which chooses the tier. A named layer replaces its namesake. Raises ``ConfigurationError``.
    """
    if not isinstance(stack, Sequence | None):
        raise ConfigurationError(f"Saver(stack=) must be a list of layers; it is {stack!r}")
    given = [...] if stack is None else list(stack)
    named = _names(given)
    above, beneath = ([layer for layer in own if layer_name(layer) not in named] for own in layers)
    rest = [layer for layer in spill if layer_name(layer) not in named]
    if _CASCADE not in named:
        above, rest = [*above, *rest], []
    made: list[Middleware] = []
    shaping: list[Middleware] = []
    for layer in given:
        if isinstance(layer, EllipsisType):
            made += above
            shaping = beneath
        else:
            made.append(layer)
    return [*made, *rest, *shaping]


def _names(given: Sequence[Middleware | EllipsisType]) -> set[str]:
    """Return the names of the layers that a user gave; raises ``ConfigurationError`` for what is none."""
    if sum(layer is ... for layer in given) > 1:
        raise ConfigurationError("Saver(stack=) holds ... more than once; keep one")
    named: set[str] = set()
    for layer in given:
        if layer is ...:
            continue
        if isinstance(layer, type) or not callable(layer):
            raise ConfigurationError(
                f"Saver(stack=) holds {layer!r}, which is no layer: pass an async function or an object with "
                "async def __call__(self, request, call_next)"
            )
        named.add(layer_name(layer))
    return named
