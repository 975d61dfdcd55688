"""The record of a call's way."""

from __future__ import annotations

import json
import math

from llmsaver.router.routing import Routing


def test_it_is_json_whatever_was_measured() -> None:
    routing = Routing("auto", ("a", "b"), threshold=math.inf, quality_low=math.nan)
    routing.note(logprobs=0.123456789, merit=None, low=-math.inf)
    routing.passed("a", "busy")
    routing.passed("a", "busy")
    told = routing.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["signals"] == {"logprobs": 0.123457}
    assert told["threshold"] is None
    assert told["quality_low"] is None
    assert told["tried"] == [{"tier": "a", "why": "busy"}]
    assert told["tiers"] == ["a", "b"]
