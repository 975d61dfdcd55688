"""How many tokens a request can hold, without counting one: no token is shorter than a byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.media import audio_tokens, data_url, image_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Measure", "measure", "text_bytes"]

# What providers wrap around a request, a message and a tool, in tokens; documented at 3 to 4 a message and at most some
# 800 for the system prompt that tools switch on. Generous, because a bound must not be short.
_PER_REQUEST: Final = 64
_PER_MESSAGE: Final = 16
_PER_TOOL: Final = 64
_TOOLS_PROMPT: Final = 1024
_TYPED_TOOL: Final = 1536
# Values that providers show the model as JSON, escapes and all.
_AS_JSON: Final = frozenset(
    ("tools", "functions", "response_format", "output_format", "output_config", "text", "schema", "parameters")
)
# Tools that run at the caller's; any other type runs at the provider's, for as long as it likes.
_CALLER_TOOLS: Final = (
    "function", "custom", "local_shell", "apply_patch", "computer", "bash_", "text_editor_", "memory_",
)  # fmt: skip
# What the model never sees; a number or a switch at the top neither.
_NOT_PROMPT: Final = frozenset(
    ("model", "service_tier", "speed", "inference_geo", "metadata", "user", "safety_identifier", "prompt_cache_key")
)
_STORED: Final = {
    "previous_response_id": "previous-response",
    "conversation": "conversation",
    "prompt": "stored-prompt",
    "background": "background",
    "mcp_servers": "mcp",
    "container": "container",
    "fallbacks": "fallbacks",
    "web_search_options": "server-tool:web_search",
    "search_parameters": "server-tool:search",
    "plugins": "plugins",
    "context_management": "context-management",
}


@dataclass(slots=True)
class Measure:
    """Bounds in tokens by what they are billed as; ``reasons`` names what is in the request and cannot be bounded.

    ``windowed``: it has a document whose pages nobody here counts, so that the model's context window is the bound.
    ``text`` is the part of ``text_tokens`` that is the caller's own. ``lifetimes`` are the cache lifetimes it asks for.
    """

    text_tokens: int = 0
    image_tokens: int = 0
    audio_tokens: int = 0
    text: int = 0
    windowed: bool = False
    reasons: list[str] = field(default_factory=list)
    lifetimes: set[str] = field(default_factory=set)
    provider: str = ""
    model: str = ""

    @property
    def tokens(self) -> int:
        """The whole input."""
        return self.text_tokens + self.image_tokens + self.audio_tokens


def measure(body: Mapping[str, Any], dialect: str, provider: str = "", model: str = "") -> Measure:
    """Return bounds for the input of a request body."""
    found = Measure(provider=provider, model=model)
    for name, reason in _STORED.items():
        given = body.get(name)
        # An empty object asks for the thing with all its defaults.
        if (given or given == {}) and not (name == "prompt" and dialect == "chat"):
            found.reasons.append(reason)
    tools = body.get("tools")
    if isinstance(tools, list):
        for tool in tools:
            _tool(found, tool)
    for key, value in body.items():
        if key in _AS_JSON and not isinstance(value, str):
            _as_json(found, value)
        elif dialect == "embeddings" and key == "input":
            _embedded(found, value)
        elif isinstance(value, str | list | dict) and key not in _NOT_PROMPT:
            _walk(found, value)
    listed = body.get("messages") or body.get("input")
    messages = len(listed) if isinstance(listed, list) else 1
    found.text = found.text_tokens
    found.text_tokens += _PER_REQUEST + _PER_MESSAGE * (messages + 1)
    if tools or body.get("functions"):
        found.text_tokens += _TOOLS_PROMPT
    found.reasons = list(dict.fromkeys(found.reasons))
    return found


def text_bytes(text: str) -> int:
    """Return the UTF-8 length of a text; lone surrogates count as the three bytes they would need."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _tool(found: Measure, tool: object) -> None:
    kind = str(tool.get("type") or "custom") if isinstance(tool, dict) else "custom"
    found.text_tokens += _PER_TOOL
    if not kind.startswith(_CALLER_TOOLS):
        found.reasons.append("mcp" if kind.startswith("mcp") else f"server-tool:{kind}")
    elif kind not in ("function", "custom"):
        found.text_tokens += _TYPED_TOOL


