"""A help desk's questions through the semantic cache: hits, wrong answers that its own audit found, dollars saved.

    python examples/faq_cache.py

Twelve people ask four things, each in words of their own. A tiny model on this machine answers, as if it were
gpt-5-mini at its list price. Every hit is audited here, so that you see the cache check itself; in production 2 % are
(``audit=0.02``), which is what its promise is measured by. Learned things live in a file beside the ledger; this
program's own is thrown away at its end.

    asked 12 questions, 4 went to the model, 8 hits
    audits: 8 made, 2 found a wrong answer
    saved $0.000454 at the price of gpt-5-mini; audits cost $0.000478
"""

import tempfile
from pathlib import Path

from llmsaver import OpenAI, Saver, SemanticCache

MODEL = "local/smollm2-135m"
PRICES = {MODEL: {"input": "0.25", "output": "2.00"}}  # dollars per million tokens: gpt-5-mini's
FAQ = [
    "How do I reset my password?",
    "Which countries do you ship to?",
    "How long does a refund take?",
    "Where can I download my invoice?",
    "how can i reset my password",
    "Which countries do you ship to, please?",
    "how long does a refund take",
    "Where can I download my invoice please?",
    "Please tell me how to reset my password.",
    "Hello, which countries do you ship to?",
    "Could you tell me how long a refund takes?",
    "Hi, where can I download my invoice?",
]


def on_topic(question: str, stored: str, real: str) -> bool:
    """Judge as this help desk does: both are about what was asked. A tiny model never says a thing twice the same."""
    words = [word for word in question.lower().strip("?.").split() if len(word) > len("your")]
    return all(any(word in answer.lower() for word in words) for answer in (stored, real))


with tempfile.TemporaryDirectory() as folder:
    cache = SemanticCache(max_wrong=0.01, audit=1.0, judge=on_topic)
    with (
        Saver(ledger=str(Path(folder) / "ledger.db"), prices=PRICES, stack=[cache, ...]) as saver,
        OpenAI(api_key="unused", saver=saver) as client,
    ):
        hits = saved = 0
        for question in FAQ:
            client.chat.completions.create(
                model=MODEL,
                max_completion_tokens=80,
                stop=["."],  # one sentence: an answer that was cut short is never kept
                temperature=0,
                messages=[{"role": "user", "content": question}],
            )
            entry = saver.last
            saver.background.drain(30)  # so that each question finds what the one before it taught
            cache.learning.drain(30)
            if entry is not None and entry.hit_kind == "semantic":
                hits += 1
                saved += entry.baseline_nano or 0
        spent = sum(entry.cost_nano or 0 for entry in saver.recent(100) if entry.feature == "quality")
        counts = cache.learning.counts
        print(f"asked {len(FAQ)} questions, {len(FAQ) - hits} went to the model, {hits} hits")
        print(f"audits: {counts['audits']} made, {counts['audits that found a wrong answer']} found a wrong answer")
        print(f"saved ${saved / 1e9:.6f} at the price of gpt-5-mini; audits cost ${spent / 1e9:.6f}")
