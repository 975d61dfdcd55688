"""``llmsaver.OpenAI`` and its kin: the openai SDK's own client classes, with the stack beneath."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import openai

from llmsaver.clients.drop_in import construct, copied, drop_in
from llmsaver.clients.fast_chat import fast_chat
from llmsaver.clients.fast_create import fast_responses

if TYPE_CHECKING:
    from llmsaver.saver import Saver

__all__ = ["AsyncAzureOpenAI", "AsyncOpenAI", "AzureOpenAI", "OpenAI"]


@fast_chat
@fast_responses
@drop_in
class OpenAI(openai.OpenAI):
    """``openai.OpenAI`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy


@fast_chat
@fast_responses
@drop_in
class AsyncOpenAI(openai.AsyncOpenAI):
    """``openai.AsyncOpenAI`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy


@fast_chat
@drop_in
class AzureOpenAI(openai.AzureOpenAI):
    """``openai.AzureOpenAI`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy


@fast_chat
@drop_in
class AsyncAzureOpenAI(openai.AsyncAzureOpenAI):
    """``openai.AsyncAzureOpenAI`` whose calls go through a Saver; takes ``saver=`` and ``annotate=`` as well."""

    saver: Saver

    def __init__(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> None:
        construct(self, saver, annotate, arguments)

    def copy(self, *, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Self:
        """Return a client like this one with some options changed: the SDK's own, ``saver`` and ``annotate``."""
        same: Self = copied(self, saver, annotate, arguments)
        return same

    with_options = copy
