"""Every error this library raises, as one tree.

::

    LLMSaverError
    |- ConfigurationError    a setting, argument or option that cannot work; raised at start-up where possible
    |  `- MissingExtra       a feature whose optional packages are not installed; names the install command
    |- MiddlewareError       a layer raised, suspended under a synchronous client, or returned no Response
    |- UpstreamError         the transport failed; carries the transport's own exception (never shown to an SDK's user)
    `- LocalModelError       a local model could not be found, started or reached

An error that surfaces through an SDK is also a subclass of that SDK's own base error (``openai.OpenAIError`` or
``anthropic.AnthropicError``), so an application's existing ``except`` clauses catch it and the SDK does not retry it.
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "LLMSaverError",
    "LocalModelError",
    "MiddlewareError",
    "MissingExtra",
    "UpstreamError",
]


class LLMSaverError(Exception):
    """Base of every error of this library; a middleware raises it (or a subclass) to stop a call on purpose."""


class ConfigurationError(LLMSaverError):
    """A setting, argument or option cannot work; the message names the key and the fix."""


class MissingExtra(ConfigurationError):  # noqa: N818 - reads as what it says
    """A feature needs optional packages.

    ``extra`` is the name in ``pip install 'llmsaver[extra]'``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'llmsaver[{extra}]'")
        self.extra = extra


class MiddlewareError(LLMSaverError):
    """A layer broke before there was an answer to return; ``layer`` names it and the message says why."""

    def __init__(self, message: str, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


class UpstreamError(LLMSaverError):
    """The transport failed before an answer came; ``original`` is its own exception."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(f"{type(original).__name__}: {original}")
        self.original = original


class LocalModelError(LLMSaverError):
    """A local model could not be found, started or reached; the message names the fix."""
