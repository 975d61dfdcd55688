"""What an exact hit costs: through ``llmsaver.OpenAI`` beside the bare SDK, beside litellm, and in the store alone.

    python benchmarks/cache_hits.py [--json] [--quick] [--litellm PYTHON]

Bare SDK and hit share a null transport that answers at once from memory, and alternate call by call; reported are
medians and 99th percentiles in microseconds. ``--litellm`` names an interpreter that has litellm: its in-memory hit is
measured in the same run on the same machine, in a program of its own (it pins another SDK). The store is asked for
keys at random among 100,000 answers of 2 kB, past the memory in front of it.

litellm's hits and ours are timed in turns, in programs that do nothing else. It needs fastapi and soundfile beside it,
or its cache keeps nothing, in silence (1.106); of chats with eight messages or more it kept nothing with them either.

Found on two cores (microseconds of CPU, medians). Quiet: a chat of one message, bare SDK 689, hit 637 by itself;
litellm's hit 722 to 1,170. A chat of 50: bare 8,200, hit 860 by itself and 1,320 in turns with the bare SDK (caches
are cold then: 8 ms of waiting before each call do the same, to the bare SDK too), as a stream 1,310. With five times
as much to do as the cores could: one message 1,014 to 1,585, litellm's 781 to 1,196, so no win there: what is left is
the SDK's own work on request and answer, which litellm's hit goes around and ours does not. Store: found 31, at the
99th percentile 104; missing 10 and 41; 10,700 writes a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import openai

import llmsaver
from llmsaver.cache.store import Store, place_of
from llmsaver.cache.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "The first one is."}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 17, "completion_tokens": 5, "total_tokens": 22},
}
CONTENT = json.dumps(ANSWER).encode()

PEER = """
import json, statistics, sys, time
import httpx, litellm, openai
from litellm.caching.caching import Cache
turns, rounds, answer = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
litellm.cache = Cache(type="local")
http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(
    200, headers={"content-type": "application/json"}, content=answer)))
client = openai.OpenAI(api_key="sk-none", http_client=http, max_retries=0)
def call():
    return litellm.completion(model="openai/gpt-5-mini", messages=turns, client=client, caching=True)
for _ in range(20):
    assert call().choices[0].message.content
hit = call()._hidden_params.get("cache_hit")
took, worked = [], []
for _ in range(rounds):
    began, busy = time.perf_counter(), time.thread_time()
    call()
    took.append(time.perf_counter() - began)
    worked.append(time.thread_time() - busy)
took.sort()
print(json.dumps({"hit": bool(hit), "p50_us": round(1e6 * statistics.median(took), 1),
                  "p99_us": round(1e6 * took[int(0.99 * len(took))], 1),
                  "cpu_p50_us": round(1e6 * statistics.median(worked), 1)}))
"""


OURS = """
import json, sys, tempfile
sys.path.insert(0, sys.argv[1])
import cache_hits, httpx2, llmsaver
with tempfile.TemporaryDirectory() as folder:
    saver = llmsaver.Saver(mode="balanced", ledger=folder + "/ledger.db")
    http = httpx2.Client(transport=cache_hits.Null())
    client, turns = llmsaver.OpenAI(api_key="sk-none", saver=saver, http_client=http), json.loads(sys.argv[2])
    call = lambda: client.chat.completions.create(model="gpt-5-mini", messages=turns)
    for _ in range(20):
        call()
    times = cache_hits.Times()
    for _ in range(int(sys.argv[3])):
        times.take(call)
    hit = saver.recent(1)[0].hit_kind == "exact"
    saver.close()
print(json.dumps({"hit": hit, **times.told()}))
"""


class Null(httpx2.BaseTransport):
    """No network."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:  # noqa: ARG002 - the protocol's shape
        """Answer at once."""
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=CONTENT)


def turns_of(count: int) -> list[dict[str, str]]:
    """Return a chat of so many messages."""
    text = "Which of the two is larger, and why? Take the second table into account, and the note below it."
    return [{"role": "assistant" if at % 2 else "user", "content": f"{at}: {text}"} for at in range(count)]


