"""The commands of the local tier."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.errors import LLMSaverError, LocalModelError
from llmsaver.local import status
from llmsaver.local.models import LocalModel
from llmsaver.local.probe import Abilities
from llmsaver.reporting import local_attached, local_pull, local_serve, local_status
from llmsaver.reporting.local_attached import Attached
from llmsaver.reporting.local_serve import Served

SETTINGS = "[local_models]\ntgi = { kind = 'attach', base_url = 'http://gpu:8080/v1' }\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "llmsaver.toml").write_text(SETTINGS)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["local", *arguments])


def error_of(*arguments: str) -> str:
    ran = run(*arguments)
    assert isinstance(ran.exception, LLMSaverError)
    return str(ran.exception)


def test_list() -> None:
    ran = run("list")
    assert ran.exit_code == 0
    assert ran.output.splitlines()[0].split()[:2] == ["model", "size"]
    assert max(map(len, ran.output.splitlines())) <= 80
    told = json.loads(run("list", "--json").output)["models"]
    assert [each["name"] for each in told][:2] == ["tgi", "smollm2-135m"]


class TestPull:
    def test_prints_where_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def pulled(model: LocalModel, source: str) -> Path:
            return Path(f"/{model.name}/{source}")

        monkeypatch.setattr(local_pull, "pulled", pulled)
        assert run("pull", "local/qwen3-4b", "--from", "hub").output == "/qwen3-4b/hub\n"
        assert run("pull", "qwen3-4b").output == "/qwen3-4b/auto\n"

    def test_ctrl_c_says_how_to_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def pulled(*_: object) -> Path:
            raise KeyboardInterrupt

        monkeypatch.setattr(local_pull, "pulled", pulled)
        ran = run("pull", "qwen3-4b")
        assert (ran.exit_code, ran.output) == (130, "stopped; go on with: llmsaver local pull qwen3-4b\n")

    def test_what_has_no_weights_here(self) -> None:
        assert "has no weights to fetch here" in error_of("pull", "tgi")
        assert "Did you mean qwen3-4b" in error_of("pull", "qwen3-4")


class TestServe:
    def test_until_ctrl_c(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def serving(name: str, told: Any, *, port: int | None) -> None:
            assert port is None
            told(Served(name, "http://127.0.0.1:1"))
            raise KeyboardInterrupt

        monkeypatch.setattr(local_serve, "serving", serving)
        ran = run("serve", "qwen3-4b")
        assert ran.exit_code == 130
        assert "local/qwen3-4b answers at http://127.0.0.1:1" in ran.output
        assert "Ctrl-C stops it." in ran.output
        assert ran.output.endswith("stopped\n")

    def test_as_a_daemon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_serve, "started", lambda name, port: Served(name, f"http://127.0.0.1:{port}"))
        ran = run("serve", "qwen3-4b", "--daemon", "--port", "8123")
        assert "http://127.0.0.1:8123" in ran.output
        assert ran.exit_code == 0
        assert "It stays until: llmsaver local stop qwen3-4b" in ran.output

    @pytest.mark.parametrize(
        ("option", "form"),
        [("--print-command", "command"), ("--systemd", "systemd"), ("--docker", "docker"), ("--k8s", "k8s")],
    )
    def test_deployments_are_printed(self, monkeypatch: pytest.MonkeyPatch, option: str, form: str) -> None:
        deploy = ModuleType("llmsaver.local.deploy")
        deploy.__dict__[form] = lambda tier: f"{form} of {tier.name}"
        monkeypatch.setitem(sys.modules, "llmsaver.local.deploy", deploy)
        assert run("serve", "qwen3-4b", option).output == f"{form} of qwen3-4b\n"

    def test_one_thing_at_a_time(self) -> None:
        assert run("serve", "qwen3-4b", "--daemon", "--docker").exit_code == 2

    def test_an_error_ends_the_spinner(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def serving(*_: object, port: int | None) -> None:
            assert port is None
            raise LocalModelError("no room")

        monkeypatch.setattr(local_serve, "serving", serving)
        assert error_of("serve", "qwen3-4b") == "no room"


def test_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "running", list)
    monkeypatch.setattr(local_attached, "attached", lambda *, asked: [] if asked else None)
    assert run("status").output.startswith("No local model is running.")
    assert json.loads(run("status", "--json").output) == {"servers": [], "attached": []}


def test_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_status, "stopped", lambda names, *, every: ["all"] if every else list(names))
    assert run("stop", "a", "b").output == "stopped local/a\nstopped local/b\n"
    assert run("stop", "--all").output == "stopped local/all\n"
    assert run("stop").exit_code == 2
    assert run("stop", "a", "--all").exit_code == 2


def test_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "l.log"
    log.write_text("one\ntwo\n")
    monkeypatch.setattr(local_status, "log_of", lambda _name: log)
    assert run("logs", "qwen3-4b", "-n", "1").output == "two\n"
    assert run("logs", "qwen3-4b", "--path").output == f"{log}\n"

    def interrupted(*_: object, follow: bool) -> list[str]:
        assert follow
        raise KeyboardInterrupt

    monkeypatch.setattr(local_status, "lines_of", interrupted)
    assert run("logs", "qwen3-4b", "--follow").exit_code == 130


def test_a_port_is_for_a_server_of_ours() -> None:
    assert run("serve", "qwen3-4b", "--systemd", "--port", "8123").exit_code == 2
    assert run("serve", "qwen3-4b", "--port", "0").exit_code == 2


def test_attached_servers_are_in_the_list_and_in_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def attached(*, asked_now: bool) -> list[Attached]:
        asked.append(asked_now)
        return [Attached("tgi", "http://gpu:8080/v1", Abilities("TGI 3", "m", chat=True), None)]

    monkeypatch.setattr(local_attached, "attached", lambda *, asked: attached(asked_now=asked))
    assert "tgi at http://gpu:8080/v1: m, TGI 3" in run("list").output
    assert "can: chat completions" in run("status").output
    told = json.loads(run("list", "--json").output)["models"]
    assert [each["abilities"]["chat"] for each in told if each["name"] == "tgi"] == [True]
    (server,) = json.loads(run("status", "--json").output)["attached"]
    assert (server["name"], server["reachable"]) == ("tgi", True)
    assert asked == [False, True, False, True]
