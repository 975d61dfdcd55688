"""What a local server can do, and a request as it can do it; measured on xllamacpp 2026.10."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.local.messages_as_chat import messages_as_chat
from llmsaver.local.responses_as_chat import responses_as_chat
from llmsaver.local.tools import plan
from llmsaver.local.tools_answer import Telling
from llmsaver.local.tools_schema import answer_schema
from llmsaver.wire.payload import as_dict, as_list, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.local.endpoint import Endpoint

__all__ = ["Prepared", "counting", "knows_tools", "needs_template", "overflow", "prepared"]

CHAT_PATH = "/v1/chat/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
_PATHS = {"chat": CHAT_PATH, "responses": "/v1/responses", "messages": "/v1/messages"}
_AS_CHAT = {"messages": messages_as_chat, "responses": responses_as_chat}
_PROPS_SECONDS = 10.0
# Content parts that only a multimodal model could read; llama-server answers them with a 500, which SDKs retry.
_MEDIA = frozenset({"image_url", "input_image", "image", "input_audio", "file", "input_file", "document"})
# vLLM's words, which give the limit first, and then the prompt, at the least, or (in older versions) prompt and answer.
_ROOM = re.compile(r"maximum context length (?:is|of) (\d+)")
_ASKED = tuple(map(re.compile, (r"(\d+) input tokens", r"(\d+) in the messages", r"requested (\d+) tokens")))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request for a local server: its path, its body and, where the answer needs it, who tells it to the caller.

    ``plain``: the server speaks the caller's dialect itself, and its answers and errors are handed on as they are.
    """

    path: str
    body: dict[str, Any]
    telling: Telling | None = None
    plain: bool = False

    def with_body(self, body: dict[str, Any]) -> Prepared:
        """Return the same with another body."""
        return replace(self, body=body)


def prepared(
    dialect: str, body: Mapping[str, Any], endpoint: Endpoint, *, template_knows_tools: bool = True
) -> Prepared:
    """Return a request as the server at ``endpoint`` understands it.

    llama.cpp gets every dialect as chat, with an adapter's number and tools as a schema where the caller or the model's
    template asks for that; other servers get the body as it is. Raises ``LocalModelError`` for what the server would
    ignore in silence or refuse with an error that an SDK retries.
    """
    if dialect == "embeddings":
        return _embedding(body, endpoint)
    if getattr(endpoint.tier, "embeddings", False):
        raise LocalModelError(f"local/{endpoint.model} was declared with embeddings=True: it gives vectors, no answers")
    if endpoint.runner != "llama.cpp":
        _speaks(dialect, endpoint)
        return Prepared(_PATHS[dialect], {**body, "model": endpoint.model}, plain=True)
    if _holds_media(body):
        raise LocalModelError("local models read text only in this version; leave out images, audio and files")
    chat = _AS_CHAT[dialect](body) if dialect in _AS_CHAT else dict(body)
    chat["messages"] = [_system(message) for message in as_list(chat.get("messages"))]
    if "response_format" in chat:
        chat["response_format"] = _plain_format(chat["response_format"])
    chat, planned = plan(chat, knows_tools=template_knows_tools)
    chat["model"] = endpoint.model
    if endpoint.loras:
        chat["lora"] = [{"id": at, "scale": float(at == endpoint.lora)} for at in range(endpoint.loras)]
    if dialect == "chat":
        return Prepared(CHAT_PATH, chat, Telling(dialect, body, planned) if planned is not None else None)
    if chat.get("stream") is True:
        # The prompt's counts with the first token, for message_start; all of them at the end.
        chat |= {"stream_options": {"include_usage": True}, "timings_per_token": dialect == "messages"}
    return Prepared(CHAT_PATH, chat, Telling(dialect, body, planned))


def _embedding(body: Mapping[str, Any], endpoint: Endpoint) -> Prepared:
    """Return the request as it is, where it goes to a server that gives vectors."""
    if endpoint.runner == "llama.cpp" and not getattr(endpoint.tier, "embeddings", False):
        raise LocalModelError(
            f"local/{endpoint.model} answers and gives no vectors: declare an embedding model as "
            f'LocalModel("my-embedder", path="/path/to/model.gguf", embeddings=True)'
        )
    return Prepared(EMBEDDINGS_PATH, {**body, "model": endpoint.model}, plain=True)


