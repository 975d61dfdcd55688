"""How many affordable calls a hard budget lets through, when prompts and wishes are as mixed as an application's.

    python benchmarks/affordable.py [--quick]

Budgets of ten to a thousand typical calls, each asked for twice what it allows, through the real client, layers and
prices; as many calls under the small ones together as under the large. A call is
*affordable* where what it would cost as it was written fits limit - spent - held at its arrival; it is *admitted* where
it was answered, its answer shortened or not. Prompts are English, JSON and Chinese of 30 to 30,000 bytes (log-normal
around a kilobyte), answers 1 to 4,000 tokens (log-normal around 150); a third of the requests carry no max-tokens
value, the others one of 64 to 4,096, mostly far above what they get.

Prediction, written before the first run: 97 % admitted. Nearly every refusal comes once a budget is all but spent: a
prompt's bytes are four times its tokens, and a call is refused where fewer than 64 tokens of answer fit beside them.

Found at first: 93.7 % (budgets of 10, 30 and 100 calls). Of the affordable calls that were refused three in four had
too little room for their prompt's bytes, and that bound is the proof; the others for 64 tokens of answer: 16 now. With
it 96.8 %: 94.4 % under budgets of 10 calls, 95.4 % of 30, 97.6 % of 100, 98.9 % of 300 and more; 304 of 9,780
answers were cut by it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

import llmsaver
from llmsaver import BudgetExceeded, Saver
from llmsaver import budget as capped
from llmsaver.testing import Answer, FakeProvider

# Nano-dollars per token in and out, from the vendors' pages.
MODELS = {"gpt-5-mini": (250, 2_000), "gpt-4o-mini": (150, 600), "gpt-5": (1_250, 10_000)}
# A text, the bytes of one of its tokens, and how often it is asked.
TEXTS = (
    ("The customer writes that the parcel has not arrived and asks what to do about it now. ", 4.4, 0.7),
    ('{"id": 17, "state": "open", "lines": [{"sku": "A-1", "n": 2}]}, ', 2.9, 0.2),
    ("请问我的包裹什么时候能够送到 订单号在下面 ", 3.6, 0.1),
)
WISHES = (None, None, None, 64, 256, 512, 1_024, 1_024, 4_096)
CALLS_IN_A_BUDGET = (10, 30, 100, 300, 1_000)


@dataclass(frozen=True)
class Plan:
    """One call: what is asked, how many tokens that is, how many are wished for and how many there will be."""

    model: str
    prompt: str
    tokens_in: int
    wish: int | None
    tokens_out: int

    @property
    def cost(self) -> int:
        """What it would cost as it is written, in nano-dollars."""
        rate_in, rate_out = MODELS[self.model]
        return self.tokens_in * rate_in + self.tokens_out * rate_out


def plan(dice: random.Random) -> Plan:
    """Draw a call."""
    text, bytes_each, _ = dice.choices(TEXTS, [share for *_, share in TEXTS])[0]
    size = int(min(30_000, max(30, dice.lognormvariate(6.9, 1.0))))
    prompt = (text * (size // len(text.encode()) + 1)).encode()[:size].decode("utf-8", "ignore")
    wish = dice.choice(WISHES)
    wanted = int(min(4_000, max(1, dice.lognormvariate(5.0, 0.9))))
    model = dice.choices(list(MODELS), (6, 3, 1))[0]
    tokens_in = 8 + int(len(prompt.encode()) / bytes_each)
    return Plan(model, prompt, tokens_in, wish, wanted if wish is None else min(wanted, wish))


class Trial:
    """Calls under budgets that run out, and what became of the affordable ones."""

    def __init__(self, folder: Path) -> None:
        self.saver = Saver(ledger=str(folder / "affordable.db"))
        self.now: Plan | None = None
        self.fake = FakeProvider(self.reply)
        self.found = dict.fromkeys(("calls", "affordable", "admitted", "shortened", "cut"), 0)

    def reply(self, received: Any) -> Answer:
        """Answer as long as was planned, or as is allowed."""
        assert self.now is not None
        allowed = received.json.get("max_completion_tokens") or self.now.tokens_out
        used = min(allowed, self.now.tokens_out)
        counts = {"prompt_tokens": self.now.tokens_in, "completion_tokens": used}
        return Answer("word", usage={**counts, "total_tokens": sum(counts.values())})

    def run(self, calls: int) -> dict[str, Any]:
        """Use up budgets of every size with so many calls each; return the counts and shares."""
        dice = random.Random(11)  # noqa: S311 - a repeatable mixture, no secret
        shares: dict[str, float] = {}
        typical = sum(plan(dice).cost for _ in range(2_000)) // 2_000
        with httpx2.Client(transport=self.fake.transport()) as http:
            client = llmsaver.OpenAI(api_key="sk-test", http_client=http, saver=self.saver, max_retries=0)
            for size in CALLS_IN_A_BUDGET:
                before = dict(self.found)
                for number in range(max(1, calls // (2 * size))):
                    self._use_up(client, dice, f"b{size}-{number}", size * typical, 2 * size)
                more = {name: count - before[name] for name, count in self.found.items()}
                shares[f"admitted_share_of_{size}"] = round(more["admitted"] / max(1, more["affordable"]), 4)
        over = self._overshot()
        self.saver.close()
        share = self.found["admitted"] / max(1, self.found["affordable"])
        return {**self.found, "admitted_share": round(share, 4), **shares, "overshot": over}

    def _use_up(self, client: Any, dice: random.Random, name: str, limit: int, calls: int) -> None:
        ledger = self.saver.ledger
        assert ledger is not None
        cap = capped(name, usd=f"{limit / 1e9:.9f}")
        claim = ledger.claim(cap.rule.budget)
        for _ in range(calls):
            self.now = plan(dice)
            affordable = self.now.cost <= ledger.room([claim])[0]
            asked = {} if self.now.wish is None else {"max_completion_tokens": self.now.wish}
            self.found["calls"] += 1
            self.found["affordable"] += affordable
            try:
                with cap:
                    messages: Any = [{"role": "user", "content": self.now.prompt}]
                    client.chat.completions.create(model=self.now.model, messages=messages, **asked)
            except BudgetExceeded:
                continue
            self.found["admitted"] += affordable
            entry = self.saver.recent(1)[0]
            self.found["shortened"] += entry.clamped_to is not None
            self.found["cut"] += entry.truncated

    def _overshot(self) -> int:
        """Return how many budgets the provider billed more than they allow, by what the ledger booked."""
        ledger = self.saver.ledger
        assert ledger is not None
        with ledger.reader() as reader:
            return sum(each["spent_nano"] > each["limit_nano"] for each in reader.budgets(0.0))


def affordable(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Run it and return the figures."""
    return Trial(folder).run(200 if quick else 2_000)


def main() -> int:
    """Print one JSON object; the exit status says whether enough were admitted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    with tempfile.TemporaryDirectory() as folder:
        found = affordable(Path(folder), quick=parser.parse_args().quick)
    print(json.dumps(found, indent=1))
    return 0 if found["admitted_share"] >= TARGET and not found["overshot"] else 1


TARGET = 0.95

if __name__ == "__main__":
    sys.exit(main())
