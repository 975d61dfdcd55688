"""The commands that measure a local tier."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.compare import same
from llmsaver.reporting import local_bench, local_check
from llmsaver.reporting.local_ask import Said
from llmsaver.reporting.local_bench import Bench
from llmsaver.reporting.local_check import Check, Compared


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["local", *arguments])


class TestBench:
    made = Bench("local/m", "llama.cpp", was_running=True, ready_s=0.1)

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def measured(name: str, **options: Any) -> Bench:
            options.pop("told")("1 at once")
            seen.update(options, name=name)
            return self.made

        monkeypatch.setattr(local_bench, "bench", measured)
        return seen

    def test_table(self, given: dict[str, Any]) -> None:
        ran = run("bench", "m", "--quick", "--hourly", "0.4", "--longest", "60")
        assert ran.exit_code == 0
        assert given == {"name": "m", "quick": True, "hourly_usd": Decimal("0.4"), "longest_s": 60.0}
        assert ran.output.startswith("local/m, llama.cpp, was running")

    def test_json(self, given: dict[str, Any]) -> None:
        assert json.loads(run("bench", "m", "--json").output)["model"] == "local/m"
        assert given["hourly_usd"] is None

    def test_ctrl_c(self, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.made, "stopped", True)
        assert run("bench", "m").exit_code == 130
        assert given["quick"] is False

    def test_ctrl_c_while_it_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def measured(*_: object, **__: object) -> Bench:
            raise KeyboardInterrupt

        monkeypatch.setattr(local_bench, "bench", measured)
        assert run("bench", "m").exit_code == 130


class TestCheck:
    @pytest.fixture(autouse=True)
    def given(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        ours, theirs = (Said(text, -0.1, 1.0, 0) for text in ("17", "18"))
        row = Compared(1, "one", ours, theirs, verdict=same("17", "18"))

        def compared(model: str, against: str, prompts: Any, **options: Any) -> Check:
            seen.update(options, model=model, against=against, lines=[prompt.line for prompt in prompts])
            made = Check("local/m", "gpt-5", len(prompts), [row], stopped=bool(seen.get("stop")))
            options["told"](made)
            return made

        monkeypatch.setattr(local_check, "check", compared)
        monkeypatch.setattr(local_check, "embedder_here", lambda: None)
        return seen

    def test_without_a_tolerance(self, given: dict[str, Any]) -> None:
        ran = run("check", "m", "--against", "gpt-5", "--data", "prompts.txt", "--max-tokens", "9")
        assert ran.exit_code == 0
        assert (given["model"], given["against"], given["lines"], given["max_tokens"]) == ("m", "gpt-5", [1, 2], 9)
        assert "line 1  F1 0.00  by numbers: one" in ran.output

    def test_under_a_tolerance(self, given: dict[str, Any]) -> None:
        ran = run("check", "m", "--against", "gpt-5", "--data", "prompts.txt", "--min-f1", "0.8", "--limit", "1")
        assert ran.exit_code == 1
        assert ran.output.endswith("below tolerance: f1 is 0.000; at least 0.8 was asked for\n")
        assert given["lines"] == [1]

    def test_json(self) -> None:
        ran = run("check", "m", "--against", "gpt-5", "--data", "prompts.txt", "--min-same", "0.5", "--json")
        assert ran.exit_code == 1
        assert json.loads(ran.output)["broken"] == ["same is 0.000; at least 0.5 was asked for"]

    def test_ctrl_c(self, given: dict[str, Any]) -> None:
        given["stop"] = True
        ran = run("check", "m", "--against", "gpt-5", "--data", "prompts.txt", "--min-f1", "0.8")
        assert ran.exit_code == 130
        assert "below tolerance" in ran.output
