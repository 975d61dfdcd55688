"""A real cascade over labelled questions: SmolLM2 -> Qwen2.5-Coder-1.5B on two local servers, every call for real.

    python benchmarks/router_local.py [--json] [--limit 300] [--min-quality 0.95] [--risk 0.1] [--keep FILE]

Questions are the shortest of MMLU in ``cascade_outcomes.csv.gz`` (in LLMSAVER_DATA, by default ../shared/data) whose
right letter is known: one of the models there was right. First the cascade answers all of them with the thresholds that
the library brings; then each model answers alone what it has not answered yet, which labels every question by the
truth. The contract is made on one half of the labels for the other half, so that no threshold has seen what it is
scored on; where it lets the small model serve at all, the cascade answers everything once more with it. Prices are
those of gpt-5-nano and gpt-5, for the bill; seconds are of this machine. ``--keep`` writes down each answer, so that a
run that was cut short is taken up again (the router's memory of what pays starts anew then), and the labels beside it,
for ``llmsaver router simulate`` and ``calibrate``.

Prediction, written before the first run: SmolLM2 guesses (28 % right of 25 % by chance), Qwen is right on 52 %; under
2 % of SmolLM2's answers pass untrained, and after some twenty calls the cascade steps aside; at 95 % of Qwen's quality
no threshold is proved, so the contract has the last tier serve and nothing is lost but the evidence.

Learned, on 2 cores that had up to four times as much to do as they could: SmolLM2 was right on 22.0 %, Qwen on 49.0 %.
Untrained, none of 217 small answers passed and the cascade was as right as Qwen; it stepped aside after 217 calls, not
twenty, and its bill was 3.8 % above Qwen alone: where a cheap call costs a twentieth, giving up is proved slowly (since
then what may be lost is bounded: of a cascade that never pays, 1.5 calls of the last tier, or 0.4 % of its bill). The
contract did find a threshold, with 150 labels for each other half: 21 of 300 answers passed, none of the quality was
lost and 2.4 % of the bill saved. It may lose 5 % and spends that on the surest answers. On the labels alone 38 would
have passed (98.0 % kept, 10 % saved): a call is priced before the large answer is known, the label after. Over 100
random halves the labels' contract kept 99.1 % and saved 5 %, but was below 95 % on 14 of them: the quality of 150
questions is itself only known to a few points. Seconds say nothing here: the first run had 6.4 s a call, the last 2.3.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from llmsaver import Cascade, Client, Saver, feature
from llmsaver.reporting.router_outcomes import Outcomes
from llmsaver.reporting.router_simulation import simulate
from llmsaver.reporting.router_tables import promise_words
from llmsaver.router.agreement import final_letter
from llmsaver.router.answers import answer_of
from llmsaver.router.asked import asked_of
from llmsaver.router.calibration import Label, Threshold, contract
from llmsaver.router.confidence import by_logprobs
from llmsaver.router.merit import merit

SMALL, LARGE = "local/smollm2-135m", "local/qwen2.5-coder-1.5b"
PRICES: dict[str, Any] = {
    SMALL: {"input": "0.05", "output": "0.40"},
    LARGE: {"input": "1.25", "output": "10.00"},
}
FILE, FEATURE = "cascade_outcomes.csv.gz", "mmlu"
TOKENS = 16


class Question(NamedTuple):
    """A multiple-choice question and its letter."""

    text: str
    letter: str

    def body(self) -> dict[str, Any]:
        """Return the request, less the model."""
        messages = [{"role": "user", "content": self.text}]
        return {"messages": messages, "max_completion_tokens": TOKENS, "temperature": 0}


class Alone(NamedTuple):
    """What one model made of a question: ``sure`` is its confidence, None where it told none; nano-dollars."""

    right: bool
    sure: float | None
    chars: int
    seconds: float
    nano: int


class Routed(NamedTuple):
    """What the cascade made of it; ``large_s`` and ``large_nano`` are the large model's part, where it was asked."""

    right: bool
    by: str
    asked_small: bool
    escalated: bool
    seconds: float
    nano: int
    large_s: float | None
    large_nano: int
    aside: bool


