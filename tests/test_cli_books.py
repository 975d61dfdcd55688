"""The commands that look at the ledger: what they print, where, and how they end."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.reporting import tail

MAIN = "from llmsaver.cli import main; main()"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Write a ledger with three calls, a day ago and now."""
    now = time.time()
    with Ledger(tmp_path / "ledger.db", salt=Salt(tmp_path / "salt")) as ledger:
        for number, age in enumerate((100 * 86_400.0, 60.0, 1.0)):
            row = CallRow(f"c{number}", now - age, feature="search", user="u1", cost_nano=400_000, model_asked="gpt-5")
            assert ledger.write(row).ok
    return str(tmp_path / "ledger.db")


def run(*arguments: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), input=typed)


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter and command
        [sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_report_in_a_pipe_is_plain_text_of_eighty_columns(path: str) -> None:
    ran = program("report", "--ledger", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "spend              $0.0012" in ran.stdout
    assert "list prices as of 20" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert max(map(len, ran.stdout.splitlines()[:-1])) <= 80


def test_report_for_machines(path: str) -> None:
    told = json.loads(run("report", "--ledger", path, "--format", "json", "--since", "1h").output)
    assert (told["total"]["calls"], told["total"]["spend_usd"]) == (2, "0.0008")
    (row,) = csv.DictReader(
        io.StringIO(run("report", "--ledger", path, "--format", "csv", "--by", "model", "--until", "90d").output)
    )
    assert (row["model"], row["spend_usd"]) == ("gpt-5", "0.0004")


def test_an_empty_ledger_is_no_error(tmp_path: Path) -> None:
    ran = program("report")
    assert ran.returncode == 0
    assert "No calls in the ledger yet" in ran.stdout
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--by", "nonsense"],
        ["report", "--since", "soon"],
        ["report", "--tz", "Mars"],
        ["budgets", "set", "bot"],
        ["budgets", "set", "bot", "--usd", "five"],
        ["ledger", "prune", "--older", "old"],
        ["report", "--ledger", "mysql://x/y"],
    ],
)
def test_mistakes_are_one_message_on_standard_error(arguments: list[str]) -> None:
    ran = program(*arguments)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("llmsaver: ")
    assert "Traceback" not in ran.stderr


