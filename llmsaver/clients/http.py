"""The seam: an httpx2 (or httpx) client whose ``send()`` hands the request to the stack."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from inspect import ismemberdescriptor
from typing import TYPE_CHECKING, Any

from llmsaver.clients.local_hop import LocalHop
from llmsaver.clients.native import module_of
from llmsaver.clients.seam import Seam
from llmsaver.core.runtime import drive

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from llmsaver.saver import Saver

__all__ = ["derive", "seam_of"]


class _SeamClient:  # its two attributes are slots of the derived class, outside the state it shares
    """What is added to a client's own class: a ``send`` that goes through the stack.

    The derived object shares the state of the client it came from (``inner``), so both are one open or closed client,
    and everything else, overrides of the user's included, is inherited.
    """

    __slots__ = ()
    _llmsaver_seam: Seam
    _llmsaver_inner: Any

    def __init_subclass__(cls) -> None:
        """Keep hooks of the client's own class out: this is no class of the application's."""

    def __del__(self) -> None:
        """Leave the connections alone: they are the inner client's, whose own finaliser closes them."""


class _SyncSeamClient(_SeamClient):
    __slots__ = ()

    def send(self, request: Any, *, stream: bool = False, **arguments: Any) -> Any:
        """Send through the stack; the inner client's own ``send`` is at its bottom."""
        return drive(self._llmsaver_seam.exchange(self._llmsaver_send, request, stream=stream, arguments=arguments))

    async def _llmsaver_send(self, request: Any, *, stream: bool, **arguments: Any) -> Any:
        return super().send(request, stream=stream, **arguments)  # type: ignore[misc]  # the client's, by inheritance


class _AsyncSeamClient(_SeamClient):
    __slots__ = ()

    async def send(self, request: Any, *, stream: bool = False, **arguments: Any) -> Any:
        """Send through the stack; the inner client's own ``send`` is at its bottom."""
        return await self._llmsaver_seam.exchange(
            super().send,  # type: ignore[misc]  # the client's, by inheritance
            request,
            stream=stream,
            arguments=arguments,
        )


@lru_cache(maxsize=256)
def _derived_class(kind: Any, *, asynchronous: bool) -> type:
    mixin = _AsyncSeamClient if asynchronous else _SyncSeamClient
    return type(
        kind.__name__,
        (mixin, kind),
        {
            "__slots__": ("_llmsaver_inner", "_llmsaver_seam"),
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "__doc__": kind.__doc__,
        },
    )


@lru_cache(maxsize=256)
def _slots_of(kind: Any) -> tuple[Any, ...]:
    """Return the descriptors of what a client's class keeps outside ``__dict__``."""
    return tuple(member for base in kind.__mro__ for member in vars(base).values() if ismemberdescriptor(member))


def seam_of(client: Any) -> Seam | None:
    """Return the seam a client already has, or None."""
    return client._llmsaver_seam if isinstance(client, _SeamClient) else None  # noqa: SLF001 - our own attribute


def derive(
    client: Any,
    saver: Saver,
    *,
    annotate: bool = False,
    missing_key: str | None = None,
    other_vendor: Callable[[str, str], str | None] | None = None,
) -> Any:
    """Return a client like ``client`` whose requests go through ``saver``'s stack; ``client`` itself is not changed.

    Takes an ``httpx2`` or ``httpx`` ``Client`` or ``AsyncClient`` or a subclass; one that was derived before is derived
    anew from what it came from. Raises ``TypeError`` for anything else.
    """
    inner = client._llmsaver_inner if isinstance(client, _SeamClient) else client  # noqa: SLF001 - our own attribute
    kind: Any = type(inner)
    module = module_of(kind)
    asynchronous = isinstance(inner, module.AsyncClient)
    derived: Any = object.__new__(_derived_class(kind, asynchronous=asynchronous))
    derived.__dict__ = inner.__dict__
    seam = Seam(
        saver=saver,
        module=module,
        hop=LocalHop(saver, module),
        asynchronous=asynchronous,
        annotate=annotate,
        missing_key=missing_key,
        other_vendor=other_vendor,
    )
    for member in _slots_of(kind):
        with suppress(AttributeError):  # one that was never set
            member.__set__(derived, member.__get__(inner))
    for name, value in (("_llmsaver_inner", inner), ("_llmsaver_seam", seam)):
        object.__setattr__(derived, name, value)  # past a __setattr__ of the client's own
    return derived


def default_module() -> ModuleType:
    """Return the HTTP module of the installed openai SDK: httpx2 from openai 3 on, httpx before."""
    import openai

    return module_of(openai.DefaultHttpxClient)
