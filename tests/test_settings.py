"""Configuration: where it comes from, which wins, and whether its errors say the key, the place and the fix."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from llmsaver.core.rule import rule, rules_from
from llmsaver.errors import ConfigurationError
from llmsaver.settings import Settings, load

KNOWN = ", ".join(Settings.model_fields)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work three folders deep, so that files can be nearer and farther, and with no variable of this machine's."""
    deep = tmp_path / "project" / "service" / "src"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    return tmp_path / "project"


def error_of(arguments: dict[str, object] | None = None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(arguments, environ=environ)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value).removeprefix("llmsaver is configured wrongly: ")


class TestSources:
    def test_the_defaults(self) -> None:
        settings = load(environ={})
        assert settings == Settings()
        assert (settings.mode, settings.annotate, settings.disabled) == ("safe", None, False)
        assert (settings.feature, settings.tenant) == ("default", None)

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            Settings().mode = "max"

    def test_the_process_environment_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LLMSAVER_FEATURE", "from-env")
        assert load().feature == "from-env"

    def test_arguments_beat_environment_beats_file(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"\nfeature = "file"\ntenant = "file"\n')
        environ = {"LLMSAVER_FEATURE": "env", "LLMSAVER_TENANT": "env", "OTHER": "x"}
        settings = load({"tenant": "argument"}, environ=environ)
        assert (settings.mode, settings.feature, settings.tenant) == ("max", "env", "argument")

    def test_an_argument_of_none_and_an_empty_variable_are_not_given(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"')
        assert load({"mode": None, "annotate": None}, environ={"LLMSAVER_MODE": ""}).mode == "max"

    @pytest.mark.parametrize(
        ("text", "value"), [("1", True), ("true", True), ("yes", True), ("0", False), ("False", False), ("off", False)]
    )
    def test_switches_in_the_environment(self, text: str, value: bool) -> None:
        settings = load(environ={"LLMSAVER_DISABLED": text, "LLMSAVER_ANNOTATE": text})
        assert (settings.disabled, settings.annotate) == (value, value)

    def test_numbers_in_the_environment(self) -> None:
        assert load(environ={"LLMSAVER_LOCAL_CONTEXT": "8192"}).local_context == 8192

    def test_variables_that_are_no_settings(self) -> None:
        assert load(environ={"LLMSAVER_DATA": "/somewhere", "LLMSAVERX": "1", "llmsaver_mode": "max"}) == Settings()


class TestFiles:
    def test_a_table_in_pyproject(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.llmsaver]\nmode = "observe"\n')
        assert load(environ={}).mode == "observe"

    def test_the_nearest_folder_wins_whichever_file_it_holds(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"\ntenant = "far"\n')
        (folder / "service" / "pyproject.toml").write_text('[tool.llmsaver]\nmode = "observe"\n')
        settings = load(environ={})
        assert (settings.mode, settings.tenant) == ("observe", None)

    def test_in_one_folder_our_own_file_wins(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"')
        (folder / "pyproject.toml").write_text('[tool.llmsaver]\nmode = "observe"\n')
        assert load(environ={}).mode == "max"

    @pytest.mark.parametrize(
        "nearer",
        [
            '[project]\nname = "llmsaver-user"\n',
            'tool = "llmsaver"\n',
            "[tool.ruff]\n# not llmsaver\n",
            "[tool.other\nbroken",
            "",
        ],
    )
    def test_a_nearer_pyproject_that_does_not_speak_of_us_is_passed_over(self, folder: Path, nearer: str) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"')
        (folder / "service" / "pyproject.toml").write_text(nearer)
        assert load(environ={}).mode == "max"

    def test_budgets_are_tables(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text(
            '[[tool.llmsaver.budgets]]\nname = "all"\nusd = 0.1\nper = "day"\nscope = "organisation"\n'
            '[[tool.llmsaver.budgets]]\nname = "chat"\ncalls = 5\non_threshold = [0.5]\n'
        )
        assert rules_from(load(environ={}).budgets) == (
            rule("all", usd="0.1", per="day", scope="organisation"),
            rule("chat", calls=5, on_threshold=[0.5]),
        )

    def test_a_wrong_budget_in_a_file_names_the_file_the_entry_and_the_key(self, folder: Path) -> None:
        path = folder / "llmsaver.toml"
        path.write_text('[[budgets]]\nname = "chat"\ncalls = 5\npre = "day"\n')
        assert error_of().startswith(f"budgets in {path}[0]: unknown key 'pre': did you mean per?")

    def test_an_empty_file_of_ours_is_an_answer(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"')
        (folder / "service" / "llmsaver.toml").write_text("")
        assert load(environ={}) == Settings()

    def test_a_folder_of_that_name_is_no_file(self, folder: Path) -> None:
        (folder / "llmsaver.toml").mkdir()
        assert load(environ={}) == Settings()

    def test_a_working_folder_that_was_removed_has_no_files(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "max"')
        (folder / "service" / "src").rmdir()
        assert load(environ={"LLMSAVER_FEATURE": "f"}) == Settings(feature="f")


class TestErrors:
    def test_a_wrong_choice_is_told_the_choices(self) -> None:
        assert error_of(LLMSAVER_MODE="fast") == (
            "LLMSAVER_MODE should be 'off', 'observe', 'safe', 'balanced' or 'max'; it is 'fast'"
        )

    def test_an_unknown_name_is_told_the_nearest(self) -> None:
        assert error_of(LLMSAVER_FEATRUE="x") == (
            f"LLMSAVER_FEATRUE is no setting: did you mean feature? The settings are {KNOWN}."
        )

    def test_an_unknown_name_like_no_other_is_to_be_removed(self) -> None:
        assert error_of({"zzz": 1}) == f"Saver(zzz=) is no setting: remove it. The settings are {KNOWN}."

    def test_a_wrong_value_in_a_file_names_the_file(self, folder: Path) -> None:
        path = folder / "llmsaver.toml"
        path.write_text("local_parallel = 1000")
        assert error_of() == f"local_parallel in {path} should be less than or equal to 64; it is 1000"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"feature": ""}, "Saver(feature=) should have at least 1 character; it is ''"),
            ({"tenant": 3}, "Saver(tenant=) should be a valid string; it is 3"),
            ({"local_context": 1.5}, "Saver(local_context=) should be a valid integer"),
            ({"local_context": 1}, "Saver(local_context=) should be greater than or equal to 256; it is 1"),
            ({"local_idle_s": 0}, "Saver(local_idle_s=) should be greater than or equal to 1; it is 0"),
            ({"annotate": "perhaps"}, "Saver(annotate=) should be a valid boolean"),
            ({"disabled": []}, "Saver(disabled=) should be a valid boolean; it is []"),
            ({"local_models": {"mine": 3}}, "Saver(local_models=): 'mine': must be a path, a table, or a LocalMo"),
            ({"local_models": "mine"}, "Saver(local_models=) must be a table of names"),
            ({"local_memory_mib": 0}, "Saver(local_memory_mib=) should be greater than or equal to 1; it is 0"),
            ({"local_exit_idle_s": 0}, "Saver(local_exit_idle_s=) should be greater than or equal to 1; it is 0"),
            ({"local_hourly_usd": "inf"}, "Saver(local_hourly_usd=) should be a finite number; it is 'inf'"),
            ({"local_hourly_usd": -1}, "Saver(local_hourly_usd=) should be greater than or equal to 0; it is -1"),
            ({"budgets": {"name": "a"}}, "Saver(budgets=) should be a valid list; it is {'name': 'a'}"),
            ({"budgets": ["a"]}, "Saver(budgets=).0 should be a valid dictionary; it is 'a'"),
            ({"budgets": [{"usd": 1}]}, "Saver(budgets=)[0]: name= is missing; give the budget a name"),
            ({"budgets": [{"name": "a", "usd": "x"}]}, "Saver(budgets=)[0]: budget 'a': usd= must be dollars"),
        ],
    )
    def test_a_wrong_type_names_key_place_wish_and_value(self, arguments: dict[str, object], said: str) -> None:
        assert error_of(arguments).startswith(said)

    def test_every_wrong_key_is_named_with_the_place_that_won(self, folder: Path) -> None:
        (folder / "llmsaver.toml").write_text('mode = "file"\nfoo = 1\n')
        lines = error_of({"local_parallel": 0}, LLMSAVER_MODE="env").splitlines()
        assert [line.split()[0] for line in lines] == ["LLMSAVER_MODE", "Saver(local_parallel=)", "foo"]
        assert str(folder / "llmsaver.toml") in lines[2]

    @pytest.mark.parametrize("content", [b"mode = ", b"mode = 'a'\nmode = 'b'", b"mode = '\xff'"])
    @pytest.mark.parametrize("name", ["llmsaver.toml", "pyproject.toml"])
    def test_a_broken_file_is_named(self, folder: Path, name: str, content: bytes) -> None:
        path = folder / name
        path.write_bytes(b"[tool.llmsaver]\n" + content)
        said = error_of()
        assert said.startswith(f"{path} cannot be read: ")
        assert said.endswith("; repair or remove it")

    def test_a_table_that_is_none_is_named(self, folder: Path) -> None:
        path = folder / "pyproject.toml"
        path.write_text('tool.llmsaver = "max"')
        assert error_of() == f"tool.llmsaver in {path} must be a table of settings; it is 'max'"