def test_the_ledger_is_the_settings(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run("ledger", "path").output.strip().endswith("ledger.db")
    monkeypatch.setenv("LLMSAVER_LEDGER", path)
    assert run("ledger", "path").output == f"{path}\n"
    assert run("ledger", "path", "--ledger", "other.db").output == f"{tmp_path / 'other.db'}\n"


def test_budgets_are_set_and_shown(path: str) -> None:
    assert "No budgets yet" in run("budgets", "--ledger", path).output
    new = run("budgets", "set", "bot", "--usd", "5", "--per", "day", "--ledger", path)
    assert (new.exit_code, new.output) == (0, "budget bot: new, $5.00 per day (UTC), hard\n")
    changed = run("budgets", "set", "bot", "--tokens", "1000", "--soft", "--ledger", path)
    assert "tokens no limit -> 1,000, hard -> soft" in changed.output
    assert "bot  $5.00 and 1,000 tokens per day (UTC), soft" in run("budgets", "--ledger", path).output
    (told,) = json.loads(run("budgets", "--json", "--ledger", path).stdout)
    assert (told["limit_usd"], told["limit_tokens"], told["hard"]) == ("5", 1_000, False)


def test_who_is_told_of_a_budget_is_set_kept_and_taken_away(path: str) -> None:
    alert = ("--threshold", "50%", "--threshold", "0.8", "--alert", "https://hook.test/", "--max-call-usd", "0.25")
    run("budgets", "set", "bot", "--usd", "5", *alert, "--ledger", path)
    more = run("budgets", "set", "bot", "--usd", "6", "--ledger", path)
    assert more.stdout.startswith("budget bot: $5.00 -> $6.00; in force")
    (told,) = json.loads(run("budgets", "--json", "--ledger", path).stdout)
    assert (told["thresholds"], told["alert"]) == ([0.5, 0.8], "https://hook.test/")
    assert told["max_call_usd"] == "0.25"
    none = run(
        "budgets", "set", "bot", "--threshold", "none", "--alert", "none", "--max-call-usd", "none", "--ledger", path
    )
    assert "thresholds 50 %, 80 % -> none" in none.stdout
    assert "held for a call without a bound $0.25 -> none" in none.stdout
    for wrong in (("--threshold", "half"), ("--threshold", "2"), ("--alert", "bob"), ("--max-call-usd", "x")):
        assert program("budgets", "set", "bot", *wrong, "--ledger", path).returncode != 0


def test_a_budget_is_removed(path: str) -> None:
    run("budgets", "set", "bot", "--usd", "5", "--ledger", path)
    assert run("budgets", "remove", "bot", "--ledger", path, typed="n\n").exit_code == 1
    gone = run("budgets", "remove", "bot", "--yes", "--ledger", path)
    assert (gone.exit_code, gone.stdout.startswith("budget bot: removed for every program")) == (0, True)
    assert "No budgets yet" in run("budgets", "--ledger", path).output
    again = run("budgets", "remove", "bot", "--yes", "--ledger", path)
    assert (again.exit_code, "no budget bot in" in again.output) == (1, True)


def test_a_disk_that_is_an_instances_own_is_told_beside_budgets(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "s")
    assert run("budgets", "--ledger", path).stderr == ""
    run("budgets", "set", "bot", "--usd", "5", "--ledger", path)
    shown = run("budgets", "--json", "--ledger", path)
    assert "on the disk of Cloud Run" in shown.stderr
    assert "shared PostgreSQL" in shown.stderr
    assert json.loads(shown.stdout)


def test_a_broken_ledger_is_repaired_or_given_up(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database at all " * 400)
    tried = run("ledger", "repair", "--ledger", str(path))
    assert (tried.exit_code, "ledger repair --accept" in tried.stderr) == (1, True)
    done = run("ledger", "repair", "--accept", "--ledger", str(path))
    assert (done.exit_code, done.stdout) == (0, "carried over: 0 budgets with 0 windows\n")
    assert "nothing to repair" in run("ledger", "repair", "--ledger", str(path)).stdout


def test_a_ledger_is_brought_up_to_date(path: str, tmp_path: Path) -> None:
    assert run("ledger", "upgrade", "--ledger", path).stdout == f"up to date: {path}\n"
    assert "no ledger at" in run("ledger", "upgrade", "--ledger", str(tmp_path / "none.db")).stdout


def test_only_the_dearest_are_read_for_a_table(path: str) -> None:
    with Ledger(path) as ledger:
        for number in range(30):
            assert ledger.write(CallRow(f"n{number}", user=f"user{number}", cost_nano=10**6 * (number + 1))).ok
    table = run("report", "--by", "user", "--top", "3", "--ledger", path).stdout
    assert "user29" in table
    assert "user20" not in table
    assert "28 more: 30 calls" in table
    assert len(json.loads(run("report", "--by", "user", "--format", "json", "--ledger", path).stdout)["lines"]) == 31


def test_pruning_asks_first(path: str) -> None:
    asked = run("ledger", "prune", "--older", "90d", "--ledger", path, typed="n\n")
    assert asked.exit_code == 1
    assert "Delete 1 call from before 20" in asked.output
    assert "($0.0004)" in asked.output
    assert run("ledger", "prune", "--older", "90d", "--ledger", path, typed="").exit_code == 1  # nobody to ask
    done = run("ledger", "prune", "--older", "90d", "--yes", "--ledger", path)
    assert (done.exit_code, done.output) == (0, "deleted 1 call\n")
    assert "no calls from before" in run("ledger", "prune", "--older", "90d", "--ledger", path).output
    assert json.loads(run("report", "--format", "json", "--ledger", path).output)["total"]["calls"] == 2


def test_a_user_is_deleted(path: str, tmp_path: Path) -> None:
    done = run("ledger", "delete-user", "u1", "--ledger", path, typed="y\n")
    assert done.exit_code == 0
    assert "Delete 3 calls of user u1 ($0.0012)" in done.output
    assert "deleted 3 calls" in done.output
    assert run("ledger", "delete-user", "u1", "--yes", "--ledger", path).output == "deleted 0 calls\n"
    assert "no ledger at" in run("ledger", "delete-user", "u1", "--ledger", str(tmp_path / "none.db")).output


def test_tail_without_following(path: str, tmp_path: Path) -> None:
    lines = run("tail", "--no-follow", "-n", "2", "--ledger", path).output.splitlines()
    assert [line.split()[1:3] for line in lines] == [["search", "gpt-5"]] * 2
    told = [json.loads(line) for line in run("tail", "--no-follow", "--json", "--ledger", path).output.splitlines()]
    assert [row["id"] for row in told] == ["c0", "c1", "c2"]
    assert "no ledger at" in run("tail", "--no-follow", "--ledger", str(tmp_path / "none.db")).output


def test_ctrl_c_ends_tail_without_a_traceback(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tail, "follow", interrupted)
    ran = run("tail", "--ledger", path)
    assert (ran.exit_code, ran.output) == (130, "")


def test_tail_follows_another_process_until_ctrl_c(path: str, tmp_path: Path) -> None:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", MAIN, "tail", "--json", "-n", "1", "--ledger", path]
    with subprocess.Popen(command, env=dict(os.environ), **pipes) as following:  # noqa: S603 - our own command
        try:
            assert following.stdout is not None
            assert json.loads(following.stdout.readline())["id"] == "c2"
            with Ledger(path, salt=Salt(tmp_path / "salt")) as ledger:
                assert ledger.write(CallRow("live", time.time(), cost_nano=1)).ok
            assert json.loads(following.stdout.readline())["cost_usd"] == "0.000000001"
            following.send_signal(signal.SIGINT)
            rest, errors = following.communicate(timeout=60)
        finally:
            following.kill()  # else a failure would wait for its end for ever
    assert (following.returncode, rest, errors) == (130, "", "")
