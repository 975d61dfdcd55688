"""llmsaver: a drop-in SDK that makes LLM inference cheaper from inside your process.

``from llmsaver import Client`` replaces the OpenAI or Anthropic client. Importing this package loads no SDK: every name
below is imported at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmsaver.clients.anthropic import Anthropic, AsyncAnthropic
    from llmsaver.clients.facade import AsyncClient, Client
    from llmsaver.clients.openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
    from llmsaver.clients.wrap import async_http_client, http_client, wrap
    from llmsaver.core.entry import Entry
    from llmsaver.core.options import options
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.scope import budget, feature, task
    from llmsaver.core.stack import CallNext, Middleware
    from llmsaver.core.usage import Usage
    from llmsaver.errors import (
        BudgetExceeded,
        CacheMiss,
        ConfigurationError,
        LLMSaverError,
        LocalModelError,
        MiddlewareError,
        MissingExtra,
        UpstreamError,
    )
    from llmsaver.local.models import Attach, LocalModel, Vllm
    from llmsaver.middleware.cascade import Cascade
    from llmsaver.middleware.compress import Compress
    from llmsaver.middleware.concise import Concise
    from llmsaver.middleware.continuation import Continuation
    from llmsaver.middleware.effort import Effort
    from llmsaver.middleware.exact_cache import ExactCache
    from llmsaver.middleware.output_cap import OutputCap
    from llmsaver.middleware.prompt_cache import PromptCache
    from llmsaver.middleware.semantic_cache import SemanticCache
    from llmsaver.prompt.stubbing import Stubs
    from llmsaver.router.tier import Tier
    from llmsaver.saver import Saver, feedback

__version__ = "0.1.0"

_HOMES = {
    "llmsaver.clients.anthropic": ("Anthropic", "AsyncAnthropic"),
    "llmsaver.clients.facade": ("AsyncClient", "Client"),
    "llmsaver.clients.openai": ("AsyncAzureOpenAI", "AsyncOpenAI", "AzureOpenAI", "OpenAI"),
    "llmsaver.clients.wrap": ("async_http_client", "http_client", "wrap"),
    "llmsaver.core.entry": ("Entry",),
    "llmsaver.core.options": ("options",),
    "llmsaver.core.request": ("Request",),
    "llmsaver.core.outcome": ("Outcome",),
    "llmsaver.core.response": ("Response",),
    "llmsaver.core.scope": ("budget", "feature", "task"),
    "llmsaver.core.stack": ("CallNext", "Middleware"),
    "llmsaver.core.usage": ("Usage",),
    "llmsaver.errors": (
        "BudgetExceeded",
        "CacheMiss",
        "ConfigurationError",
        "LLMSaverError",
        "LocalModelError",
        "MiddlewareError",
        "MissingExtra",
        "UpstreamError",
    ),
    "llmsaver.local.models": ("Attach", "LocalModel", "Vllm"),
    "llmsaver.middleware.cascade": ("Cascade",),
    "llmsaver.middleware.compress": ("Compress",),
    "llmsaver.middleware.concise": ("Concise",),
    "llmsaver.middleware.continuation": ("Continuation",),
    "llmsaver.middleware.effort": ("Effort",),
    "llmsaver.middleware.exact_cache": ("ExactCache",),
    "llmsaver.middleware.output_cap": ("OutputCap",),
    "llmsaver.middleware.prompt_cache": ("PromptCache",),
    "llmsaver.middleware.semantic_cache": ("SemanticCache",),
    "llmsaver.prompt.stubbing": ("Stubs",),
    "llmsaver.router.tier": ("Tier",),
    "llmsaver.saver": ("Saver", "feedback"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Anthropic",
    "AsyncAnthropic",
    "AsyncAzureOpenAI",
    "AsyncClient",
    "AsyncOpenAI",
    "Attach",
    "AzureOpenAI",
    "BudgetExceeded",
    "CacheMiss",
    "CallNext",
    "Cascade",
    "Client",
    "Compress",
    "Concise",
    "ConfigurationError",
    "Continuation",
    "Effort",
    "Entry",
    "ExactCache",
    "LLMSaverError",
    "LocalModel",
    "LocalModelError",
    "Middleware",
    "MiddlewareError",
    "MissingExtra",
    "OpenAI",
    "Outcome",
    "OutputCap",
    "PromptCache",
    "Request",
    "Response",
    "Saver",
    "SemanticCache",
    "Stubs",
    "Tier",
    "UpstreamError",
    "Usage",
    "Vllm",
    "async_http_client",
    "budget",
    "feature",
    "feedback",
    "http_client",
    "options",
    "task",
    "wrap",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'llmsaver' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
