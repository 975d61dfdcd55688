"""One real llama.cpp server for all programs, with the real SmolLM2: shared, asleep, adapted, killed, not left over."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import Client, Saver
from llmsaver.errors import LocalModelError
from llmsaver.local import Endpoint, LocalModel, LocalServers, running, stop

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., LocalServers]
    Gone = Callable[[int, float], bool]
    Until = Callable[[Callable[[], object]], None]

pytestmark = pytest.mark.local

NAME = "smollm2-135m"
WIDTH = 576  # of SmolLM2's embeddings


def chat(endpoint: Endpoint, text: str = "Say hi.", **extra: Any) -> Any:
    asked = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **extra}
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=60)
    headers = {"authorization": f"Bearer {endpoint.api_key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["choices"][0]["message"]["content"]


@pytest.fixture
def local(smollm2: Path, servers: Make) -> LocalServers:
    assert smollm2.is_file()
    return servers(context=256, parallel=2)


def test_concurrent_first_calls_start_one_and_close_ends_it(local: LocalServers, gone: Gone) -> None:
    with ThreadPoolExecutor(4) as pool:
        endpoints = list(pool.map(local.endpoint, [NAME] * 4))
    assert all(each is endpoints[0] for each in endpoints)
    (state,) = running()
    local.close()
    assert gone(state.child, 0.1)
    assert not state.log.exists()


def test_two_programs_share_one_server(local: LocalServers, library: str) -> None:
    endpoint = local.endpoint(NAME)
    source = f"""
        from llmsaver.local import LocalServers
        local = LocalServers(context=256, parallel=2)
        print(local.endpoint({NAME!r}).base_url)
        local.close()
    """
    other = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", textwrap.dedent(source)],
        env=os.environ | {"PYTHONPATH": library},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert other.stdout.strip() == endpoint.base_url
    (state,) = running()
    assert state.leases == 1
    assert chat(endpoint)


def test_a_killed_server_comes_back(local: LocalServers, gone: Gone) -> None:
    first = local.endpoint(NAME)
    (state,) = running()
    os.kill(state.child, signal.SIGKILL)
    assert gone(state.pid, 60)
    second = local.endpoint(NAME)
    assert first != second
    assert chat(second)


def test_asleep_it_needs_little_memory_and_wakes(smollm2: Path, servers: Make, until: Until) -> None:
    assert smollm2.is_file()
    local = servers(context=1024, parallel=2, sleep_idle_seconds=1)
    endpoint = local.endpoint(NAME)
    found: list[Any] = []

    def seen_awake() -> bool:
        assert chat(endpoint)
        found[:] = running()
        return not found[0].sleeping

    until(seen_awake)
    (awake,) = found
    until(lambda: [state for state in running() if state.sleeping])
    (asleep,) = running()
    assert awake.rss_mib is not None
    assert asleep.rss_mib is not None
    # Measured children carry coverage's own memory; the figure itself is the benchmark's.
    assert asleep.rss_mib < min(110 if "coverage" in sys.modules else 80, awake.rss_mib)
    assert chat(endpoint)


def test_a_kept_server_is_there_for_the_next_program(local: LocalServers, servers: Make) -> None:
    endpoint = local.keep(NAME)
    local.close()
    other = servers(context=256, parallel=2)
    assert other.endpoint(NAME) == endpoint  # with the same port and key
    assert stop(NAME)


def gguf_string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def adapter(path: Path, scale: float) -> Path:
    """Write a LoRA adapter that adds ``scale`` to every number of the first layer's query matrix."""
    text = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    pairs = [gguf_string(key) + struct.pack("<I", 8) + gguf_string(value) for key, value in text.items()]
    pairs.append(gguf_string("adapter.lora.alpha") + struct.pack("<If", 6, 1.0))
    numbers, infos, at = b"", b"", 0
    for suffix, shape in (("lora_a", (WIDTH, 1)), ("lora_b", (1, WIDTH))):
        infos += gguf_string(f"blk.0.attn_q.weight.{suffix}") + struct.pack("<I2QIQ", 2, *shape, 0, at)
        numbers += struct.pack("<f", scale) * WIDTH
        at = len(numbers)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, len(pairs)) + b"".join(pairs) + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + numbers)
    return path


