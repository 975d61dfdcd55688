"""The cache on a terminal of 80 columns."""

from typing import Any

from rich.console import Console

from llmsaver.reporting.cache_view import entry_as_text, stats_as_text

NOW = 1_800_000_000.0
STATS: dict[str, Any] = {
    "place": "/x/cache.db",
    "entries": 1_200,
    "live": 1_199,
    "bytes": 3 << 20,
    "hits": 40,
    "saved_nano": 12_340_000_000,
    "oldest": NOW - 86_400,
    "newest": NOW - 90,
    "models": [
        {"model": "gpt-5-mini\033[2J", "entries": 1_100, "bytes": 2 << 20, "hits": 40, "saved_nano": 12_340_000_000},
        {"model": None, "entries": 100, "bytes": 900, "hits": 0, "saved_nano": 0},
    ],
}
ENTRY: dict[str, Any] = {
    "key": "ab" * 16,
    "model": "m",
    "dialect": "chat",
    "feature": "search",
    "tenant": None,
    "tags": ("a", "b"),
    "created_at": NOW - 60,
    "expires_at": NOW + 3_600,
    "hits": 3,
    "cost_nano": 250_000,
    "text": None,
    "message": {"choices": []},
}


def shown(view: Any, value: Any) -> list[str]:
    console = Console(width=80, force_terminal=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - written nowhere
    view(value, NOW, console)
    console.file.close()
    lines = console.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    return lines


def test_what_is_stored_and_what_it_saved() -> None:
    lines = shown(stats_as_text, STATS)
    assert lines[0] == "1,200 answers in /x/cache.db, 3.0 MiB"
    assert lines[1].endswith("UTC, the latest 1 min 30 s ago")
    assert lines[2:4] == ["1 answer too old to be served", "40 hits saved $12.34"]
    assert lines[5].split() == ["model", "answers", "size", "hits", "saved"]
    assert lines[6].split() == ["gpt-5-mini?[2J", "1,100", "2.0", "MiB", "40", "$12.34"]
    assert lines[7].split() == ["-", "100", "900", "bytes", "0", "$0.00"]


def test_many_models_are_cut() -> None:
    lines = shown(stats_as_text, {**STATS, "live": 1_200, "models": STATS["models"] * 11})
    assert lines[-1] == "2 more models; --json shows all"
    assert not any("too old" in line for line in lines)


def test_an_empty_one_says_so() -> None:
    assert shown(stats_as_text, {**STATS, "entries": 0}) == ["nothing is stored in /x/cache.db"]


def test_one_answer() -> None:
    lines = shown(entry_as_text, ENTRY)
    assert lines[0] == "key      " + "ab" * 16
    assert "tags     a, b" in lines
    assert "stored   1 min ago, expires in 1 h" in lines
    assert "hits     3, each saves $0.00025" in lines
    other = shown(entry_as_text, {**ENTRY, "tenant": "t", "tags": (), "expires_at": NOW - 1, "text": "why?"})
    assert {"tenant   t", "tags     -", "stored   1 min ago, expired", "question why?"} <= set(other)
