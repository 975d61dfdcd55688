"""Per-call options: where they come from, which wins, and what a wrong one is told."""

import asyncio
import threading
from types import MappingProxyType

import pytest

from llmsaver.core.options import Options, current_options, options
from llmsaver.errors import ConfigurationError


def test_a_block_applies_options_and_takes_them_back() -> None:
    assert current_options.get() == Options()
    with options(feature="search", user="u") as merged:
        assert merged == Options(feature="search", user="u", path=("search",))
        assert current_options.get() is merged
    assert current_options.get() == Options()


def test_a_block_takes_its_options_back_after_an_error() -> None:
    def fail() -> None:
        with options(feature="x"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert current_options.get() == Options()


def test_inner_blocks_override_and_inherit() -> None:
    with options(feature="outer", tenant="t", tags={"a": "1", "b": "1"}), options(feature="inner", tags={"b": "2"}):
        inner = current_options.get()
    assert inner == Options(feature="inner", tenant="t", tags={"a": "1", "b": "2"}, path=("outer", "inner"))


def test_precedence_rises_from_block_to_headers_to_body() -> None:
    with options(feature="block", user="block", task="block", tags={"k": "block", "only": "block"}):
        merged = current_options.get()
    merged = merged.with_headers({"X-LLMSaver-User": "header", "x-llmsaver-task": "header", "X-LLMSaver-Tags": "k=h"})
    merged = merged.merged({"task": "body"}, "extra_body['llmsaver']")
    tags = {"k": "h", "only": "block"}
    assert merged == Options(feature="block", user="header", task="body", tags=tags, path=("block",))


def test_merging_nothing_returns_the_same_options() -> None:
    base = Options(feature="f")
    assert base.merged({}, "here") is base
    assert base.with_headers({}) is base


def test_merging_leaves_the_given_tags_alone() -> None:
    base, tags = Options(tags={"a": "1"}), MappingProxyType({"b": "2"})
    assert base.merged({"tags": tags}, "here").tags == {"a": "1", "b": "2"}
    assert base.tags == {"a": "1"}


@pytest.mark.parametrize("name", ["annotate", "bypass"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((value, True) for value in (True, 1, "1", "TRUE", "Yes", "on")),
        *((value, False) for value in (False, 0, "0", "false", "NO", "off")),
    ],
)
def test_switches_are_read_as_people_write_them(name: str, value: object, said: bool) -> None:
    assert getattr(Options().merged({name: value}, "here"), name) is said


@pytest.mark.parametrize("name", ["annotate", "bypass"])
@pytest.mark.parametrize("value", ["maybe", "", 2, None, []])
def test_a_switch_that_is_neither_names_itself_and_its_place(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options().merged({name: value}, "the request")
    assert str(caught.value) == f"option {name!r} in the request must be true or false, not {value!r}"


@pytest.mark.parametrize("name", ["feature", "user", "tenant", "task", "conversation"])
@pytest.mark.parametrize("value", ["", None, 3, b"x", ["a"]])
def test_a_name_that_is_no_text_names_itself_and_its_place(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Options().merged({name: value}, "extra_body['llmsaver']")
    assert f"option {name!r} in extra_body['llmsaver'] must be a non-empty string, not {value!r}" == str(caught.value)


@pytest.mark.parametrize("value", [None, "a=b", ["a"], {"a": 1}, {1: "a"}])
def test_tags_that_are_no_map_of_strings_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"option 'tags' in llmsaver.options\(\) must map strings to strings"):
        options(tags=value).__enter__()
    assert current_options.get() == Options()


def test_an_unknown_option_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as caught, options(featrue="x"):
        pass
    known = "feature, user, tenant, task, conversation, tags, annotate, bypass, cache"
    assert str(caught.value) == f"unknown option 'featrue' in llmsaver.options(); known options: {known}"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a=1", {"a": "1"}),
        (" a = 1 , b=2,", {"a": "1", "b": "2"}),
        ("a=1=2", {"a": "1=2"}),
        ("a=", {"a": ""}),
        ("a=1,a=2", {"a": "2"}),
        ("", {}),
    ],
)
def test_tags_in_a_header(text: str, tags: dict[str, str]) -> None:
    assert Options().with_headers({"X-LLMSaver-Tags": text}).tags == tags


@pytest.mark.parametrize("text", ["a", "a=1,b", "=1", " =1"])
def test_tags_in_a_header_without_a_key_or_value_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="option 'tags' in X-LLMSaver-\\* header must be written k=v,k2=v2"):
        Options().with_headers({"X-LLMSaver-Tags": text})


def test_headers_in_any_case_set_any_option() -> None:
    given = {"X-LLMSAVER-FEATURE": "f", "x-llmsaver-annotate": "off", "X-LLMSaver-Bypass": "true"}
    assert Options().with_headers(given) == Options(feature="f", annotate=False, bypass=True, path=("f",))


def test_an_unknown_header_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'cache_mode' in X-LLMSaver-\\* header"):
        Options().with_headers({"X-LLMSaver-Cache-Mode": "on"})


def test_threads_do_not_see_each_others_options() -> None:
    seen: list[Options] = []
    with options(feature="mine"):
        thread = threading.Thread(target=lambda: seen.append(current_options.get()))
        thread.start()
        thread.join()
    assert seen == [Options()]


async def test_tasks_inherit_options_and_keep_their_own() -> None:
    async def book(feature: str) -> tuple[str | None, str | None]:
        before = current_options.get().feature
        with options(feature=feature):
            await asyncio.sleep(0.001)
            return before, current_options.get().feature

    with options(feature="parent"):
        answers = await asyncio.gather(book("a"), book("b"))
        assert current_options.get().feature == "parent"
    assert list(answers) == [("parent", "a"), ("parent", "b")]