class Times:
    """How long something took, by the wall clock and on the CPU; the latter does not depend on who else is busy."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def take(self, call: Callable[[], object]) -> None:
        """Time a call."""
        began, busy = time.perf_counter(), time.thread_time()
        call()
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(time.thread_time() - busy)

    def told(self) -> dict[str, float]:
        """Return medians and 99th percentiles in microseconds."""
        found = {}
        for name, took in (("", sorted(self.wall)), ("cpu_", sorted(self.cpu))):
            for percent in (50, 99):
                found[f"{name}p{percent}_us"] = round(1e6 * took[percent * len(took) // 100], 1)
        return found


def paired(one: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[Times, Times]:
    """Time two calls in turn."""
    for _ in range(20):
        one()
        other()
    times = Times(), Times()
    for _ in range(rounds):
        times[0].take(one)
        times[1].take(other)
    return times


def hits(count: int, rounds: int, folder: Path, *, stream: bool = False) -> dict[str, Any]:
    """Measure a hit beside the bare SDK's call, for chats of so many messages."""
    saver = llmsaver.Saver(mode="balanced", ledger=str(folder / f"ledger-{count}-{stream}.db"))
    ours = llmsaver.OpenAI(api_key="sk-none", saver=saver, http_client=httpx2.Client(transport=Null()))
    bare = openai.OpenAI(api_key="sk-none", http_client=httpx2.Client(transport=Null()))
    turns: Any = turns_of(count)

    def call(client: Any) -> None:
        if stream and client is ours:
            for _ in client.chat.completions.create(model="gpt-5-mini", messages=turns, stream=True):
                pass
        else:
            client.chat.completions.create(model="gpt-5-mini", messages=turns)

    call(ours)
    plain, hit = paired(lambda: call(bare), lambda: call(ours), rounds)
    alone = Times()
    for _ in range(rounds):
        alone.take(lambda: call(ours))
    entry = saver.recent(1)[0]
    assert entry.hit_kind == "exact"
    saver.close()
    return {"messages": count, "stream": stream, "bare": plain.told(), "hit": hit.told(), "hit_alone": alone.told()}


def lookups(entries: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Measure the store alone."""
    store = Store(place_of(folder / "store.db"), max_bytes=1 << 40)
    now, body = time.time(), json.dumps({**ANSWER, "padding": "x" * 2_000}).encode()

    def answer(at: int) -> Stored:
        return Stored(f"{at:032x}", "chat", body, now, now + 1e6, cost_nano=at, model="gpt-5-mini")

    began = time.perf_counter()
    for start in range(0, entries, 500):
        store.put_all([(answer(at), True) for at in range(start, min(entries, start + 500))])
    filled = time.perf_counter() - began
    draw = random.Random(5)  # noqa: S311 - a seed for repeatability
    took, missed = Times(), Times()
    for _ in range(rounds):
        for times, most in ((took, entries), (missed, 1 << 60)):
            times.take(partial(store.get, f"{draw.randrange(most):032x}", now))
    store.place.close()
    return {
        "entries": entries,
        "writes_per_s": round(entries / filled),
        "found": took.told(),
        "missing": missed.told(),
        "file_mib": round((folder / "store.db").stat().st_size / (1 << 20)),
    }


def race(python: str | None, count: int, rounds: int, programs: int) -> dict[str, Any]:
    """Measure our hit and litellm's in-memory one in turns, each in a program that does nothing else."""
    if python is None:
        return {"skipped": "no --litellm PYTHON was given"}
    ours, theirs = [], []
    here = str(Path(__file__).parent)
    for _ in range(programs):
        command = [sys.executable, "-c", OURS, here, json.dumps(turns_of(count)), str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
        ours.append(json.loads(done.stdout))
        theirs.append(peer(python, count, rounds))
        if "skipped" in theirs[-1]:
            return theirs[-1]
    told: dict[str, Any] = {"messages": count, "litellm_hits": all(each["hit"] for each in theirs)}
    for name in ("p50_us", "cpu_p50_us"):
        told |= {f"ours_{name}": [each[name] for each in ours], f"litellm_{name}": [each[name] for each in theirs]}
    ratios = sorted(one["cpu_p50_us"] / other["cpu_p50_us"] for one, other in zip(ours, theirs, strict=True))
    return {**told, "cpu_ratio": round(ratios[len(ratios) // 2], 3)}


def peer(python: str, count: int, rounds: int) -> dict[str, Any]:
    """Measure litellm's in-memory hit."""
    arguments = [python, "-W", "ignore", "-c", PEER, json.dumps(turns_of(count)), str(rounds), CONTENT.decode()]
    own = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or it looks for its price list on the network
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=own)  # noqa: S603 - named by who runs this
    if done.returncode:
        return {"skipped": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it failed"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"messages": count, **found}


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, for continuous integration")
    parser.add_argument("--litellm", metavar="PYTHON", help="an interpreter that has litellm")
    options = parser.parse_args()
    rounds = 100 if options.quick else 1_000
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "versions": {"python": sys.version.split()[0], "openai": openai.__version__},
            "hits": [
                hits(1, rounds, Path(folder)),
                hits(50, rounds // 2, Path(folder)),
                hits(50, rounds // 2, Path(folder), stream=True),
            ],
            "litellm": [race(options.litellm, count, rounds // 2, 3 if options.quick else 5) for count in (1, 50)],
            "store": lookups(10_000 if options.quick else 100_000, 10 * rounds, Path(folder)),
        }
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
