"""The error tree: the one in the docstring, the real one and the exported one are the same."""

import inspect
import re

import pytest

from llmsaver import errors
from llmsaver.errors import LLMSaverError, MiddlewareError, MissingExtra, UpstreamError


def drawn() -> dict[str, str | None]:
    """Read the tree in the docstring: each class and the class it hangs from."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ((?:\|  |   )*)(?:[|`]- )?([A-Z]\w+)(?:  |$)", line)
        if match is None:
            continue
        branch = re.match(r"    ((?:\|  |   )*)[|`]- ", line)
        depth = 0 if branch is None else len(branch[1]) // 3 + 1
        path = [*path[:depth], match[2]]
        parents[match[2]] = path[depth - 1] if depth else None
    return parents


def real() -> dict[str, str | None]:
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
    return {cls.__name__: None if cls is LLMSaverError else cls.__mro__[1].__name__ for cls in classes}


def test_the_drawn_tree_is_the_real_one() -> None:
    assert drawn() == real()


def test_every_error_is_exported_and_explained() -> None:
    assert errors.__all__ == sorted(real())
    for name in errors.__all__:
        assert getattr(errors, name).__doc__


def test_everything_is_an_llmsaver_error() -> None:
    assert all(issubclass(getattr(errors, name), LLMSaverError) for name in errors.__all__)
    assert not issubclass(LLMSaverError, (OSError, ValueError, RuntimeError))


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtra("a local model", "local")
    assert str(error) == "a local model needs an optional part: pip install 'llmsaver[local]'"
    assert error.extra == "local"


def test_a_middleware_error_names_its_layer() -> None:
    error = MiddlewareError("broken", "cache")
    assert (str(error), error.layer) == ("broken", "cache")


@pytest.mark.parametrize("original", [OSError("down"), KeyboardInterrupt("now")])
def test_an_upstream_error_carries_the_transports_own(original: BaseException) -> None:
    error = UpstreamError(original)
    assert error.original is original
    assert str(error) == f"{type(original).__name__}: {original}"
