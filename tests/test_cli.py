"""The command: exit statuses, and messages where a person or a machine looks for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import llmsaver
from llmsaver import cli
from llmsaver.errors import LocalModelError
from llmsaver.reporting import demo as demo_module
from llmsaver.reporting import doctor as doctor_module
from llmsaver.reporting.demo import Report
from llmsaver.reporting.demo_proofs import Proof
from llmsaver.reporting.doctor import Health
from llmsaver.reporting.doctor_parts import Finding

MAIN = "from llmsaver.cli import main; main()"
OK, BROKEN = Finding("a", "b", "ok", "c"), Finding("a", "b", "broken", "c", "d")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def program(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(  # noqa: S603 - our own interpreter and command
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_version() -> None:
    ran = run("--version")
    assert (ran.exit_code, ran.output) == (0, f"llmsaver {llmsaver.__version__}\n")


def test_no_command_shows_what_there_is() -> None:
    ran = run()
    assert "demo" in ran.output
    assert "doctor" in ran.output


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_the_demo_fails_with_a_layer(monkeypatch: pytest.MonkeyPatch, holds: bool, status: int) -> None:
    monkeypatch.setattr(demo_module, "demo", lambda _: Report(proofs=[Proof("memo", holds, "figures")]))
    assert run("demo").exit_code == status


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_module, "demo", interrupted)
    ran = run("demo")
    assert ran.exit_code == 130
    assert ran.output.strip() == "Interrupted; the local server is stopped."


@pytest.mark.parametrize(("finding", "status"), [(OK, 0), (BROKEN, 1)])
def test_the_doctor_exits_as_it_finds(monkeypatch: pytest.MonkeyPatch, finding: Finding, status: int) -> None:
    monkeypatch.setattr(doctor_module, "examine", lambda *, deep: Health((finding,) if not deep else ()))
    assert run("doctor").exit_code == status
    said = run("doctor", "--json")
    assert said.exit_code == status
    assert json.loads(said.output)["works"] is (status == 0)
    assert run("doctor", "--deep").exit_code == 0


def test_an_error_of_ours_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(_: object) -> Report:
        raise LocalModelError("no weights; here is the fix")

    monkeypatch.setattr(demo_module, "demo", failing)
    monkeypatch.setattr(sys, "argv", ["llmsaver", "demo"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "llmsaver: no weights; here is the fix\n"


def test_the_real_doctor_in_a_folder_with_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "llmsaver.toml").write_text("mode = 'cheap'\n")
    ran = program("-c", MAIN, "doctor", cwd=tmp_path)
    assert ran.returncode == 1
    assert "llmsaver.toml" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_the_command_imports_no_sdk() -> None:
    code = (
        "import sys, llmsaver.cli; print([m for m in ('openai', 'anthropic', 'httpx2', 'httpx') if m in sys.modules])"
    )
    ran = program("-c", code)
    assert ran.stdout.strip() == "[]"
