"""Words, votes, the prior and the error budget: each by itself, and the promise kept in simulation."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from llmsaver.cache import prior as prior_module  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.calibration import Calibration  # noqa: E402 - the same
from llmsaver.cache.decision import Decision  # noqa: E402 - the same
from llmsaver.cache.evidence import FEATURES, Evidence, Neighbour, TrackRecord, weigh  # noqa: E402 - the same
from llmsaver.cache.lexis import Frequencies, content_words, stem, tokens  # noqa: E402 - the same
from llmsaver.cache.prior import Prior, fit, shipped  # noqa: E402 - the same
from llmsaver.cache.semantic import ALIKE_LOGIT, Questions  # noqa: E402 - the same
from llmsaver.cache.shadow import PROMISES, Point, curve, shadows  # noqa: E402 - the same
from llmsaver.cache.tally import Outcome as Known  # noqa: E402 - the same
from llmsaver.cache.tally import Tally, beyond  # noqa: E402 - the same

EASY = Prior(tuple(20.0 if name == "vote_near" else 0.0 for name in FEATURES), -10.0)


class TestLexis:
    def test_words_are_stemmed_and_function_words_left_out(self) -> None:
        assert content_words("How are the cards shipped to vitamin A?") == {"card", "shipp", "vitamin"} | (
            {"a"} if "a" in content_words("a") else set()
        )
        assert stem("cards") == stem("card")
        assert stem("is") == "is"
        assert tokens("What's 3+4?") == ["what's", "3", "+", "4", "?"]

    @given(st.text())
    def test_any_text_has_words_and_they_are_its_own(self, text: str) -> None:
        words = content_words(text)
        assert words == content_words(text.lower()) or "\u0130" in text
        assert all(words)

    def test_a_rare_word_tells_more(self) -> None:
        frequencies = Frequencies()
        for number in range(50):
            frequencies.add({"card", f"n{number}"})
        assert frequencies.weight("n1") > frequencies.weight("card") > -0.1
        assert frequencies.covered(frozenset({"n1", "card"}), frozenset({"n1"})) > 0.9
        assert frequencies.overlap(frozenset(), frozenset()) == 0

    def test_the_rarest_are_forgotten_where_there_are_too_many(self) -> None:
        frequencies = Frequencies(limit=10)
        for number in range(11):
            frequencies.add({"card", f"n{number}"})
        assert len(frequencies._counts) <= 10
        assert frequencies.weight("card") < frequencies.weight("n10")

    @given(*[st.frozensets(st.sampled_from("abcdef"))] * 2)
    def test_shares_are_shares(self, one: frozenset[str], other: frozenset[str]) -> None:
        frequencies = Frequencies()
        frequencies.add(one)
        assert 0 <= frequencies.overlap(one, other) <= 1
        assert frequencies.overlap(one, other) == pytest.approx(frequencies.overlap(other, one))


def near(*pairs: tuple[float, int]) -> list[Neighbour]:
    return [Neighbour(at, similarity, answer, frozenset({f"w{at}"})) for at, (similarity, answer) in enumerate(pairs)]


class TestEvidence:
    def test_the_nearest_count_most(self) -> None:
        vote = weigh(frozenset({"w0"}), near((0.9, 1), (0.5, 2), (0.5, 2)), Frequencies(), TrackRecord())
        told = dict(zip(FEATURES, vote.features, strict=True))
        assert vote.answer == 1
        assert (vote.agreeing, len(vote.supporters)) == (1, 1)
        assert told["margin"] == pytest.approx(0.4)
        assert told["nearest_agrees"] == 1
        assert told["words"] > told["words"] - told["words_margin"] == 0

    def test_many_outvote_the_nearest(self) -> None:
        vote = weigh(frozenset(), near((0.9, 1), (0.89, 2), (0.89, 2), (0.88, 2)), Frequencies(), TrackRecord())
        assert vote.answer == 2
        assert vote.agreeing == 3

    @given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), min_size=1, max_size=50))
    def test_every_vote_has_finite_features(self, pairs: list[tuple[float, int]]) -> None:
        pairs.sort(reverse=True)
        vote = weigh(frozenset({"w1", "x"}), near(*pairs), Frequencies(), TrackRecord())
        assert len(vote.features) == len(FEATURES)
        assert all(map(math.isfinite, vote.features))

    def test_what_came_true_is_remembered_by_answer_and_question_and_forgotten(self) -> None:
        record = TrackRecord()
        vote = weigh(frozenset(), near((0.9, 1), (0.8, 1)), Frequencies(), record)
        usual = record.of_answer(1)
        record.note(vote, right=False)
        assert record.of_answer(1) < usual
        assert record.of_questions(vote.supporters) < usual
        for each in vote.supporters:
            record.forget(each.place)
        assert record.of_questions(vote.supporters) == pytest.approx(usual)


class TestPrior:
    def test_known_weights_are_recovered(self) -> None:
        chance = np.random.default_rng(1)
        rows = chance.normal(size=(20_000, 3))
        logits = rows @ np.array([1.5, -0.7, 0.0]) + 0.4
        right = chance.random(20_000) < 1 / (1 + np.exp(-logits))
        found = fit(rows, right)
        assert found.weights == pytest.approx((1.5, -0.7, 0.0), abs=0.07)
        assert found.bias == pytest.approx(0.4, abs=0.07)

    def test_features_that_separate_do_not_run_away(self) -> None:
        found = fit([[float(at > 5), 1.0] for at in range(12)], [at > 5 for at in range(12)])
        assert all(map(math.isfinite, (*found.weights, found.bias)))

    def test_the_shipped_one_knows_every_feature(self) -> None:
        prior = shipped()
        assert tuple(prior.as_dict()["weights"]) == FEATURES
        assert math.isfinite(prior.logit([0.5] * len(FEATURES)))
        assert json.loads(json.dumps(prior.as_dict())) == prior.as_dict()
        assert prior_module.shipped() is prior


def simulated(calibration: Calibration, seed: int, shift: float, count: int = 4_000) -> tuple[int, int]:
    """Return hits and wrong ones where the truth's log-odds are the prior's and ``shift``."""
    chance = np.random.default_rng(seed)
    hits = wrong = 0
    for logit in chance.normal(2.5, 2.5, size=count).tolist():
        right = bool(chance.random() < 1 / (1 + math.exp(-(logit + shift))))
        if calibration.admits(logit):
            hits += 1
            wrong += not right
            if chance.random() < 0.02:
                calibration.observe(logit, right=right)
        else:
            calibration.observe(logit, right=right)
    return hits, wrong


class TestCalibration:
    @pytest.mark.parametrize("max_wrong", [0.01, 0.025, 0.05])
    @pytest.mark.parametrize("shift", [-0.7, -0.3, 0.0, 0.5])
    def test_the_promise_holds_where_the_prior_is_off(self, max_wrong: float, shift: float) -> None:
        total = [simulated(Calibration(max_wrong), seed, shift) for seed in range(6)]
        hits, wrong = (sum(each) for each in zip(*total, strict=True))
        assert wrong <= max_wrong * hits + 2 * math.sqrt(max_wrong * hits)
        assert hits / (6 * 4_000) > 0.15

    def test_a_looser_promise_serves_more(self) -> None:
        hits = [simulated(Calibration(promise), 1, 0.0)[0] for promise in (0.005, 0.01, 0.05)]
        assert hits == sorted(hits)
        assert hits[0] < hits[-1]

    def test_it_starts_with_each_question_keeping_the_promise_by_itself(self) -> None:
        calibration = Calibration(0.01)
        assert not calibration.admits(4.0)
        assert calibration.admits(6.0)

    def test_wrong_answers_make_it_doubt_and_improbable_ones_teach_nothing(self) -> None:
        calibration = Calibration(0.01)
        before = calibration.probability(4.0)
        calibration.observe(-2.0, right=False)
        assert calibration.probability(4.0) == before
        calibration.observe(4.0, right=False)
        assert calibration.probability(4.0) < before
        assert calibration.probability(-1e6) == 0

    def test_it_goes_on_from_its_state(self) -> None:
        first = Calibration(0.01)
        simulated(first, 1, -0.3, 500)
        second = Calibration.restored(0.01, json.loads(json.dumps(first.state())))
        # The threshold is computed anew, from the same questions.
        assert second.state() == first.state()
        assert second.probability(3.0) == first.probability(3.0)

    @pytest.mark.parametrize(
        "changed",
        [
            {"shift": "x"},
            {"shift": math.nan},
            {"precision": 0},
            {"precision": math.inf},
            {"recent": None},
            {"recent": [math.inf]},
            {"recent": [10**400]},
            {"seen": math.inf},
        ],
    )
    def test_what_cannot_be_read_starts_anew(self, changed: dict[str, Any]) -> None:
        state = {**Calibration(0.01).state(), "shift": 1.0, "seen": 7, **changed}
        assert Calibration.restored(0.01, state).state() == Calibration(0.01).state()
        assert Calibration.restored(0.01, {}).state() == Calibration(0.01).state()


def exactly(wrong: int, checked: int, share: Fraction) -> Fraction:
    """Return the chance of at least so many wrong."""
    return 1 - sum(
        (math.comb(checked, k) * share**k * (1 - share) ** (checked - k) for k in range(wrong)), start=Fraction(0)
    )


class TestTally:
    @given(st.integers(0, 120), st.integers(0, 120), st.sampled_from([Fraction(1, 100), Fraction(1, 20)]))
    @settings(deadline=None)
    def test_the_test_is_exact(self, wrong: int, more: int, share: Fraction) -> None:
        chance = float(exactly(wrong, wrong + more, share))
        if abs(chance - 0.05) > 1e-9:
            assert beyond(wrong, wrong + more, float(share)) == (wrong > 0 and chance < 0.05)

    def test_it_breaks_and_mends(self) -> None:
        tally = Tally(0.01)
        served = Decision("k", "", candidate="k", answer=1, fit=True)
        for _ in range(3):
            tally.note(served, right=False, audited=True)
        assert (tally.broken, tally.audited, tally.wrong) == (True, 3, 3)
        for _ in range(400):
            tally.note(served, right=True, audited=False)
        assert not tally.broken

    def test_it_goes_on_from_its_state(self) -> None:
        tally = Tally(0.01)
        tally.note(Decision("k", "", answer=1, logit=3.14159, fit=True), right=False, audited=True)
        tally.unmatched()
        again = Tally.restored(0.01, json.loads(json.dumps(tally.state())))
        assert again.state() == tally.state()
        assert again.broken == tally.broken

    @pytest.mark.parametrize(
        "changed", [{"served": None}, {"served": math.inf}, {"outcomes": [[1]]}, {"outcomes": [["a", math.nan, 1, 1]]}]
    )
    def test_what_cannot_be_read_starts_anew(self, changed: dict[str, Any]) -> None:
        state = {**Tally(0.01).state(), "wrong": 5, **changed}
        assert Tally.restored(0.01, state).state() == Tally(0.01).state()


class TestShadow:
    def test_the_curve_grows_with_the_promise(self) -> None:
        chance = np.random.default_rng(2)
        outcomes = [Known("none", 0.0, fit=False, right=False)]
        for logit in chance.normal(3, 2, size=1_500).tolist():
            right = bool(chance.random() < 1 / (1 + math.exp(-logit)))
            outcomes.append(Known("agreement", logit, fit=True, right=right))
        points = curve(outcomes)
        assert [point.max_wrong for point in points] == list(PROMISES)
        hits = [point.hits for point in points]
        assert hits == sorted(hits)
        assert all(point.wrong_rate <= 3 * point.max_wrong for point in points)
        assert all(point.asked == 1_501 for point in points)

    def test_nothing_known_is_no_hit(self) -> None:
        assert curve([])[0] == Point(0.005, 0, 0, 0)
        assert (curve([])[0].hit_rate, curve([])[0].wrong_rate) == (0, 0)

    def test_by_feature_from_what_a_store_keeps(self) -> None:
        tally = Tally(0.01)
        tally.note(Decision("k", "", answer=1, channel="alike", logit=ALIKE_LOGIT, fit=True), right=True, audited=True)
        states = {f"semantic:tally:{name}": tally.state() for name in ("faq", "default")} | {"semantic:alike:faq": {}}
        assert [each["feature"] for each in shadows(states)] == ["default", "faq"]
        (told,) = shadows(states, "faq")
        assert told["known"] == 1
        assert told["curve"][1] == {"max_wrong": 0.01, "hits": 1, "hit_rate": 1.0, "wrong": 0, "wrong_rate": 0.0}


def vector(*numbers: float) -> Any:
    made = np.array(numbers, np.float32)
    return made / np.linalg.norm(made)


class TestQuestions:
    def test_a_reworded_question_is_served_at_its_first_repetition(self) -> None:
        questions = Questions(0.01, 2, prior=EASY)
        assert questions.decide("n", "f", "How do I reset my password?", vector(1, 0), 0).candidate is None
        questions.space("n").add("k", "How do I reset my password?", vector(1, 0), 7, 10.0)
        decision = questions.decide("n", "f", "how can i reset my password", vector(1, 0.1), 0)
        assert (decision.serve, decision.channel, decision.answer) == ("k", "alike", 7)
        assert questions.decide("n", "f", "how can i reset my password", vector(1, 0.1), 10.0).candidate is None
        assert questions.decide("other", "f", "How do I reset my password?", vector(1, 0), 0).candidate is None

    def test_one_witness_is_none_and_two_are_enough(self) -> None:
        questions = Questions(0.01, 2, prior=EASY)
        questions.space("n").add("a", "card delivery estimate abroad", vector(1, 0), 7, 10.0)
        alone = questions.decide("n", "f", "card delivery tracking", vector(1, 0), 0)
        assert (alone.serve, alone.fit, alone.candidate) == (None, False, "a")
        assert "not alike enough" in alone.why
        questions.space("n").add("b", "card delivery tracking abroad", vector(1, 0.01), 7, 10.0)
        agreed = questions.decide("n", "f", "card delivery plans", vector(1, 0), 0)
        assert agreed.serve == "a"
        assert "2 stored questions agree" in agreed.why

    def test_a_difference_from_all_of_them_vetoes(self) -> None:
        questions = Questions(0.01, 2, prior=EASY)
        for key, text in (("a", "enable card payments abroad"), ("b", "enable card payments online")):
            questions.space("n").add(key, text, vector(1, 0), 7, 10.0)
        decision = questions.decide("n", "f", "disable card payments", vector(1, 0), 0)
        assert decision.serve is None
        assert "antonym" in decision.why

    def test_what_was_learned_is_told_once_and_taken_up(self) -> None:
        questions = Questions(0.01, 2, prior=EASY)
        questions.space("n").add("k", "How do I reset my password?", vector(1, 0), 7, 10.0)
        decision = questions.decide("n", "f", "how can i reset my password", vector(1, 0), 0)
        questions.learn("n", "f", decision, right=False, audited=True)
        questions.count_hit("f")
        states = questions.states()
        assert set(states) == {"alike:f", "tally:f"}
        assert questions.states() == {}
        again = Questions(0.01, 2, state=states.get, prior=EASY)
        assert again.tally("f").wrong == 1
        assert again.calibration("f", "alike").state() == questions.calibration("f", "alike").state()

    def test_spaces_and_questions_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("llmsaver.cache.semantic.SPACES", 2)
        monkeypatch.setattr("llmsaver.cache.semantic.QUESTIONS", 3)
        questions = Questions(0.01, 2, prior=EASY)
        for name in ("one", "two", "three"):
            space = questions.space(name)
            for number in range(5):
                space.add(f"k{number}", f"question {number}", vector(1, number), number, 10.0)
            assert len(space) == 3
            assert not space.has("k0", 10.0)
            assert space.has("k4", 10.0)
        assert list(questions._spaces) == ["two", "three"]
        with pytest.raises(ValueError, match="finite numbers"):
            space.add("k9", "odd", np.zeros(5), 1, 10.0)
        questions.clear()
        assert len(questions.space("two")) == 0

    def test_evidence_is_a_value(self) -> None:
        assert Evidence(1, (), 0, ()) == Evidence(1, (), 0, ())
