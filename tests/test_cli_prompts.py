"""The command that lists the costliest prompts."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.ledger import CallRow, Ledger, Salt


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Ledger(tmp_path / "ledger.db", salt=Salt(tmp_path / "salt")) as ledger:
        for n in range(3):
            row = CallRow(
                f"e{n}", started_at=time.time() - 86_400 * 3 * n, feature="search", cost_nano=5, input_tokens=9
            )
            assert ledger.write(row).ok
    return str(tmp_path / "ledger.db")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["prompts", *arguments])


def test_a_table_of_the_last_week(path: str) -> None:
    ran = run("--ledger", path)
    assert ran.exit_code == 0, ran.output
    assert "search" in ran.stdout
    assert ran.stdout.startswith("llmsaver prompts: 3 calls")


def test_json_of_another_time(path: str) -> None:
    ran = run("--ledger", path, "--since", "4d", "--format", "json", "--limit", "5")
    assert ran.exit_code == 0, ran.output
    made = json.loads(ran.stdout)
    assert (made["calls"], made["prompts"][0]["feature"], made["prompts"][0]["calls"]) == (2, "search", 2)
