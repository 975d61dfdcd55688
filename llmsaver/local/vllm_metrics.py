"""What a server says about itself at ``/metrics``: how busy it is, how many tokens it served, how many came from cache.

The text is Prometheus' exposition format; vLLM, TGI, SGLang and llama.cpp name the same facts differently. See
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.local.endpoint import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Metrics", "Pulse", "read", "samples"]

# A label's value may hold spaces, braces and escaped quotes.
_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(?P<value>\S+)(?:[ \t]+-?\d+)?\s*',
    re.ASCII,
)
_NAMES: dict[str, tuple[str, ...]] = {
    "running": (
        *("vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"),
        "tgi_batch_current_size",
    ),
    "waiting": (
        *("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"),
        "tgi_queue_size",
    ),
    "seconds": (
        *("vllm:e2e_request_latency_seconds_sum", "sglang:e2e_request_latency_seconds_sum"),
        "tgi_request_duration_sum",
    ),
    "finished": (
        *("vllm:e2e_request_latency_seconds_count", "sglang:e2e_request_latency_seconds_count"),
        "tgi_request_duration_count",
    ),
    "prompt_tokens": (
        *("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "llamacpp:prompt_tokens_total"),
        "tgi_request_input_length_sum",
    ),
    "output_tokens": (
        *("vllm:generation_tokens_total", "sglang:generation_tokens_total", "llamacpp:tokens_predicted_total"),
        "tgi_request_generated_tokens_sum",
    ),
    "cached_tokens": ("vllm:prefix_cache_hits_total", "sglang:cached_tokens_total", "vllm:gpu_prefix_cache_hits_total"),
    "queried_tokens": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
}
_FRESH_SECONDS = 0.5
_STALE_SECONDS = 2.0
_SILENT_SECONDS = 30.0
_RETRY_SECONDS = 2.0


def samples(text: str) -> dict[str, float]:
    """Return each metric's value, summed over its label sets; lines that are none are passed over."""
    found: dict[str, float] = {}
    for line in text.split("\n"):
        match = None if line.startswith("#") else _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match["value"].replace("_", "x"))  # Python's own "1_000" is no number here
        except ValueError:
            continue
        if math.isfinite(value):
            found[match["name"]] = found.get(match["name"], 0.0) + value
    return found


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a server counted since its start: requests, seconds they took, tokens. ``at`` is a monotonic time.

    ``queried_tokens`` are those that were looked up in the prefix cache, ``cached_tokens`` those found there; None
    where a server does not say.
    """

    running: int
    waiting: int
    at: float
    seconds: float | None = None
    finished: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    queried_tokens: int | None = None

    @property
    def cache_hit_rate(self) -> float | None:
        """Return which part of the tokens that were looked up the prefix cache held; None where unknown."""
        return (
            None if self.cached_tokens is None or not self.queried_tokens else self.cached_tokens / self.queried_tokens
        )

    def mean_s(self, before: Metrics | None = None) -> float | None:
        """Return the mean seconds of a request from queue to last token, since ``before`` where some ended since."""
        if not self.finished or self.seconds is None:
            return None
        if before is not None and before.finished is not None and before.seconds is not None:
            finished, seconds = self.finished - before.finished, self.seconds - before.seconds
            if finished > 0 and seconds >= 0:
                return seconds / finished
        return self.seconds / self.finished

    def tokens_per_second(self, before: Metrics) -> float | None:
        """Return the output tokens per second since ``before``; None where they were not counted or no time passed."""
        if self.output_tokens is None or before.output_tokens is None or self.at <= before.at:
            return None
        return (self.output_tokens - before.output_tokens) / (self.at - before.at)


def read(text: str) -> Metrics | None:
    """Return what a ``/metrics`` text says; None where it names no requests, so that nothing can be told."""
    found = samples(text)
    values = {fact: next((found[name] for name in names if name in found), None) for fact, names in _NAMES.items()}
    running, waiting, seconds = values.pop("running"), values.pop("waiting"), values.pop("seconds")
    if running is None and waiting is None:
        return None
    counts: Mapping[str, int | None] = {name: None if value is None else int(value) for name, value in values.items()}
    return Metrics(int(running or 0), int(waiting or 0), time.monotonic(), seconds, **counts)


class Pulse:
    """A server's load, asked at most twice a second and for no caller's time while one is at hand.

    ``ask`` returns ``/metrics``' text, None where there is none, and raises OSError where it cannot be reached; a
    server without it is not asked again for 30 seconds. ``slots`` is how many requests it answers at once, None where
    that is unknown: then it counts as many as it is seen to answer, for only a full server lets requests wait.
    """

    def __init__(self, ask: Callable[[], str | None], slots: int | None = None) -> None:
        self._ask = ask
        self._slots = slots
        self._now: Metrics | None = None
        self._before: Metrics | None = None
        self._most = 0
        self._asked_at = -math.inf
        self._silent_until = -math.inf

    def metrics(self) -> Metrics | None:
        """Return the last reading, a new one where it is 2 seconds old or more; None where nothing can be told."""
        now = time.monotonic()
        if now < self._silent_until:
            return None
        age = now - self._asked_at
        if age >= _STALE_SECONDS:
            self._asked_at = now
            self._refresh()
        elif age >= _FRESH_SECONDS:
            # Marked first: whoever comes meanwhile takes the reading at hand. A lock would stay held in a fork.
            self._asked_at = now
            threading.Thread(target=self._refresh, name="llmsaver-load", daemon=True).start()
        return self._now

    def load(self) -> Load | None:
        """Return how busy the server is; None where nothing can be told."""
        now = self.metrics()
        if now is None:
            return None
        slots = self._slots or max(self._most, 1)
        return Load(now.running, now.waiting, slots, now.mean_s(self._before))

    def _refresh(self) -> None:
        try:
            text = self._ask()
        except OSError:
            # Too busy to answer, or gone: what it said last is no longer known to hold.
            found, pause = None, _RETRY_SECONDS
        else:
            found, pause = None if text is None else read(text), _SILENT_SECONDS
        if found is None:
            self._silent_until = time.monotonic() + pause
        else:
            self._most = max(self._most, found.running)
            if self._now is not None and found.finished != self._now.finished:
                self._before = self._now
        self._now = found
