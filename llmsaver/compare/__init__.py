"""Whether two answers say the same: exactly, as JSON, in their numbers, words or meaning; standard library only."""

from __future__ import annotations

from llmsaver.compare.structured import json_equal, parsed
from llmsaver.compare.verdict import Verdict, cosine, same
from llmsaver.compare.words import exact, token_f1

__all__ = ["Verdict", "cosine", "exact", "json_equal", "parsed", "same", "token_f1"]
