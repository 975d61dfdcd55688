"""Keys: the same for the same request everywhere, another for any other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.cache import key
from llmsaver.cache.key import embedding_keys, exact_key, question
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.runtime import SyncRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

HI = [{"role": "user", "content": "hi \U0001f600 \ud800 \0"}]
RUNTIME = SyncRuntime()


class Terms:
    """A carrier."""

    def __init__(self, terms: str) -> None:
        self.terms = terms


def test_a_key_is_what_it_was_in_the_first_version(asked: Callable[..., Request]) -> None:
    whole = asked(model="m", messages=HI, temperature=0.1, n=2, _tenant="t", _account="a", _carrier=Terms("q"))
    assert exact_key(whole, "p") == "cab30e042e8b2b8124f63771a7fd440b"
    assert exact_key(asked(model="m", messages=HI)) == "89640d8d961e99ec3927bdb2de36955f"
    found = question(asked(model="m", messages=HI))
    assert found is not None
    assert found.namespace == "93858992ea5139514db93052753ece9b"
    assert embedding_keys(asked("embeddings", model="e", input=["a", "b"])) == [
        "a630c61282b1af37c2494898d6658a4d",
        "7d4182c5ad9468c374016b649b6d39c9",
    ]


def test_another_process_writes_the_same_key(asked: Callable[..., Request]) -> None:
    source = """if True:
        import json, sys
        from llmsaver.cache.key import exact_key
        from llmsaver.core.entry import Entry
        from llmsaver.core.request import Request
        from llmsaver.core.runtime import SyncRuntime
        body = json.loads(sys.argv[1])
        print(exact_key(Request("chat", body, "https://api.test/v1/chat", Entry("chat", "m"), SyncRuntime())))"""
    body = {"messages": HI, "model": "m"}
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", source, json.dumps(body)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == exact_key(asked(model="m", messages=HI))


def test_the_form_of_the_answer_makes_no_difference(asked: Callable[..., Request]) -> None:
    plain = exact_key(asked(model="m", messages=HI))
    assert plain == exact_key(asked(model="m", messages=HI, stream=True, stream_options={"include_usage": True}))


@pytest.mark.parametrize(
    "other",
    [
        {"model": "m2"},
        {"temperature": 0},
        {"temperature": 0.0},
        {"unheard_of": None},
        {"user": "u"},
        {"metadata": {"a": "b"}},
        {"prompt_cache_key": "x"},
        {"messages": [{"role": "system", "content": ""}, *HI]},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"tools": []},
        {"_tenant": "t"},
        {"_tenant": ""},
        {"_account": "a"},
        {"_url": "https://api.test/v2/chat"},
        {"_carrier": Terms("api-version=2")},
    ],
)
def test_any_difference_is_one(asked: Callable[..., Request], other: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"model": "m", "messages": HI}
    keys = {exact_key(asked(**plain)), exact_key(asked(**plain), "policy"), exact_key(asked("messages", **plain))}
    assert len({*keys, exact_key(asked(**{**plain, **other}))}) == 4


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(body=st.dictionaries(st.text(), values, max_size=4), other=st.dictionaries(st.text(), values, max_size=4))
def test_keys_are_equal_exactly_where_requests_are(body: dict[str, Any], other: dict[str, Any]) -> None:
    def key(of: Any) -> str | None:
        return exact_key(Request("chat", of, "u", Entry("chat", None), RUNTIME))

    turned = dict(reversed(body.items()))
    assert key(body) == key(json.loads(json.dumps(turned)))
    clean = [{k: v for k, v in each.items() if k not in {"stream", "stream_options"}} for each in (body, other)]
    written = [json.dumps(each, sort_keys=True) for each in clean]
    assert (key(body) == key(other)) is (written[0] == written[1])


def test_what_is_no_json_has_no_key(asked: Callable[..., Request]) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for wrong in (float("nan"), float("inf"), object(), {1: 2, "a": 3}, deep):
        request = asked(model="m", messages=wrong)
        assert exact_key(request) is None
        assert embedding_keys(asked("embeddings", input="a", model=wrong)) is None
    assert question(asked(model=float("nan"), messages=HI)) is None


@pytest.mark.parametrize(
    ("dialect", "body", "text"),
    [
        ("chat", {"messages": [{"role": "user", "content": "why"}]}, "why"),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "why"}]}]}, "why"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "why"}]}]}, "why"),
        ("responses", {"input": "why"}, "why"),
        ("responses", {"input": [{"role": "user", "content": "why"}]}, "why"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "why"}]}]}, "why"),
    ],
)
def test_a_question_is_its_last_text_and_all_the_rest(
    asked: Callable[..., Request], dialect: str, body: dict[str, Any], text: str
) -> None:
    found = question(asked(dialect, **body))
    again = question(asked(dialect, **json.loads(json.dumps(body).replace("why", "how"))))
    other = question(asked(dialect, **body, temperature=1))
    assert found is not None
    assert again is not None
    assert other is not None
    assert (found.text, again.text) == (text, "how")
    assert found.namespace == again.namespace != other.namespace
    assert question(asked(dialect, **body, _tenant="t")) != found


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("chat", {}),
        ("chat", {"messages": []}),
        ("chat", {"messages": ["x"]}),
        ("chat", {"messages": [{"role": "assistant", "content": "x"}]}),
        ("chat", {"messages": [{"role": "tool", "content": "x"}]}),
        ("chat", {"messages": [{"role": "user", "content": " \n"}]}),
        ("chat", {"messages": [{"role": "user", "content": None}]}),
        ("chat", {"messages": [{"role": "user", "content": []}]}),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}]}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]}),
        ("responses", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("embeddings", {"input": "x"}),
    ],
)
def test_other_turns_are_no_question(asked: Callable[..., Request], dialect: str, body: dict[str, Any]) -> None:
    assert question(asked(dialect, **body)) is None


def test_an_input_has_the_key_it_has_alone(asked: Callable[..., Request]) -> None:
    both = embedding_keys(asked("embeddings", model="e", input=["a", "b"]))
    assert both == [
        *(embedding_keys(asked("embeddings", model="e", input="a")) or ()),
        *(embedding_keys(asked("embeddings", model="e", input=["b"])) or ()),
    ]
    assert embedding_keys(asked("embeddings", model="e", input=["a"], encoding_format="float")) != both[:1]
    assert embedding_keys(asked("embeddings", model="e", input=["a"], dimensions=3)) != both[:1]
    tokens = embedding_keys(asked("embeddings", model="e", input=[[1, 2], [3]]))
    assert tokens is not None
    assert len(set(tokens)) == 2
    assert embedding_keys(asked("embeddings", model="e", input=[1, 2])) == tokens[:1]


@pytest.mark.parametrize("wrong", [None, "", [], [""], [None], {"a": 1}, [float("nan")], [[float("nan")]]])
def test_an_input_of_no_known_form_has_none(asked: Callable[..., Request], wrong: Any) -> None:
    assert not embedding_keys(asked("embeddings", model="e", input=wrong))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, float("nan")])
    | st.text("a\ud800", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=8))
def test_what_is_remembered_is_what_would_be_hashed_anew(values: list[Any]) -> None:
    def of(value: Any) -> str | None:
        return exact_key(Request("chat", {"x": value}, "https://api.test/v1", Entry("chat", "m"), RUNTIME))

    remembered = [of(value) for value in values + values]
    anew = []
    for value in values + values:
        key._hashed_before.clear()
        anew.append(of(value))
    assert remembered == anew


def test_numbers_that_are_equal_and_written_otherwise_are_not_mixed_up(asked: Callable[..., Request]) -> None:
    keys = [exact_key(asked(x=value)) for value in (1, True, 1.0, "1", 0.0, -0.0, 0, False)]
    assert len(set(keys)) == 8
    assert keys == [exact_key(asked(x=value)) for value in (1, True, 1.0, "1", 0.0, -0.0, 0, False)]


class Loud(str):
    """A string of one's own, which marshal does not write."""

    __slots__ = ()


def test_values_of_ones_own_classes_are_hashed_each_time(asked: Callable[..., Request]) -> None:
    key._hashed_before.clear()
    assert exact_key(asked(x=Loud("a"))) is not None
    assert key._hashed_before == {}
    assert exact_key(asked(x=Loud("a"))) == exact_key(asked(x="a"))


def test_only_so_many_are_remembered(asked: Callable[..., Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key, "_REMEMBERED", 3)
    key._hashed_before.clear()
    for number in range(10):
        exact_key(asked(x=number))
        assert len(key._hashed_before) <= 3