def counting(
    dialect: str, body: Mapping[str, Any], endpoint: Endpoint, *, template_knows_tools: bool = True
) -> Prepared:
    """Return the request that asks a server how many tokens a prompt of the messages or responses dialect has."""
    asked = prepared(dialect, body, endpoint, template_knows_tools=template_knows_tools)
    suffix = "count_tokens" if asked.path == _PATHS["messages"] else "input_tokens"
    return Prepared(f"{asked.path}/{suffix}", asked.body)


def overflow(status: int, content: bytes) -> tuple[int, int] | None:
    """Return the prompt's tokens and those a request may have, where an answer says that the prompt is too long."""
    if status != http.client.BAD_REQUEST:
        return None
    said = parse(content) or {}
    error = as_dict(said.get("error")) or said
    counts = error.get("n_prompt_tokens"), error.get("n_ctx")
    if all(type(count) is int for count in counts):
        return counts[0], counts[1]  # type: ignore[return-value]  # checked in the line above
    message = str(error.get("message"))
    room, asked = _ROOM.search(message), next(filter(None, (words.search(message) for words in _ASKED)), None)
    return None if room is None or asked is None else (int(asked[1]), int(room[1]))


def needs_template(endpoint: Endpoint, body: Mapping[str, Any]) -> bool:
    """Tell whether it matters what the template knows: the request offers tools, or there are calls in its history."""
    if endpoint.runner != "llama.cpp":
        return False
    if body.get("tools"):
        return True
    for turn in map(as_dict, as_list(body.get("messages", body.get("input")))):
        if turn.get("tool_calls") or turn.get("type") == "function_call":
            return True
        if any(as_dict(block).get("type") == "tool_use" for block in as_list(turn.get("content"))):
            return True
    return False


# What servers said about their templates, by address and key; as many as one program starts.
_known: dict[tuple[str, str], bool] = {}


def knows_tools(endpoint: Endpoint) -> bool:
    """Return whether the model's chat template knows tools; blocks for a request to the server, once for each.

    One that does not say is taken to know them.
    """
    key = endpoint.base_url, endpoint.api_key
    answer = _known.get(key)
    if answer is None:
        answer = _ask(endpoint)
        if answer is not None:
            _known[key] = answer
    return answer is not False


def _ask(endpoint: Endpoint) -> bool | None:
    """Return what a server says of its template; None where it does not answer."""
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=_PROPS_SECONDS)
    try:
        connection.request("GET", "/props", headers={"authorization": f"Bearer {endpoint.api_key}"})
        caps = as_dict((parse(connection.getresponse().read()) or {}).get("chat_template_caps"))
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return bool(caps.get("supports_tools", True)) and bool(caps.get("supports_tool_calls", True))


def _plain_format(wanted: Any) -> Any:
    """Return what an answer is held to with its schema as llama.cpp can keep to it."""
    held = as_dict(as_dict(wanted).get("json_schema"))
    schema = held.get("schema")
    return {**wanted, "json_schema": {**held, "schema": answer_schema(schema)}} if isinstance(schema, dict) else wanted


def _speaks(dialect: str, endpoint: Endpoint) -> None:
    """Raise where a probe found that a server does not speak a dialect."""
    found = getattr(endpoint.abilities, dialect, True)
    if found is False:
        raise LocalModelError(
            f"the server at {endpoint.base_url} does not speak the {dialect} dialect; use another surface "
            "of the client: chat.completions, responses or messages"
        )


def _system(message: Any) -> Any:
    """Return a message of the developer's as one of the system's: templates know no other name for it."""
    if isinstance(message, dict) and message.get("role") == "developer":
        return {**message, "role": "system"}
    return message


def _holds_media(body: Mapping[str, Any]) -> bool:
    """Tell whether a message of any dialect has a part that is not text."""
    turns = body.get("messages", body.get("input"))
    for turn in turns if isinstance(turns, list) else []:
        content = turn.get("content") if isinstance(turn, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and part.get("type") in _MEDIA:
                return True
    return False
