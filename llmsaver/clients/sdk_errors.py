"""Our errors as members of the calling SDK's own family, so that its user's ``except`` clauses see them."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmsaver.errors import LLMSaverError

__all__ = ["family_of", "in_family", "surfaced"]


def surfaced(native: Any, dialect: str | None, error: LLMSaverError) -> LLMSaverError:
    """Return an error of ours as the SDK that sent ``native`` lets it through: in its own family."""
    return in_family(error, family_of(native.headers.get("user-agent", ""), dialect))


def family_of(user_agent: str, dialect: str | None) -> str:
    """Tell which SDK is calling: by the name it sends, else by the dialect it speaks."""
    if "OpenAI/" in user_agent:
        return "openai"
    if "Anthropic" in user_agent or dialect == "messages":
        return "anthropic"
    return "openai"


def in_family(error: LLMSaverError, family: str) -> LLMSaverError:
    """Return ``error`` as an instance of a class that also derives from ``openai.OpenAIError`` or ``AnthropicError``.

    Both SDKs let their own base errors through unwrapped and unretried; anything else becomes a connection error that
    is tried again. Where the SDK is not even loaded (a bare HTTP client), the error is returned as it is.
    """
    sdk = sys.modules.get(family)
    base = getattr(sdk, "OpenAIError" if family == "openai" else "AnthropicError", None)
    if base is None or isinstance(error, base):
        return error
    mine: Any = type(error)
    kind = _class_in_family(mine, base)
    raised: LLMSaverError = kind.__new__(kind, *error.args)
    raised.args = error.args
    raised.__dict__.update(error.__dict__)
    return raised.with_traceback(error.__traceback__)


@lru_cache(maxsize=128)
def _class_in_family(kind: Any, base: Any) -> type[LLMSaverError]:
    def reduce(self: LLMSaverError) -> Any:
        # The class has no name under which another process could find it; that of the error it came from has.
        return _plain, (kind, self.args, dict(self.__dict__))

    body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, base), {**body, "__reduce__": reduce})


def _plain(kind: type[LLMSaverError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> LLMSaverError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error
