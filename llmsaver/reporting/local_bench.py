"""How fast a local tier is on this machine: tokens per second, time to first token, dollars per million tokens."""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Any

from llmsaver.clients.facade import Client
from llmsaver.core.scope import feature
from llmsaver.errors import LocalModelError
from llmsaver.local.status import running
from llmsaver.reporting.local_ask import resolved
from llmsaver.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.local.endpoint import Endpoint

__all__ = ["Bench", "FirstToken", "Rate", "as_json", "bench", "usd_per_million"]

FEATURE = "bench"
CONCURRENT = (1, 2, 4, 8)
_LOCAL = "local/"
# Seconds per level, tokens of the shared prefix, and how often the cold and the warm prompt are timed.
_FULL, _QUICK = (10.0, 1_500, 3), (3.0, 400, 1)
_TOKENS = 64
_WORDS = 1.4  # of the prefix' words, in tokens
_SENTENCE = "The clerk of the office writes down what was sold, at what price, to whom, and on which day of the month."


@dataclass(frozen=True, slots=True)
class Rate:
    """What came out while ``concurrent`` calls ran all the time, in tokens per second together.

    ``first_token_s`` is the median time until a call's first token.
    """

    concurrent: int
    tokens_per_s: float
    first_token_s: float | None
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Median seconds to the first token of a prompt of ``tokens``: nothing of it known, and all but the question.

    ``cached`` is how many of its tokens the server said it knew; None where it does not say.
    """

    tokens: int
    cold_s: float
    warm_s: float
    cached: int | None

    @property
    def times(self) -> float:
        """How many times as fast the warm one is."""
        return self.cold_s / self.warm_s if self.warm_s else 0.0


@dataclass(slots=True)
class Bench:
    """A tier as it was measured.

    ``ready_s``: until its server answered, next to nothing where it ran already (``was_running``). ``memory_mib`` is
    what it has now, None where it is elsewhere. ``skipped``: what there was no time for.
    """

    model: str
    runner: str
    was_running: bool
    ready_s: float
    slots: int | None = None
    context: int | None = None
    memory_mib: int | None = None
    hourly_usd: Decimal | None = None
    rates: list[Rate] = field(default_factory=list)
    first: FirstToken | None = None
    stopped: bool = False
    skipped: list[str] = field(default_factory=list)


def usd_per_million(hourly_usd: Decimal, tokens_per_s: float) -> Decimal | None:
    """Return dollars per million output tokens of a machine that is busy all the time; None for no tokens."""
    return hourly_usd / (Decimal(str(tokens_per_s)) * 3600) * 10**6 if tokens_per_s > 0 else None


def bench(
    model: str,
    *,
    saver: Saver | None = None,
    hourly_usd: Decimal | None = None,
    quick: bool = False,
    longest_s: float = 300.0,
    told: Callable[[str], object] | None = None,
) -> Bench:
    """Measure a local tier through the client, as an application would use it.

    ``longest_s`` bounds it: what is not begun by then is skipped, and a level ends when its seconds are over. ``told``
    hears what is measured. Ctrl-C ends it with what there is. Raises LocalModelError or MissingExtra, with the fix.
    """
    name = resolved(model)
    if not name.startswith(_LOCAL):
        raise LocalModelError(f"{model} is no local model: llmsaver local list shows those there are")
    own = saver or Saver(mode="observe")
    try:
        with Client(saver=own, max_retries=0) as client, feature(FEATURE):
            return _Bench(client, name, told or (lambda _: None), hourly_usd).run(
                _QUICK if quick else _FULL, time.monotonic() + longest_s
            )
    finally:
        if saver is None:
            own.close()


class _Bench:
    """One run."""

    def __init__(self, client: Client, name: str, told: Callable[[str], object], hourly_usd: Decimal | None) -> None:
        self.client, self.name, self.told, self.hourly = client, name, told, hourly_usd
        self.extra: dict[str, Any] = {}

    def run(self, plan: tuple[float, int, int], deadline: float) -> Bench:
        seconds, prefix, rounds = plan
        self.told(f"starting {self.name}")
        made, endpoint = self._ready()
        # A model that ends its answer early would leave its slot empty.
        self.extra = {"ignore_eos": True} if endpoint.runner in {"llama.cpp", "vllm"} else {}
        try:
            self._drained(self._stream("Say hello.", 4))  # the first call loads what is loaded late
            room = (made.context or prefix * 2) // 2
            self.told("first token of a long prompt")
            made.first = self._first_token(min(prefix, room), rounds, deadline)
            for concurrent in CONCURRENT:
                what = f"{concurrent} at once"
                if time.monotonic() + seconds > deadline:
                    made.skipped.append(what)
                    continue
                self.told(what)
                made.rates.append(self._rate(concurrent, seconds))
        except KeyboardInterrupt:
            made.stopped = True
        made.memory_mib = _memory(endpoint)
        return made

    def _ready(self) -> tuple[Bench, Endpoint]:
        name = self.name.removeprefix(_LOCAL)
        servers = self.client.saver.local
        there = {state.address for state in running()}
        began = time.monotonic()
        endpoint = servers.endpoint(name)
        ready = time.monotonic() - began
        tier = servers.tier(name)
        rate = self.hourly if self.hourly is not None else getattr(tier, "hourly_usd", None)
        made = Bench(self.name, endpoint.runner, endpoint.base_url in there, ready)
        made.hourly_usd = None if rate is None else Decimal(str(rate))
        for state in running():
            if state.address == endpoint.base_url:
                made.slots, made.context = state.slots, state.context
        return made, endpoint

    def _stream(self, text: str, tokens: int) -> Iterator[tuple[float, Any]]:
        """Yield the moment and the chunk, for every chunk of an answer; the stream is closed with the generator."""
        with self.client.chat.completions.create(
            model=self.name,
            messages=[{"role": "user", "content": text}],
            max_tokens=tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=self.extra,
        ) as stream:
            for chunk in stream:
                yield time.monotonic(), chunk

    def _drained(self, stream: Iterator[tuple[float, Any]]) -> None:
        for _ in stream:
            pass

    def _rate(self, concurrent: int, seconds: float) -> Rate:
        """Keep so many calls running for so long and count the tokens that come meanwhile."""
        began = time.monotonic()
        over, stop = began + seconds, threading.Event()

        def work() -> tuple[int, list[float]]:
            tokens, firsts = 0, []
            with feature(FEATURE):
                while time.monotonic() < over and not stop.is_set():
                    asked, first = time.monotonic(), None
                    for at, chunk in self._stream(f"{secrets.token_hex(4)}: tell a long story.", _TOKENS):
                        if at > over or stop.is_set():
                            break
                        if _has_token(chunk):
                            tokens += 1
                            first = at - asked if first is None else first
                    if first is not None:
                        firsts.append(first)
            return tokens, firsts

        with ThreadPoolExecutor(concurrent) as pool:
            try:
                found = [each.result() for each in [pool.submit(work) for _ in range(concurrent)]]
            finally:
                stop.set()
        tokens = sum(count for count, _ in found)
        firsts = [each for _, some in found for each in some]
        return Rate(concurrent, tokens / seconds, median(firsts) if firsts else None, tokens, seconds)

    def _first_token(self, tokens: int, rounds: int, deadline: float) -> FirstToken:
        times: dict[bool, list[float]] = {False: [], True: []}
        seen, cached = 0, None
        for number in range(rounds):
            if number and time.monotonic() > deadline:
                break
            # Salted at its very beginning, so that no server knows anything of it.
            prefix = _prefix(secrets.token_hex(8), tokens)
            for warm in (False, True):
                asked, first = time.monotonic(), None
                for at, chunk in self._stream(f"{prefix}\nQuestion {secrets.token_hex(2)}: who writes?", 2):
                    if first is None and _has_token(chunk):
                        first = at - asked
                    if chunk.usage is not None:
                        seen = chunk.usage.prompt_tokens
                        details = chunk.usage.prompt_tokens_details
                        cached = getattr(details, "cached_tokens", None) if warm else cached
                times[warm].append(first if first is not None else time.monotonic() - asked)
        return FirstToken(seen, median(times[False]), median(times[True]), cached)


def _prefix(salt: str, tokens: int) -> str:
    count = max(1, round(tokens / (len(_SENTENCE.split()) * _WORDS)))
    return f"{salt}\n" + "\n".join(f"{number}. {_SENTENCE}" for number in range(1, count + 1))


def _has_token(chunk: Any) -> bool:
    return bool(chunk.choices) and bool(chunk.choices[0].delta.content)


def _memory(endpoint: Endpoint) -> int | None:
    return next((state.rss_mib for state in running() if state.address == endpoint.base_url), None)


def as_json(made: Bench) -> str:
    """Return a measurement as JSON."""
    rates = [{**asdict(rate), "usd_per_million": _usd(made.hourly_usd, rate.tokens_per_s)} for rate in made.rates]
    first = None if made.first is None else {**asdict(made.first), "times": made.first.times}
    told = {**asdict(replace(made)), "rates": rates, "first": first}
    return json.dumps(told | {"hourly_usd": None if made.hourly_usd is None else str(made.hourly_usd)}, indent=2)


def _usd(hourly_usd: Decimal | None, tokens_per_s: float) -> str | None:
    found = None if hourly_usd is None else usd_per_million(hourly_usd, tokens_per_s)
    return None if found is None else str(round(found, 6))