class Kept:
    """What was answered so far: in memory, and in a file where one is named."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._known: dict[tuple[str, str], list[Any]] = {}
        if place is not None and place.exists():
            for line in place.read_text("utf-8").splitlines():
                row = json.loads(line)
                self._known[row["by"], row["prompt"]] = row["found"]

    def get(self, by: str, question: Question) -> list[Any] | None:
        """Return what was found for a question."""
        return self._known.get((by, question.text))

    def put(self, by: str, question: Question, found: tuple[Any, ...]) -> None:
        """Keep it."""
        self._known[by, question.text] = list(found)
        if self._place is not None:
            with self._place.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"by": by, "prompt": question.text, "found": list(found)}) + "\n")


def questions(data: str | None, limit: int) -> list[Question]:
    """Return the shortest questions whose right answer is known."""
    folder = data or os.environ.get("LLMSAVER_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data"
    place = Path(folder) / FILE
    if not place.exists():
        raise SystemExit(
            f"no {place}: set LLMSAVER_DATA to a folder with {FILE}, rows of dataset, model, prompt, answer, correct "
            "(github.com/mzelling/rational-llm-cascades)"
        )
    letters = {}
    with gzip.open(place, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dataset"] == "mmlu" and float(row["correct"]) == 1.0:
                letters[row["prompt"]] = row["answer"].strip()[:1]
    found = sorted(letters.items(), key=lambda pair: (len(pair[0]), pair[0]))
    return [Question(text, letter) for text, letter in found[:limit]]


def right(question: Question, said: str) -> bool:
    """Return whether the answer is the right letter."""
    return final_letter(said, asked_of("chat", question.body())) == question.letter


def alone(saver: Saver, client: Client, model: str, question: Question) -> Alone:
    """Ask one model."""
    began = time.perf_counter()
    told = client.chat.completions.create(model=model, logprobs=True, **question.body())
    seconds = time.perf_counter() - began
    answer = answer_of("chat", told.model_dump())
    found, entry = by_logprobs(answer), saver.last
    sure = None if found is None else found.value
    nano = (entry.cost_nano if entry else None) or 0
    return Alone(right(question, answer.text), sure, len(answer.text), seconds, nano)


def all_alone(model: str, asked: list[Question], kept: Kept) -> None:
    """Have one model answer what it has not answered yet."""
    missing = [question for question in asked if kept.get(model, question) is None]
    if not missing:
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Saver(ledger=f"{folder}/l.db", prices=PRICES) as saver,
        Client(saver=saver) as client,
    ):
        alone(saver, client, model, asked[0])  # the server starts
        for at, question in enumerate(missing):
            kept.put(model, question, alone(saver, client, model, question))
            _say(f"{model}: {at + 1} of {len(missing)}")


def labels_of(small: list[Alone], large: list[Alone]) -> list[Label]:
    """Return what is known of each question, as the cascade's own judge would put it."""
    usual = statistics.fmean(each.nano for each in large)
    return [
        Label(
            FEATURE,
            None if one.sure is None else merit(one.sure, price=other.nano / usual, chars=one.chars),
            "logprobs",
            float(one.right),
            float(other.right),
            one.nano,
            other.nano,
            "file",
            gold=True,
        )
        for one, other in zip(small, large, strict=True)
    ]


def routed(asked: list[Question], cascade: Cascade, name: str, kept: Kept) -> list[Routed]:
    """Have a cascade answer questions, one by one."""
    missing = [question for question in asked if kept.get(name, question) is None]
    with (
        tempfile.TemporaryDirectory() as folder,
        Saver(ledger=f"{folder}/l.db", prices=PRICES, stack=[..., cascade]) as saver,
        Client(saver=saver) as client,
    ):
        for model in (SMALL, LARGE) if missing else ():  # servers start before the clock does
            client.chat.completions.create(model=model, **asked[0].body())
        for at, question in enumerate(missing):
            kept.put(name, question, _routed(saver, client, question))
            _say(f"{name}: {at + 1} of {len(missing)}")
    return [Routed(*(kept.get(name, question) or ())) for question in asked]


def _routed(saver: Saver, client: Client, question: Question) -> Routed:
    began = time.perf_counter()
    with feature(FEATURE):  # whose labels they are
        told = client.chat.completions.create(model="auto", **question.body())
    seconds, entry = time.perf_counter() - began, saver.last
    way: Any = (entry.routing if entry else None) or {}
    legs = [each for each in (entry.attempts if entry else ()) if each.model == LARGE]
    return Routed(
        right(question, told.choices[0].message.content or ""),
        str(way.get("tier")),
        way.get("start") == SMALL,
        bool(way.get("escalated")),
        seconds,
        (entry.cost_nano if entry else None) or 0,
        sum(each.latency_s or 0.0 for each in legs) if legs else None,
        sum(each.cost.nano_usd for each in legs if each.cost is not None),
        bool(way.get("aside")),
    )


def _legs(asked: list[Question], found: list[Routed], kept: Kept) -> None:
    """Take the large model's answers over from the cascade's calls: it need not give them again."""
    for question, each in zip(asked, found, strict=True):
        if each.by == LARGE and each.large_s is not None and kept.get(LARGE, question) is None:
            kept.put(LARGE, question, Alone(each.right, None, 1, each.large_s, each.large_nano))


