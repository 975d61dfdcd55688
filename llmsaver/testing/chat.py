"""The chat dialect: `POST /chat/completions`, whole and streamed.

Shapes follow the recorded answers in openai-python's tests/lib/chat and its stream recordings.
"""

from typing import Any

from llmsaver.testing.frames import Event
from llmsaver.testing.text import JSON, count, deltas, identifier, pieces
from llmsaver.testing.turn import Turn, arguments

_TIERS = {None: "default", "auto": "default", "fast": "priority"}


def usage(turn: Turn) -> JSON | None:
    """Report tokens: prompt_tokens includes cached ones, completion_tokens includes reasoning."""
    prompt_details = {"cached_tokens": 0, "audio_tokens": 0}
    completion_details = {
        "reasoning_tokens": turn.reasoning_tokens,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    return turn.report(
        {
            "prompt_tokens": turn.input_tokens,
            "completion_tokens": turn.output_tokens,
            "total_tokens": turn.input_tokens + turn.output_tokens,
            "prompt_tokens_details": prompt_details,
            "completion_tokens_details": completion_details,
        }
    )


def body(turn: Turn) -> JSON:
    """Write the answer as one `chat.completion` object."""
    reported = usage(turn)
    return {
        "id": _id(turn),
        "object": "chat.completion",
        "created": turn.created,
        "model": turn.model,
        "choices": [_choice(turn, index) for index in range(len(turn.texts))],
        **({} if reported is None else {"usage": reported}),
        "service_tier": tier(turn),
        "system_fingerprint": _fingerprint(turn),
        **turn.answer.extra,
    }


def events(turn: Turn) -> list[Event]:
    """Stream the answer: a role chunk per choice, deltas of the choices in turns, a finish chunk each, `[DONE]`."""
    choices = [_choice_events(turn, index) for index in range(len(turn.texts))]
    longest = max(map(len, choices))
    flow = [choice[step] for step in range(longest) for choice in choices if step < len(choice)]
    reported = usage(turn)
    if _include_usage(turn) and reported is not None:
        flow.append(Event(_chunk(turn, None, reported)))
    return [*flow, Event("[DONE]")]


def error_events(_turn: Turn, error: JSON, _sent: int) -> list[Event]:
    """Break a stream with the vendor's error; no `[DONE]` follows."""
    return [Event(error)]


def tier(turn: Turn) -> str:
    """Name the service tier that served the request."""
    asked = turn.request.get("service_tier")
    return _TIERS.get(asked, str(asked))


def logprob_entry(turn: Turn, token: str, position: int) -> JSON:
    """Describe one token's log probability with the alternatives the request asked for."""
    wanted = turn.request.get("top_logprobs") or 0
    value = turn.logprob(position)
    others = [(token, value), *((f"{token}~{rank}", value - rank) for rank in range(1, wanted))][:wanted]
    top = [{"token": text, "logprob": score, "bytes": list(text.encode())} for text, score in others]
    return {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": top}


def _id(turn: Turn) -> str:
    return turn.id("chatcmpl-", length=29)


def _fingerprint(turn: Turn) -> str:
    return identifier("fp_", turn.model, length=10).lower()


def _finish(turn: Turn) -> str:
    return "stop" if turn.finish == "refusal" else turn.finish


def _include_usage(turn: Turn) -> bool:
    return bool((turn.request.get("stream_options") or {}).get("include_usage"))


def _logprobs(turn: Turn, text: str, start: int) -> JSON | None:
    if not turn.wants_logprobs(asked=turn.request.get("logprobs") is True):
        return None
    entries = [logprob_entry(turn, token, start + offset) for offset, token in enumerate(pieces(text))]
    if turn.answer.refusal is not None:
        return {"content": None, "refusal": entries}
    return {"content": entries, "refusal": None}


def _choice(turn: Turn, index: int) -> JSON:
    refusal, text = turn.answer.refusal, turn.texts[index]
    message: JSON = {"role": "assistant", "content": text, "refusal": refusal, "annotations": []}
    if refusal is not None or (turn.tool_calls and not text):
        message["content"] = None
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments(call)}}
            for call in turn.tool_calls
        ]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(turn, text if refusal is None else refusal, 0),
        "finish_reason": _finish(turn),
    }


def _choice_events(turn: Turn, index: int) -> list[Event]:
    refusal, text = turn.answer.refusal, turn.texts[index]
    role: JSON = {"role": "assistant", "content": "", "refusal": None}
    if refusal is not None:
        role = {"role": "assistant", "content": None, "refusal": ""}
    elif turn.tool_calls and not text:
        role = {"role": "assistant", "content": None}
    flow = [_delta(turn, index, role, logprobs=_logprobs(turn, "", 0))]
    key = "content" if refusal is None else "refusal"
    position = 0
    for part, tokens in deltas(text if refusal is None else refusal):
        flow.append(_delta(turn, index, {key: part}, tokens, logprobs=_logprobs(turn, part, position)))
        position += tokens
    for number, call in enumerate(turn.tool_calls):
        head = {"index": number, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        flow.append(_delta(turn, index, {"tool_calls": [head]}, count(call.name)))
        for part, tokens in deltas(arguments(call)):
            flow.append(
                _delta(turn, index, {"tool_calls": [{"index": number, "function": {"arguments": part}}]}, tokens)
            )
    return [*flow, _delta(turn, index, {}, finish=_finish(turn))]


def _delta(
    turn: Turn, index: int, delta: JSON, tokens: int = 0, *, logprobs: JSON | None = None, finish: str | None = None
) -> Event:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return Event(_chunk(turn, choice, None), tokens=tokens)


def _chunk(turn: Turn, choice: JSON | None, reported: JSON | None) -> JSON:
    chunk: JSON = {
        "id": _id(turn),
        "object": "chat.completion.chunk",
        "created": turn.created,
        "model": turn.model,
        "service_tier": tier(turn),
        "system_fingerprint": _fingerprint(turn),
        "choices": [] if choice is None else [choice],
    }
    if _include_usage(turn):
        chunk["usage"] = reported
    return {**chunk, **turn.answer.extra, **padding(turn, choice)}


def padding(turn: Turn, seed: Any) -> JSON:
    """Give the `obfuscation` field with which the vendor hides token lengths; on unless the request turns it off."""
    if (turn.request.get("stream_options") or {}).get("include_obfuscation") is False:
        return {}
    return {"obfuscation": identifier("", seed, length=1 + len(str(seed)) % 12)}
