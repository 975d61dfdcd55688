"""Attached servers as a person sees them."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from llmsaver.errors import LocalModelError
from llmsaver.local import attach
from llmsaver.local.models import Attach
from llmsaver.local.probe import ABILITIES, Abilities
from llmsaver.reporting.local_attached import Attached, as_json, as_text, attached
from llmsaver.settings import load

if TYPE_CHECKING:
    from llmsaver.settings import Settings

FOUND = Abilities("TGI 3.1", "meta/m", context=8192, chat=True, tools=False, logprobs=True)


@pytest.fixture
def given() -> Settings:
    tiers = [Attach("there", base_url="http://a:1/v1"), Attach("gone", base_url="http://b:1/v1")]
    return load({"local_models": tiers}, environ={})


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def abilities(tier: Attach) -> Abilities:
        names.append(tier.name)
        if tier.name == "gone":
            raise LocalModelError("nothing answers at b port 1")
        return FOUND

    monkeypatch.setattr(attach, "abilities", abilities)
    monkeypatch.setattr(attach, "remembered", lambda tier: FOUND if tier.name == "gone" else None)
    return names


def test_the_list_asks_nobody(given: Settings, asked: list[str]) -> None:
    there, gone = attached(given, asked=False)
    assert (there.abilities, gone.abilities, asked) == (None, FOUND, [])


def test_the_status_asks_each_and_says_which_is_gone(given: Settings, asked: list[str]) -> None:
    rows = attached(given, asked=True)
    assert sorted(asked) == ["gone", "there"]
    assert rows[0] == Attached("there", "http://a:1/v1", FOUND)
    assert (rows[1].abilities, rows[1].problem) == (FOUND, "nothing answers at b port 1")
    told = as_json(rows)
    assert [each["reachable"] for each in told] == [True, False]
    assert told[0]["abilities"]["context"] == 8192
    assert as_json([Attached("x", "http://c", None)])[0]["abilities"] is None


def test_without_any_nothing_is_asked() -> None:
    assert attached(load({}, environ={}), asked=True) == []


def test_a_person_reads_what_it_can_and_cannot_do() -> None:
    file = io.StringIO()
    every: dict[str, Any] = dict.fromkeys(ABILITIES, True)
    sure = replace(FOUND, **every, server="", context=None)
    rows = [
        Attached("tgi", "http://a:1/v1", FOUND),
        Attached("new", "http://b:1/v1", None),
        Attached("gone", "http://c:1/v1", None, "nothing answers"),
        Attached("sure", "http://d:1/v1", sure),
    ]
    as_text(rows, Console(file=file, width=200, highlight=False))
    said = file.getvalue().splitlines()
    assert said[0] == "tgi at http://a:1/v1: meta/m, TGI 3.1, 8,192 tokens"
    assert said[1] == "  can: chat completions, log probabilities"
    assert said[2] == "  cannot: tools"
    assert said[3].startswith("  not known: streamed answers, ")
    assert said[4:6] == [
        "new at http://b:1/v1",
        "  its abilities are found out by its first call, or by: llmsaver local status",
    ]
    assert said[6:8] == ["gone at http://c:1/v1", "  nothing answers"]
    assert said[8] == "sure at http://d:1/v1: meta/m"
    assert len(said) == 10
