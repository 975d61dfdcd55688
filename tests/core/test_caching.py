"""What a caller may say about caching, in every place where options are taken."""

from typing import Any

import pytest

from llmsaver.core.caching import NOTHING_SAID, PAST_EVERY_CACHE, Caching, caching, seconds
from llmsaver.core.options import Options, options
from llmsaver.errors import ConfigurationError


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("default", NOTHING_SAID),
        ("no-cache", Caching(read=False)),
        ("no_cache", Caching(read=False)),
        ("No-Store", Caching(write=False)),
        ("no-cache, no-store", PAST_EVERY_CACHE),
        ("refresh", Caching(read=False, replace=True)),
        ("only-if-cached", Caching(only=True)),
        ("max-age=60", Caching(max_age=60.0)),
        ("max-age=2m,tag=a, tag = b", Caching(max_age=120.0, tags=("a", "b"))),
        ({}, NOTHING_SAID),
        ({"mode": "refresh", "tags": ["x"], "max_age": 1.5}, Caching(False, True, True, False, 1.5, ("x",))),
        ({"mode": "max-age=9, tag=a", "tags": ("b",)}, Caching(max_age=9.0, tags=("a", "b"))),
        (Caching(only=True), Caching(only=True)),
    ],
)
def test_it_says_what_http_says(said: Any, meant: Caching) -> None:
    assert caching(said, "here") == meant


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("nocache", 'write "no-cache", "no-store", "refresh" or "only-if-cached"'),
        ("", "write"),
        ("tag=", "write"),
        (True, "write"),
        (None, "write"),
        ({"mode": 3}, "write"),
        ({"modes": "refresh"}, "no key 'modes'; its keys are mode, max_age, tags"),
        ({"tags": "x"}, "tags must be a list of non-empty strings"),
        ({"tags": ["x", ""]}, "tags must be a list of non-empty strings"),
        ({"tags": [1]}, "tags must be a list of non-empty strings"),
        ({"max_age": -1}, "write seconds, or 90s"),
        ({"max_age": float("inf")}, "write seconds, or 90s"),
        ({"max_age": True}, "write seconds, or 90s"),
        ("max-age=soon", "write seconds, or 90s"),
        ("only-if-cached, refresh", "keep one of the two"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_fix(said: Any, fix: str) -> None:
    with pytest.raises(ConfigurationError, match=r"option 'cache' in here") as caught:
        caching(said, "here")
    assert fix in str(caught.value)


@pytest.mark.parametrize(("said", "meant"), [(0, 0), (1.5, 1.5), ("90s", 90), ("12h", 43_200), ("1.5D", 129_600)])
def test_stretches_of_time(said: Any, meant: float) -> None:
    assert seconds(said, "ttl") == meant


def test_it_is_an_option_like_the_others() -> None:
    with options(cache="no-store"), options(feature="f") as inside:
        assert inside.cache == Caching(write=False)
        with options(cache={"mode": "refresh"}) as closer:
            assert closer.cache == Caching(read=False, replace=True)
    assert Options().with_headers({"X-LLMSaver-Cache": "no-cache, tag=t"}).cache == Caching(read=False, tags=("t",))
    assert Options().cache is NOTHING_SAID
    with pytest.raises(ConfigurationError, match=r"extra_body\['llmsaver'\]"):
        Options().merged({"cache": "sometimes"}, "extra_body['llmsaver']")
