"""A real model with one slot and eight callers: who finds no room is answered by the provider, and the rows say so."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver.local import weights
from llmsaver.local.models import LocalModel
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.local

NAME = "smollm2-135m"
MODEL = f"local/{NAME}"


@pytest.fixture
def saver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> llmsaver.Saver:
    """Return a Saver whose SmolLM2 answers one call at a time and lets nobody wait, at $3.60 an hour."""
    pytest.importorskip("xllamacpp")
    if weights.installed(NAME) is None:
        pytest.skip(f"the weights of {NAME} are not installed")
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    tier = LocalModel(NAME, parallel=1, context=512, max_queue=0, spill_to="gpt-5-mini", hourly_usd="3.6")
    return llmsaver.Saver(ledger=str(tmp_path / "l.db"), local_models=[tier])


def test_what_one_slot_cannot_take_is_answered_elsewhere(saver: llmsaver.Saver) -> None:
    fake = FakeProvider("from the provider")
    http = httpx2.Client(transport=fake.transport())
    asked: Any = [{"role": "user", "content": "Count to thirty."}]
    with saver, llmsaver.OpenAI(api_key="sk-test", http_client=http, saver=saver, max_retries=0) as client:

        def ask(_: int) -> str:
            with llmsaver.budget("day", usd=5):
                answer = client.chat.completions.create(model=MODEL, messages=asked, max_completion_tokens=24)
            return str(answer.choices[0].message.content)

        assert ask(0)  # the server is up before the rush
        gate = threading.Barrier(8)

        def rush(number: int) -> str:
            gate.wait()
            return ask(number)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(rush, range(8)))
        entries = saver.recent(9)
        assert saver.ledger is not None
        saver.ledger.drain(60)
        with saver.ledger.open().reader() as reader:
            rows = {row["id"]: row for row in reader.calls(limit=20)}
    assert all(answers)
    assert len(answers) == 8
    spilled = [entry for entry in entries if entry.spilled]
    stayed = [entry for entry in entries if not entry.spilled]
    assert len(spilled) == answers.count("from the provider") == len(fake.billed)
    assert 1 <= len(spilled) <= 7
    for entry in entries:
        row = rows[entry.id]
        assert (row["model_asked"], row["status"], row["complete"]) == (MODEL, 200, True)
        assert row["spilled"] is entry.spilled
        assert row["model_answered"] == ("gpt-5-mini" if entry.spilled else MODEL)
        assert row["tier"] == ("api" if entry.spilled else "local")
    for entry in stayed:
        assert entry.busy_s is not None
        assert 0 < entry.busy_s <= (entry.latency_s or 0)
        # $3.60 an hour is a million nano-dollars a second, rounded up.
        assert 0 <= (entry.cost_nano or 0) - entry.busy_s * 1_000_000 < 1.001
        assert entry.energy_wh is not None
    for entry in spilled:
        assert [act.name for act in entry.layers] == ["spill"]
        assert entry.busy_s is None
