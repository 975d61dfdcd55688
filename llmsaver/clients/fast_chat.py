"""Long chats past the SDK's request transform, which costs more per message than everything we add per call.

The transform exists for typed parameters (files, dates, aliases). Messages made of plain dicts, lists and scalars come
out of it as they went in, so they travel in ``extra_body``, which is merged after it: the bytes sent are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from llmsaver.clients.fast_create import passed_on
from llmsaver.clients.plain import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fast_chat", "past_transform"]

Kind = TypeVar("Kind", bound=type)


def past_transform(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a chat call with plain messages moved to ``extra_body``; others unchanged."""
    messages = arguments.get("messages")
    extra = arguments.get("extra_body")
    if type(messages) is not list or not messages or not is_plain(messages):
        return arguments
    if extra is None:
        extra = {}
    elif not isinstance(extra, Mapping) or "messages" in extra:
        return arguments
    return {**arguments, "messages": [], "extra_body": {"messages": messages, **extra}}


def fast_chat(kind: Kind) -> Kind:
    """Give an OpenAI client class the one resource override we allow ourselves: chat.completions."""
    from openai.resources.chat import AsyncChat, Chat
    from openai.resources.chat.completions import AsyncCompletions, Completions

    asynchronous = any(base.__name__.startswith("Async") for base in kind.__mro__)
    completions = _completions(AsyncCompletions if asynchronous else Completions)
    chat = _chat(AsyncChat if asynchronous else Chat, completions)
    attribute = functools.cached_property(chat)
    attribute.__set_name__(kind, "chat")
    kind.chat = attribute  # type: ignore[attr-defined]  # overrides the SDK's property of that name
    return kind


@functools.cache
def _completions(base: type) -> type:
    def override(name: str) -> Callable[..., Any]:
        theirs = getattr(base, name)

        # wraps() keeps the signature; an async method returns its coroutine through a plain function just as well.
        @functools.wraps(theirs)
        def method(self: Any, /, *args: Any, **arguments: Any) -> Any:
            current = getattr(base, name)
            if current is not theirs:
                # Replaced since by somebody's instrumentation: what it records must be what the user wrote.
                return current(self, *args, **arguments)
            whole = passed_on(self, base, arguments) if name == "create" and not args else None
            return theirs(self, *args, **(whole or past_transform(arguments)))

        return method

    methods = {name: override(name) for name in ("create", "parse", "stream")}
    return type(base.__name__, (base,), {"__module__": base.__module__, "__doc__": base.__doc__, **methods})


@functools.cache
def _chat(base: type, completions: type) -> type:
    def make(self: Any) -> Any:
        return completions(self._client)

    attribute = functools.cached_property(make)
    body = {"__module__": base.__module__, "__doc__": base.__doc__, "completions": attribute}
    return type(base.__name__, (base,), body)
