"""What routing adds to a call: its decision, and the time to the first token where the beginning is judged.

    python benchmarks/router_overhead.py [--json] [--quick] [--only decision,first-token]

*Decision*: the same call with the cheap model named and with ``model="auto"`` and a ``Cascade`` that accepts the cheap
answer, both through the whole client and stack at a provider in this process that answers at once; prompts of 1, 10 and
100 kB, calls in turn. What is added is the plan, the judgement with its log-probabilities, and the record of both.
Beside the seconds of the clock, those of this thread's processor: a busy machine adds to the former only.
*First token*: SmolLM2 on a local server, streamed, asked directly and through ``Cascade(streaming="optimistic")`` whose
threshold accepts everything, in turn; the time until the first text arrives. No embeddings anywhere.

Prediction, written before the first run: 0.5 ms at 1 kB and 1.5 ms at 100 kB, most of it estimating tokens and hashing
the conversation; the first token is late by the time that the tokens held take (24 at some 150 a second: 160 ms).

Learned, on 2 cores that had four to seven times as much to do as they could, so by the processor's seconds: the plan
takes 0.24, 0.23 and 0.40 ms (p95 0.39, 0.33, 0.54); all that routing adds to a call, its record and the hidden
log-probabilities included, 1.4, 1.7 and 2.4 ms (p95 1.7, 2.1, 2.3), a fifth of it telling the answer's language. A
small local model writes 25 to 50 tokens a second: 24 held tokens were 0.5 to 1.2 s, so six are held now, and more only
of an answer that begins with an apology, which a refusal may follow: the first token is 82 ms later at the median (189
to 271 ms, 20 rounds; 93 and 310 ms in two of six rounds each).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx2

import llmsaver

if TYPE_CHECKING:
    from collections.abc import Callable

CHEAP, STRONG = "gpt-4o-mini", "gpt-4o"
LOCAL = "local/smollm2-135m"
ASKED = {"decision_p95_ms": 2.0, "first_token_ms": 150.0}
SIZES = (1_000, 10_000, 100_000)
TEXT = "The first one is larger, because its population grew faster than that of the second one did."
PROSE = "In the spring of 1907 the council of the town met again to speak of the bridge, its tolls and its keeper. "
STORIES = ("a lighthouse", "two brothers", "a lost letter", "an old clock", "a red bicycle", "the first snow")


class Null(httpx2.BaseTransport):
    """Answers at once, with log-probabilities where they are asked for."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer."""
        told: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        if b'"logprobs":true' in request.content:
            tokens: list[dict[str, Any]] = [
                {"token": word, "logprob": -0.001, "bytes": None, "top_logprobs": []} for word in TEXT.split()
            ]
            told["logprobs"] = {"content": tokens, "refusal": None}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": CHEAP, "choices": [told]}
        usage = {"prompt_tokens": len(request.content) // 4, "completion_tokens": 18, "total_tokens": 1}
        return httpx2.Response(200, json={**answer, "usage": usage})


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of them lie, in milliseconds."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1e3, 3)


Took = tuple[float, float]


def in_turn(plain: Callable[[int], Took], routed: Callable[[int], Took], rounds: int) -> dict[str, float]:
    """Take both times in turn, each first every other time; return their percentiles and differences, milliseconds."""
    times: dict[str, list[Took]] = {"plain": [], "routed": []}
    for number in range(rounds):
        both = [("plain", plain), ("routed", routed)]
        for name, call in both if number % 2 else both[::-1]:
            times[name].append(call(number))
    found: dict[str, float] = {}
    for at, clock in ((0, "ms"), (1, "cpu_ms")):
        one, other = ([took[at] for took in times[name]] for name in ("plain", "routed"))
        for name, values in (("plain", one), ("routed", other)):
            found |= {f"{name}_p{round(100 * share)}_{clock}": percentile(values, share) for share in (0.5, 0.95)}
        added = [late - early for early, late in zip(one, other, strict=True)]
        found[f"added_median_{clock}"] = round(statistics.median(added) * 1e3, 3)
        found[f"added_p95_{clock}"] = round(percentile(other, 0.95) - percentile(one, 0.95), 3)
    return found


def decision(rounds: int) -> dict[str, Any]:
    """Measure what routing adds to calls of each size, and the plan and the judgement by themselves."""
    found = {}
    for size in SIZES:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            spent: list[float] = []
            cascade = llmsaver.Cascade([CHEAP, STRONG], audit=0.0, explore=0.0)
            stacks: list[list[Any]] = [[...], [..., cascade]]
            savers = [
                stack.enter_context(llmsaver.Saver(ledger=f"{folder}/{at}.db", stack=layers))
                for at, layers in enumerate(stacks)
            ]
            _timed(cascade, spent)
            clients = [
                llmsaver.OpenAI(api_key="k", saver=saver, http_client=httpx2.Client(transport=Null()))
                for saver in savers
            ]

            def call(client: Any, model: str, number: int, size: int = size) -> Took:
                prompt = f"{number}: " + (PROSE * (size // len(PROSE) + 1))[:size] + " Which is larger?"
                began, worked = time.perf_counter(), time.thread_time()
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
                return time.perf_counter() - began, time.thread_time() - worked

            for number in range(20):
                call(clients[0], CHEAP, -number)
                call(clients[1], "auto", -number)
            spent.clear()
            row: dict[str, Any] = in_turn(
                lambda number, one=clients[0]: call(one, CHEAP, number),  # type: ignore[misc]  # bound now, not later
                lambda number, one=clients[1]: call(one, "auto", number),  # type: ignore[misc]  # the same
                rounds,
            )
            assert savers[1].last is not None
            row["accepted"] = (savers[1].last.routing or {}).get("tier") == CHEAP
            row |= {"plan_p50_cpu_ms": percentile(spent, 0.5), "plan_p95_cpu_ms": percentile(spent, 0.95)}
            found[f"{size // 1_000} kB"] = row
    return found


def _timed(cascade: llmsaver.Cascade, spent: list[float]) -> None:
    """Note how long each plan takes."""
    planned = cascade.planner.plan

    def plan(request: Any, **options: Any) -> Any:
        began = time.thread_time()
        made = planned(request, **options)
        spent.append(time.thread_time() - began)
        return made

    cascade.planner.plan = plan  # type: ignore[method-assign]  # measured from outside


def first_token(rounds: int) -> dict[str, Any]:
    """Measure the time to the first text of a streamed local answer, with and without the cascade."""
    cascade = llmsaver.Cascade([LOCAL, STRONG], streaming="optimistic", threshold=0.0, audit=0.0, explore=0.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        llmsaver.Saver(ledger=f"{folder}/l.db", stack=[..., cascade]) as saver,
        llmsaver.Client(api_key="none", saver=saver) as client,
    ):

        def ask(model: str, number: int) -> Took:
            text = f"Tell me a story about {STORIES[number % len(STORIES)]}, number {number}."
            asked: list[Any] = [{"role": "user", "content": text}]
            began, worked = time.perf_counter(), time.thread_time()
            stream = client.chat.completions.create(
                model=model, messages=asked, stream=True, max_completion_tokens=60, temperature=0
            )
            first = None
            for event in stream:
                if first is None and event.choices and event.choices[0].delta.content:
                    first = time.perf_counter() - began, time.thread_time() - worked
            return first or (math.inf, math.inf)

        ask(LOCAL, -1)  # the server starts
        ask("auto", -2)
        row: dict[str, Any] = in_turn(lambda number: ask(LOCAL, number), lambda number: ask("auto", number), rounds)
        ask("auto", -3)
        assert saver.last is not None
        routing = saver.last.routing or {}
        row |= {"accepted": routing.get("tier") == LOCAL, "signal": routing.get("signal")}
    return row


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--only", default="decision,first-token", help="parts, comma-separated")
    given = parser.parse_args()
    parts, told = given.only.split(","), dict[str, Any](asked=ASKED)
    if "decision" in parts:
        told["decision"] = decision(40 if given.quick else 400)
    if "first-token" in parts:
        told["first_token"] = first_token(6 if given.quick else 60)
    print(json.dumps(told, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
