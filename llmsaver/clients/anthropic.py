"""``llmsaver.Anthropic`` and its kin: the anthropic SDK's own client classes, with the stack beneath."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import anthropic

from llmsaver.clients.drop_in import construct, copied, drop_in

if TYPE_CHECKING:
    from llmsaver.saver import Saver

__all__ = ["Anthropic", "AsyncAnthropic"]


@drop_in
class Anthropic(anthropic.Anthropic):
    """``anthropic.Anthropic`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy


@drop_in
class AsyncAnthropic(anthropic.AsyncAnthropic):
    """``anthropic.AsyncAnthropic`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy
