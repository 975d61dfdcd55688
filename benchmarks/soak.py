"""A soak of mixed calls with faults: what the report says was spent, beside what the provider says.

    python benchmarks/soak.py [--json] [--quick]

10,000 calls (1,000 with ``--quick``) through the real SDKs over a transport: threads and asyncio tasks, three dialects
and embeddings, streamed and whole, plain and cached usage, a third of them under a hard budget that runs out. The
provider refuses (429, 500), breaks connections before and within answers, times out and leaves usage away; callers
close streams early, drop them unread and cancel. The provider keeps its own books, priced here by the arithmetic of the
vendors' pages. Afterwards: each call whose usage was reported is in the ledger at the provider's figure to the
nano-dollar; the provider's total lies within the report's [low, high]; the hard budget was never passed by the
provider's books; nothing is left set aside; no row was lost.

Prediction, written before the first run: all of that holds; 8 % of the calls are estimates; [low, high] is wide where
requests carry no small max-tokens value, here under 30 % of the total; about 150 calls a second on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai

import llmsaver
from llmsaver import BudgetExceeded, Saver, budget, options
from llmsaver.testing import Answer, Delivery, FakeProvider, Fault

if TYPE_CHECKING:
    from llmsaver.testing import Bill, Received

DIALECTS = ("chat", "responses", "messages", "embeddings")
MODELS = {
    "chat": "gpt-5-mini",
    "responses": "gpt-5-mini",
    "messages": "claude-haiku-4-5",
    "embeddings": "text-embedding-3-small",
}
CAPS = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}
LONGEST = 120
FILLER = "Please read this with care and answer in a few words; there is no hurry at all. " * 4
BROKEN = ("read timeout", "disconnect", "reset", "connect")


def nano(bill: Bill) -> int:
    """Return a bill in nano-dollars, by the vendors' pages."""
    usage = bill.usage or {}
    if bill.dialect == "embeddings":
        return bill.input_tokens * 20
    if bill.dialect == "messages":
        read = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        fresh = bill.input_tokens - read - written
        return fresh * 1_000 + read * 100 + written * 1_250 + bill.output_tokens * 5_000
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    cached = details.get("cached_tokens") or 0
    return (bill.input_tokens - cached) * 250 + cached * 25 + bill.output_tokens * 2_000


class Provider:
    """Answers and faults, drawn anew for every request, and which call each request was part of."""

    def __init__(self) -> None:
        self.fake = FakeProvider(self.reply)
        self._random = random.Random(7)  # noqa: S311 - a repeatable mixture, no secret
        self._lock = threading.Lock()

    def reply(self, received: Received) -> Answer | Fault:
        """Decide what becomes of one request."""
        with self._lock:
            roll, words, after = self._random.random(), self._random.randint(1, 60), self._random.randint(1, 9)
            drop: Any = self._random.choice(BROKEN)
        answer = Answer("word " * words, usage=self._usage(received, words) if roll > 0.8 else "auto")  # noqa: PLR2004
        if "slow" in str(received.json):
            return Answer("word " * words, delivery=Delivery(delay=0.2))
        for share, made in (
            (0.03, lambda: Fault(429, retry_after=0.001)),
            (0.05, lambda: Fault(500)),
            (0.07, lambda: Fault(drop=drop, answer=answer)),
            (0.09, lambda: Fault(drop="disconnect", after=after, answer=answer)),
            (0.10, lambda: Fault(529, after=after, answer=answer)),
            (0.11, lambda: Answer("word " * words, usage="missing")),
        ):
            if roll < share:
                return made()
        return answer

    @staticmethod
    def _usage(received: Received, words: int) -> dict[str, Any]:
        """Return usage with cached input, smaller than what the request's bytes allow."""
        if received.endpoint == "messages":
            cached = {"cache_creation_input_tokens": 20, "cache_read_input_tokens": 40}
            return {"input_tokens": 15, **cached, "output_tokens": words}
        names = ("prompt", "completion") if received.endpoint == "chat" else ("input", "output")
        return {
            f"{names[0]}_tokens": 75,
            f"{names[0]}_tokens_details": {"cached_tokens": 40},
            f"{names[1]}_tokens": words,
            f"{names[1]}_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 75 + words,
        }

    def by_call(self) -> dict[str, int]:
        """Return what each call was billed, by the number in its prompt."""
        asked = {received.number: received.json for received in self.fake.requests}
        totals: dict[str, int] = defaultdict(int)
        for bill in self.fake.billed:
            totals[call_of(asked[bill.number])] += nano(bill)
        return totals


def call_of(body: Any) -> str:
    """Return the call's number, which is the first word of what it asks."""
    said = body["messages"][-1]["content"] if "messages" in body else body["input"]
    return str(said[0] if isinstance(said, list) else said).split()[0]


class Plan:
    """How one call is made: drawn from its number alone."""

    def __init__(self, number: int) -> None:
        draw = random.Random(number)  # noqa: S311 - a repeatable mixture, no secret
        self.name = str(number)
        self.dialect = draw.choices(DIALECTS, (8, 5, 6, 1))[0]
        self.stream = self.dialect != "embeddings" and draw.random() < 0.5  # noqa: PLR2004 - a share
        self.leave = draw.randint(0, 8) if self.stream and draw.random() < 0.08 else None  # noqa: PLR2004 - a share
        self.cancel = draw.random() < 0.01  # noqa: PLR2004 - a share
        self.capped = draw.random() < 0.33  # noqa: PLR2004 - a share
        text = f"{number} {'slow ' if self.cancel else ''}{FILLER}"
        asked: dict[str, Any] = {"input": text}
        if self.dialect in ("chat", "messages"):
            asked = {"messages": [{"role": "user", "content": text}]}
        if self.dialect in CAPS:
            asked[CAPS[self.dialect]] = LONGEST
        if self.stream:
            asked["stream"] = True
        self.arguments = {"model": MODELS[self.dialect], **asked}

    def resource(self, clients: tuple[Any, Any]) -> Any:
        """Return what makes this call."""
        ours, other = clients
        if self.dialect == "messages":
            return other.messages
        return {"chat": ours.chat.completions, "responses": ours.responses, "embeddings": ours.embeddings}[self.dialect]


class Soak:
    """The calls, on threads and on a loop, and what became of them."""

    def __init__(self, folder: Path, calls: int) -> None:
        self.provider = Provider()
        self.saver = Saver(ledger=str(folder / "soak.db"))
        self.calls = calls
        self.limit = calls * 12_000  # a part of what the capped calls would cost
        self.cap = budget("capped", usd=f"{self.limit / 1e9:.9f}", per="day")
        self.refused = 0

    def run(self) -> None:
        """Make the calls: the even ones on threads, the odd ones as tasks, side by side."""
        with ThreadPoolExecutor(16) as pool:
            tasks = pool.submit(asyncio.run, self._tasks(range(1, self.calls, 2)))
            with httpx2.Client(transport=self.provider.fake.transport()) as http:
                clients = self._clients(http, llmsaver.OpenAI, llmsaver.Anthropic)
                for done in [pool.submit(self._call, Plan(number), clients) for number in range(0, self.calls, 2)]:
                    done.result()
            tasks.result()

    def _clients(self, http: Any, *kinds: Any) -> tuple[Any, Any]:
        ours, other = (kind(api_key="sk-test", http_client=http, saver=self.saver, max_retries=2) for kind in kinds)
        return ours, other

    def _around(self, plan: Plan) -> Any:
        return self.cap if plan.capped else nullcontext()

    def _call(self, plan: Plan, clients: tuple[Any, Any]) -> None:
        with options(conversation=plan.name), self._around(plan):
            try:
                answer = plan.resource(clients).create(**plan.arguments)
                if plan.stream and plan.leave != 0:
                    with answer:
                        for count, _ in enumerate(answer, 1):
                            if count == plan.leave:
                                break
            except BudgetExceeded:
                self.refused += 1
            except (openai.OpenAIError, anthropic.AnthropicError, httpx2.HTTPError):
                pass

    async def _tasks(self, numbers: range) -> None:
        turn = asyncio.Semaphore(32)
        async with httpx2.AsyncClient(transport=self.provider.fake.async_transport()) as http:
            clients = self._clients(http, llmsaver.AsyncOpenAI, llmsaver.AsyncAnthropic)

            async def one(number: int) -> None:
                plan = Plan(number)
                async with turn:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._task(plan, clients), 0.1 if plan.cancel else None)

            await asyncio.gather(*(one(number) for number in numbers))

    async def _task(self, plan: Plan, clients: tuple[Any, Any]) -> None:
        with options(conversation=plan.name), self._around(plan):
            try:
                answer = await plan.resource(clients).create(**plan.arguments)
                if plan.stream and plan.leave != 0:
                    count = 0
                    async with answer:
                        async for _ in answer:
                            count += 1
                            if count == plan.leave:
                                break
            except BudgetExceeded:
                self.refused += 1
            except (openai.OpenAIError, anthropic.AnthropicError, httpx2.HTTPError):
                pass

    def findings(self, seconds: float) -> dict[str, Any]:
        """Return the two books side by side."""
        ledger = self.saver.ledger
        assert ledger is not None
        ledger.drain(30)
        billed, now = self.provider.by_call(), time.time()
        with ledger.reader() as reader:
            rows = reader.calls(limit=10 * self.calls)
            totals, holds = reader.totals(), reader.holds()
            window = next(each for each in reader.budgets(now) if each["name"] == "capped")
        made = [row for row in rows if not row["refused"]]
        exact = [row for row in made if not row["estimated"]]
        sure = {row["conversation"]: row["cost_nano"] for row in exact}
        wrong = [name for name, cost in sure.items() if billed.get(name, 0) != cost]
        outside = [
            row["conversation"]
            for row in made
            if row["estimated"] and not row["cost_low"] <= billed.get(row["conversation"], 0) <= row["cost_high"]
        ]
        booked = {row["conversation"] for row in made}
        under_cap = sum(billed.get(str(number), 0) for number in range(self.calls) if Plan(number).capped)
        total = sum(billed.values())
        return {
            "calls": self.calls,
            "requests": self.provider.fake.calls,
            "rows": len(made),
            "estimated": len(made) - len(exact),
            "refused": self.refused,
            "refused_in_the_ledger": totals.refused + sum("BudgetExceeded" in (row["error"] or "") for row in made),
            "exact_nano": sum(sure.values()),
            "provider_exact_nano": sum(billed.get(name, 0) for name in sure),
            "calls_off_by_any": len(wrong),
            "estimates_that_miss": len(outside),
            "billed_without_row": sum(1 for name, cost in billed.items() if cost and name not in booked),
            "provider_nano": total,
            "ledger_low_nano": totals.cost_low,
            "ledger_high_nano": totals.cost_high,
            "within": totals.cost_low <= total <= totals.cost_high,
            "cap_nano": self.limit,
            "provider_under_cap_nano": under_cap,
            "cap_spent_nano": window["spent_nano"],
            "holds_left": len(holds) + window["held_nano"],
            "rows_lost": ledger.lost,
            "calls_per_s": round(self.calls / seconds),
            "examples": [*wrong[:5], *outside[:5]],
        }


def good(found: dict[str, Any]) -> bool:
    """Return whether every promise held."""
    nothing = ("calls_off_by_any", "estimates_that_miss", "billed_without_row", "holds_left", "rows_lost")
    return (
        all(found[name] == 0 for name in nothing)
        and found["within"]
        and found["refused_in_the_ledger"] == found["refused"]
        and found["exact_nano"] == found["provider_exact_nano"]
        and found["provider_under_cap_nano"] <= found["cap_spent_nano"] <= found["cap_nano"]
    )


def main() -> int:
    """Run it and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("--quick", action="store_true", help="1,000 calls")
    arguments = parser.parse_args()
    for sdk in (openai, anthropic):
        sdk._base_client.INITIAL_RETRY_DELAY = sdk._base_client.MAX_RETRY_DELAY = 0.001  # noqa: SLF001 - retries need not be waited for
    with tempfile.TemporaryDirectory() as folder:
        soak, began = Soak(Path(folder), 1_000 if arguments.quick else 10_000), time.monotonic()
        with soak.saver:
            soak.run()
            found = soak.findings(time.monotonic() - began)
    found["good"] = good(found)
    print(json.dumps(found, indent=None if arguments.json else 1))
    return 0 if found["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
