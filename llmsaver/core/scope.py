"""What a block of an application's code is called, and what it may spend: feature, task, budget.

Each is a ``with`` block (or ``async with``) and a decorator. It follows into asyncio tasks by itself and into a thread
by one line: ``pool.submit(contextvars.copy_context().run, answer, question)``. A ``with`` block around a ``yield`` also
covers what the generator's caller does meanwhile, as all context variables do; decorate the generator instead.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
import weakref
from dataclasses import replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from llmsaver.core.options import Options, current_options, enter, leave
from llmsaver.core.rule import joined, rule
from llmsaver.core.steps import async_stepping, stepping
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Unpack

    from llmsaver.core.entry import Entry
    from llmsaver.core.rule import Terms

__all__ = ["Scope", "booked_by", "budget", "feature", "task"]

Function = TypeVar("Function", bound="Callable[..., Any]")
log = logging.getLogger("llmsaver")


class Scope:
    """A ``with`` block, or a decorator of functions, coroutines, generators and methods, that changes the options.

    It may be entered again while it is open, by this thread or another. A generator runs each of its steps inside and
    its caller's code outside, however long it is suspended.
    """

    def over(self, options: Options, /) -> Options:
        """Return the options inside, given those outside."""
        raise NotImplementedError

    def again(self) -> Self:
        """Return what one call of a decorated function enters."""
        return self

    def __enter__(self) -> Self:
        enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leave(self)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, fn: Function) -> Function:
        """Return ``fn`` with every call of it inside this scope."""
        made: Any
        if isinstance(fn, (staticmethod, classmethod)):
            return type(fn)(self(fn.__func__))
        if isinstance(fn, type) or not callable(fn):
            raise ConfigurationError(f"{type(self).__name__}() decorates functions and methods, not {fn!r}")
        if inspect.isasyncgenfunction(fn):
            made = async_stepping(fn, self.again)
        elif inspect.isgeneratorfunction(fn):
            made = stepping(fn, self.again)
        elif inspect.iscoroutinefunction(fn):

            async def made(*args: Any, **arguments: Any) -> Any:
                with self.again():
                    return await fn(*args, **arguments)
        else:

            def made(*args: Any, **arguments: Any) -> Any:
                block = self.again()
                with block:
                    result = fn(*args, **arguments)
                return _later(block, result)

        wrapped: Any = functools.wraps(fn)(made)
        return wrapped  # type: ignore[no-any-return]  # it takes and returns what fn does


def _later(block: Scope, result: Any) -> Any:
    """Return what a plain function returned, inside the scope where its work is yet to be done."""
    if isinstance(result, CoroutineType):

        async def awaited() -> Any:
            with block:
                return await result

        return awaited()
    if isinstance(result, GeneratorType):
        return stepping(lambda: result, lambda: block)()
    if isinstance(result, AsyncGeneratorType):
        return async_stepping(lambda: result, lambda: block)()
    return result


# Who books tasks in which no call was made, the latest last.
_homes: list[weakref.WeakMethod[Callable[[task], object]]] = []


def booked_by(fn: Callable[[task], object]) -> None:
    """Have a method, as long as its object lives, be told of tasks in which no call was made."""
    _homes[:] = [*(home for home in _homes if home() is not None), weakref.WeakMethod(fn)]


class feature(Scope):  # noqa: N801 - read as a word: with feature("search")
    """Book the calls of a block under a feature, and optionally a user, a tenant, a conversation and tags.

    Features nest: a call is booked under the innermost, and its path is kept. None stands for what is around the block.
    Raises ``ConfigurationError`` at once for anything but non-empty strings.
    """

    def __init__(
        self,
        name: str,
        *,
        user: str | None = None,
        tenant: str | None = None,
        conversation: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        given = {"user": user, "tenant": tenant, "conversation": conversation, "tags": tags}
        self._given = {"feature": name, **{key: value for key, value in given.items() if value is not None}}
        self.over(Options())
        if tags is not None:
            self._given["tags"] = dict(tags)  # the caller's own may change later

    def over(self, options: Options, /) -> Options:
        """Return the options inside, given those outside."""
        return options.merged(self._given, "llmsaver.feature()")


class budget(Scope):  # noqa: N801 - read as a word: @budget("support-bot", usd=5, per="day")
    """Tag a function or block as a feature and cap what its calls may cost.

    The arguments are those of ``llmsaver.core.rule.rule``, and so are the errors. Nested budgets are all charged; one
    that is entered again inside itself is charged once a call.
    """

    def __init__(self, name: str, **terms: Unpack[Terms]) -> None:
        self.rule = rule(name, **terms)

    def over(self, options: Options, /) -> Options:
        """Return the options inside, given those outside."""
        inside = options.merged({"feature": self.rule.name}, "llmsaver.budget()")
        return replace(inside, rules=joined(options.rules, self.rule))


class task(Scope):  # noqa: N801 - read as a word: with task("ticket-17") as t
    """Book the calls of a block under one unit of work; ``resolve()`` says whether it succeeded.

    The report divides cost by resolved tasks. ``resolved`` is None until the application says, in the block or after
    it; an exception that leaves the block says nothing. ``started_at`` and ``ended_at`` are when the block was first
    entered and last left, in seconds since the epoch. As a decorator, every call is a task of its own with this id.
    ``feature``, ``user`` and ``tenant`` are those around the block, or else those of its first call. A task in which no
    call was made is booked by the latest Saver of the process.
    """

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.resolved: bool | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.feature: str | None = None
        self.user: str | None = None
        self.tenant: str | None = None
        self._told: dict[Callable[[task], object], None] = {}
        self.over(Options())

    def over(self, options: Options, /) -> Options:
        """Return the options inside, given those outside."""
        return replace(options.merged({"task": self.id}, "llmsaver.task()"), work=self)

    def again(self) -> Self:
        """Return another task with this id."""
        return type(self)(self.id)

    def resolve(self, ok: bool = True) -> None:
        """Say whether the work was done; may be said again."""
        self.resolved = bool(ok)
        self._tell()

    def tell(self, fn: Callable[[task], object]) -> None:
        """Have ``fn`` called with this task whenever it is resolved or its block ends; the same function once.

        It may be called from any thread, more than once with the same news, and should not wait.
        """
        self._told[fn] = None

    def __enter__(self) -> Self:
        if self.started_at is None:
            self.started_at = time.time()
        super().__enter__()
        self.of(current_options.get())
        return self

    def of(self, whose: Options | Entry) -> None:
        """Take what is not known yet of the task from the options around it, or from a call in it."""
        self.feature = self.feature or whose.feature
        self.user = self.user or whose.user
        self.tenant = self.tenant or whose.tenant

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.ended_at = time.time()
        if not self._told:
            home = next((fn for fn in (each() for each in reversed(_homes)) if fn is not None), None)
            if home is not None:
                self.tell(home)
        self._tell()

    def _tell(self) -> None:
        for fn in list(self._told):
            try:
                fn(self)
            except Exception as error:  # a saver never breaks the application's own block
                log.warning("llmsaver: what became of task %r was not noted", self.id, exc_info=error)
