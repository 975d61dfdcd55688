"""What llmsaver adds to a call: ratios and differences against the bare SDK, in one run on a null transport.

    python benchmarks/overhead.py [--json] [--quick]

Both clients get the same transport, which answers at once from memory; calls alternate one by one, so that a machine
that slows down slows both. Reported are medians and 99th percentiles of both, and their differences in microseconds.

Prediction, written before the first run: import 25 ms and 5 MB over bare Python; 60 us per call at p50, a third of it
for reading the JSON of request and answer; throughput at 64 concurrent tasks 0.85 of the bare SDK's for the messages
dialect and above 1 for chat, whose request transform (0.15-0.3 ms a message) is skipped for plain messages; so chat is
faster than the bare SDK from two messages up.

Learned since: in a tight loop the seam takes 38 us, interleaved with SDK calls twice that, since each side evicts the
other's code and data from the CPU's caches; httpx's ``Headers`` answer a ``get`` in 0.7 us and a ``[]=`` in 3 us, so
one dict of them and one appended list saved 15 us; keeping 10,000 recent entries instead of 1,000 cost 5 us in garbage
collection.

With the ledger's durable row, measured in turn with the version before it on a quiet machine, added p50 in
microseconds before and after what follows: chat 117 to 5, responses 265 to 145, messages 246 to 190; 64 tasks against
the bare SDK: chat 0.87 to 1.08, responses 0.71 to 0.89, messages 0.63 to 0.75. What paid: whole bodies of plain values
past OpenAI's transform (a model's name alone takes it 76, a short ``input`` 20 more; chat 75, responses 110), the URL
joined once instead of for every call (20 to 30), fingerprints in one pass with one prepared hash and JSON encoder (10.4
to 3.4 in a loop), rows made by one explicit call (5.6 to 3.7), no import in a function (1), folding into the sums
postponed to a quiet moment (31 of CPU a row, and twice that in waits for the interpreter's lock), one wake-up per loop
and batch, and one INSERT for all rows of a batch, since the driver gives the lock away at each statement. What did not:
SQLite pages of 1,024 or 2,048 bytes, one index less, and no garbage collection at all were lost in the noise.

Where the rest of messages goes: 27 the seam, 13 the layers and their guards, 30 prices, 40 making the row, 80 the
commit (36 in a loop; 15 system calls, four pages of the log), against 445 for the SDK's whole call, of which we may
save nothing but the URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai

import llmsaver

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = {"role": "user", "content": "Which of the two is larger, and why?"}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-6-luna",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The first one is.", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {
        "prompt_tokens": 17,
        "completion_tokens": 5,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
}
RESPONSES = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "gpt-6-luna",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "The first one is.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 17,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 22,
    },
}
MESSAGES = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": "The first one is."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 17, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
}
DELTAS = 200


def sse() -> bytes:
    """Return a chat stream of DELTAS content chunks."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-6-luna"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *[{"content": " word"}] * DELTAS]
    events = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


ANSWERS = {
    "/v1/chat/completions": json.dumps(CHAT).encode(),
    "/v1/responses": json.dumps(RESPONSES).encode(),
    "/v1/messages": json.dumps(MESSAGES).encode(),
}
STREAM = sse()


def answer(request: httpx2.Request) -> httpx2.Response:
    """Answer at once from memory."""
    if b'"stream":true' in request.content:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=STREAM)
    content = ANSWERS[request.url.path]
    return httpx2.Response(200, headers={"content-type": "application/json", "x-request-id": "r"}, content=content)


class Null(httpx2.BaseTransport):
    """No network."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer."""
        return answer(request)


class AsyncNull(httpx2.AsyncBaseTransport):
    """No network, but a real turn of the event loop."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer after one turn of the loop."""
        await asyncio.sleep(0)
        return answer(request)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of them lie, in microseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e6


def paired(bare: Callable[[], object], ours: Callable[[], object], rounds: int) -> dict[str, float]:
    """Time both in turn; return their percentiles and differences in microseconds."""
    for _ in range(min(100, rounds)):
        bare()
        ours()
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(rounds):
        for name, call in (("bare", bare), ("ours", ours)):
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    found = {
        f"{name}_p{int(share * 100)}_us": round(percentile(values, share), 1)
        for name, values in times.items()
        for share in (0.5, 0.99)
    }
    added = [ours - bare for bare, ours in zip(times["bare"], times["ours"], strict=True)]
    return {
        **found,
        "added_p50_us": round(found["ours_p50_us"] - found["bare_p50_us"], 1),
        "added_paired_median_us": round(statistics.median(added) * 1e6, 1),
        "added_p99_us": round(found["ours_p99_us"] - found["bare_p99_us"], 1),
        "ratio_p50": round(found["ours_p50_us"] / found["bare_p50_us"], 3),
    }


def imports() -> dict[str, Any]:
    """Measure ``import llmsaver`` over bare Python: wall time, memory, and what it brings along."""
    program = (
        "import json, resource, sys, time; began = time.perf_counter(); {what}; "
        "print(json.dumps([time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "
        "sorted({{name.partition('.')[0] for name in sys.modules}})]))"
    )
    found: dict[str, list[Any]] = {"bare": [], "ours": []}
    for _ in range(7):
        for name, what in (("bare", "pass"), ("ours", "import llmsaver")):
            command = [sys.executable, "-I", "-c", program.format(what=what)]
            found[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))  # noqa: S603 - this very interpreter
    bare, ours = found["bare"], found["ours"]
    heavy = {"openai", "anthropic", "httpx2", "httpx", "pydantic", "numpy", "sqlalchemy", "typer", "rich"}
    return {
        "added_ms": round((statistics.median(r[0] for r in ours) - statistics.median(r[0] for r in bare)) * 1e3, 2),
        "added_mb": round((statistics.median(r[1] for r in ours) - statistics.median(r[1] for r in bare)) / 1024, 2),
        "heavy_modules": sorted(heavy & set(ours[0][2])),
    }


