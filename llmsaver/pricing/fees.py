"""What an answer owes beside its tokens: searches and other tools that run at the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.reading import Reading, as_dict, count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.pricing.values import Billed

__all__ = ["fees"]

_FREE_REQUESTS: Final = frozenset(("web_fetch_requests", "tool_search_requests"))
# Billed by the hour or the session, of which an answer says nothing.
_BY_TIME: Final = {"code_interpreter_call": "code_interpreter", "shell_call": "shell"}
_DEFAULT_IMAGE_MODEL: Final = "gpt-image-1"


def fees(billed: Billed, usage: Mapping[str, Any]) -> Reading | None:
    """Return counts of ``web_search`` and ``file_search`` calls, flagged where other tools cost an unknown sum."""
    if billed.dialect == "messages":
        return _messages(usage)
    if billed.dialect == "responses" and (billed.tool_usage or billed.output):
        return _responses(billed)
    if billed.dialect == "chat":
        return _chat(billed, usage)
    return None


def _messages(usage: Mapping[str, Any]) -> Reading | None:
    used = as_dict(usage.get("server_tool_use"))
    if not used:
        return None
    reading = Reading()
    searches = count(used, "web_search_requests", reading.flags)
    if searches:
        reading.units.append(("web_search", searches))
    for name, value in used.items():
        if name != "web_search_requests" and name not in _FREE_REQUESTS and isinstance(value, int) and value:
            reading.flags.append(f"unpriced:{name}")
    return reading


def _responses(billed: Billed) -> Reading:
    reading = Reading()
    told = as_dict(billed.tool_usage)
    items = [as_dict(item) for item in billed.output] if isinstance(billed.output, list) else []
    if "web_search" in told:
        searches = count(as_dict(told["web_search"]), "num_requests", reading.flags)
    else:
        # Older answers don't say: searches are billed, opening a page is not.
        searches = sum(1 for item in items if item.get("type") == "web_search_call" and _is_search(item))
        if searches:
            reading.flags.append("counted:web_search")
    if searches:
        reading.units.append(("web_search", searches))
        _preview(billed, reading)
    files = sum(1 for item in items if item.get("type") == "file_search_call")
    if files:
        reading.units.append(("file_search", files))
    for item in items:
        name = _BY_TIME.get(str(item.get("type")))
        if name and (name != "shell" or _hosted(billed.tools)):
            reading.flags.append(f"unpriced:{name}")
    reading.flags += [f"field:{name}" for name in told if name not in ("web_search", "image_gen")]
    return reading


def _is_search(item: Mapping[str, Any]) -> bool:
    return bool(as_dict(item.get("action")).get("type", "search") == "search")


def _preview(billed: Billed, reading: Reading) -> None:
    """Flag searches of the preview tool, which cost more on models that don't reason; the table has one price."""
    kinds = [str(as_dict(tool).get("type", "")) for tool in billed.tools] if isinstance(billed.tools, list) else []
    if any(kind.startswith("web_search_preview") for kind in kinds):
        reading.flags.append("unpriced:web_search_preview")


def _hosted(tools: object) -> bool:
    """Whether a shell tool runs in the provider's container and not at the caller's."""
    kinds = [as_dict(tool) for tool in tools] if isinstance(tools, list) else []
    return any(
        tool.get("type") == "shell" and as_dict(tool.get("environment")).get("type", "local") != "local"
        for tool in kinds
    )


def image_generation(billed: Billed) -> Reading | None:
    """Return what the image generation tool of Responses consumed, on the model that drew."""
    told = as_dict(as_dict(billed.tool_usage).get("image_gen"))
    if not told.get("input_tokens") and not told.get("output_tokens"):
        return None
    reading = Reading()
    flags = reading.flags
    total_in, total_out = count(told, "input_tokens", flags), count(told, "output_tokens", flags)
    images = min(count(as_dict(told.get("input_tokens_details")), "image_tokens", flags), total_in)
    texts = min(count(as_dict(told.get("output_tokens_details")), "text_tokens", flags), total_out)
    cached = as_dict(told.get("cached_tokens_details"))
    cached_images = min(count(cached, "cached_image_tokens", flags), images)
    cached_texts = min(count(cached, "cached_text_tokens", flags), total_in - images)
    pairs = (
        ("input", total_in - images - cached_texts),
        ("cache_read", cached_texts),
        ("image_in", images - cached_images),
        ("image_cached", cached_images),
        ("output", texts),
        ("image_out", total_out - texts),
    )
    reading.units += [pair for pair in pairs if pair[1]]
    reading.input_tokens = total_in
    reading.model = _DEFAULT_IMAGE_MODEL
    named = None
    for tool in billed.tools if isinstance(billed.tools, list) else ():
        if as_dict(tool).get("type") == "image_generation":
            named = tool.get("model")
    if isinstance(named, str):
        reading.model = named
    else:
        flags.append(f"assumed-model:{_DEFAULT_IMAGE_MODEL}")
    return reading


def _chat(billed: Billed, usage: Mapping[str, Any]) -> Reading | None:
    """Chat reports no searches: a search model's fee per call is known to exist and not to be here."""
    flags = []
    if "-search-preview" in str(billed.model):
        flags.append("unpriced:web_search_preview")
    if usage.get("num_sources_used") or usage.get("num_search_queries"):
        flags.append("unpriced:search")
    return Reading(flags=flags) if flags else None
