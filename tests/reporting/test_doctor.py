"""The doctor checks what it says, tells the fix, and never a key."""

import importlib
import io
import json
import os
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from llmsaver.errors import LocalModelError
from llmsaver.local.catalogue import known_models
from llmsaver.local.models import LocalModel
from llmsaver.reporting import doctor_calls, doctor_parts
from llmsaver.reporting.doctor import Health, examine
from llmsaver.reporting.doctor_parts import SUPPORTED, Finding, keys, local_models, sdks, settings
from llmsaver.reporting.doctor_view import as_text

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
MODEL = known_models()[0]


def written(health: Health) -> str:
    file = io.StringIO()
    as_text(health, Console(file=file, width=80, highlight=False))
    return file.getvalue()


def test_this_installation_works_and_is_proven_by_calls() -> None:
    health = examine()
    assert health.works, health.as_dict()
    calls = [finding for finding in health.findings if finding.part == "call path"]
    assert [call.name for call in calls] == ["chat", "responses", "messages", "chat, async"]
    assert {call.state for call in calls} == {"ok"}
    assert "llmsaver works here." in written(health)


def test_supported_versions_are_those_of_the_package() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert {f"{name}>={least},<{below}" for name, (least, below) in SUPPORTED.items()} <= set(declared)


def test_keys_are_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "very-secret-too")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    health = examine()
    assert health.ready["openai"]
    assert health.ready["anthropic"]
    assert "secret" not in json.dumps(health.as_dict()) + written(health)
    assert ("keys", "HTTPS_PROXY") in {(finding.part, finding.name) for finding in health.findings}


@pytest.mark.parametrize("value", [" sk-secret", "sk-secret\n", '"sk-secret"'])
def test_a_key_with_spaces_or_quotes_cannot_work(value: str) -> None:
    found = next(iter(keys({"OPENAI_API_KEY": value})))
    assert found.state == "broken"
    assert "secret" not in found.what + found.fix


def test_no_key_is_no_fault() -> None:
    assert [(found.name, found.state) for found in keys({})] == [
        ("OPENAI_API_KEY", "absent"),
        ("ANTHROPIC_API_KEY", "absent"),
    ]


def test_settings_say_where_they_came_from(tmp_path: Path) -> None:
    (tmp_path / "llmsaver.toml").write_text('feature = "billing"\nmode = "observe"\n')
    found = {each.name: each.what for each in settings({"LLMSAVER_MODE": "off", "LLMSAVER_TENANT": ""})}
    assert found["mode"] == "off (LLMSAVER_MODE)"
    assert found["feature"] == "billing (llmsaver.toml or pyproject.toml)"
    assert found["tenant"] == "None (default)"


def test_a_bypass_is_pointed_out() -> None:
    assert [found.name for found in settings({"LLMSAVER_DISABLED": "1"}) if found.fix] == ["disabled"]
    assert [found.name for found in settings({"LLMSAVER_MODE": "off"}) if found.fix] == ["mode"]


def test_wrong_settings_break_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSAVER_MOD", "off")
    health = examine()
    assert not health.works
    assert not any(health.ready.values())
    text = written(health)
    assert "LLMSAVER_MOD" in text
    assert "mend what is BROKEN first" in text
    assert "1 broken" in text


def test_an_sdk_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def importing(name: str) -> ModuleType:
        if name == "openai":
            raise ImportError("half installed")
        return importlib.__import__(name)

    monkeypatch.setattr("importlib.import_module", importing)
    found = next(each for each in list(sdks()) if each.name == "openai")
    assert (found.state, found.fix) == ("broken", "pip install 'openai>=2,<4'")
    assert "half installed" in found.what


@pytest.mark.parametrize(("version", "state"), [("1.99.0", "broken"), ("2.0.0rc1", "ok"), ("4.0.0", "broken")])
def test_versions_out_of_range_are_broken(monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    assert next(iter(sdks())).state == state


def test_an_http_module_that_is_not_there_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_parts, "_version", {"httpx": "0.28"}.get)
    assert [found.name for found in sdks()] == ["openai", "anthropic", "httpx"]


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert doctor_parts._version("llmsaver-no-such-package") is None


def parts_of_local(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], path: Path | None) -> list[Finding]:
    monkeypatch.setattr(doctor_parts, "_version", versions.get)
    monkeypatch.setattr(doctor_parts, "installed", lambda model: path if model is MODEL else None)
    return list(local_models())


