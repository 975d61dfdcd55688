"""The report by layer: as text, JSON and CSV, beside the shares of input that caches gave."""

import csv
import io
import json
import time
from pathlib import Path

import pytest

from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.ledger.shaped import LayerLine
from llmsaver.reporting.layers import layer_csv, layer_figures, layer_json, layer_lines
from llmsaver.reporting.report import report
from llmsaver.reporting.report_export import as_csv, as_dict
from llmsaver.reporting.report_view import described

LINES = [
    LayerLine("chat", "prompt cache", 3, 2, 0, 0, 5_000_000),
    LayerLine("search", "prompt cache", 1, 1, 0, 0, -1_000_000),
    LayerLine("search", "compress", 2, 2, 4000, 1000, 9_000_000),
    LayerLine("search", "concise", 7, 0, 0, 0, 0),
]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    with Ledger(tmp_path / "l.db", salt=Salt(tmp_path / "salt")) as ledger:
        now = time.time()
        for n in range(4):
            row = CallRow(f"e{n}", started_at=now - n, feature="f" if n else "g", cost_nano=100, model_asked="m")
            row.input_tokens, row.cache_read_tokens = 1000, 250 * n
            row.shaped = {"compress": [1000, 400, 500_000]} if n < 2 else {}
            assert ledger.write(row).ok
    return ledger


def test_layers_are_summed_over_features_what_saved_most_first() -> None:
    first, second, third = layer_figures(LINES)
    assert [layer.name for layer in (first, second, third)] == ["compress", "prompt cache", "concise"]
    assert (second.calls, second.measured, second.saved_nano, len(second.features)) == (4, 3, 4_000_000, 2)
    assert (first.taken_out, second.taken_out) == (0.75, None)


@pytest.mark.parametrize(("width", "ascii_only"), [(60, True), (80, False), (200, False)])
def test_the_table_says_what_was_not_measured(width: int, ascii_only: bool) -> None:
    lines = list(layer_lines(layer_figures(LINES), width, ascii_only=ascii_only))
    assert lines[0].split() == ["layer", "calls", "tokens", "before", "after", "less", "saved"]
    assert lines[1].split() == ["compress", "2", "4,000", "1,000", "75", "%", "$0.009"]
    assert lines[2].split() == ["prompt", "cache", "4", "-", "-", "-", "$0.004"]
    assert lines[3].split() == ["concise", "7", "-", "-", "-", "-"]
    assert lines[4].startswith("1 call of these without a known price")
    assert max(map(len, lines[:4])) <= width


def test_columns_that_nobody_fills_are_left_out() -> None:
    heading, *_ = layer_lines(layer_figures(LINES[:1]))
    assert heading.split() == ["layer", "calls", "saved"]
    assert list(layer_lines(())) == ["no layer has shaped a call in this time"]


def test_machines_get_exact_dollars_and_null_for_what_is_unknown() -> None:
    compress, cache, concise = layer_json(layer_figures(LINES))
    assert (compress["tokens_before"], compress["tokens_after"], compress["tokens_estimated"]) == (4000, 1000, True)
    assert (compress["saved_usd"], cache["saved_usd"], concise["saved_usd"]) == ("0.009", "0.004", None)
    assert (cache["tokens_before"], cache["tokens_estimated"]) == (None, False)
    assert [each["name"] for each in cache["features"]] == ["chat", "search"]
    rows = list(csv.DictReader(io.StringIO(layer_csv(layer_figures(LINES)))))
    assert [row["layer"] for row in rows] == ["compress", "prompt cache", "concise"]
    assert (rows[1]["saved_usd"], rows[1]["tokens_before"]) == ("0.004", "")


def test_a_report_is_cut_by_layer(ledger: Ledger) -> None:
    made = report(ledger, "layer")
    told = [line.plain for line in described(made, 80)]
    assert "compress      2          2,000    800  60 %  $0.001" in told
    assert any(line.startswith("tokens: of the texts") for line in told)
    assert as_csv(made).splitlines()[1] == "compress,2,2,2000,800,True,0.001"
    assert json.loads(json.dumps(as_dict(made)))["layers"][0]["saved_usd"] == "0.001"
    assert (made.total.calls, made.lines) == (4, ())


def test_every_report_shows_layers_and_what_was_read_from_caches(ledger: Ledger) -> None:
    made = report(ledger)
    told = [line.plain for line in described(made, 120)]
    assert any(line.startswith("compress ") for line in told)
    heading = next(line for line in told if line.startswith("feature"))
    assert "read %" in heading
    assert {line.name: line.read_share for line in made.lines} == {"f": 0.5, "g": 0.0}
    assert {line["name"]: line["cache_read_share"] for line in as_dict(made)["lines"]} == {"f": 0.5, "g": 0.0}


def test_nothing_shaped_is_nothing_shown(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db", salt=Salt(tmp_path / "salt")) as ledger:
        assert ledger.write(CallRow("e1", cost_nano=5)).ok
        told = [line.plain for line in described(report(ledger), 80)]
        assert not any(line.startswith("layer") for line in told)
        assert not any("read %" in line for line in told)
        told = [line.plain for line in described(report(ledger, "layer"), 80)]
        assert "no layer has shaped a call in this time" in told
        assert report(ledger).total.read_share is None


def test_what_no_baseline_holds_is_said_beside_what_was_saved(ledger: Ledger, tmp_path: Path) -> None:
    told = "\n".join(map(str, described(report(ledger))))
    assert "besides $0.001 by shorter prompts" in " ".join(told.split())
    with Ledger(tmp_path / "plain.db", salt=Salt(tmp_path / "salt")) as plain:
        assert plain.write(CallRow("e", started_at=time.time(), cost_nano=100)).ok
        assert "besides" not in "\n".join(map(str, described(report(plain))))
