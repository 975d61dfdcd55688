"""How routing is told in words."""

from dataclasses import replace

from llmsaver.reporting.router_figures import Saving
from llmsaver.reporting.router_view import saving_words

FOUND = Saving(600_000, 600_000, 600_000, 1_000_000, interval=False, checked=1, checks_nano=0)


def test_what_was_saved_is_told_with_its_range() -> None:
    assert saving_words(FOUND) == (
        "saved $0.0006, 60 % of $0.001, by the tokens of the answers served; 1 checked answer so far"
    )
    wide = replace(FOUND, low=500_000, high=700_000, checks_nano=1_000)
    assert "(between $0.0005 and $0.0007)" in saving_words(wide)
    assert saving_words(wide).endswith("; the checks cost $0.000001, counted")
    sure = replace(wide, interval=True, checked=40)
    assert "95 % interval $0.0005 to $0.0007 by 40 checked answers" in saving_words(sure)


def test_a_loss_is_no_saving() -> None:
    assert saving_words(replace(FOUND, nano=-100_000)).startswith("cost $0.0001, 10 % of")
    assert saving_words(replace(FOUND, baseline_nano=0)).startswith("saved $0.0006, 0 % of")
    assert "not known" in saving_words(None)
