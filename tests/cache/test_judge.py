"""The judge of a single neighbour: what it measures of two questions, when they are read together, its weights."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from llmsaver.cache import semantic  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.calibration import Calibration  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.guards import HARD_VETOES, differences, sketch  # noqa: E402 - the same
from llmsaver.cache.judge import FEATURES, Asked, Judge, Weights, shipped  # noqa: E402 - the same
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


def says(one: str, other: str) -> float | None:
    """Return what a cross-encoder would: 4 for two questions about hats, -4 else, nothing for long ones."""
    if len(one) + len(other) > 500:
        return None
    return 4.0 if "hat" in one and "hat" in other else -4.0


def pair(one: str, other: str) -> tuple[Asked, Asked, float]:
    """Return two questions as the judge takes them, with their cosine."""
    vectors = embed([one, other])
    return Asked(one, sketch(one)), Asked(other, sketch(other)), float(vectors[0] @ vectors[1])


def read(one: str, other: str) -> dict[str, float] | None:
    """Return the features of two questions by name."""
    features = Judge(says).features(*pair(one, other))
    return None if features is None else dict(zip(FEATURES, features, strict=True))


def test_both_questions_are_read_and_measured() -> None:
    told = read("How do I wash a woollen hat?", "How do I clean a woollen hat?")
    assert told is not None
    assert told["read"] == 4
    assert told["kind"] == told["tense"] == told["persons"] == told["joined"] == 1
    assert told["oneside"] == told["wh"] == 0
    assert told["share"] > 0.4


def test_words_of_one_side_alone_are_told_from_words_of_both() -> None:
    told = read("How do I wash a hat?", "How do I wash a hat by hand?")
    assert told is not None
    assert (told["oneside"], told["unmatched"]) == (1, 0.25)


def test_what_a_guard_doubts_is_weighed_and_forbids_nothing() -> None:
    told = read("How do I wash a hat?", "How do I not wash a hat?")
    assert told is not None
    assert told["veto negation"] == 1
    assert told["veto role"] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is 10 kg of hats heavy?", "Is 12 kg of hats heavy?"),
        ("How do I wash a hat?", "Where do I find the treasure of the drowned king?"),
        ("How do I wash a hat? " * 200, "How do I wash a hat? " * 201),
    ],
)
def test_what_is_out_of_the_question_is_not_judged(one: str, other: str) -> None:
    asked, known, cosine = pair(one, other)
    cosine = 0.2 if "treasure" in other else cosine
    assert Judge(says).features(asked, known, cosine) is None
    assert Judge(says).beforehand(asked, known, cosine) is None


def test_of_what_is_too_long_to_read_nothing_is_known() -> None:
    long = "How do I wash a hat " + "or two " * 40
    asked, known, cosine = pair(f"{long} well?", f"{long} now?")
    assert Judge(says).reading(asked, known) is None
    assert Judge(says).features(asked, known, cosine) is None


def test_what_surely_differs_is_not_even_read() -> None:
    only_read = (1.0, *[0.0] * (len(FEATURES) - 1))
    asked = pair("How do I wash a hat?", "How do I clean the hat?")
    assert Judge(says, Weights(only_read, -20.0)).beforehand(*asked) is None
    judge = Judge(says, Weights(only_read, -2.0))
    assert judge.beforehand(*asked) == pytest.approx(-2)
    assert judge.reading(*asked[:2]) == 4


_WORDS = "how do i wash a red hat with soap or without it in may and what for 5 km the".split()  # noqa: SIM905 - a list to read


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=10), st.lists(st.sampled_from(_WORDS), max_size=10))
def test_it_makes_no_difference_which_question_came_first(one: list[str], other: list[str]) -> None:
    here, there = " ".join(one), " ".join(other)
    first, second = read(here, there), read(there, here)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert list(first.values()) == pytest.approx(list(second.values()), abs=1e-5)
        assert not HARD_VETOES & differences(sketch(here), sketch(there))


def test_the_shipped_weights_are_one_for_each_feature() -> None:
    assert len(shipped().weights) == len(FEATURES)
    assert dict(zip(FEATURES, shipped().weights, strict=True))["read"] > 0


def asking(bias: float) -> Questions:
    """Return a memory whose judge always says ``bias``."""
    questions = Questions(0.01, DIMENSIONS, reads=says)
    questions._judge = Judge(says, Weights((0.0,) * len(FEATURES), bias))
    return questions


@pytest.mark.parametrize(("bias", "served"), [(9.0, "k"), (3.0, None)])
def test_a_lone_neighbour_is_served_when_its_judge_is_sure(bias: float, served: str | None) -> None:
    stored, question = "How do I wash a woollen hat?", "Which way do I get a woollen hat clean?"
    questions = asking(bias)
    questions.space("n").add("k", stored, embed([stored])[0], 1, 9e9)
    decision = questions.decide("n", "f", question, embed([question])[0], 0.0)
    assert (decision.serve, decision.candidate, decision.channel, decision.logit) == (served, "k", "judged", bias)


def test_the_likelier_of_two_neighbours_is_read_and_no_other() -> None:
    questions, read = asking(0.0), []

    def noting(one: str, other: str) -> float:
        read.append((one, other))
        return 9.0

    weights = tuple({"share": 10.0, "read": 1.0}.get(name, 0.0) for name in FEATURES)
    questions._judge = Judge(noting, Weights(weights, -5.0))
    texts = ["How do I paint a large straw hat?", "How do I paint a straw hat?"]
    for key, (text, vector) in enumerate(zip(texts, embed(texts), strict=True)):
        questions.space("n").add(str(key), text, vector, key, 9e9)
    asked = "How do I paint a good straw hat by hand?"
    decision = questions.decide("n", "f", asked, embed([asked])[0], 0.0)
    assert read in ([], [(asked, texts[1])])
    assert (decision.candidate, decision.channel) in {("1", "judged"), ("0", "agreement"), ("1", "agreement")}
    questions._contested = lambda *_: False  # type: ignore[method-assign]
    decision = questions.decide("n", "f", asked, embed([asked])[0], 0.0)
    assert read[-1] == (asked, texts[1])
    assert (decision.candidate, decision.channel) == ("1", "judged")


def test_while_two_questions_are_read_nobody_waits() -> None:
    questions = asking(9.0)
    free: list[bool] = []

    def reading(_one: str, _other: str) -> float:
        thread = threading.Thread(target=lambda: free.append(questions.lock.acquire(timeout=60)))
        thread.start()
        thread.join()
        return 4.0

    questions._judge = Judge(reading, Weights((0.0,) * len(FEATURES), 9.0))
    stored, question = "How do I wash a woollen hat?", "Which way do I get a woollen hat clean?"
    questions.space("n").add("k", stored, embed([stored])[0], 1, 9e9)

    def decide() -> None:
        questions.decide("n", "f", question, embed([question])[0], 0.0)

    # The lock stays with the thread that took it, so what follows the reading would wait for ever: a daemon.
    threading.Thread(target=decide, daemon=True).start()
    deadline = time.monotonic() + 60
    while not free and time.monotonic() < deadline:
        time.sleep(0.01)
    assert free == [True]


def test_a_child_has_a_lock_of_its_own() -> None:
    questions = asking(9.0)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with questions.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    semantic._after_fork()
    assert questions.decide("n", "f", "How do I wash a hat?", embed(["hat"])[0], 0.0).serve is None
    done.set()
    thread.join()


def test_what_cannot_be_read_is_left_to_the_vote() -> None:
    questions = asking(9.0)
    questions._judge = Judge(lambda *_: None, Weights((0.0,) * len(FEATURES), 9.0))
    stored, question = "How do I wash a woollen hat?", "Which way do I get a woollen hat clean?"
    questions.space("n").add("k", stored, embed([stored])[0], 1, 9e9)
    assert questions.decide("n", "f", question, embed([question])[0], 0.0).channel == "agreement"


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


def test_without_a_cross_encoder_nothing_is_judged() -> None:
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


def test_whatever_room_sure_hits_leave_an_unlikely_one_is_not_served() -> None:
    free, held = Calibration(0.01), Calibration(0.01, rises=False)
    for logit in [12.0] * 400 + [3.0] * 25:
        free.admits(logit)
        held.admits(logit)
    assert free.admits(3.0)
    assert not held.admits(3.0)
    assert held.admits(4.0)


def test_who_acts_on_whom_is_no_matter_of_degree() -> None:
    asked, known, cosine = pair("What does a red hat cause?", "What causes a red hat?")
    assert Judge(says).measured(asked, known, cosine) is None
