"""The list of local models."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmsaver.errors import LocalModelError
from llmsaver.local import machine
from llmsaver.local.models import Attach, LocalModel, Vllm
from llmsaver.reporting import local_list
from llmsaver.reporting.local_list import as_json, listed, tier_of
from llmsaver.reporting.local_view import as_text, gigabytes
from llmsaver.settings import load


@pytest.fixture(autouse=True)
def this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pulled, and 4 GiB are free."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("llmsaver.local.weights._in_hub_cache", lambda _model: None)
    monkeypatch.setattr("llmsaver.local.weights._in_package", lambda _model: None)
    monkeypatch.setattr(machine, "free_memory_mib", lambda: 4096)


def rows_of(**settings: Any) -> dict[str, local_list.Listed]:
    return {row.name: row for row in listed(load(settings, environ={}))}


def written(width: int = 80, **settings: Any) -> str:
    file = io.StringIO()
    as_text(listed(load(settings, environ={})), Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_the_catalogue_says_what_is_needed_and_whether_it_fits() -> None:
    rows = rows_of()
    small, large = rows["smollm2-135m"], rows["qwen3-8b"]
    assert (small.quantization, small.licence, small.pinned, small.fits) == ("Q4_1", "Apache-2.0", "sha256", True)
    assert (small.context, small.parallel, small.installed) == (4096, 4, False)
    assert large.fits is False
    assert (large.where, small.where) == ("hub", "registry, hub")
    assert rows["qwen2.5-coder-1.5b"].where == "registry"


def test_settings_come_first_and_change_what_is_needed(tmp_path: Path) -> None:
    own = tmp_path / "mine-iq4_xs.gguf"
    own.write_bytes(b"none")
    rows = rows_of(
        local_models=[
            LocalModel("mine", path=own, hourly_usd="0.4"),
            LocalModel("qwen3-8b", context=512, parallel=1),
            LocalModel("loose", repo="a/b", file="c.gguf", revision="d"),
            LocalModel("packed", package="no_such", file="c.gguf"),
            Vllm("meta/Big", quantization="awq"),
            Attach("tgi", base_url="http://gpu:8080/v1"),
        ],
        local_hourly_usd="1",
    )
    assert list(rows)[:6] == ["mine", "qwen3-8b", "loose", "packed", "big", "tgi"]
    mine = rows["mine"]
    assert (mine.source, mine.size, mine.quantization, mine.installed) == ("settings", 4, "IQ4_XS", True)
    assert (mine.memory_mib, mine.fits, mine.hourly_usd, mine.where) == (None, None, "0.4", str(own))
    assert rows["qwen3-8b"].memory_mib == 4795 + 72 + 96
    assert (rows["loose"].pinned, rows["loose"].where, rows["packed"].where) == ("revision", "hub", "package no_such")
    assert (rows["big"].kind, rows["big"].where, rows["big"].installed) == ("vllm", "meta/Big", None)
    assert (rows["tgi"].kind, rows["tgi"].where, rows["tgi"].hourly_usd) == ("attach", "http://gpu:8080/v1", "1")


def test_a_limit_of_the_settings_counts_as_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_of(local_memory_mib=100)["smollm2-135m"].fits is False
    monkeypatch.setattr(machine, "free_memory_mib", lambda: None)
    assert rows_of()["smollm2-135m"].fits is None
    assert rows_of(local_memory_mib=100)["smollm2-135m"].free_mib == 100


def test_a_context_is_never_longer_than_the_model_was_made_for() -> None:
    assert rows_of(local_context=100_000)["smollm2-135m"].context == 8192


def test_json_has_everything() -> None:
    told = json.loads(as_json(listed(load({}, environ={}))))["models"]
    assert told[0]["name"] == "smollm2-135m"
    assert {"size", "quantization", "licence", "memory_mib", "fits", "installed", "pinned", "path"} <= told[0].keys()


def test_the_table_fits_eighty_columns() -> None:
    said = written(local_models={"a-name-that-is-much-longer-than-any-other-name": "/no/such.gguf"})
    assert max(map(len, said.splitlines())) <= 80
    assert "4.29 GB are free" in said
    assert "fetch one: llmsaver local pull smollm2-135m" in said
    assert "not pinned: any file of that name" in said
    assert "none declared by the package (upstream Apache-2.0)" in written(width=140)


def test_servers_elsewhere_are_neither_here_nor_away() -> None:
    said = written(local_models=[Vllm("meta/Big"), Attach("tgi", base_url="http://gpu:8080/v1")])
    assert [line.split()[5] for line in said.splitlines()[1:3]] == ["vllm", "attached"]


def test_when_all_is_here_and_free_memory_is_unknown_less_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_memory_mib", lambda: None)
    own = tmp_path / "own.gguf"
    own.touch()
    monkeypatch.setattr(local_list, "known_models", list)
    said = written(local_models=[LocalModel("own", path=own, sha256="0" * 64)])
    assert "fetch one" not in said
    assert "free" not in said
    assert "not pinned" not in said


@pytest.mark.parametrize(("size", "said"), [(None, "-"), (98_362_432, "98 MB"), (1_117_320_768, "1.12 GB")])
def test_sizes(size: int | None, said: str) -> None:
    assert gigabytes(size) == said


def test_a_tier_by_its_name_its_adapters_or_its_path() -> None:
    own = LocalModel("own", path="/own.gguf", lora={"triage": "/t.gguf"})
    given = load({"local_models": [own]}, environ={})
    for name in ("own", "local/own", "own:triage", "local/own:triage"):
        assert tier_of(name, given) == own
    found = tier_of("./here.gguf", given)
    assert isinstance(found, LocalModel)
    assert found.path == str(Path.cwd() / "here.gguf")


@pytest.mark.parametrize(
    ("name", "said"),
    [("smolm", "'smolm'. Did you mean smollm2-135m? A GGUF"), ("gpt-5", "'gpt-5'. See llmsaver local list. A GGUF")],
)
def test_an_unknown_name_is_told_the_nearest(name: str, said: str) -> None:
    with pytest.raises(LocalModelError, match="there is no local model") as caught:
        tier_of(name)
    assert said in str(caught.value)
