"""The commands of batches, on a fake provider over a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.batch import BatchInterrupted, Pace
from llmsaver.errors import ConfigurationError
from llmsaver.saver import Saver
from llmsaver.testing import FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeProvider]:
    fake = FakeProvider("ok", polls=0)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    lines = [{"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"q{n}"}]} for n in range(3)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr("llmsaver.batch.jobs.Pace", lambda: Pace(poll_s=0.01, settle_s=0.05, retry_s=0.01))
    with fake.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url + "/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        yield fake


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["batch", *arguments])


def test_a_batch_from_file_to_file(fake: FakeProvider, tmp_path: Path) -> None:
    done = run("run", "r.jsonl", "--out", "a.jsonl", "--via", "openai")
    assert done.exit_code == 0, done.output
    assert "3 of 3 requests answered via openai" in done.output
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3
    assert len(fake.billed) == 3
    (listed,) = json.loads(run("list", "--json").output)
    assert (listed["state"], listed["answered"]) == ("finished", 3)
    assert listed["id"] in run("list").output
    assert f"batch {listed['id']} is finished" in run("status", listed["id"]).output
    assert json.loads(run("status", listed["id"], "--json").output)["parts"][0]["state"] == "fetched"
    assert "is finished: 3 of 3" in run("cancel", listed["id"]).output


def test_failures_make_a_status_of_their_own(fake: FakeProvider) -> None:
    fake.script([Fault(400, message="bad")])
    done = run("run", "r.jsonl", "--out", "a.jsonl", "--retries", "0")
    assert done.exit_code == 3
    assert "no answer to request 1" in done.output


@pytest.mark.usefixtures("fake")
def test_what_is_not_known() -> None:
    assert run("status", "bnone").exit_code == 1
    assert "no batch has been run yet" in run("list").output
    assert isinstance(run("cancel", "bnone").exception, ConfigurationError)
    assert isinstance(run("run", "none.jsonl", "--out", "a").exception, ConfigurationError)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (BatchInterrupted("down"), 1)])
def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Saver, "batch", broken)
    monkeypatch.setattr("sys.argv", ["llmsaver", "batch", "run", "r.jsonl", "--out", "a b.jsonl"])
    done = run("run", "r.jsonl", "--out", "a b.jsonl")
    assert done.exit_code == status
    assert "llmsaver batch run r.jsonl --out 'a b.jsonl'" in done.output