def scored(found: list[Routed], strong: float) -> dict[str, Any]:
    """Return a cascade's figures."""
    return {
        "questions": len(found),
        "accuracy": round(statistics.fmean(each.right for each in found), 4),
        "quality_kept": round(statistics.fmean(each.right for each in found) / strong, 4) if strong else None,
        "asked_small": sum(each.asked_small for each in found),
        "escalated": sum(each.escalated for each in found),
        "stepped_aside": sum(each.aside for each in found),
        "served_by_small": sum(each.by == SMALL for each in found),
        "seconds": round(sum(each.seconds for each in found), 1),
        "seconds_p50": round(statistics.median(each.seconds for each in found), 2),
        "usd": round(sum(each.nano for each in found) / 1e9, 6),
    }


def alone_scored(found: list[Alone]) -> dict[str, Any]:
    """Return one model's figures."""
    return {
        "accuracy": round(statistics.fmean(each.right for each in found), 4),
        "seconds": round(sum(each.seconds for each in found), 1),
        "seconds_p50": round(statistics.median(each.seconds for each in found), 2),
        "usd": round(sum(each.nano for each in found) / 1e9, 6),
    }


def run(asked: list[Question], min_quality: float, risk: float, keep: Path | None) -> dict[str, Any]:
    """Make all calls; return the figures."""
    kept = Kept(keep)
    untrained = routed(asked, Cascade([SMALL, LARGE], audit=0.0), "untrained", kept)
    _legs(asked, untrained, kept)
    both = {}
    for model in (SMALL, LARGE):
        all_alone(model, asked, kept)
        both[model] = [Alone(*(kept.get(model, question) or ())) for question in asked]
    labels = labels_of(both[SMALL], both[LARGE])
    if keep is not None:
        _write_labels(keep.with_suffix(".labels.jsonl"), labels)
    strong = statistics.fmean(label.strong for label in labels)
    halves = (list(range(0, len(asked), 2)), list(range(1, len(asked), 2)))
    verdicts, cascade = [], []
    for ours, others in (halves, halves[::-1]):
        known = [labels[at] for at in others]
        made = contract(known, min_quality=min_quality, risk=risk)
        verdicts.append(made.as_dict() if isinstance(made, Threshold) else str(made))
        if isinstance(made, Threshold) and math.isfinite(made.value):
            layer = Cascade([SMALL, LARGE], min_quality=min_quality, risk=risk, audit=0.0, explore=0.0, labels=known)
            cascade += routed([asked[at] for at in ours], layer, f"contract {min_quality} {risk}", kept)
        else:  # the last tier serves, and no other is asked
            cascade += [_last(both[LARGE][at]) for at in ours]
    whole = simulate(Outcomes(FEATURE, SMALL, LARGE, tuple(labels)), min_quality=min_quality, risk=risk)
    told = {"small_alone": alone_scored(both[SMALL]), "large_alone": alone_scored(both[LARGE])}
    told |= {"untrained": scored(untrained, strong), "contract": scored(cascade, strong)}
    told["contract"] |= {"min_quality": min_quality, "risk": risk, "halves": verdicts}
    told["all_labels"] = {"verdict": promise_words(whole.promise), **whole.as_dict()}
    return told


def _last(found: Alone) -> Routed:
    return Routed(found.right, LARGE, False, False, found.seconds, found.nano, found.seconds, found.nano, False)


def _write_labels(place: Path, labels: list[Label]) -> None:
    names = ("confidence", "signal", "weak", "strong", "gold")
    with place.open("w", encoding="utf-8") as file:
        for label in labels:
            row = {name: getattr(label, name) for name in names}
            row |= {"weak_usd": label.weak_nano / 1e9, "strong_usd": label.strong_nano / 1e9, "tier": SMALL}
            file.write(json.dumps(row) + "\n")


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Run it, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--min-quality", type=float, default=0.95)
    parser.add_argument("--risk", type=float, default=0.1)
    parser.add_argument("--data")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    told = run(questions(given.data, given.limit), given.min_quality, given.risk, given.keep)
    if given.json:
        print(json.dumps(told, indent=2))
        return
    for name in ("small_alone", "large_alone", "untrained", "contract"):
        print(f"{name:<12}", ", ".join(f"{key} {value}" for key, value in told[name].items() if key != "halves"))
    print("contract on each half:", *(json.dumps(verdict) for verdict in told["contract"]["halves"]), sep="\n  ")
    print("on all labels:", told["all_labels"]["verdict"])


if __name__ == "__main__":
    main()
