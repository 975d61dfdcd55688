"""The shadow's curve on a terminal, and by the command."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from llmsaver.cache.caches import Caches
from llmsaver.cache.decision import Decision
from llmsaver.cache.tally import Tally
from llmsaver.cli import app
from llmsaver.reporting.cache_shadow import shadow_as_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Return a store that has learned of two features, and of one what no program wrote."""
    tally = Tally(0.01)
    decision = Decision("k", "", answer=1, channel="alike", logit=6.0, fit=True)
    for _ in range(3):
        tally.note(decision, right=True, audited=True)
    tally.unmatched()
    tally.served = 40
    caches = Caches(str(tmp_path / "cache.db"))
    caches.store.set_state("semantic:tally:faq", tally.state())
    caches.store.set_state("semantic:tally:default", Tally(0.01).state())
    caches.store.set_state("semantic:alike:faq", {"shift": 0})
    caches.close()
    return str(tmp_path / "cache.db")


def written(found: list[dict[str, Any]], width: int = 80) -> list[str]:
    file = io.StringIO()
    shadow_as_text(found, Console(file=file, width=width, highlight=False))
    return file.getvalue().splitlines()


def test_a_table_for_each_feature(place: str) -> None:
    lines = written(Caches(place).shadow())
    assert lines[0] == "default: 0 questions with a known truth"
    assert "faq: 4 questions with a known truth" in lines
    assert "40 hits served, 3 checked, 0 of them wrong; the rest of them is not below" in lines
    (row,) = {line for line in lines if line.split()[:2] == ["1.0%", "3"]}
    assert row.split() == ["1.0%", "3", "75.0%", "0", "0.00%"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [20, 40])
def test_what_has_no_room_is_left_out(place: str, width: int) -> None:
    assert any("hit rate" in line for line in written(Caches(place).shadow("faq"), width))


def test_the_command(place: str) -> None:
    done = CliRunner().invoke(app, ["cache", "shadow", "--feature", "faq", "--json", "--cache", place])
    (told,) = json.loads(done.stdout)
    assert (told["feature"], told["known"], told["served"], len(told["curve"])) == ("faq", 4, 40, 5)
    assert "hit rate" in CliRunner().invoke(app, ["cache", "shadow", "--cache", place]).stdout


def test_nothing_known_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cache", "shadow", "--cache", str(tmp_path / "none.db")])
    assert done.exit_code == 0
    assert "SemanticCache(shadow=True)" in done.stdout
