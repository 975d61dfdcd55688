"""Per-call options: from a ``with`` block, from request headers or from ``extra_body``, in rising precedence."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from llmsaver.core.caching import NOTHING_SAID, Caching, caching
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver.core import scope
    from llmsaver.core.rule import Rule

__all__ = ["HEADER_PREFIX", "Change", "Options", "current_options", "enter", "leave", "options", "rebased"]

HEADER_PREFIX = "x-llmsaver-"
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may say about one call.

    ``feature``, ``user``, ``tenant``, ``task``, ``conversation``: names the application chooses; ``tags``: a mapping of
    strings; ``annotate``: whether the answer carries its ``llmsaver`` key; ``bypass``: send this call past every layer;
    ``cache``: how it may be answered from a cache and kept in one (see ``core.caching.caching``).

    The rest follows from the blocks around a call and cannot be named. ``path``: its features from the outermost, the
    last being ``feature``; ``rules``: the budgets around it, outermost first, each once; ``work``: the open ``task``
    whose id ``task`` is; ``outer``: the block that made these options, and those before it.
    """

    feature: str | None = None
    user: str | None = None
    tenant: str | None = None
    task: str | None = None
    conversation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    annotate: bool | None = None
    bypass: bool = False
    cache: Caching = NOTHING_SAID
    path: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    work: scope.task | None = None
    outer: tuple[Change, Options] | None = field(default=None, repr=False, compare=False)

    def merged(self, given: Mapping[str, Any], source: str) -> Options:
        """Return these options overridden by ``given``; ``source`` names the place in the error for a bad one.

        A feature goes inside those there are; the one that is innermost already is not entered again (recursion).
        """
        if not given:
            return self
        changes = {name: _checked(name, value, source) for name, value in given.items()}
        if "tags" in changes:
            changes["tags"] = {**self.tags, **changes["tags"]}
        if "feature" in changes and self.path[-1:] != (changes["feature"],):
            changes["path"] = (*self.path, changes["feature"])
        if "task" in changes and self.work is not None and self.work.id != changes["task"]:
            changes["work"] = None
        return replace(self, **changes)

    def with_headers(self, headers: Mapping[str, str]) -> Options:
        """Return these options overridden by ``X-LLMSaver-*`` headers (names in any case, tags as ``k=v,k2=v2``)."""
        given: dict[str, Any] = {}
        for name, value in headers.items():
            option = name.lower().removeprefix(HEADER_PREFIX).replace("-", "_")
            given[option] = _tags_of(value) if option == "tags" else value
        return self.merged(given, "X-LLMSaver-* header")


_OURS = frozenset({"path", "rules", "work", "outer"})
_NAMES = tuple(f.name for f in fields(Options) if f.name not in _OURS)


def _checked(name: str, value: Any, source: str) -> Any:
    """Return ``value`` as option ``name`` wants it, or say what would be right."""
    if name not in _NAMES:
        raise ConfigurationError(f"unknown option {name!r} in {source}; known options: {', '.join(_NAMES)}")
    if name in {"annotate", "bypass"}:
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise ConfigurationError(f"option {name!r} in {source} must be true or false, not {value!r}")
        return text in _TRUE
    if name == "cache":
        return caching(value, source)
    if name == "tags":
        if not isinstance(value, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in value.items()
        ):
            raise ConfigurationError(f"option 'tags' in {source} must map strings to strings, not {value!r}")
        return value
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"option {name!r} in {source} must be a non-empty string, not {value!r}")
    return value


def _tags_of(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals and key.strip():
            tags[key.strip()] = value.strip()
        elif part.strip():
            raise ConfigurationError(f"option 'tags' in X-LLMSaver-* header must be written k=v,k2=v2, not {text!r}")
    return tags


current_options: ContextVar[Options] = ContextVar("llmsaver_options", default=Options())  # noqa: B039 - frozen


class Change(Protocol):
    """What a block does to the options of the calls inside it."""

    def over(self, options: Options, /) -> Options:
        """Return the options inside, given those outside."""


def enter(change: Change) -> Options:
    """Begin a block: apply ``change`` in this thread or task."""
    inside = _laid(change, current_options.get())
    current_options.set(inside)
    return inside


def leave(change: Change) -> None:
    """End the innermost block of ``change``, and with it whatever was left open inside.

    What to go back to is in the options themselves. A token of the variable would not do: a generator may be closed in
    another task or thread than it began in, where there is nothing to take back, and a token is refused.
    """
    inside = current_options.get()
    while inside.outer is not None:
        by, before = inside.outer
        if by is change:
            current_options.set(before)
            return
        inside = before


def rebased(inside: Options, old: Options, new: Options) -> Options:
    """Return ``inside`` with the blocks between it and ``old`` laid over ``new`` instead."""
    changes: list[Change] = []
    while inside is not old and inside.outer is not None:
        change, inside = inside.outer
        changes.append(change)
    for change in reversed(changes):
        new = _laid(change, new)
    return new


def _laid(change: Change, before: Options) -> Options:
    return replace(change.over(before), outer=(change, before))


class _Given:
    """The options that a block of ``options()`` names."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def over(self, options: Options, /) -> Options:
        return options.merged(self._given, "llmsaver.options()")


@contextmanager
def options(**given: Any) -> Iterator[Options]:
    """Apply options to every call made inside the block, in this thread or task.

    Takes the fields of ``Options`` by name and yields the merged value; an unknown one is a ``ConfigurationError``.
    """
    change = _Given(given)
    inside = enter(change)
    try:
        yield inside
    finally:
        leave(change)
