"""The commands of what was left out of prompts: what they print, and how they end."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llmsaver import cli
from llmsaver.prompt.originals import Originals, reference_of


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Store two originals of two tenants."""
    store = Originals(tmp_path / "originals.db")
    for tenant, text in ((None, "a text\n"), ("acme", "lone \ud800")):
        texts = {reference_of(text, tenant): (text, "bash")}
        store.place.transact(lambda connection, t=texts, who=tenant: store.keep(connection, t, who, time.time()))  # type: ignore[misc]  # the defaults bind it
    store.close()
    return str(tmp_path / "originals.db")


def run(*arguments: str, text: str | None = None) -> Any:
    return CliRunner().invoke(cli.app, ["originals", *arguments], input=text)


def test_show(path: str) -> None:
    done = run("show", reference_of("a text\n", None), "--originals", path)
    assert (done.exit_code, done.output) == (0, "a text\n\n")
    other = reference_of("lone \ud800", "acme")
    assert run("show", other, "--tenant", "acme", "--originals", path).output == "lone ?\n"
    missing = run("show", other, "--originals", path)
    assert missing.exit_code == 1
    assert f"nothing is kept under {other} for this tenant" in missing.output


def test_the_settings_name_the_place_and_the_tenant(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSAVER_ORIGINALS", path)
    monkeypatch.setenv("LLMSAVER_TENANT", "acme")
    assert run("show", reference_of("lone \ud800", "acme")).output == "lone ?\n"


def test_stats(path: str) -> None:
    assert "2 originals of 2 tenants in " in run("stats", "--originals", path).output
    assert json.loads(run("stats", "--json", "--originals", path).output)["originals"] == 2


def test_purge_asks(path: str) -> None:
    refused = run("purge", "--originals", path, text="n\n")
    assert refused.exit_code == 1
    assert "Delete every original from" in refused.output
    done = run("purge", "--tenant", "acme", "--originals", path, text="y\n")
    assert "Delete the originals of acme from" in done.output
    assert "deleted 1 original" in done.output
    assert "deleted 1 original" in run("purge", "--yes", "--originals", path).output


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert "0 originals of 0 tenants" in run("stats").output
    assert run("show", "llmsaver:o-" + "0" * 24).exit_code == 1
    assert "deleted 0 originals" in run("purge", "--yes").output
    assert not list(tmp_path.rglob("*.db"))
