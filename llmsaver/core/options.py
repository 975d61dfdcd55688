"""Per-call options: from a ``with`` block, from request headers or from ``extra_body``, in rising precedence."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HEADER_PREFIX", "Options", "current_options", "options"]

HEADER_PREFIX = "x-llmsaver-"
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may say about one call.

    ``feature``, ``user``, ``tenant``, ``task``, ``conversation``: names the application chooses; ``tags``: a mapping of
    strings; ``annotate``: whether the answer carries its ``llmsaver`` key; ``bypass``: send this call past every layer.
    """

    feature: str | None = None
    user: str | None = None
    tenant: str | None = None
    task: str | None = None
    conversation: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    annotate: bool | None = None
    bypass: bool = False

    def merged(self, given: Mapping[str, Any], source: str) -> Options:
        """Return these options overridden by ``given``; ``source`` names the place in the error for a bad one."""
        if not given:
            return self
        changes = {name: _checked(name, value, source) for name, value in given.items()}
        if "tags" in changes:
            changes["tags"] = {**self.tags, **changes["tags"]}
        return replace(self, **changes)

    def with_headers(self, headers: Mapping[str, str]) -> Options:
        """Return these options overridden by ``X-LLMSaver-*`` headers (names in any case, tags as ``k=v,k2=v2``)."""
        given: dict[str, Any] = {}
        for name, value in headers.items():
            option = name.lower().removeprefix(HEADER_PREFIX).replace("-", "_")
            given[option] = _tags_of(value) if option == "tags" else value
        return self.merged(given, "X-LLMSaver-* header")


_NAMES = tuple(f.name for f in fields(Options))


def _checked(name: str, value: Any, source: str) -> Any:
    """Return ``value`` as option ``name`` wants it, or say what would be right."""
    if name not in _NAMES:
        raise ConfigurationError(f"unknown option {name!r} in {source}; known options: {', '.join(_NAMES)}")
    if name in {"annotate", "bypass"}:
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise ConfigurationError(f"option {name!r} in {source} must be true or false, not {value!r}")
        return text in _TRUE
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


@contextmanager
def options(**given: Any) -> Iterator[Options]:
    """Apply options to every call made inside the block, in this thread or task.

    Takes the fields of ``Options`` by name and yields the merged value; an unknown one is a ``ConfigurationError``.
    """
    merged = current_options.get().merged(given, "llmsaver.options()")
    token = current_options.set(merged)
    try:
        yield merged
    finally:
        current_options.reset(token)
