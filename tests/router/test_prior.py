"""The thresholds that ship."""

from __future__ import annotations

import math

from llmsaver.router.prior import prior_signals, prior_threshold


def test_every_signal_that_needs_no_training_has_one() -> None:
    assert prior_signals() == {"logprobs", "agreement", "self_check"}
    assert all(0.0 < prior_threshold(signal) < 1.0 for signal in prior_signals())


def test_what_has_none_is_never_accepted() -> None:
    assert prior_threshold("verbalised") == math.inf