def test_missing_local_parts_come_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    server, hub, weights = parts_of_local(monkeypatch, {}, None)
    assert (server.state, server.fix) == ("absent", "pip install 'llmsaver[local]'")
    assert hub.state == "absent"
    assert (weights.state, weights.fix) == ("absent", "llmsaver local pull smollm2-135m")
    assert weights.what == "not on this machine (98 MB)"


def test_weights_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / str(MODEL.file)
    path.write_bytes(b"GGUF")
    weights = parts_of_local(monkeypatch, {"xllamacpp": "1"}, path)[2]
    assert weights.state == "broken"
    assert str(path) in weights.what
    with path.open("r+b") as file:
        file.truncate(MODEL.size or 0)
    findings = parts_of_local(monkeypatch, {"xllamacpp": "1"}, path)
    assert findings[2].state == "ok"
    assert Health(tuple(findings)).ready == {"openai": False, "anthropic": False, "local": True}


def test_the_models_of_the_settings_are_looked_for_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.touch()
    (tmp_path / "llmsaver.toml").write_text(
        f"[local_models]\nmine = {str(own)!r}\ngone = '/no/such.gguf'\nqwen3-4b = {{ context = 8192 }}\n"
        "far = { kind = 'attach', base_url = 'http://gpu:8080/v1' }\n"
    )
    monkeypatch.setattr(doctor_parts, "_version", {"xllamacpp": "1"}.get)
    found = {finding.name: finding for finding in local_models()}
    assert found["local/mine"].state == "ok"
    gone = found["local/gone"]
    assert (gone.state, gone.what, gone.fix) == (
        "absent",
        "there is no /no/such.gguf",
        "correct its path in local_models",
    )
    assert found["local/qwen3-4b"].fix == "llmsaver local pull qwen3-4b"
    assert not {"local/far", "local/qwen3-8b"} & found.keys()


def test_a_model_of_unknown_size_is_absent_all_the_same() -> None:
    model = LocalModel("mine", repo="a/b", file="c.gguf")
    assert doctor_parts._weights(model, None) == ("absent", "not on this machine", "llmsaver local pull mine")


def test_wrong_settings_do_not_hide_the_local_models(tmp_path: Path) -> None:
    (tmp_path / "llmsaver.toml").write_text("local_models = 3\n")
    assert "local/smollm2-135m" in {finding.name for finding in local_models()}


def test_a_long_path_stays_one_word() -> None:
    path = "/a" * 60
    assert path in written(Health((Finding("local models", "weights", "ok", path, ""), Finding("x", "y", "ok", ""))))


def test_an_answer_that_the_stack_did_not_see_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_calls, "_chat", lambda _: ("the call path works", None))
    monkeypatch.setattr(doctor_calls, "_messages", lambda saver: ("something else", doctor_calls._responses(saver)[1]))
    chat, responses, messages, _ = doctor_calls.call_path()
    assert (chat.state, chat.what) == ("broken", "an answer came, but the stack did not see it")
    assert responses.state == "ok"
    assert "something else" in messages.what


def test_deep_makes_a_call_to_the_local_model(local: Any) -> None:
    health = examine(deep=True)
    assert health.findings[-1].part == "local call"
    assert health.findings[-1].state == "ok"
    assert local.closed


def test_deep_says_why_the_local_model_does_not_run(local: Any) -> None:
    local.error = LocalModelError("no weights here")
    health = examine(deep=True)
    assert not health.works
    assert "no weights here" in health.findings[-1].what


@pytest.mark.local
def test_deep_on_the_real_model() -> None:
    health = examine(deep=True)
    assert health.ready["local"]
    assert health.findings[-1].state == "ok", health.findings[-1]


def test_a_ledgers_password_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "llmsaver.toml").write_text(
        '[local_models]\nmine = "/models/mine.gguf"\n[[budgets]]\nname = "bot"\nusd = 5\n'
    )
    monkeypatch.setenv("LLMSAVER_LEDGER", "postgresql://me:se/cr:et@db.example:5432/books")
    told = {finding.name: finding.what for finding in settings(os.environ)}
    assert told["ledger"] == "postgresql://me:***@db.example:5432/books (LLMSAVER_LEDGER)"
    assert told["budgets"] == "bot (llmsaver.toml or pyproject.toml)"
    assert told["local_models"] == "mine (llmsaver.toml or pyproject.toml)"
