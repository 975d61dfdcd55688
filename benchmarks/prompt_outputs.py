"""Outputs no longer than needed, measured: concise instructions, answers gone on with, and the learned backstop.

    python benchmarks/prompt_outputs.py [--json] [--quick] [--questions 24] [--model local/qwen2.5-coder-1.5b]

Concise: a model on this machine answers the same questions with and without the instruction (paired replay): from a
passage (NQ gold: the answer is in it, and right where a known answer is in the text) and school maths (GSM8K: right
where the last number is). Continuation: an uncut answer beside the same one cut every few tokens and gone on with; a
joint is exact where the words on both sides of it are those of the uncut answer. Backstop: the lengths of recorded
answers, with one run-away in a thousand, against the limit that ``OutputCap`` learns from them. Data are in
LLMSAVER_DATA, by default ../shared/data; ``--quick`` asks SmolLM2 a few questions.

Prediction, written before the first run: brief saves 20 % of the tokens and terse 50 % on passages with nothing lost;
on maths terse costs a small model a fifth of its right answers. A small model repeats the place it is shown in two of
three joints. The backstop cuts none of 5,000 ordinary answers and nine tenths of what run-aways write.

Learned since: a limit that doubles at every answer it cuts is useless after four run-aways (15 % of what they write
saved); doubled only where more are cut than the quantile leaves, it saves 94 % and cuts none of 20,000 ordinary ones.
SmolLM2-135M is no model to be asked for brevity: brief saved nothing on 8 passages (-35 to 26 %) and lost two of four
right answers, terse 12 % (-82 to 58 %) and three; on maths, where it is never right, 17 and 68 % of the tokens.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import re
import statistics
import tempfile
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmsaver import Client, Saver
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.concise import Concise
from llmsaver.middleware.continuation import Continuation
from llmsaver.middleware.output_cap import OutputCap
from llmsaver.prompt.paired import Said, paired
from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGE, SMALL = "local/qwen2.5-coder-1.5b", "local/smollm2-135m"
ROOM, PIECE, ROUNDS = 160, 24, 5
RUNAWAY, LIMIT = 0.001, 16_384


def rows(name: str) -> Iterator[dict[str, str]]:
    """Read a CSV file of the shared shapes."""
    folder = Path(os.environ.get("LLMSAVER_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data")
    if not (folder / name).exists():
        raise SystemExit(
            f"no {folder / name}: set LLMSAVER_DATA to a folder with {name} (lost-in-the-middle, RouteLLM)"
        )
    with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def passages(number: int) -> list[dict[str, Any]]:
    """Return questions to be answered from a passage, with the answers that are right."""
    found = random.Random(1).sample(list(rows("compress_nq_gold.csv.gz")), number)  # noqa: S311 - a repeatable sample
    return [
        {"prompt": f"{each['passage']}\n\nQuestion: {each['question']}?", "right": json.loads(each["answers"])}
        for each in found
    ]


def sums(number: int) -> list[dict[str, Any]]:
    """Return school maths with the number that is right."""
    known = [each for each in rows("router_gsm8k.csv.gz") if each["strong_correct"] == "1"]
    found = random.Random(1).sample(known, number)  # noqa: S311 - a repeatable sample
    return [{"prompt": each["prompt"], "right": last_number(each["strong_response"])} for each in found]


def last_number(text: str) -> str | None:
    """Return the last number in a text."""
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return numbers[-1].replace(",", "").rstrip(".") if numbers else None


def is_right(body: Mapping[str, Any], text: str) -> bool:
    """Judge an answer."""
    right = body["right"]
    if isinstance(right, list):
        return any(str(each).lower() in text.lower() for each in right)
    return bool(last_number(text) == right)


class Asker:
    """One setting of a Saver over one local model."""

    def __init__(self, model: str, folder: Path, *layers: Any, most: int = ROOM) -> None:
        self.saver = Saver(mode="safe", stack=[*layers, ...], ledger=str(folder / f"{id(self)}.db"))
        self._client = Client(saver=self.saver)
        self._model, self._most = model, most

    def __call__(self, body: Mapping[str, Any]) -> Said:
        """Answer one question."""
        answer = self._client.chat.completions.create(
            model=self._model,
            messages=[{"role": "user", "content": body["prompt"]}],
            max_completion_tokens=self._most,
            temperature=0,
        )
        return Said(answer.choices[0].message.content or "", answer.usage.completion_tokens)

    def close(self) -> None:
        """Stop its model."""
        self.saver.close()


def concise(model: str, number: int, folder: Path) -> dict[str, Any]:
    """Compare each level with none, on passages and on maths."""
    plain = Asker(model, folder)
    known: dict[str, Said] = {}

    def as_now(body: Mapping[str, Any]) -> Said:
        # At temperature 0 a second asking would say the same.
        if body["prompt"] not in known:
            known[body["prompt"]] = plain(body)
        return known[body["prompt"]]

    found: dict[str, Any] = {}
    levels: tuple[Literal["brief", "terse"], ...] = ("brief", "terse")
    for level in levels:
        short = Asker(model, folder, Concise(level))
        for name, questions in (("passages", passages(number)), ("maths", sums(max(2, number // 2)))):
            found[f"{level} {name}"] = paired(questions, as_now, short, judge=is_right).as_dict()
        short.close()
    plain.close()
    return found


def continued(model: str, number: int, folder: Path) -> dict[str, Any]:
    """Compare uncut answers with the same ones cut every few tokens and gone on with."""
    whole = Asker(model, folder, most=PIECE * (ROUNDS + 1))
    parts = Asker(model, folder, Continuation(max_rounds=ROUNDS), most=PIECE)
    joints, alike, rounds, longer = 0, [], 0, []
    for body in passages(number):
        asked = {"prompt": body["prompt"] + " Explain in three sentences."}
        uncut, pieced = whole(asked).text, parts(asked).text
        entry = parts.saver.recent(1)[0]
        rounds += len(entry.attempts) - 1
        joints += sum(act.action == "continued" for act in entry.layers)
        alike.append(SequenceMatcher(None, uncut, pieced, autojunk=False).ratio())
        longer.append(len(pieced) / max(1, len(uncut)))
    whole.close()
    parts.close()
    return {
        "answers": number,
        "continued": joints,
        "further_requests": rounds,
        "alike_median": round(statistics.median(alike), 3),
        "length_ratio_median": round(statistics.median(longer), 3),
    }


def backstop(number: int) -> dict[str, Any]:
    """Replay recorded lengths, with run-aways among them, through the layer, which learns its limit as they come."""
    drawn = random.Random(2)  # noqa: S311 - a repeatable sample
    recorded = [max(1, len(each["strong_response"]) // 4) for each in rows("router_gsm8k.csv.gz")]
    layer, runtime = OutputCap(), SyncRuntime()
    cut = spent = saved = runaways = limited = 0
    for _ in range(number):
        runaway = drawn.random() < RUNAWAY
        length = LIMIT if runaway else drawn.choice(recorded)
        written: list[int] = []

        async def below(request: Request, length: int = length, written: list[int] = written) -> Response:
            written.append(min(length, request.body.get("max_tokens", LIMIT)))
            content = json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": written[0]}}).encode()
            return Response(200, content=content, meter=DIALECTS["chat"].meter(streamed=False))

        body = {"model": "any", "messages": [{"role": "user", "content": "x"}]}
        entry = Entry("chat", "any", feature="maths")
        drive(layer(Request("chat", body, "https://gateway.test/v1/chat/completions", entry, runtime), below))
        limited += any(act.action == "limited" for act in entry.layers)
        spent += length
        saved += length - written[0]
        runaways += length if runaway else 0
        cut += not runaway and written[0] < length
    return {
        "answers": number,
        "limited": limited,
        "ordinary_cut": cut,
        "saved_of_runaways": round(saved / runaways, 3) if runaways else None,
        "saved_of_all": round(saved / spent, 4),
    }


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--questions", type=int, default=24)
    parser.add_argument("--model", default=LARGE)
    given = parser.parse_args()
    number, model = (2, SMALL) if given.quick else (given.questions, given.model)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {
            "model": model,
            "backstop": backstop(2_000 if given.quick else 20_000),
            "continuation": continued(model, max(2, number // 3), Path(folder)),
            "concise": concise(model, number, Path(folder)),
        }
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for name in ("backstop", "continuation"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found[name].items()))
    for name, each in found["concise"].items():
        low, high = each["saving_range"]
        right = " -> ".join(f"{share:.0%}" for share in each["good"] or ())
        print(f"concise {name}: saves {each['saving']:.0%} ({low:.0%} to {high:.0%}) of tokens; right {right}")


if __name__ == "__main__":
    main()
