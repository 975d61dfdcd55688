"""Generators inside a block: each step runs in it, and while one is suspended its caller's code does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.core.options import current_options, rebased

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    Block = AbstractContextManager[Any]

__all__ = ["async_stepping", "stepping"]


class _Own:
    """The blocks that a generator is in beside its caller's, laid over whatever its caller is in at each step."""

    def __init__(self) -> None:
        self._caller = self._inside = current_options.get()

    def __enter__(self) -> None:
        caller = current_options.get()
        if caller is not self._caller:
            self._inside, self._caller = rebased(self._inside, self._caller, caller), caller
        current_options.set(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = current_options.get()
        current_options.set(self._caller)


def stepping(fn: Callable[..., Any], again: Callable[[], Block]) -> Callable[..., Generator[Any, Any, Any]]:
    """Return the generator function ``fn`` with what it makes inside a block; what is sent, thrown and returned passes.

    ``again`` gives the block to enter for one generator.
    """

    def made(*args: Any, **arguments: Any) -> Generator[Any, Any, Any]:
        inner, own, block = fn(*args, **arguments), _Own(), again()
        with own:
            block.__enter__()
        given: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                try:
                    with own:
                        value = inner.send(given) if thrown is None else inner.throw(thrown)
                except StopIteration as stop:
                    return stop.value
                given = thrown = None
                try:
                    given = yield value
                except BaseException as error:  # noqa: BLE001 - GeneratorExit too: closing is for the inner one to see
                    thrown = error
        finally:
            thrown = None  # its traceback holds this frame
            with own:
                block.__exit__(None, None, None)

    return made


def async_stepping(fn: Callable[..., Any], again: Callable[[], Block]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return the async generator function ``fn`` with what it makes inside a block; see ``stepping``."""

    async def made(*args: Any, **arguments: Any) -> AsyncGenerator[Any, Any]:
        inner, own, block = fn(*args, **arguments), _Own(), again()
        with own:
            block.__enter__()
        given: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                try:
                    with own:
                        value = await (inner.asend(given) if thrown is None else inner.athrow(thrown))
                except StopAsyncIteration:
                    return
                given = thrown = None
                try:
                    given = yield value
                except BaseException as error:  # noqa: BLE001 - GeneratorExit too: closing is for the inner one to see
                    thrown = error
        finally:
            thrown = None  # its traceback holds this frame
            with own:
                block.__exit__(None, None, None)

    return made
