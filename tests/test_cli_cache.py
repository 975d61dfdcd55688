"""The cache's commands: what they print, and how they end."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.cache.caches import Caches
from llmsaver.cache.stored import Stored
from llmsaver.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Store two answers."""
    caches, now = Caches(str(tmp_path / "cache.db")), time.time()
    for key, model in (("a" * 32, "gpt-5-mini"), ("b" * 32, "claude-haiku-4-5")):
        body = json.dumps({"choices": [], "model": model}).encode()
        caches.put(Stored(key, "chat", body, now - 60, now + 3_600, model=model, tags=("x",), cost_nano=250_000))
    caches.note_hit("a" * 32)
    caches.close()
    return str(tmp_path / "cache.db")


def run(*arguments: str, text: str | None = None) -> Any:
    return CliRunner().invoke(cli.app, ["cache", *arguments], input=text)


def test_stats(path: str) -> None:
    done = run("stats", "--cache", path)
    assert done.exit_code == 0
    assert "2 answers in" in done.output
    assert "1 hit saved $0.00025" in done.output
    found = json.loads(run("stats", "--json", "--cache", path).output)
    assert (found["entries"], found["hits"], found["saved_nano"]) == (2, 1, 250_000)


def test_inspect(path: str) -> None:
    assert "gpt-5-mini (chat)" in run("inspect", "a" * 32, "--cache", path).output
    assert json.loads(run("inspect", "a" * 32, "--json", "--cache", path).output)["message"]["model"] == "gpt-5-mini"
    missing = run("inspect", "none", "--cache", path)
    assert missing.exit_code == 1
    assert "no answer is stored under none" in missing.output


def test_invalidate(path: str) -> None:
    assert "deleted 0 answers" in run("invalidate", "--before", "1h", "--cache", path).output
    assert "deleted 1 answer" in run("invalidate", "--model", "gpt-5-mini", "--tag", "x", "--cache", path).output
    refused = run("invalidate", "--cache", path)
    assert isinstance(refused.exception, ConfigurationError)


def test_purge_asks(path: str) -> None:
    assert run("purge", "--cache", path, text="n\n").exit_code == 1
    assert "Delete 2 answers from" in run("purge", "--cache", path, text="n\n").output
    assert "deleted 2 answers" in run("purge", "--cache", path, text="y\n").output
    assert "deleted 0 answers" in run("purge", "--yes", "--cache", path).output


def test_export(path: str) -> None:
    lines = [json.loads(line) for line in run("export", "--cache", path).output.splitlines()]
    assert [each["key"] for each in lines] == ["a" * 32, "b" * 32]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    done = run("stats")
    assert "nothing is stored in" in done.output
    assert run("export").output == ""
    assert not list(tmp_path.rglob("*.db"))
