"""A stored answer as the provider would tell it, had its own cache held everything: no token is billed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, count

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["as_cached"]


def as_cached(dialect: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``message`` whose usage says that its whole input came from a cache; totals stay what they were."""
    usage = message.get("usage")
    if not isinstance(usage, dict):
        return message
    if dialect == "chat":
        return {**message, "usage": _inside(usage, "prompt_tokens", "prompt_tokens_details")}
    if dialect == "responses":
        return {**message, "usage": _inside(usage, "input_tokens", "input_tokens_details")}
    return {**message, "usage": _beside(usage)} if dialect == "messages" else message


def _inside(usage: dict[str, Any], total: str, details: str) -> dict[str, Any]:
    tokens = count(usage.get(total))
    if tokens is None:
        return usage
    told = {**as_dict(usage.get(details)), "cached_tokens": tokens}
    if "cache_write_tokens" in told:
        told["cache_write_tokens"] = 0
    return {**usage, details: told}


def _beside(usage: dict[str, Any]) -> dict[str, Any]:
    """Return usage of the messages dialect, which counts cached tokens beside the others."""
    fresh = count(usage.get("input_tokens"))
    if fresh is None:
        return usage
    read, written = (count(usage.get(f"cache_{what}_input_tokens")) or 0 for what in ("read", "creation"))
    told = {**usage, "input_tokens": 0, "cache_read_input_tokens": fresh + read + written}
    if "cache_creation_input_tokens" in told:
        told["cache_creation_input_tokens"] = 0
    if isinstance(told.get("cache_creation"), dict):
        told["cache_creation"] = dict.fromkeys(told["cache_creation"], 0)
    return told
