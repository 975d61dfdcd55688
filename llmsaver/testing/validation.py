"""What the real APIs refuse, so that a request our code spoils fails here as it would there.

The parameter lists are those of the vendors' type definitions; the sentences are the vendors'. An SDK newer than these
lists may know more parameters, and so may the API it was made for: what the installed SDK names is taken as well.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from llmsaver.testing.text import JSON
from llmsaver.testing.vendor_errors import Refused, Vendor


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARAMETERS: Mapping[str, frozenset[str]] = {
    "chat": _names("""
        audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
        messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty
        prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format
        safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
        top_logprobs top_p user verbosity web_search_options
    """),
    "responses": _names("""
        access_programs background background_options context_management conversation image include input
        instructions max_output_tokens max_tool_calls metadata model moderation parallel_tool_calls
        previous_response_id prompt prompt_cache_key prompt_cache_options prompt_cache_retention reasoning
        safety_identifier service_tier store stream stream_options temperature text tool_choice tools
        top_logprobs top_p truncation user
    """),
    "messages": _names("""
        cache_control container diagnostics inference_geo max_tokens messages metadata model output_config
        service_tier speed stop_sequences stream system temperature thinking tool_choice tools top_k top_p
        user_profile_id workspace_id
    """),
    "count_tokens": _names("""
        cache_control messages model output_config speed system thinking tool_choice tools user_profile_id
        workspace_id
    """),
    "embeddings": _names("dimensions encoding_format input model user"),
}
BETA_PARAMETERS = _names("""
        billing_policy compaction context_management fallback_credit_token fallbacks mcp_servers
        output_format thread
    """)
_TYPES = {
    "chat": ("openai.types.chat.completion_create_params", "CompletionCreateParamsStreaming"),
    "responses": ("openai.types.responses.response_create_params", "ResponseCreateParamsStreaming"),
    "embeddings": ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
    "messages": ("anthropic.types.message_create_params", "MessageCreateParamsStreaming"),
    "count_tokens": ("anthropic.types.message_count_tokens_params", "MessageCountTokensParams"),
    "beta": ("anthropic.types.beta.message_create_params", "MessageCreateParamsStreaming"),
}
_INPUTS = ("input", "previous_response_id", "prompt", "conversation")
_REQUIRED = {"messages": ("model", "max_tokens", "messages"), "count_tokens": ("model", "messages")}
_MAX_BREAKPOINTS = 4
_MAX_CHOICES = 128
_UNAUTHENTICATED = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth"
    " (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API"
    " from your browser and are prompted for a username and password. You can obtain an API key from"
    " https://platform.openai.com/account/api-keys."
)
_NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library"
    " correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


@cache
def installed(name: str) -> frozenset[str]:
    """Return the parameters the installed SDK names for an endpoint, or for ``"beta"``; none without it."""
    home, params = _TYPES[name]
    try:
        found = getattr(import_module(home), params)
    except (ImportError, AttributeError):
        return frozenset()
    return frozenset(found.__required_keys__ | found.__optional_keys__) - {"betas"}


def refuse_caller(vendor: Vendor, headers: Mapping[str, str]) -> Refused | None:
    """Check the credentials and, for the messages dialect, the version header."""
    bearer = headers.get("authorization", "").removeprefix("Bearer").strip()
    if vendor == "openai":
        return None if bearer or headers.get("api-key") else Refused(401, _UNAUTHENTICATED)
    if not (bearer or headers.get("x-api-key")):
        return Refused(401, "x-api-key header is required")
    if not headers.get("anthropic-version"):
        return Refused(400, "anthropic-version: header is required")
    return None


def refuse_body(endpoint: str, body: Any, *, beta: bool = False, model_in_path: bool = False) -> Refused | None:
    """Check a JSON body against the rules of its endpoint (one of `PARAMETERS`); the first broken rule is told."""
    if endpoint in _REQUIRED:
        return next(_messages_faults(endpoint, body, beta=beta), None)
    return next(_openai_faults(endpoint, body, model_in_path=model_in_path), None)


def _openai_faults(endpoint: str, body: Any, *, model_in_path: bool) -> Iterator[Refused]:
    if not isinstance(body, dict):
        yield Refused(400, _NOT_JSON)
    unknown = sorted(name for name in set(body) - PARAMETERS[endpoint] if name not in installed(endpoint))
    if unknown and endpoint == "responses":
        yield Refused(400, f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter", unknown[0])
    if unknown:
        yield Refused(400, f"Unrecognized request argument{'s' * (len(unknown) > 1)} supplied: {', '.join(unknown)}")
    if not (isinstance(body.get("model"), str) and body["model"]) and not model_in_path:
        yield Refused(400, "you must provide a model parameter")
    if endpoint == "chat":
        yield from _chat_faults(body)
    if endpoint == "responses" and all(body.get(name) is None for name in _INPUTS):
        said = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        yield Refused(400, said, "missing_required_parameter", "input")
    if endpoint == "embeddings" and not body.get("input"):
        yield Refused(400, "Missing required parameter: 'input'.", "missing_required_parameter", "input")


def _chat_faults(body: JSON) -> Iterator[Refused]:
    messages: Any = body.get("messages")
    choices = body.get("n")
    if messages is None:
        yield Refused(400, "Missing required parameter: 'messages'.", "missing_required_parameter", "messages")
    if not isinstance(messages, list):
        said = "Invalid type for 'messages': expected an array of objects, but got something else instead."
        yield Refused(400, said, "invalid_type", "messages")
    if not messages:
        said = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        yield Refused(400, said, "empty_array", "messages")
    for index, message in enumerate(messages):
        if not _is_message(message):
            said = f"Invalid type for 'messages[{index}]': expected an object, but got something else instead."
            yield Refused(400, said, "invalid_type", f"messages[{index}]")
    if choices is not None and not (isinstance(choices, int) and 1 <= choices <= _MAX_CHOICES):
        yield Refused(400, f"Invalid 'n': expected an integer between 1 and {_MAX_CHOICES}.", "invalid_value", "n")
    if body.get("stream_options") is not None and not body.get("stream"):
        said = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield Refused(400, said, None, "stream_options")
    unanswered = _refuse_unanswered_calls(messages)
    if unanswered is not None:
        yield unanswered


def _refuse_unanswered_calls(messages: list[Any]) -> Refused | None:
    waiting: set[str] = set()
    for message in [*messages, {"role": "end"}]:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                said = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                return Refused(400, f"Invalid parameter: {said}", None, "messages")
            waiting.remove(message["tool_call_id"])
        elif waiting:
            said = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            missing = f"The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}"
            return Refused(400, f"{said} 'tool_call_id'. {missing}")
        else:
            waiting = {call["id"] for call in message.get("tool_calls") or []}
    return None


def _messages_faults(endpoint: str, body: Any, *, beta: bool) -> Iterator[Refused]:
    if not isinstance(body, dict):
        yield Refused(400, "The request body is not valid JSON")
    for name in _REQUIRED[endpoint]:
        if body.get(name) is None:
            yield Refused(400, f"{name}: Field required")
    extra = set(body) - PARAMETERS[endpoint] - (BETA_PARAMETERS if beta else frozenset())
    unknown = sorted(name for name in extra if name not in installed("beta" if beta else endpoint))
    if unknown:
        yield Refused(400, f"{unknown[0]}: Extra inputs are not permitted")
    yield from _message_list_faults(body["messages"])
    if endpoint == "messages" and not (type(body["max_tokens"]) is int and body["max_tokens"] >= 1):
        yield Refused(400, "max_tokens: must be greater than or equal to 1")
    for refused in (_refuse_temperature(body), _refuse_cache_marks(body), _refuse_unanswered_tools(body["messages"])):
        if refused is not None:
            yield refused


def _message_list_faults(messages: Any) -> Iterator[Refused]:
    if not isinstance(messages, list):
        yield Refused(400, "messages: Input should be a valid list")
    if not messages:
        yield Refused(400, "messages: at least one message is required")
    for index, message in enumerate(messages):
        if not _is_message(message):
            yield Refused(400, f"messages.{index}: Input should be a valid dictionary or object to extract fields from")


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    calls = message.get("tool_calls") or []
    return isinstance(calls, list) and all(isinstance(call, dict) and isinstance(call.get("id"), str) for call in calls)


def _refuse_temperature(body: JSON) -> Refused | None:
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        return Refused(400, "temperature: range: 0..1")
    return None


def _refuse_cache_marks(body: JSON) -> Refused | None:
    marks = [mark for part in (body.get("tools"), body.get("system"), body["messages"]) for mark in _cache_marks(part)]
    if len(marks) > _MAX_BREAKPOINTS:
        said = f"A maximum of {_MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
        return Refused(400, said)
    times = [mark.get("ttl", "5m") for mark in marks]
    if sorted(times) != times:  # "1h" sorts before "5m", which is also the order the API wants
        said = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
        return Refused(
            400,
            f"cache_control: {said} Note that blocks are processed in the following order: `tools`, `system`,"
            " `messages`.",
        )
    return None


def _cache_marks(part: Any) -> Iterator[JSON]:
    if isinstance(part, list):
        for item in part:
            yield from _cache_marks(item)
    elif isinstance(part, dict):
        if isinstance(part.get("cache_control"), dict):
            yield part["cache_control"]
        if isinstance(part.get("content"), list):
            yield from _cache_marks(part["content"])


def _refuse_unanswered_tools(messages: list[Any]) -> Refused | None:
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        content = message.get("content")
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        answered = {str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"}
        if waiting - answered:
            said = "`tool_use` ids were found without `tool_result` blocks immediately after"
            return Refused(400, f"messages.{index - 1}: {said}: {', '.join(sorted(waiting))}.")
        if answered - waiting:
            said = "unexpected `tool_use_id` found in `tool_result` blocks"
            return Refused(400, f"messages.{index}: {said}: {', '.join(sorted(answered - waiting))}.")
        waiting = {str(block.get("id")) for block in blocks if block.get("type") == "tool_use"}
    return None
