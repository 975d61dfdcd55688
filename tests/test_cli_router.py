"""The router's commands: what they print, and how they end."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.errors import ConfigurationError
from llmsaver.ledger import CallRow, Ledger


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "LLMSAVER_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Write a routed call."""
    with Ledger(tmp_path / "l.db") as ledger:
        routing = {"asked": "auto", "tiers": ["small", "big"], "tier": "small", "evidence": "prior", "threshold": 0.8}
        ledger.write(CallRow("c1", feature="faq", cost_nano=100, baseline_nano=1_000, routing=routing))
    return str(tmp_path / "l.db")


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """Write sixty labelled outcomes, the surest of them right."""
    lines = [f"{1 - n / 100},{int(n < 50)},1,0.0001,0.001" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["confidence,weak,strong,weak_usd,strong_usd", *lines]) + "\n")
    return str(tmp_path / "rows.csv")


def run(*arguments: str, text: str | None = None) -> Any:
    return CliRunner().invoke(cli.app, ["router", *arguments], input=text)


def refused(*arguments: str, text: str | None = None) -> str:
    """Return what the command complains of; it must be an error of ours."""
    done = run(*arguments, text=text)
    assert done.exit_code == 1
    assert isinstance(done.exception, ConfigurationError), done.output
    return str(done.exception)


def test_status(path: str) -> None:
    done = run("status", "--ledger", path, "--since", "today")
    assert done.exit_code == 0
    assert "feature faq" in done.output
    assert "now: prior, threshold 0.8000" in done.output
    (told,) = json.loads(run("status", "--ledger", path, "--format", "json").output)
    assert told["routed"]["tiers"][0]["tier"] == "small"
    assert "no call was routed yet" in run("status", "--ledger", path + ".none").output


def test_calibrate_keeps_labels_and_says_what_they_prove(path: str, rows: str) -> None:
    done = run("calibrate", "--data", rows, "--ledger", path, "--min-quality", "0.9")
    assert done.exit_code == 0, done.output
    assert "60 labels kept" in done.stderr
    assert "small: 60 labels (60 gold, 0 by agreement); for 0.9 of the last tier's quality" in done.stdout
    told = json.loads(run("calibrate", "--ledger", path, "--min-quality", "0.9", "--format", "json").stdout)
    assert {each["feature"] for each in told} == {"faq", None}
    assert all(each["tiers"][0]["verdict"] == "contract" for each in told)


def test_calibrate_for_a_new_ledger(tmp_path: Path, rows: str) -> None:
    done = run("calibrate", "--data", rows, "--tier", "tiny", "--feature", "mail", "--ledger", str(tmp_path / "n.db"))
    assert "feature mail" in done.stdout
    assert "tiny: 60 labels" in done.stdout
    other = run("calibrate", "--data", rows, "--ledger", str(tmp_path / "o.db"))
    assert "the cheap tier: 60 labels" in other.stdout


def test_calibrate_without_labels(path: str, tmp_path: Path) -> None:
    assert "no labels: give a file" in refused("calibrate", "--ledger", path)
    assert "no labels" in refused("calibrate", "--ledger", path + ".none")
    (tmp_path / "bad.csv").write_text("confidence,weak\n1,1\n")
    assert "no column strong" in refused("calibrate", "--data", "bad.csv", "--ledger", path)


def test_labels_that_cannot_be_kept(rows: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.reporting.router_status.keep", lambda *_: 0)
    assert "could not be written" in refused("calibrate", "--data", rows, "--ledger", path)


@pytest.mark.parametrize(("option", "value"), [("--min-quality", "1"), ("--min-quality", "0"), ("--risk", "1.5")])
def test_shares_that_are_none(rows: str, option: str, value: str) -> None:
    assert f"{option} must be a share above 0 and below 1" in refused("simulate", rows, option, value)


def test_simulate(rows: str, tmp_path: Path) -> None:
    done = run("simulate", rows, "--splits", "2", "--min-quality", "0.9")
    assert done.exit_code == 0, done.output
    assert "(every feature): 60 rows" in done.output
    assert "contract: the cheap tier: 60 labels" in done.output
    (told,) = json.loads(run("simulate", rows, "--splits", "0", "--format", "json").output)
    assert told["rows"] == 60
    assert told["held_out"] is None
    (tmp_path / "odd.csv").write_text("confidence,weak,strong,mood\n1,1,1,good\n")
    assert "columns passed over: mood" in run("simulate", "odd.csv").stderr
    long = [
        {"dataset": "d", "prompt": "p", "conf": -1, "correct": 1, "model": m, "cost": c}
        for m, c in (("a", 1), ("b", 2))
    ]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, long)))
    assert "d: 1 row" in run("simulate", "long.jsonl").output
    assert "no labels of feature 'x'" in refused("simulate", "long.jsonl", "--feature", "x")


class Told:
    """What the router's dry run returns."""

    def __init__(self, **asked: Any) -> None:
        self.asked = asked

    def as_dict(self) -> dict[str, Any]:
        return self.asked

    def __str__(self) -> str:
        return "small would be asked"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put a recording function in the place of the dry run."""
    calls: list[Any] = []

    def explained(ledger: str | None, body: dict[str, Any], tiers: list[str], **terms: Any) -> Told:
        calls.append((ledger, body, tiers, terms))
        return Told(**terms)

    monkeypatch.setattr("llmsaver.reporting.router_explain.explained", explained)
    return calls


def test_explain_takes_the_tiers_of_the_latest_call(path: str, tmp_path: Path, asked: list[Any]) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}]}))
    done = run("explain", "r.json", "--ledger", path, "--risk", "0.2")
    assert done.output == "small would be asked\n"
    ((ledger, body, tiers, terms),) = asked
    assert (ledger, body["model"], tiers) == (path, "auto", ["small", "big"])
    assert terms == {"dialect": "chat", "feature": "default", "min_quality": None, "risk": 0.2}
    told = run("explain", "-", "--tier", "a", "--tier", "b", "--format", "json", text='{"input": "hi"}')
    assert json.loads(told.output)["dialect"] == "responses"


def test_explain_needs_tiers_and_a_request(path: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"messages": []}')
    assert "--tier CHEAP --tier DEAR" in refused("explain", "r.json", "--ledger", path + ".none")
    assert "is no JSON" in refused("explain", "-", "--ledger", path, text="{")
    assert "must be a request" in refused("explain", "-", "--ledger", path, text="[]")
    assert "must be a request" in refused("explain", "-", "--ledger", path, text='{"prompt": "x"}')


@pytest.mark.parametrize(
    ("body", "dialect", "why"),
    [
        ('{"messages": [], "system": "x", "response_format": {}}', None, "mixes dialects (system of messages; "),
        ('{"messages": [], "input": "x"}', None, "mixes dialects (input of responses; messages)"),
        ('{"input": "x"}', "chat", "is a responses request (input), not chat"),
        ('{"messages": []}', "morse", "--dialect must be one of chat, responses, messages"),
    ],
)
def test_explain_refuses_mixed_dialects(path: str, body: str, dialect: str | None, why: str) -> None:
    more = ["--dialect", dialect] if dialect else []
    assert why in refused("explain", "-", "--ledger", path, *more, text=body)


def test_the_command_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["llmsaver", "router", "simulate", "none.csv"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "llmsaver: none.csv: cannot be read" in capsys.readouterr().err
