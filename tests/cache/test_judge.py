"""The judge of a single neighbour: what it reads off two questions, how few vectors it needs, its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from llmsaver.cache import judge as judge_module  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.calibration import Calibration  # noqa: E402 - the same
from llmsaver.cache.guards import VETOES, differences, sketch  # noqa: E402 - the same
from llmsaver.cache.judge import FEATURES, Judge, Weights, WordVectors, shipped  # noqa: E402 - the same
from llmsaver.cache.semantic import Questions  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Sequence

DIMENSIONS = 16


def embed(texts: Sequence[str]) -> Any:
    """Return a vector for each text that depends on its words alone, so that shared words are nearness."""
    rows = []
    for text in texts:
        row = np.full(DIMENSIONS, 0.3)
        for word in text.lower().strip("?").split():
            row += np.random.default_rng(sum(map(ord, word))).random(DIMENSIONS)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, np.float32)


def read(one: str, other: str) -> dict[str, float] | None:
    """Return the features of two questions by name."""
    vectors = embed([one, other])
    features = Judge(embed).features(sketch(one), sketch(other), *vectors)
    return None if features is None else dict(zip(FEATURES, features, strict=True))


def test_what_is_unmatched_is_measured() -> None:
    told = read("How do I wash a woollen hat?", "How do I clean a woollen hat?")
    assert told is not None
    assert told["sub"] == told["kind"] == told["order"] == told["marks"] == 1
    assert told["unmatched"] in {0, 0.5}
    assert told["share"] > 0.4
    assert 0 < told["same"] < 1


def test_nothing_unmatched_is_exact_and_needs_no_vector_of_a_word() -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return embed(texts)

    one, other = "How do I wash a hat?", "Please, how do I wash the hat?"
    features = Judge(counting).features(sketch(one), sketch(other), *embed([one, other]))
    assert features is not None
    told = dict(zip(FEATURES, features, strict=True))
    assert (told["exact"], told["rest"], told["lost"], told["oneside"], told["same_unmatched"]) == (1, 1, 0, 0, 0)
    assert asked == []


def test_words_of_one_side_alone_are_told_from_words_of_both() -> None:
    told = read("How do I wash a hat?", "How do I wash a hat by hand?")
    assert told is not None
    assert (told["oneside"], told["rest"], told["sub"]) == (1, 0.5, 0)
    assert told["weight"] > 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When do I wash a hat?", "Why do I wash a hat?"),
        ("Is 10 kg heavy?", "Is 10 lb heavy?"),
        ("How do I wash a hat?", "Where do I find the treasure of the drowned king?"),
        ("How do I wash a hat? " * 200, "How do I wash a hat? " * 201),
    ],
)
def test_what_is_out_of_the_question_is_not_judged(one: str, other: str) -> None:
    vectors = np.eye(2, dtype=np.float32) if "treasure" in other else embed([one, other])
    assert Judge(embed).features(sketch(one), sketch(other), *vectors) is None
    assert Judge(embed).logit(sketch(one), sketch(other), *vectors) is None


_WORDS = "how do i wash a red hat with soap or without it in may and what for 5 km the".split()  # noqa: SIM905 - a list to read


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=10), st.lists(st.sampled_from(_WORDS), max_size=10))
def test_it_makes_no_difference_which_question_came_first(one: list[str], other: list[str]) -> None:
    here, there = " ".join(one), " ".join(other)
    first, second = read(here, there), read(there, here)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert list(first.values()) == pytest.approx(list(second.values()), abs=1e-5)
        assert not VETOES & differences(sketch(here), sketch(there))


def test_the_latest_vectors_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "_KEPT", 2)
    calls: list[Sequence[str]] = []

    def counting(texts: Sequence[str]) -> Any:
        calls.append(texts)
        return embed(texts)

    vectors = WordVectors(counting)
    for word in ("hat", "soap", "soap", "sun", "hat"):
        assert vectors(word).shape == (DIMENSIONS,)
    assert calls == [["hat"], ["soap"], ["sun"], ["hat"]]


def test_the_shipped_weights_are_one_for_each_feature() -> None:
    assert len(shipped().weights) == len(FEATURES)
    assert dict(zip(FEATURES, shipped().weights, strict=True))["lost"] < 0


def asking(bias: float) -> Questions:
    """Return a memory whose judge always says ``bias``."""
    questions = Questions(0.01, DIMENSIONS, embed=embed)
    questions._judge = Judge(embed, Weights((0.0,) * len(FEATURES), bias))
    return questions


@pytest.mark.parametrize(("bias", "served"), [(9.0, "k"), (3.0, None)])
def test_a_lone_neighbour_is_served_when_its_judge_is_sure(bias: float, served: str | None) -> None:
    stored, question = "How do I wash a woollen hat?", "Which way do I get a woollen hat clean?"
    questions = asking(bias)
    questions.space("n").add("k", stored, embed([stored])[0], 1, 9e9)
    decision = questions.decide("n", "f", question, embed([question])[0], 0.0)
    assert (decision.serve, decision.candidate, decision.channel, decision.logit) == (served, "k", "judged", bias)


def test_the_better_of_two_neighbours_is_taken() -> None:
    questions = asking(0.0)
    weights = tuple(10.0 if name == "share" else 0.0 for name in FEATURES)
    questions._judge = Judge(embed, Weights(weights, 0.0))
    space = questions.space("n")
    texts = ["How do I paint a large straw hat?", "How do I paint a straw hat?"]
    for key, (text, vector) in enumerate(zip(texts, embed(texts), strict=True)):
        space.add(str(key), text, vector, 1, 9e9)
    asked = "How do I paint a good straw hat?"
    vector = embed([asked])[0]
    decision = questions._judged("f", sketch(asked), vector, space, space.near(vector, 0), {})
    assert decision is not None
    assert decision.candidate == "1"


@pytest.mark.parametrize(("rival", "served"), [(0.5, "k"), (0.75, None), (None, "k")])
def test_the_judge_is_less_sure_where_another_answer_is_near(rival: float | None, served: str | None) -> None:
    questions = asking(7.0)
    asked, known, other = np.zeros((3, DIMENSIONS), np.float32)
    asked[0] = 1.0
    known[:2] = 0.9, (1 - 0.9**2) ** 0.5
    space = questions.space("n")
    space.add("k", "How do I wash a woollen hat?", known, 1, 9e9)
    if rival is not None:
        other[:3] = rival, 0.0, (1 - rival**2) ** 0.5
        space.add("other", "Where do woollen hats come from?", other, 2, 9e9)
    decision = questions.decide("n", "f", "Which way do I get a woollen hat clean?", asked, 0.0)
    assert (decision.serve, decision.channel) == (served, "judged")
    assert (decision.logit < 7.0) == (served is None)


def test_the_vote_that_was_not_followed_is_learned_from_too() -> None:
    stored, question = "How do I wash a woollen hat?", "Which way do I get a woollen hat clean?"
    questions = asking(3.0)
    questions.space("n").add("k", stored, embed([stored])[0], 1, 9e9)
    decision = questions.decide("n", "f", question, embed([question])[0], 0.0)
    assert decision.voted is not None
    questions.learn("n", "f", decision, right=True, audited=False)
    assert set(questions.states()) == {"judged:f", "agreement:f", "tally:f"}
    assert questions.space("n").record.of_answer(1) > 0.85


def test_without_an_embedder_nothing_is_judged() -> None:
    questions = Questions(0.01, DIMENSIONS)
    vector = embed(["hat"])[0]
    questions.space("n").add("k", "How do I wash a woollen hat?", vector, 1, 9e9)
    assert questions.decide("n", "f", "Which way do I get a hat clean?", vector, 0.0).channel == "agreement"


def test_where_neighbours_vote_the_judge_is_not_asked() -> None:
    questions = asking(9.0)
    texts = ["How do I wash a woollen hat?", "How do I wash one woollen hat now?", "How do I wash my woollen hat here?"]
    for key, (text, vector) in enumerate(zip(texts, embed(texts), strict=True)):
        questions.space("n").add(str(key), text, vector, 1, 9e9)
    question = "Which way do I get a woollen hat clean?"
    assert questions.decide("n", "f", question, embed([question])[0], 0.0).channel == "agreement"


def test_what_misses_teach_never_makes_the_judge_bolder() -> None:
    free, held = Calibration(0.01), Calibration(0.01, rises=False)
    before = held.probability(4.0)
    assert free.probability(4.0) == before
    for _ in range(200):
        free.observe(1.0, right=True)
        held.observe(1.0, right=True)
    assert free.probability(4.0) > held.probability(4.0) == before
    for _ in range(200):
        held.observe(4.0, right=False)
    assert held.probability(4.0) < before
    again = Calibration.restored(0.01, held.state(), rises=False)
    assert again.probability(4.0) == held.probability(4.0)
