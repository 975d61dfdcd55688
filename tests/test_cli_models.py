"""The commands of the embedding model."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.reporting import models


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["models", *arguments])


def test_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ran = run("list")
    assert ran.exit_code == 0
    assert ran.output.splitlines()[0].split()[:2] == ["weights", "model"]
    told = json.loads(run("list", "--json").output)["models"]
    assert [each["source"] for each in told] == ["registry", "hub"]


def test_pull_prints_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "pulled", lambda source: Path(f"/{source}"))
    assert run("pull").output == "/auto\n"
    assert run("pull", "--from", "hub").output == "/hub\n"


def test_ctrl_c_says_how_to_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def pulled(_: str) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "pulled", pulled)
    ran = run("pull")
    assert (ran.exit_code, ran.output) == (130, "stopped; begin again with: llmsaver models pull\n")