def test_adapters_are_chosen_by_each_request(smollm2: Path, servers: Make, tmp_path: Path) -> None:
    adapters = {"mild": adapter(tmp_path / "mild.gguf", 0.0), "wild": adapter(tmp_path / "wild.gguf", 3.0)}
    tier = LocalModel("base", path=smollm2, lora=adapters)
    local = servers(models={"base": tier}, context=256, parallel=2)
    plain, mild, wild = (local.endpoint(name) for name in ("base", "base:mild", "base:wild"))
    assert plain.loras == 2
    assert (mild.lora, wild.lora) == (0, 1)

    def with_adapter(endpoint: Endpoint) -> Any:
        scales = [{"id": number, "scale": float(number == endpoint.lora)} for number in range(endpoint.loras)]
        return chat(endpoint, lora=scales)

    assert chat(plain) == with_adapter(plain) == with_adapter(mild)
    assert with_adapter(wild) != chat(plain)


def test_an_adapter_goes_by_its_name_through_both_sdks(smollm2: Path, tmp_path: Path) -> None:
    adapters = {"mild": adapter(tmp_path / "mild.gguf", 0.0), "wild": adapter(tmp_path / "wild.gguf", 3.0)}
    tier = LocalModel("base", path=smollm2, lora=adapters, context=256, parallel=2)
    turns: Any = [{"role": "user", "content": "Say hi."}]
    with (
        Saver(local_models=[tier], ledger=str(tmp_path / "l.db")) as saver,
        Client(saver=saver, api_key="none") as client,
    ):
        said: dict[str, list[str]] = {}
        for name in ("base", "base:mild", "base:wild"):
            model = f"local/{name}"
            asked = client.chat.completions.create(model=model, messages=turns, max_tokens=8, temperature=0)
            # Streamed, so that both ways of answering are taken.
            greedy = {"temperature": 0}  # left out of the newest Messages' parameters
            with client.messages.stream(model=model, messages=turns, max_tokens=8, extra_body=greedy) as stream:
                told = stream.get_final_text()
            said[name] = [str(asked.choices[0].message.content), told]
            assert saver.recent(1)[0].model == model
        assert said["base"] == said["base:mild"]
        assert said["base:wild"][0] != said["base"][0]
        assert said["base:wild"][1] != said["base"][1]
        with pytest.raises(LocalModelError, match="local/base has no adapter 'none'; there are mild, wild"):
            client.chat.completions.create(model="local/base:none", messages=turns)


def test_tokens_guessed_from_the_prompt_do_not_change_the_answer(smollm2: Path, servers: Make) -> None:
    tiers = {
        "plain": LocalModel("plain", path=smollm2),
        "guessing": LocalModel("guessing", path=smollm2, speculative="ngram"),
    }
    local = servers(models=tiers, context=512, parallel=1)
    text = "Repeat this text exactly:\n" + "def add(a, b):\n    return a + b\n\n" * 8
    assert chat(local.endpoint("guessing"), text, max_tokens=60) == chat(local.endpoint("plain"), text, max_tokens=60)


def test_a_model_too_big_for_memory_says_what_would_fit(smollm2: Path, servers: Make) -> None:
    assert smollm2.is_file()
    with pytest.raises(LocalModelError, match=r"MiB are missing; context=\d+ or parallel=\d+ would fit"):
        servers(context=8192, parallel=8, memory_mib=500).endpoint(NAME)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what is left is looked for in /proc")
def test_nothing_is_left_when_programs_and_supervisors_are_killed(
    smollm2: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert smollm2.is_file()
    monkeypatch.setenv("PYTHONPATH", library)
    spec = importlib.util.spec_from_file_location("orphans", Path(library) / "benchmarks" / "orphans.py")
    assert spec is not None
    assert spec.loader is not None
    orphans = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "orphans", orphans)
    spec.loader.exec_module(orphans)
    monkeypatch.setattr(orphans, "LIMIT_SECONDS", 60.0)
    found = orphans.killed(4, seed=1)
    assert [each.left for each in found] == [0] * 4
