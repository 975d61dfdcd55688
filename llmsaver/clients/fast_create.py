"""Calls of plain values past the SDK's request transform, which costs more than everything we add to a call.

The transform exists for typed parameters (files, dates, models). Plain dicts, lists and scalars come out of it as they
went in, so they travel in ``extra_body``, which is merged after it. Which parameters a body is made of, and in which
order, is asked of the SDK itself, once: the bytes sent are the same.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import openai

from llmsaver.clients.plain import is_plain
from llmsaver.core.runtime import drive

__all__ = ["all_past_transform", "body_names", "fast_responses", "passed_on"]

log = logging.getLogger("llmsaver")

# What a call takes beside the parameters of its body.
_ABOUT_THE_CALL: Final = frozenset(("extra_headers", "extra_query", "extra_body", "timeout"))
_PLAIN_CLIENTS: Final = (openai.OpenAI, openai.AsyncOpenAI)
_SDK: Final = inspect.getfile(openai).removesuffix("__init__.py")

Kind = TypeVar("Kind", bound=type)


@functools.cache
def body_names(resource: type) -> tuple[str, ...]:
    """Return the parameters of an SDK resource's ``create`` that become its body, in the body's order.

    ``stream`` is none of them, for it decides more than the body. Empty where the SDK does not do as expected.
    """
    bodies: list[Any] = []
    create: Any = resource.create  # type: ignore[attr-defined]  # of those given here
    asynchronous = inspect.iscoroutinefunction(inspect.unwrap(create))

    def post(*_: Any, body: Any, **__: Any) -> None:
        bodies.append(body)

    async def async_post(*_: Any, body: Any, **__: Any) -> None:
        bodies.append(body)

    unused = dict.fromkeys(("get", "patch", "put", "delete", "get_api_list"), post)
    asked = resource(SimpleNamespace(**unused, post=async_post if asynchronous else post))
    names = [name for name in inspect.signature(create).parameters if name not in {"self", "stream", *_ABOUT_THE_CALL}]
    try:
        made = create(asked, **dict.fromkeys(names))
        if asynchronous:
            drive(made)
        found = tuple(bodies[0])
    except Exception:
        # Another version of the SDK, which then does all its work itself.
        log.debug("llmsaver: %s.create is left to its transform", resource.__name__, exc_info=True)
        return ()
    return found if set(found) <= set(names) else ()


def all_past_transform(names: tuple[str, ...], arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of a ``create`` with its whole body in ``extra_body``; None where any of it is not plain."""
    extra = arguments.get("extra_body")
    if not (extra is None or isinstance(extra, Mapping)):
        return None
    given = {name: arguments[name] for name in names if name in arguments}
    about = {name: value for name, value in arguments.items() if name not in given}
    if not given or not about.keys() <= _ABOUT_THE_CALL or not is_plain(given):
        return None
    about["extra_body"] = given if extra is None else {**given, **extra}
    about.update(dict.fromkeys(given, openai.omit))  # present, for the SDK's check of what is required
    return about


def passed_on(resource: Any, base: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments for ``base.create`` on a resource of a client of ours; None where they must stay as written.

    Left alone are clients of a class that an application made, which may read the body in hooks of their own; Azure's,
    which find their deployment in it; and a method that is somebody's instrumentation and not the SDK's.
    """
    kind = type(resource._client)  # noqa: SLF001 - the SDK's attribute
    if kind.__base__ not in _PLAIN_CLIENTS or not kind.__module__.startswith("llmsaver."):
        return None
    code = getattr(base.create, "__code__", None)
    if code is None or not code.co_filename.startswith(_SDK):
        return None
    return all_past_transform(body_names(base), arguments)


def fast_responses(kind: Kind) -> Kind:
    """Give an OpenAI client class a ``responses`` whose ``create`` passes plain values on."""
    asynchronous = any(base.__name__.startswith("Async") for base in kind.__mro__)

    def make(self: Any) -> Any:
        from openai.resources.responses import AsyncResponses, Responses

        return _responses(AsyncResponses if asynchronous else Responses)(self)

    attribute = functools.cached_property(make)
    attribute.__set_name__(kind, "responses")
    kind.responses = attribute  # type: ignore[attr-defined]  # overrides the SDK's property of that name
    return kind


@functools.cache
def _responses(base: Any) -> type:
    # wraps() keeps the signature; an async method returns its coroutine through a plain function just as well.
    @functools.wraps(base.create)
    def create(self: Any, /, *args: Any, **arguments: Any) -> Any:
        whole = None if args else passed_on(self, base, arguments)
        return base.create(self, *args, **(whole or arguments))

    return type(base.__name__, (base,), {"__module__": base.__module__, "__doc__": base.__doc__, "create": create})
