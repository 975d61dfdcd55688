"""Chat chunks of the local server as the events of a responses stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import as_dict, as_list
from llmsaver.wire.sse import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ResponsesTeller"]

# What a response repeats of its request, with the values that stand where the request says nothing.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
_TEXT, _THOUGHT, _CALL = "message", "reasoning", "function_call"


class ResponsesTeller:
    """Tells one answer; each chunk's events leave at once, only the end waits for the usage."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._echo = {key: body[key] if body.get(key) is not None else value for key, value in _ECHOED.items()}
        self._response: dict[str, Any] = {}
        self._output: list[dict[str, Any]] = []
        self._open: Any = None
        self._texts: list[str] = []
        self._logprobs: list[Any] = []
        self._usage: dict[str, Any] | None = None
        self._reason: str | None = None
        self._number = 0

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events that one chunk becomes."""
        if chunk.get("error"):
            error = as_dict(chunk["error"])
            code = str(error.get("code") or error.get("type"))
            yield self._event("error", code=code, message=str(error.get("message")), param=None)
            return
        if chunk.get("usage"):
            self._usage = _usage(as_dict(chunk["usage"]))
        for choice in as_list(chunk.get("choices"))[:1]:
            if not self._response:
                yield from self._start(chunk)
            yield from self._delta(as_dict(choice.get("delta")), as_dict(choice.get("logprobs")))
            if choice.get("finish_reason"):
                yield from self._close()
                self._reason = choice["finish_reason"]

    def end(self) -> Iterator[bytes]:
        """Yield the last event, where the answer came to its end."""
        if self._reason is None:
            return
        status = "incomplete" if self._reason == "length" else "completed"
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        if status == "incomplete" and self._output:
            self._output[-1] = {**self._output[-1], "status": status}
        done = {"status": status, "incomplete_details": details, "output": self._output, "usage": self._usage}
        yield self._event(f"response.{status}", response={**self._response, **done})

    def _start(self, chunk: Mapping[str, Any]) -> Iterator[bytes]:
        self._response = {
            "id": "resp_" + str(chunk.get("id", "")).removeprefix("chatcmpl-"),
            "object": "response",
            "created_at": chunk.get("created") or int(time.time()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": chunk.get("model"),
            "output": [],
            "usage": None,
            **self._echo,
        }
        yield self._event("response.created", response=self._response)
        yield self._event("response.in_progress", response=self._response)

    def _delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any]) -> Iterator[bytes]:
        if delta.get("reasoning_content"):
            yield from self._in(_THOUGHT, {"summary": [], "content": []}, "rs")
            yield from self._piece("reasoning_text", delta["reasoning_content"])
        if delta.get("content"):
            yield from self._in(_TEXT, {"role": "assistant", "status": "in_progress", "content": []}, "msg")
            added = as_list(logprobs.get("content"))
            self._logprobs += added
            yield from self._piece("output_text", delta["content"], logprobs=added)
        for call in map(as_dict, as_list(delta.get("tool_calls"))):
            function = as_dict(call.get("function"))
            begun = {"call_id": call.get("id"), "name": function.get("name"), "arguments": "", "status": "in_progress"}
            yield from self._in(_CALL, begun, "fc", call.get("index", 0))
            if function.get("arguments"):
                yield from self._piece("function_call_arguments", function["arguments"])

    def _in(self, kind: str, item: dict[str, Any], prefix: str, number: int = 0) -> Iterator[bytes]:
        """Open an item unless it is the open one."""
        if self._open == (kind, number):
            return
        yield from self._close()
        self._open = (kind, number)
        suffix = self._response["id"].removeprefix("resp_")
        item = {"id": f"{prefix}_{suffix}_{len(self._output)}", "type": kind, **item}
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)
        self._output.append(item)
        if kind != _CALL:
            yield self._event("response.content_part.added", **self._at(), content_index=0, part=self._part(""))

    def _piece(self, what: str, text: str, **more: Any) -> Iterator[bytes]:
        self._texts.append(text)
        content = {"content_index": 0} if what != "function_call_arguments" else {}
        yield self._event(f"response.{what}.delta", **self._at(), **content, delta=text, **more)

    def _close(self) -> Iterator[bytes]:
        """End the open item: its text once more as a whole, its part, itself."""
        if self._open is None:
            return
        kind, _ = self._open
        text, at, item = "".join(self._texts), self._at(), dict(self._output[-1])
        if kind == _CALL:
            name = item["name"]
            yield self._event("response.function_call_arguments.done", **at, name=name, arguments=text)
            item["arguments"] = text
        else:
            part = self._part(text)
            what, more = ("output_text", {"logprobs": self._logprobs}) if kind == _TEXT else ("reasoning_text", {})
            yield self._event(f"response.{what}.done", **at, content_index=0, text=text, **more)
            yield self._event("response.content_part.done", **at, content_index=0, part=part)
            item["content"] = [part]
        item["status"] = "completed"
        self._output[-1] = item
        yield self._event("response.output_item.done", output_index=at["output_index"], item=item)
        self._open, self._texts, self._logprobs = None, [], []

    def _part(self, text: str) -> dict[str, Any]:
        if self._open[0] == _THOUGHT:
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self._logprobs)}

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return encode(event, kind)


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    read = as_dict(usage.get("prompt_tokens_details")).get("cached_tokens") or 0
    return {
        "input_tokens": usage.get("prompt_tokens"),
        "input_tokens_details": {"cached_tokens": read},
        "output_tokens": usage.get("completion_tokens"),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.get("total_tokens"),
    }
