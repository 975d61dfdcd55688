"""A cascade over the real SDKs: who answers, what it costs and what is said of it, in twelve ways."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from llmsaver import BudgetExceeded, Cascade, ConfigurationError, ExactCache, Tier
from llmsaver.testing import Answer, Fault, ToolCall

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."


def test_an_answer_that_is_sure_is_served_from_the_cheap_tier(desk: Any) -> None:
    saver = desk.saver()
    assert desk.ask(saver) == GOOD
    entry = desk.entry(saver)
    assert entry.model == desk.cheap
    assert entry.complete
    assert not entry.escalated
    assert entry.routing["tier"] == entry.routing["start"] == desk.cheap
    assert entry.routing["asked"] == "auto"
    assert entry.routing["evidence"] == "prior"
    assert entry.routing["tiers"] == [desk.cheap, desk.strong]
    assert set(desk.models()) == {desk.cheap}
    assert entry.baseline_nano > entry.cost_nano > 0
    row = desk.shop.row()
    assert row["cost_nano"] == entry.cost_nano
    assert row["baseline_nano"] == entry.baseline_nano
    assert row["routing"]["tier"] == desk.cheap
    assert row["routing"]["counterfactual_usd"] == entry.baseline_usd


def test_an_answer_that_is_not_sure_goes_up_and_both_legs_are_paid(desk: Any) -> None:
    desk.is_unsure()
    saver = desk.saver()
    assert desk.ask(saver) == BEST
    entry = desk.entry(saver)
    assert entry.model == desk.strong
    assert entry.escalated
    assert entry.routing["tier"] == desk.strong
    assert entry.routing["start"] == desk.cheap
    assert entry.routing["escalated"] is True
    assert "is below" in entry.routing["why"]
    assert desk.models()[-1] == desk.strong
    legs = [attempt.cost.nano_usd for attempt in entry.attempts]
    assert entry.cost_nano == sum(legs)
    assert entry.baseline_nano == legs[-1] < entry.cost_nano
    assert desk.shop.row()["escalated"]


def test_nobody_sees_log_probabilities_that_were_not_asked_for(desk: Any) -> None:
    saver = desk.saver()
    desk.ask(saver)
    told = str([event.model_dump() for event in desk.result] if desk.way.stream else desk.result.model_dump())
    assert "-0.0001" not in told
    if desk.way.dialect != "messages":
        assert b"logprobs" in desk.shop.fake.requests[0].body


def test_who_asked_for_log_probabilities_gets_them(plain: Any) -> None:
    saver = plain.saver()
    plain.ask(saver, logprobs=True)
    assert plain.result.choices[0].logprobs.content[0].logprob == -0.0001


def test_a_model_that_is_not_routed_passes_untouched(desk: Any) -> None:
    saver = desk.saver()
    assert desk.ask(saver, model=desk.strong) == BEST
    assert desk.models() == [desk.strong]
    assert desk.entry(saver).routing is None


def test_a_named_model_is_replaced_where_the_user_says_so(desk: Any) -> None:
    saver = desk.saver(replaces=[desk.strong])
    assert desk.ask(saver, model=desk.strong) == GOOD
    entry = desk.entry(saver)
    assert entry.model_asked == desk.strong
    assert entry.model == desk.cheap
    assert entry.baseline_nano > entry.cost_nano


def test_what_goes_up_at_a_named_model_has_that_models_cost_as_its_baseline(plain: Any) -> None:
    plain.is_unsure()
    saver = plain.saver(replaces=[plain.strong])
    assert plain.ask(saver, model=plain.strong) == BEST
    entry = plain.entry(saver)
    assert entry.baseline_nano == entry.attempts[-1].cost.nano_usd


def test_an_invalid_answer_goes_up_however_sure_it_is(desk: Any) -> None:
    desk.says[desk.cheap] = [desk.sure("I'm sorry, but I can't help with that request.")]
    saver = desk.saver()
    assert desk.ask(saver) == BEST
    assert desk.entry(saver).routing["why"].startswith("refusal")


def test_a_users_own_validator_is_heard(plain: Any) -> None:
    def no_seine(_: Any, answer: Any) -> str | None:
        return "it names a river" if "Seine" in answer.text else None

    saver = plain.saver(validators=[no_seine])
    assert plain.ask(saver) == BEST
    assert plain.entry(saver).routing["why"] == "no_seine: it names a river"


@pytest.mark.parametrize("nonsense", [lambda *_: 3, lambda *_: 1 / 0])
def test_a_validator_that_talks_nonsense_sends_the_call_up(plain: Any, nonsense: Any) -> None:
    saver = plain.saver(validators={"odd": nonsense})
    assert plain.ask(saver) == BEST


def test_a_judge_that_breaks_sends_the_call_up(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.judging.by_logprobs", lambda _: 1 / 0)
    saver = plain.saver()
    assert plain.ask(saver) == BEST
    assert "could not be judged" in plain.entry(saver).routing["why"]


def test_a_plan_that_breaks_means_the_last_tier(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.cascade_plan.asked_of", lambda *_: 1 / 0)
    saver = plain.saver()
    assert plain.ask(saver) == BEST
    assert plain.models() == [plain.strong]
    assert "could not be decided" in plain.entry(saver).routing["why"]


@pytest.mark.parametrize("fault", [Fault(500), Fault(429), Fault(400), Fault(drop="connect"), Fault(drop="disconnect")])
def test_a_cheap_tier_that_fails_is_passed_over(desk: Any, fault: Fault) -> None:
    desk.says[desk.cheap] = [fault]
    saver = desk.saver()
    if fault.status == 400:  # the caller's own mistake may be the cheap model's dislike: the last tier says which
        assert desk.ask(saver) == BEST
        return
    assert desk.ask(saver) == BEST
    entry = desk.entry(saver)
    assert entry.routing["tried"][0]["tier"] == desk.cheap
    assert not entry.escalated


def test_the_last_providers_error_is_the_callers(plain: Any) -> None:
    plain.says = {plain.cheap: [Fault(500)], plain.strong: [Fault(529)]}
    saver = plain.saver()
    with pytest.raises(openai.InternalServerError) as raised:
        plain.ask(saver)
    assert raised.value.status_code == 529
    assert plain.models() == [plain.cheap, plain.strong]


def test_after_an_escalation_the_sdks_retry_goes_straight_to_the_last_tier(plain: Any) -> None:
    plain.is_unsure()
    plain.says[plain.strong] = [Fault(500), Fault(500), BEST]
    saver = plain.saver()
    assert plain.ask(saver, options={"max_retries": 2}) == BEST
    assert plain.models() == [plain.cheap, plain.strong, plain.strong, plain.strong]
    assert plain.entry(saver).routing["escalated"]


def test_a_spent_budget_is_nobodys_to_get_around(plain: Any) -> None:
    saver = plain.shop.saver(stack=[..., plain.cascade()], budgets=[{"name": "default", "usd": "0.0000001"}])
    with pytest.raises(BudgetExceeded):
        plain.ask(saver)
    assert plain.models() == []


def test_a_budget_may_let_a_cheaper_tier_answer(plain: Any) -> None:
    budget = {"name": "default", "usd": "0.00009", "on_exceed": "downgrade"}
    saver = plain.shop.saver(stack=[..., plain.cascade(min_quality=0.95)], budgets=[budget])
    assert plain.ask(saver) == GOOD
    entry = plain.entry(saver)
    assert entry.routing["tier"] == plain.cheap
    assert "budget" in entry.routing["why"]


def test_what_no_tier_can_do_is_said(plain: Any) -> None:
    small = [Tier(plain.cheap, max_context=10), Tier(plain.strong, max_context=20)]
    saver = plain.saver(Cascade(small))
    with pytest.raises(ConfigurationError, match="no tier of the cascade can answer this call"):
        plain.ask(saver)
    saver = plain.saver(Cascade(small, replaces=[plain.strong]))
    assert plain.ask(saver, model=plain.strong) == BEST
    assert plain.entry(saver).layers[0].action == "kept"


def test_what_the_cheap_tier_cannot_do_goes_up_and_is_said(plain: Any) -> None:
    saver = plain.saver(Cascade([Tier(plain.cheap, skills=frozenset({"logprobs"})), plain.strong]))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    assert plain.ask(saver, tools=[tool]) == BEST
    entry = plain.entry(saver)
    assert entry.routing["tried"] == [{"tier": plain.cheap, "why": "is not known to call tools"}]


def test_three_tiers_are_climbed_one_by_one(plain: Any) -> None:
    middle = "gpt-4.1-mini"
    plain.is_unsure()
    plain.says[middle] = [Answer(GOOD, logprobs=(-0.0001,) * 60)]
    saver = plain.saver(Cascade([plain.cheap, middle, plain.strong], audit=0))
    assert plain.ask(saver) == GOOD
    assert plain.models() == [plain.cheap, middle]
    assert plain.entry(saver).routing["tier"] == middle


def test_two_samples_that_agree_stand_in_for_log_probabilities(plain: Any) -> None:
    plain.says[plain.cheap] = [Answer(GOOD, logprobs=False)]
    saver = plain.saver()
    assert plain.ask(saver, temperature=0, seed=7) == GOOD
    first, second = (received.json for received in plain.shop.fake.requests)
    assert first["temperature"] == 0
    assert second["temperature"] > 0
    assert "seed" not in second
    entry = plain.entry(saver)
    assert entry.routing["signal"] == "agreement"
    assert len(entry.attempts) == 2
    assert entry.cost_nano == sum(attempt.cost.nano_usd for attempt in entry.attempts)


def test_two_samples_that_differ_go_up(plain: Any) -> None:
    plain.says[plain.cheap] = [Answer("The answer is 41.", logprobs=False), Answer("The answer is 12.", logprobs=False)]
    saver = plain.saver()
    assert plain.ask(saver) == BEST
    assert plain.models() == [plain.cheap, plain.cheap, plain.strong]


def test_without_any_signal_the_last_tier_answers(plain: Any) -> None:
    plain.says[plain.cheap] = [Answer(GOOD, logprobs=False)]
    saver = plain.saver(agreement=False)
    assert plain.ask(saver) == BEST
    assert plain.entry(saver).routing["why"] == "nothing says how sure it is"


def test_a_second_sample_that_fails_is_no_signal(plain: Any) -> None:
    plain.says[plain.cheap] = [Answer(GOOD, logprobs=False), Fault(500)]
    saver = plain.saver()
    assert plain.ask(saver) == BEST


def test_log_probabilities_of_minus_infinity_go_up(plain: Any) -> None:
    plain.says[plain.cheap] = [Answer(GOOD, logprobs=(-9999.0,) * 60)]
    saver = plain.saver()
    assert plain.ask(saver) == BEST


def test_a_tool_call_is_judged_whole_and_served(plain: Any) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    plain.says[plain.cheap] = [Answer(tool_calls=(ToolCall("weather", {"city": "Paris"}),), logprobs=True)]
    saver = plain.saver()
    plain.ask(saver, "What is the weather in Paris?", tools=[tool])
    routing = plain.entry(saver).routing
    assert routing["start"] == plain.cheap
    plain.says[plain.cheap] = [Answer(tool_calls=(ToolCall("weather", {"town": "Paris"}),))]
    plain.says[plain.strong] = [Answer(tool_calls=(ToolCall("weather", {"city": "Paris"}),))]
    plain.ask(saver, "What is the weather in Lyon?", tools=[tool])
    assert plain.result.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'
    assert "tool" in plain.entry(saver).routing["why"]


def test_an_answer_that_is_cut_short_goes_up(desk: Any) -> None:
    desk.says[desk.cheap] = [Fault(drop="disconnect", after=3, answer=Answer(GOOD))]
    saver = desk.saver()
    assert desk.ask(saver) == BEST


def test_a_stored_answer_is_known_by_the_model_that_gave_it(desk: Any) -> None:
    saver = desk.shop.saver(stack=[ExactCache(), ..., desk.cascade()])
    assert desk.ask(saver) == desk.ask(saver) == GOOD
    assert (desk.entry(saver).hit_kind, desk.entry(saver).model) == ("exact", desk.cheap)
    assert saver.cache.invalidate(model="auto") == 0
    assert saver.cache.invalidate(model=desk.cheap) == 1