def clients(kind: Any, ours: Any) -> tuple[Any, Any]:
    """Return the SDK's client and ours, each on a null transport of its own."""
    make = httpx2.AsyncClient if kind.__name__.startswith("Async") else httpx2.Client
    transport: Any = AsyncNull if make is httpx2.AsyncClient else Null
    return kind(api_key="k", http_client=make(transport=transport())), ours(
        api_key="k", http_client=make(transport=transport())
    )


def calls(rounds: int) -> dict[str, Any]:
    """Measure one call per dialect, and one stream."""
    bare, ours = clients(openai.OpenAI, llmsaver.OpenAI)
    bare_a, ours_a = clients(anthropic.Anthropic, llmsaver.Anthropic)
    one = [MESSAGE]

    def chat(client: Any, **more: Any) -> Callable[[], object]:
        return lambda: client.chat.completions.create(model="gpt-6-luna", messages=one, **more)

    def drain(client: Any) -> Callable[[], object]:
        return lambda: sum(1 for _ in client.chat.completions.create(model="gpt-6-luna", messages=one, stream=True))

    def responses(client: Any) -> Callable[[], object]:
        return lambda: client.responses.create(model="gpt-6-luna", input="Which?")

    def messages(client: Any) -> Callable[[], object]:
        return lambda: client.messages.create(model="claude-haiku-5-5", max_tokens=64, messages=one)

    return {
        "chat": paired(chat(bare), chat(ours), rounds),
        "chat_annotated": paired(chat(bare), chat(ours.with_options(annotate=True)), rounds),
        "chat_wrapped": paired(chat(bare), chat(llmsaver.wrap(bare)), rounds),
        "responses": paired(responses(bare), responses(ours), rounds),
        "messages": paired(messages(bare_a), messages(ours_a), rounds),
        f"chat_stream_{DELTAS}_deltas": paired(drain(bare), drain(ours), max(20, rounds // 30)),
    }


def long_chats(rounds: int) -> dict[str, Any]:
    """Measure chats of growing length."""
    bare, ours = clients(openai.OpenAI, llmsaver.OpenAI)
    found = {}
    for size in (1, 10, 50, 200):
        history = [MESSAGE] * size

        def call(client: Any, history: list[dict[str, str]] = history) -> Callable[[], object]:
            return lambda: client.chat.completions.create(model="gpt-6-luna", messages=history)

        found[str(size)] = paired(call(bare), call(ours), max(20, rounds // size))
    return found


async def throughput(kind: Any, ours: Any, resource_call: Callable[[Any], Any], rounds: int) -> float:
    """Return calls per second of ours over the bare SDK's, 64 at a time, best of alternating rounds."""
    pair = clients(kind, ours)

    async def burst(client: Any) -> float:
        began = time.perf_counter()

        async def worker() -> None:
            for _ in range(rounds):
                await resource_call(client)

        await asyncio.gather(*(worker() for _ in range(64)))
        return time.perf_counter() - began

    seconds: list[list[float]] = [[], []]
    for _ in range(5):
        for index, client in enumerate(pair):
            seconds[index].append(await burst(client))
    return round(statistics.median(seconds[0]) / statistics.median(seconds[1]), 3)


def concurrency(rounds: int) -> dict[str, float]:
    """Measure 64-way asyncio throughput as a ratio to the bare SDK's."""
    chat = throughput(
        openai.AsyncOpenAI,
        llmsaver.AsyncOpenAI,
        lambda client: client.chat.completions.create(model="gpt-6-luna", messages=[MESSAGE]),
        rounds,
    )
    messages = throughput(
        anthropic.AsyncAnthropic,
        llmsaver.AsyncAnthropic,
        lambda client: client.messages.create(model="claude-haiku-5-5", max_tokens=64, messages=[MESSAGE]),
        rounds,
    )
    responses = throughput(
        openai.AsyncOpenAI,
        llmsaver.AsyncOpenAI,
        lambda client: client.responses.create(model="gpt-6-luna", input="Which?"),
        rounds,
    )
    return {
        "chat_ratio": asyncio.run(chat),
        "responses_ratio": asyncio.run(responses),
        "messages_ratio": asyncio.run(messages),
    }


def peer(rounds: int) -> dict[str, Any] | None:
    """Measure litellm's ``completion`` on the same transport, where it is installed."""
    try:
        import litellm
    except ImportError:
        return None
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    bare, ours = clients(openai.OpenAI, llmsaver.OpenAI)
    return paired(
        lambda: litellm.completion(model="openai/gpt-6-luna", messages=[MESSAGE], client=bare),
        lambda: ours.chat.completions.create(model="gpt-6-luna", messages=[MESSAGE]),
        max(20, rounds // 10),
    )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, for continuous integration")
    options = parser.parse_args()
    rounds = 300 if options.quick else 3000
    folder = tempfile.TemporaryDirectory(prefix="llmsaver-overhead-")  # whoever measures has a ledger of their own
    os.environ["LLMSAVER_LEDGER"] = f"{folder.name}/ledger.db"
    found = {
        "versions": {
            "python": sys.version.split()[0],
            "openai": openai.__version__,
            "anthropic": anthropic.__version__,
        },
        "import": imports(),
        "call": calls(rounds),
        "long_chat": long_chats(rounds // 2),
        "async_64": concurrency(max(3, rounds // 100)),
        "litellm_vs_ours": peer(rounds),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if options.json:
        print(json.dumps(found))
        return
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
