"""What llmsaver adds to a local model's server, and what that server does for it: side by side, in one run.

    python benchmarks/local.py [--json] [--quick] [--only throughput,first_token,...]

The control is raw HTTP (``http.client``, one kept-alive connection per thread; a new one per call beside it) to the
*same* llama-server, without llmsaver; rounds of both alternate, and every figure is a median over rounds of the ratio
or difference within a round, so that a machine that slows down slows both.

Prediction, written before the first run: throughput 0.99 of raw at 1, 4 and 8 concurrent (0.5 ms of ours against
seconds of the model's); first token 1.5 ms later (the SDK's own stream, the JSON of two events, two messages to the
supervisor); a warm prefix of 1,500 tokens 15x as fast as a cold one; SmolLM2's first token 2 s after the program
began, half of it imports; 70 MB for the sleeping server and 15 MB more for its supervisor, too much for the 80 MB; no
orphan; a schema kept 100 times of 100, since a grammar binds every token, unless an answer runs into its limit.

Learned, on 2 cores that had five times as much to do as they could: there, wall time says little (ratios of 0.95 at 1,
1.67 at 4 and 1.34 at 8 concurrent in one run), so each comparison also tells the processor's time, which other programs
do not change. A call of 32 tokens costs 0.5-0.7 ms of it raw and 3.4-5 ms through the client, against 700 ms or more of
the model's: at most 0.7 % of the throughput. To the first token it is 0.9 ms raw, 2.8 ms in the bare SDK and 3.3 ms in
ours, so of what the client adds four fifths are the SDK's. Waking the supervisor twice a call is the one part of ours
that grows with the machine's load: 0.1 and 0.3 ms at best, 2 ms each at the median. The sleeping server has
61 MB and its supervisor 10: the 80 MB hold. llama-server closes a kept-alive connection after 5 s and after 100
requests, which a client without the SDK's retries must know.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import openai

from llmsaver import Client, Saver
from llmsaver.local import LocalServers, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.local import Endpoint

SMALL, CODER = "smollm2-135m", "qwen2.5-coder-1.5b"
PATH = "/v1/chat/completions"
TOKENS = 32
CONCURRENT = (1, 4, 8)
WANTED = {
    "throughput_ratio": 0.97,
    "first_token_added_ms": 3.0,
    "prefix_times": 10.0,
    "cold_start_s": 3.0,
    "asleep_mb": 80.0,
    "orphans": 0,
    "valid_share": 1.0,
}
SENTENCE = "The clerk of the office writes down what was sold, at what price, to whom, and on which day of the month."
# A program of its own: nothing is imported, and no server runs.
COLD_START = """
import time
began = time.perf_counter()
from llmsaver import Client, Saver
imported = time.perf_counter()
with Saver() as saver, Client(saver=saver) as client:
    stream = client.chat.completions.create(
        model="local/{model}", messages=[{{"role": "user", "content": "Say hello."}}], max_tokens=8, stream=True
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    first = time.perf_counter()
    stream.close()
print(imported - began, first - began)
"""


def body_of(text: str, tokens: int, **more: Any) -> dict[str, Any]:
    """Return a request's body without its model; the answer is exactly so many tokens long."""
    asked = [{"role": "user", "content": text}]
    return {"messages": asked, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}


def numbered(chance: random.Random) -> str:
    """Return a short prompt that no slot has seen, always of about the same length."""
    return f"{chance.randrange(10**8):08d}: tell a long story about a clerk."


class First(NamedTuple):
    """What it took to the first token: seconds, and of those what this thread had of the processor."""

    seconds: float
    cpu: float


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.thread_time()

    def now(self) -> First:
        """Return what has passed."""
        return First(time.perf_counter() - self._began[0], time.thread_time() - self._began[1])


def served_s(timings: dict[str, float]) -> float:
    """Return how long the server says that it worked on a call; what is beside that is the way there and back."""
    return (timings["prompt_ms"] + timings["predicted_ms"]) / 1e3


class Raw:
    """The same server over plain HTTP; ``keep`` connections alive, one per thread."""

    def __init__(self, endpoint: Endpoint, *, keep: bool = True) -> None:
        self._host = endpoint.base_url.removeprefix("http://")
        self._headers = {"authorization": f"Bearer {endpoint.api_key}", "content-type": "application/json"}
        self._keep = keep
        self._own = threading.local()
        self.beside: list[float] = []

    def _sent(self, body: dict[str, Any]) -> http.client.HTTPResponse:
        connection = getattr(self._own, "connection", None)
        if connection is not None and self._keep:
            # llama-server closes a connection after 5 s without a request, and after 100.
            with contextlib.suppress(http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                return self._asked(connection, body)
        self._own.connection = http.client.HTTPConnection(self._host, timeout=300)
        return self._asked(self._own.connection, body)

    def _asked(self, connection: http.client.HTTPConnection, body: dict[str, Any]) -> http.client.HTTPResponse:
        connection.request("POST", PATH, json.dumps(body), self._headers)
        answer: http.client.HTTPResponse = connection.getresponse()
        assert answer.status == http.client.OK, answer.read()
        return answer

    def tokens(self, body: dict[str, Any]) -> int:
        """Make a call; return how many tokens came."""
        began = time.perf_counter()
        answer = json.loads(self._sent(body).read())
        self.beside.append(time.perf_counter() - began - served_s(answer["timings"]))
        return int(answer["usage"]["completion_tokens"])

    def first(self, body: dict[str, Any]) -> First:
        """Return what it took to the first token of a stream."""
        began = Clock()
        answer = self._sent({**body, "stream": True})
        for line in iter(answer.readline, b""):
            choices = json.loads(line[6:])["choices"] if line.startswith(b"data: {") else []
            if choices and choices[0]["delta"].get("content"):
                break
        found = began.now()
        answer.read()
        return found


class Through:
    """The server through a client: ours with its whole stack, or the bare SDK."""

    def __init__(self, client: Any, model: str) -> None:
        self._client, self._model = client, model
        self.beside: list[float] = []

    def _asked(self, body: dict[str, Any], **more: Any) -> Any:
        extra = {"ignore_eos": body["ignore_eos"]}
        named = {key: value for key, value in body.items() if key not in extra}
        return self._client.chat.completions.create(model=self._model, extra_body=extra, **named, **more)

    def tokens(self, body: dict[str, Any]) -> int:
        """Make a call; return how many tokens came."""
        began = time.perf_counter()
        answer = self._asked(body)
        self.beside.append(time.perf_counter() - began - served_s(answer.timings))
        return int(answer.usage.completion_tokens)

    def first(self, body: dict[str, Any]) -> First:
        """Return what it took to the first token of a stream."""
        began, found = Clock(), None
        for chunk in self._asked(body, stream=True):
            if found is None and chunk.choices and chunk.choices[0].delta.content:
                found = began.now()
        assert found is not None
        return found


def spread(values: list[float], places: int = 3) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median": round(middle, places), "q1": round(low, places), "q3": round(high, places)}


def throughput(raw: Raw, fresh: Raw, ours: Through, *, quick: bool) -> dict[str, Any]:
    """Compare tokens per second: in every round, each way has the same number of calls of the same length."""
    found: dict[str, Any] = {}
    chance = random.Random(1)  # noqa: S311 - numbers in a prompt
    for concurrent in CONCURRENT:
        calls = concurrent * (1 if quick else 2)
        ways: dict[str, Callable[[dict[str, Any]], int]] = {"raw": raw.tokens, "ours": ours.tokens}
        if concurrent == 1:
            ways["raw_new_connections"] = fresh.tokens
        rates: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        raw.beside.clear()
        ours.beside.clear()
        with ThreadPoolExecutor(concurrent) as pool:
            for number in range(4 if quick else 9):
                for name in chance.sample(list(ways), len(ways)):
                    asked = [body_of(numbered(chance), TOKENS) for _ in range(calls)]
                    began, busy = time.perf_counter(), time.process_time()
                    tokens = sum(pool.map(ways[name], asked))
                    if number:  # the first round opens connections
                        rates[name].append(tokens / (time.perf_counter() - began))
                        cpu[name].append(1e3 * (time.process_time() - busy) / calls)
        found[str(concurrent)] = {
            **{f"{name}_tokens_per_s": round(statistics.median(each), 1) for name, each in rates.items()},
            "ratio": spread([mine / bare for mine, bare in zip(rates["ours"], rates["raw"], strict=True)]),
            # What hangs less on the machine's other work: processor time of this program per call, and what a call took
            # beside the time that the server says it worked on it.
            "cpu_ms_per_call": {name: round(statistics.median(each), 2) for name, each in cpu.items()},
            "beside_ms": {
                "raw": spread([1e3 * each for each in raw.beside], 2),
                "ours": spread([1e3 * each for each in ours.beside], 2),
            },
            # Of all the time that the same number of calls took: one slow round counts as much as it lasted.
            "ratio_of_sums": round(sum(1 / each for each in rates["raw"]) / sum(1 / each for each in rates["ours"]), 3),
        }
    return found


def first_token(raw: Raw, sdk: Through, ours: Through, *, quick: bool) -> dict[str, Any]:
    """Compare the time to the first token of one short prompt that the server knows already.

    The bare SDK stands between raw HTTP and ours: what it takes by itself is not ours to save.
    """
    body = body_of("Tell a long story about a clerk.", 2)
    ways = {"raw": raw.first, "sdk": sdk.first, "ours": ours.first}
    times: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    chance = random.Random(2)  # noqa: S311 - an order
    for number in range(20 if quick else 200):
        for name in chance.sample(list(ways), len(ways)):
            found = ways[name](body)
            if number > 4:  # noqa: PLR2004 - rounds that warm up all of them
                times[name].append(1e3 * found.seconds)
                cpu[name].append(1e3 * found.cpu)
    return {
        **{f"{name}_ms": spread(each, 2) for name, each in times.items()},
        **{f"added_to_{name}_ms": added(times["ours"], times[name]) for name in ("raw", "sdk")},
        "cpu_ms": {name: round(statistics.median(each), 2) for name, each in cpu.items()},
    }


def added(ours: list[float], bare: list[float]) -> dict[str, float]:
    """Return what ours takes more: within rounds, and in the fastest tenth, where nothing else had the processor."""
    within = [mine - other for mine, other in zip(ours, bare, strict=True)]
    return {**spread(within, 2), "fastest_tenth": round(tenth(ours) - tenth(bare), 2)}


def tenth(values: list[float]) -> float:
    """Return the tenth percentile: what it takes where nothing else has the processor."""
    return statistics.quantiles(values, n=10)[0]


def prefix(client: Client, *, quick: bool) -> dict[str, Any]:
    """Time the first token of 1,500 tokens that no slot knows, and then with another question at their end."""
    chance = random.Random()  # noqa: S311 - a salt
    ours = Through(client, f"local/{SMALL}")
    cold, warm = [], []
    for _ in range(1 if quick else 3):
        text = f"{chance.randrange(10**8):08d}\n" + "\n".join(f"{n}. {SENTENCE}" for n in range(1, 54))
        cold.append(ours.first(body_of(f"{text}\nWho writes?", 2)).seconds)
        warm += [ours.first(body_of(f"{text}\nWhat was sold {n}?", 2)).seconds for n in range(3)]
    usage = client.chat.completions.create(
        model=f"local/{SMALL}", messages=[{"role": "user", "content": f"{text}\nWhen?"}], max_tokens=1
    ).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.prompt_tokens_details.cached_tokens,
        "cold_s": round(statistics.median(cold), 3),
        "warm_s": round(statistics.median(warm), 3),
        "times": round(statistics.median(cold) / statistics.median(warm), 1),
    }


def cold_start(*, quick: bool) -> dict[str, Any]:
    """Time a new program to its first token, with no server running, in a runtime folder of its own."""
    imports, firsts = [], []
    for _ in range(1 if quick else 5):
        with tempfile.TemporaryDirectory() as folder:
            said = subprocess.run(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", COLD_START.format(model=SMALL)],
                env=os.environ | {"XDG_RUNTIME_DIR": folder},
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()
        imports.append(float(said[0]))
        firsts.append(float(said[1]))
    return {
        "import_s": round(statistics.median(imports), 3),
        "first_token_s": round(statistics.median(firsts), 3),
        "fastest_s": round(min(firsts), 3),
        "slowest_s": round(max(firsts), 3),
    }


def asleep() -> dict[str, Any]:
    """Measure the memory of a server, and of its supervisor, before and after it falls asleep."""
    servers = LocalServers(sleep_idle_seconds=2)
    try:
        endpoint = servers.endpoint(SMALL)
        Raw(endpoint).tokens(body_of("Say hello.", 4))
        awake = memory_mb(endpoint)
        deadline = time.monotonic() + 60
        while not next(state for state in running() if state.address == endpoint.base_url).sleeping:
            assert time.monotonic() < deadline, "it did not fall asleep"
            time.sleep(0.2)
        time.sleep(1)
        sleeping = memory_mb(endpoint)
        began = time.perf_counter()
        Raw(endpoint).first(body_of("Say hello.", 2))
        return {"awake_mb": awake, "asleep_mb": sleeping, "wakes_s": round(time.perf_counter() - began, 2)}
    finally:
        servers.close()


def memory_mb(endpoint: Endpoint) -> dict[str, float]:
    """Return the resident memory of both programs in MB (10**6 bytes), and what of it is theirs alone."""
    state = next(state for state in running() if state.address == endpoint.base_url)
    rss, own = {}, 0
    for name, pid in (("server", state.child), ("supervisor", state.pid)):
        facts = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        rss[name] = round(int(facts["Rss:"]) * 1024 / 1e6, 1)
        own += int(facts["Private_Clean:"]) + int(facts["Private_Dirty:"])
    return {**rss, "both": round(sum(rss.values()), 1), "private": round(own * 1024 / 1e6, 1)}


def orphaned(*, quick: bool) -> dict[str, Any]:
    """Kill programs and supervisors at random moments; see ``orphans.py``."""
    from orphans import killed

    found = killed(4 if quick else 50)
    seconds = sorted(each.gone_s for each in found)
    return {
        "kills": len(found),
        "orphans": sum(each.left for each in found),
        "gone_median_s": seconds[len(seconds) // 2],
        "gone_worst_s": seconds[-1],
    }


ANSWERS = ("json_schema", "forced_tool")
PARTS = ("throughput", "first_token", "prefix", *ANSWERS, "cold_start", "asleep", "orphans")


def measured(parts: list[str], *, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each part's figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Saver(ledger=str(Path(folder) / "ledger.db")) as saver,
        Client(saver=saver) as client,
    ):
        if {"throughput", "first_token", "prefix"} & set(parts):
            endpoint = saver.local.endpoint(SMALL)
            raw, ours = Raw(endpoint), Through(client, f"local/{SMALL}")
            if "throughput" in parts:
                yield "throughput", throughput(raw, Raw(endpoint, keep=False), ours, quick=quick)
            if "first_token" in parts:
                with openai.OpenAI(base_url=f"{endpoint.base_url}/v1", api_key=endpoint.api_key) as bare:
                    yield "first_token", first_token(raw, Through(bare, endpoint.model), ours, quick=quick)
            if "prefix" in parts:
                yield "prefix", prefix(client, quick=quick)
        for what in (part for part in ANSWERS if part in parts):
            from local_answers import kept

            yield what, kept(client, SMALL if quick else CODER, what, 8 if quick else 100)
    if "cold_start" in parts:
        yield "cold_start", cold_start(quick=quick)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        if "asleep" in parts:
            yield "asleep", asleep()
        if "orphans" in parts:
            yield "orphans", orphaned(quick=quick)


def missed(found: dict[str, Any]) -> list[str]:
    """Return what is not as good as it should be."""
    said: list[tuple[str, float, bool]] = []
    for concurrent, figures in found.get("throughput", {}).items():
        ratio = figures["ratio"]["median"]
        said.append((f"throughput at {concurrent}: {ratio} of raw", ratio, ratio >= WANTED["throughput_ratio"]))
    if (part := found.get("first_token")) is not None:
        later = part["added_to_raw_ms"]["median"]
        said.append((f"first token {later} ms later", later, later <= WANTED["first_token_added_ms"]))
    if (part := found.get("prefix")) is not None:
        said.append((f"warm prefix {part['times']}x", part["times"], part["times"] >= WANTED["prefix_times"]))
    if (part := found.get("cold_start")) is not None:
        first = part["first_token_s"]
        said.append((f"first token of a cold start after {first} s", first, first < WANTED["cold_start_s"]))
    if (part := found.get("asleep")) is not None:
        both = part["asleep_mb"]["both"]
        said.append((f"{both} MB asleep", both, both < WANTED["asleep_mb"]))
    if (part := found.get("orphans")) is not None:
        said.append((f"{part['orphans']} orphans", part["orphans"], part["orphans"] <= WANTED["orphans"]))
    for what in ANSWERS:
        if (part := found.get(what)) is not None:
            share = part["valid"] / part["asked"]
            said.append((f"{what}: {part['valid']} of {part['asked']} valid", share, share >= WANTED["valid_share"]))
    return [words for words, _, good in said if not good]


def main() -> int:
    """Measure, print; 1 where a figure that does not hang on the machine's other work is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a minute, and rough; the small model writes the JSON")
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()}
    for name, figures in measured(parts, quick=options.quick):
        found[name] = figures
        if not options.json:
            print(name, json.dumps(figures, indent=2))
    found |= {"wanted": WANTED, "missed": missed(found)}
    if options.json:
        print(json.dumps(found, indent=2))
    for each in found["missed"]:
        print(f"missed: {each}", file=sys.stderr)
    # What a busy machine cannot excuse; a quick run's times are too few to be held to.
    hard = {"orphans", *ANSWERS} & set(parts)
    return 1 if missed({name: found[name] for name in hard}) or (found["missed"] and not options.quick) else 0


if __name__ == "__main__":
    sys.exit(main())
