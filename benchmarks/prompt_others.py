"""Other ways to make retrieved passages shorter, to stand beside ours in one table: plain BM25, MiniLM, and packages.

A ranking orders sentences, the most needed first, and is cut as ours is. A package returns a text, which may have more
than was asked for. What cannot run here is told with the reason: nothing is installed for a benchmark.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Documents = Sequence[tuple[str, Sequence[str]]]
    Ranking = list[tuple[int, int]]

__all__ = ["PACKAGES", "RANKINGS", "reason"]

K1, B = 1.5, 0.75


def bm25(question: str, documents: Documents) -> Ranking:
    """Rank sentences by BM25 (Robertson and Zaragoza, 2009; k1 1.5, b .75) over words as they are written."""
    places = [(at, number) for at, (_, sentences) in enumerate(documents) for number in range(len(sentences))]
    said = [Counter(re.findall(r"\w+", documents[at][1][number].lower())) for at, number in places]
    found = Counter(word for words in said for word in words)
    usual = sum(words.total() for words in said) / max(1, len(said))
    scores = []
    for words in said:
        score = 0.0
        for word in set(re.findall(r"\w+", question.lower())):
            if word in words:
                rare = math.log(1 + (len(said) - found[word] + 0.5) / (found[word] + 0.5))
                damp = K1 * (1 - B + B * words.total() / usual)
                score += rare * words[word] * (K1 + 1) / (words[word] + damp)
        scores.append(score)
    order = sorted(range(len(places)), key=lambda at: -scores[at])
    return [places[at] for at in order]


def minilm(question: str, documents: Documents) -> Ranking:
    """Rank sentences by the cosine of all-MiniLM-L6-v2's vectors, quantised, as the semantic cache has them."""
    from llmsaver.embed.minilm import default_embedder

    places = [(at, number) for at, (_, sentences) in enumerate(documents) for number in range(len(sentences))]
    vectors = default_embedder().embed([question, *(documents[at][1][number] for at, number in places)])
    scores = vectors[1:] @ vectors[0]
    return [places[at] for at in sorted(range(len(places)), key=lambda at: -scores[at])]


def lingua(question: str, text: str, ratio: float) -> str:
    """Shorten a text by LLMLingua-2, on this machine's CPU."""
    from llmsaver.prompt.lingua import LLMLingua

    _loaded.setdefault("lingua", None)
    if _loaded["lingua"] is None:
        _loaded["lingua"] = LLMLingua()
    return str(_loaded["lingua"](text, question, ratio))


def headroom(question: str, text: str, ratio: float) -> str:
    """Shorten a text by headroom's pipeline, as what a tool returned to the question."""
    module: Any = importlib.import_module("headroom.compress")
    options = module.CompressConfig(protect_recent=0, target_ratio=1 / ratio, min_tokens_to_compress=50)
    asked = [
        {"role": "user", "content": question},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t", "content": text},
    ]
    return str(module.compress(asked, model="gpt-4o", config=options).messages[-1]["content"])


_loaded: dict[str, Any] = {}
RANKINGS: Mapping[str, Callable[[str, Documents], Ranking]] = {"bm25": bm25, "minilm": minilm}
PACKAGES: Mapping[str, Callable[[str, str, float], str]] = {"llmlingua-2": lingua, "headroom": headroom}
_INSTALLED = {"llmlingua-2": "llmlingua", "headroom": "headroom", "minilm": "onnxruntime"}


def reason(name: str) -> str | None:
    """Return why one of them cannot run here, None where it can: it is asked one short question."""
    package = _INSTALLED.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed here"
    text = "Rome is the capital of Italy. It lies on the Tiber and has many hills. Milan lies in the north. " * 30
    try:
        if name in RANKINGS:
            RANKINGS[name]("What is the capital?", [("Rome", [text])])
        elif PACKAGES[name]("What is the capital of Italy?", text, 4) == text:
            return "it gave the text back as it was"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return f"{type(error).__name__}: {error}"[:200]
    return None
