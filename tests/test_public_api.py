"""What ``import llmsaver`` promises: these names, served lazily, and next to nothing loaded."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llmsaver


def in_fresh_interpreter(source: str) -> Any:
    """Run ``source`` after nothing but the interpreter's own start, and return the JSON it prints."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def typed_imports() -> dict[str, tuple[str, ...]]:
    """Read what type checkers are told: the imports under TYPE_CHECKING."""
    tree = ast.parse(inspect.getsource(llmsaver))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    return {str(node.module): tuple(alias.name for alias in node.names) for node in imports}


def test_the_public_names_are_exactly_what_is_served() -> None:
    assert llmsaver.__all__ == sorted(llmsaver.__all__)
    assert set(llmsaver.__all__) == set(llmsaver._HOME_OF)


def test_type_checkers_are_told_the_same() -> None:
    assert typed_imports() == llmsaver._HOMES


@pytest.mark.parametrize("name", llmsaver.__all__)
def test_every_name_is_its_homes_and_public_there(name: str) -> None:
    home = importlib.import_module(llmsaver._HOME_OF[name])
    assert getattr(llmsaver, name) is getattr(home, name)
    assert name in home.__all__
    if inspect.isclass(value := getattr(llmsaver, name)):
        assert value.__module__ == llmsaver._HOME_OF[name]


def test_dir_shows_every_name_once_whether_served_yet_or_not() -> None:
    shown = llmsaver.__dir__()
    assert set(llmsaver.__all__) <= set(shown)
    assert len(shown) == len(set(shown))
    assert "__version__" in shown


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'llmsaver' has no attribute 'Clinet'"):
        llmsaver.Clinet  # noqa: B018 - the access is what is under test
    assert not hasattr(llmsaver, "saver_of_the_day")


def test_a_name_is_looked_up_once() -> None:
    kept = in_fresh_interpreter(
        "import json, llmsaver; before = 'Usage' in vars(llmsaver); llmsaver.Usage;"
        "print(json.dumps([before, 'Usage' in vars(llmsaver)]))"
    )
    assert kept == [False, True]


LOADED = """
import sys
before = set(sys.modules)
{}
added = sorted(set(sys.modules) - before)
import json
print(json.dumps(added))
"""
HEAVY = {"openai", "anthropic", "httpx", "httpx2", "numpy", "pydantic", "typer", "rich", "sqlalchemy", "tiktoken"}


def test_importing_it_loads_no_sdk_and_hardly_anything_else() -> None:
    added = in_fresh_interpreter(LOADED.format("import llmsaver"))
    assert [name for name in added if name.startswith("llmsaver")] == ["llmsaver"]
    assert {name.partition(".")[0] for name in added}.isdisjoint(HEAVY | {"asyncio", "logging", "concurrent", "ssl"})
    # typing and what it needs (re, functools, collections, contextlib): the standard library's own small change.
    assert len(added) <= 30, added


@pytest.mark.parametrize("name", ["Response", "Request", "Middleware", "options", "LLMSaverError", "Entry"])
def test_the_values_of_the_core_need_the_standard_library_alone(name: str) -> None:
    added = in_fresh_interpreter(LOADED.format(f"import llmsaver; llmsaver.{name}"))
    outside = {n.partition(".")[0] for n in added} - set(sys.stdlib_module_names)
    assert {n for n in outside if not n.startswith("_")} == {"llmsaver"}
    assert all(n.startswith(("llmsaver.core", "llmsaver.errors")) for n in added if n.startswith("llmsaver."))


def test_a_saver_needs_no_sdk() -> None:
    added = in_fresh_interpreter(LOADED.format("import llmsaver; llmsaver.Saver()"))
    assert {name.partition(".")[0] for name in added}.isdisjoint(HEAVY - {"pydantic", "sqlalchemy"})


def test_the_version_is_the_projects() -> None:
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    assert f'\nversion = "{llmsaver.__version__}"\n' in pyproject.read_text()


def test_types_are_published() -> None:
    assert (Path(llmsaver.__file__).parent / "py.typed").is_file()
