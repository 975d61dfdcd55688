"""What servers say at ``/metrics``, and how seldom they are asked."""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local import vllm_metrics
from llmsaver.local.endpoint import Load
from llmsaver.local.vllm_metrics import Metrics, Pulse, read, samples

if TYPE_CHECKING:
    from collections.abc import Callable

# As vLLM 0.32 prints them.
VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 3.0
vllm:prefix_cache_queries_total{engine="0",model_name="tiny"} 1598.0
vllm:prefix_cache_hits_total{engine="0",model_name="tiny"} 1152.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 1598.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 2.067e+03
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 15.0
vllm:e2e_request_latency_seconds_count{engine="0",model_name="tiny"} 15.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="tiny"} 40.5
"""
LLAMA = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:tokens_predicted_total 80\n"
TGI = 'tgi_batch_current_size 4\ntgi_queue_size 6\ntgi_request_duration_sum 20\ntgi_request_duration_count{a="b"} 10\n'
SGLANG = 'sglang:num_running_reqs{model_name="m"} 7\nsglang:num_queue_reqs{model_name="m"} 0\n'


def test_vllms_metrics_are_read_and_summed_over_its_cores() -> None:
    found = read(VLLM)
    assert found is not None
    assert (found.running, found.waiting, found.finished, found.seconds) == (3, 3, 15, 40.5)
    assert (found.prompt_tokens, found.output_tokens) == (1598, 2067)
    assert found.cache_hit_rate == pytest.approx(1152 / 1598)
    assert found.mean_s() == pytest.approx(2.7)


@pytest.mark.parametrize(("text", "load"), [(LLAMA, (2, 1, None)), (TGI, (4, 6, 2.0)), (SGLANG, (7, 0, None))])
def test_other_servers_name_the_same_facts_differently(text: str, load: tuple[int, int, float | None]) -> None:
    found = read(text)
    assert found is not None
    assert (found.running, found.waiting, found.mean_s()) == load
    assert found.cache_hit_rate is None


def test_a_text_without_requests_tells_nothing() -> None:
    assert read("process_cpu_seconds_total 1.0\n<html>not metrics</html>\n") is None


def test_labels_may_hold_anything() -> None:
    text = 'a{x="} 5",y="\\" 6 \\\\"} 7 1712345678000\nb 1_000\nc NaN\nd +Inf\nbad line here\n{} 4\ne{x=1\n f\t8 \n'
    assert samples(text) == {"a": 7.0, "f": 8.0}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(math.isfinite(value) for value in samples(text).values())


@given(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True),
    st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), st.text(st.characters(exclude_characters="\r"))),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_sample_that_is_written_is_read(name: str, labels: dict[str, str], value: float) -> None:
    escape = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    inside = ",".join(f'{label}="{text.translate(escape)}"' for label, text in labels.items())
    assert samples(f"{name}{{{inside}}} {value!r}\n") == {name: value}


def test_rates_are_of_the_time_since_the_last_reading() -> None:
    before = Metrics(0, 0, at=10.0, seconds=4.0, finished=2, output_tokens=100)
    now = Metrics(0, 0, at=20.0, seconds=10.0, finished=3, output_tokens=400)
    assert now.mean_s(before) == 6.0
    assert now.mean_s() == pytest.approx(10 / 3)
    assert now.tokens_per_second(before) == 30.0
    assert now.mean_s(now) == pytest.approx(10 / 3)  # nothing ended since
    assert before.tokens_per_second(now) is None
    assert Metrics(0, 0, at=30.0).tokens_per_second(now) is None
    assert Metrics(0, 0, at=30.0).mean_s(now) is None
    assert now.mean_s(Metrics(0, 0, at=0.0)) == pytest.approx(10 / 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets time pass."""
    now = [1000.0]

    def advance(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(vllm_metrics, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return advance


def joined() -> None:
    for thread in threading.enumerate():
        if thread.name == "llmsaver-load":
            thread.join(60)


def text(running: int, waiting: int = 0, finished: int = 0) -> str:
    names = ("num_requests_running", "num_requests_waiting")
    counts = ("e2e_request_latency_seconds_count", "e2e_request_latency_seconds_sum")
    values = (running, waiting, finished, finished * 2)
    return "".join(f"vllm:{name} {value}\n" for name, value in zip((*names, *counts), values, strict=True))


def test_a_fresh_reading_is_not_asked_for_again(clock: Callable[[float], None]) -> None:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return text(len(asked))

    pulse = Pulse(ask, slots=8)
    assert pulse.load() == Load(1, 0, 8, None)
    clock(0.4)
    assert pulse.load() == Load(1, 0, 8, None)
    clock(0.2)
    assert pulse.load() is not None  # the one at hand, while a new one comes in the background
    joined()
    assert pulse.load() == Load(2, 0, 8, None)
    clock(3)
    assert pulse.load() == Load(3, 0, 8, None)  # too old to be given out


def test_unknown_slots_are_as_many_as_were_seen_busy(clock: Callable[[float], None]) -> None:
    answers = iter([text(0), text(4, 6), text(0)])
    pulse = Pulse(lambda: next(answers))
    loads = []
    for _ in range(3):
        loads.append(pulse.load())
        clock(3)
    assert [load and load.slots for load in loads] == [1, 4, 4]


def test_the_mean_is_of_the_last_requests(clock: Callable[[float], None]) -> None:
    answers = iter([text(1, 0, 10), text(1, 0, 10), "vllm:num_requests_running 1\n" + text(0, 0, 12)])
    pulse = Pulse(lambda: next(answers))
    means = []
    for _ in range(3):
        found = pulse.load()
        means.append(found and found.mean_s)
        clock(3)
    assert means == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(("answer", "seconds"), [(None, 30.0), ("no metrics", 30.0), (OSError("busy"), 2.0)])
def test_a_server_that_does_not_say_is_left_alone(
    clock: Callable[[float], None], answer: str | OSError | None, seconds: float
) -> None:
    asked: list[int] = []

    def ask() -> str | None:
        asked.append(1)
        if isinstance(answer, OSError):
            raise answer
        return answer

    pulse = Pulse(ask)
    assert pulse.load() is None
    clock(seconds - 0.1)
    assert pulse.load() is None
    assert len(asked) == 1
    clock(2.0)
    assert pulse.load() is None
    assert len(asked) == 2


def test_a_reading_at_hand_costs_next_to_nothing() -> None:
    pulse = Pulse(lambda: VLLM)
    pulse.load()
    began = time.thread_time()
    for _ in range(200):
        pulse.load()
    assert (time.thread_time() - began) / 200 < 0.001