def _as_json(found: Measure, value: object) -> None:
    """Count what is shown to the model as JSON; a line of a description may get a comment mark."""
    _lifetimes(found, value)
    try:
        written = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        found.reasons.append("not-json")
        return
    found.text_tokens += len(written) + 2 * written.count("\\n")


def _lifetimes(found: Measure, value: object) -> None:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            _caching(found, one)
            pending += one.values()
        elif isinstance(one, list):
            pending += one


def _caching(found: Measure, owner: Mapping[str, Any]) -> None:
    control = owner.get("cache_control")
    if isinstance(control, dict):
        found.lifetimes.add(str(control.get("ttl") or "5m"))
    ttl = owner.get("ttl")
    if isinstance(ttl, str):
        found.lifetimes.add(ttl)


def _walk(found: Measure, value: object) -> None:
    """Count strings where they are, deep or shallow; media by their own rules."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            found.text_tokens += text_bytes(one)
        elif isinstance(one, dict):
            _caching(found, one)
            rule = _MEDIA.get(one["type"]) if isinstance(one.get("type"), str) else None
            if rule is not None:
                pending += rule(found, one)
                continue
            for key, each in one.items():
                found.text_tokens += text_bytes(str(key)) + 4
                if key == "input" and isinstance(each, dict):
                    _as_json(found, each)
                else:
                    pending.append(each)
        elif isinstance(one, list | tuple):
            found.text_tokens += len(one)
            pending += one
        else:
            found.text_tokens += len(str(one))


def _embedded(found: Measure, value: object) -> None:
    """Count an embedding's input: a text, token numbers, or a list of either."""
    if isinstance(value, list):
        for each in value:
            found.text_tokens += (
                len(each) if isinstance(each, list) else text_bytes(each) if isinstance(each, str) else 1
            )
    else:
        _walk(found, value)


def _picture(found: Measure, url: object) -> None:
    data = data_url(url) if isinstance(url, str) else None
    if data is None:
        found.reasons.append("url-image" if url else "file")
        return
    _drawn(found, data)


def _drawn(found: Measure, data: str) -> None:
    most = image_tokens(found.provider, found.model, data)
    if most is None:
        found.reasons.append("image")
    else:
        found.image_tokens += most


def _image_url(found: Measure, part: Mapping[str, Any]) -> list[object]:
    target = part.get("image_url")
    _picture(found, target.get("url") if isinstance(target, dict) else target)
    return []


def _source(found: Measure, part: Mapping[str, Any]) -> list[object]:
    """Count a messages block with a source: an image, or a document."""
    source = part.get("source")
    origin = source if isinstance(source, dict) else {}
    image = part.get("type") == "image"
    kind, data = origin.get("type"), origin.get("data")
    rest: list[object] = [part.get("title"), part.get("context")]
    if kind in ("text", "content"):
        return [*rest, data, origin.get("content")]
    if kind == "base64" and isinstance(data, str):
        if image:
            _drawn(found, data)
        else:
            found.windowed = True
    else:
        found.reasons.append(f"url-{part.get('type')}" if kind == "url" else "file")
    return rest


def _audio(found: Measure, part: Mapping[str, Any]) -> list[object]:
    holder = part.get("input_audio")
    data = holder.get("data") if isinstance(holder, dict) else None
    if isinstance(data, str):
        found.audio_tokens += audio_tokens(data)
    else:
        found.reasons.append("audio")
    return []


def _file(found: Measure, part: Mapping[str, Any]) -> list[object]:
    holder = part.get("file") if isinstance(part.get("file"), dict) else part
    if isinstance(holder, dict) and isinstance(holder.get("file_data"), str):
        found.windowed = True
        return [holder.get("filename")]
    found.reasons.append("url-file" if part.get("file_url") else "file")
    return []


def _unbounded(found: Measure, part: Mapping[str, Any]) -> list[object]:
    found.reasons.append(str(part.get("type")))
    return []


_MEDIA: Final[Mapping[str, Callable[[Measure, Mapping[str, Any]], list[object]]]] = {
    "image_url": _image_url,
    "input_image": _image_url,
    "computer_screenshot": _image_url,
    "image": _source,
    "document": _source,
    "input_audio": _audio,
    "file": _file,
    "input_file": _file,
    "video_url": _unbounded,
    "input_video": _unbounded,
    "item_reference": _unbounded,
    "container_upload": _unbounded,
}
