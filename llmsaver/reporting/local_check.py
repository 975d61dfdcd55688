"""What a smaller model, or a lower precision, costs in answers: two models on the same prompts, compared row by row."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from llmsaver.clients.facade import Client
from llmsaver.compare import cosine, exact, json_equal, parsed, same, token_f1
from llmsaver.errors import BudgetExceeded, ConfigurationError, in_words
from llmsaver.reporting.local_ask import Asked, Said
from llmsaver.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llmsaver.compare import Verdict
    from llmsaver.embed import Embedder
    from llmsaver.reporting.local_prompts import Prompt

__all__ = ["Check", "Compared", "Tolerance", "as_json", "check", "embedder_here"]

MAX_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Compared:
    """One row: both answers and how alike they are; ``error`` says why there is none.

    ``as_json`` is None where the reference did not answer with a JSON object or list, ``embedding`` (a cosine) where
    there was no embedder.
    """

    line: int
    prompt: str
    model: Said | None = None
    against: Said | None = None
    exact: bool = False
    as_json: bool | None = None
    f1: float = 0.0
    embedding: float | None = None
    verdict: Verdict | None = None
    error: str | None = None


@dataclass(slots=True)
class Check:
    """Every row so far; shares and means are over the rows that both models answered, None where there is none.

    ``stopped``: Ctrl-C came before the last row. ``without`` says, by model, what of temperature, seed and
    log-probabilities it does not know.
    """

    model: str
    against: str
    asked: int
    rows: list[Compared] = field(default_factory=list)
    stopped: bool = False
    without: dict[str, list[str]] = field(default_factory=dict)

    @property
    def compared(self) -> list[Compared]:
        """The rows that both models answered."""
        return [row for row in self.rows if row.error is None]

    @property
    def errors(self) -> list[Compared]:
        """The rows that one of them did not answer."""
        return [row for row in self.rows if row.error is not None]

    @property
    def same(self) -> float | None:
        """The share of rows whose answers say the same (``llmsaver.compare.same``)."""
        return _mean(row.verdict.same for row in self.compared if row.verdict is not None)

    @property
    def exact(self) -> float | None:
        """The share of equal answers, white space apart."""
        return _mean(row.exact for row in self.compared)

    @property
    def json(self) -> float | None:
        """The share of equal JSON values where the reference answers in JSON."""
        return _mean(row.as_json for row in self.compared if row.as_json is not None)

    @property
    def f1(self) -> float | None:
        """The mean overlap of words."""
        return _mean(row.f1 for row in self.compared)

    @property
    def embedding(self) -> float | None:
        """The mean cosine of the answers' vectors."""
        return _mean(row.embedding for row in self.compared if row.embedding is not None)

    @property
    def logprobs(self) -> tuple[float, float] | None:
        """The mean log-probability per token of the model's own answers, and of the reference's own.

        Over the rows where both tell. Each is sure of its own words: this says how sure, and not who is right.
        """
        pairs = [
            (row.model.logprob, row.against.logprob)
            for row in self.compared
            if row.model is not None
            and row.against is not None
            and row.model.logprob is not None
            and row.against.logprob is not None
        ]
        return (fmean(one for one, _ in pairs), fmean(other for _, other in pairs)) if pairs else None

    @property
    def logprob_change(self) -> float | None:
        """How much less sure (negative) or surer the model is of its own words than the reference is of its own."""
        return None if self.logprobs is None else self.logprobs[0] - self.logprobs[1]

    def costs(self) -> tuple[int | None, int | None]:
        """Return what the answers of the model and of the reference cost, in nano-dollars; None where unknown."""
        return _cost([row.model for row in self.compared]), _cost([row.against for row in self.compared])

    def seconds(self) -> tuple[float, float] | None:
        """Return the median seconds until an answer of the model, and of the reference, was whole."""
        pairs = [(row.model.seconds, row.against.seconds) for row in self.compared if row.model and row.against]
        return (median(one for one, _ in pairs), median(other for _, other in pairs)) if pairs else None

    def worst(self, count: int = 5) -> list[Compared]:
        """Return the rows that differ most, the worst first; none whose answers say the same."""
        differing = [row for row in self.compared if row.verdict is not None and not row.verdict.same]
        return sorted(differing, key=lambda row: (row.f1, row.line))[:count]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The least that a check must come to, as shares of 1; None is not asked for.

    ``logprob_drop`` is the most by which the log-probability may fall. ``errors`` is the share of rows that may fail.
    """

    same: float | None = None
    exact: float | None = None
    json: float | None = None
    f1: float | None = None
    embedding: float | None = None
    logprob_drop: float | None = None
    errors: float = 0.05

    def broken(self, made: Check) -> list[str]:
        """Return what a check does not come to, a line each; a figure that could not be measured holds nothing."""
        said = []
        for name in ("same", "exact", "json", "f1", "embedding"):
            least, found = getattr(self, name), getattr(made, name)
            if least is None:
                continue
            if found is None:
                said.append(f"{name} was not measured; at least {least:g} was asked for")
            elif found < least:
                said.append(f"{name} is {found:.3f}; at least {least:g} was asked for")
        if self.logprob_drop is not None:
            change = made.logprob_change
            if change is None:
                said.append(f"log-probabilities were not told; a drop of at most {self.logprob_drop:g} was asked for")
            elif -change > self.logprob_drop:
                said.append(f"the log-probability fell by {-change:.3f}; at most {self.logprob_drop:g} was asked for")
        if made.rows and len(made.errors) / len(made.rows) > self.errors:
            said.append(f"{len(made.errors)} of {len(made.rows)} rows failed; a share of {self.errors:g} may")
        if not made.compared:
            said.append("no row was answered by both")
        return said


def check(
    model: str,
    against: str,
    prompts: Sequence[Prompt],
    *,
    saver: Saver | None = None,
    embedder: Embedder | None = None,
    max_tokens: int = MAX_TOKENS,
    told: Callable[[Check], object] | None = None,
) -> Check:
    """Put every prompt to both models, one after the other, and compare the answers.

    One call at a time: servers that answer several at once add up numbers in another order, and differ from
    themselves. No cache answers (the Saver, unless given, is in mode "observe"). ``told`` hears of the check after
    every row. Ctrl-C ends it with the rows so far. A row that fails is counted; raises LocalModelError, MissingExtra,
    ConfigurationError or BudgetExceeded where the next one would fare no better.
    """
    own = saver or Saver(mode="observe")
    try:
        with Client(saver=own) as client:
            ours, theirs = (Asked(client, name, max_tokens) for name in (model, against))
            made = Check(ours.model, theirs.model, len(prompts))
            try:
                for each in {ours.model: ours, theirs.model: theirs}.values():
                    each.ready()
                for prompt in prompts:
                    made.rows.append(_row(prompt, ours, theirs, embedder))
                    if told is not None:
                        told(made)
            except KeyboardInterrupt:
                made.stopped = True
            made.without = {each.model: sorted(each.without) for each in (ours, theirs) if each.without}
            return made
    finally:
        if saver is None:
            own.close()


def embedder_here() -> Embedder | None:
    """Return the default embedder, None where it is not installed; why is in the log."""
    try:
        from llmsaver.embed import default_embedder

        return default_embedder()
    except ConfigurationError as error:
        logging.getLogger("llmsaver").info("llmsaver: no embedding: %s", error)
        return None


def as_json(made: Check, broken: Iterable[str] = ()) -> str:
    """Return a check as JSON: every figure, the lines it does not come to, and every row with both answers."""
    costs, seconds = made.costs(), made.seconds()
    told = {
        "model": made.model,
        "against": made.against,
        "asked": made.asked,
        "compared": len(made.compared),
        "errors": len(made.errors),
        "stopped": made.stopped,
        **{name: getattr(made, name) for name in ("same", "exact", "json", "f1", "embedding", "logprob_change")},
        "logprob": _pair(made.logprobs),
        "cost_nano": _pair(costs),
        "seconds": _pair(seconds),
        "without": made.without,
        "broken": list(broken),
        "rows": [asdict(row) for row in made.rows],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _pair(values: tuple[Any, Any] | None) -> dict[str, Any]:
    one, other = values or (None, None)
    return {"model": one, "against": other}


def _row(prompt: Prompt, ours: Asked, theirs: Asked, embedder: Embedder | None) -> Compared:
    row = Compared(prompt.line, prompt.shown)
    answers = []
    for asked in (theirs, ours):
        try:
            answers.append(asked.ask(prompt))
        except (BudgetExceeded, ConfigurationError):
            raise  # the next row would fare no better
        except Exception as error:  # noqa: BLE001 - either SDK's, and whatever else one row brings about
            return Compared(row.line, row.prompt, error=f"{asked.model}: {in_words(error)}")
    against, model = answers
    one, other = model.text, against.text
    vectors = None
    if embedder is not None:
        left, right = embedder.embed([one, other]).tolist()
        vectors = left, right
    equal = json_equal(one, other)
    return Compared(
        row.line,
        row.prompt,
        model,
        against,
        exact(one, other),
        equal if isinstance(parsed(other), dict | list) else None,
        1.0 if equal else token_f1(one, other),
        None if vectors is None else cosine(*vectors),
        same(one, other, vectors=vectors),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    found = [float(value) for value in values if value is not None]
    return fmean(found) if found else None


def _cost(said: Iterable[Said | None]) -> int | None:
    """Return the sum; None where the price of one is unknown."""
    costs = [each.cost_nano for each in said if each is not None]
    return None if None in costs else sum(cost for cost in costs if cost is not None)
