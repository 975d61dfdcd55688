"""Where the vendors' suites live: their source distributions, unpacked, and one virtual environment per line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
HOME = CHECKOUT / ".cache" / "vendor-suites"

# "main" is built on httpx2, "legacy" (the newest releases before that move) on httpx.
LINES = {
    "main": {"openai": "3.52.0", "anthropic": "2.11.0"},
    "legacy": {"openai": "2.54.0", "anthropic": "0.125.0"},
}
# Extras with a part in the suites; the others need a sound card or only repeat these.
EXTRAS = {
    "openai": {"aiohttp", "realtime", "datalib", "bedrock", "vertex"},
    "anthropic": {"aiohttp", "vertex", "aws", "mcp", "webhooks"},
}
# Type checkers, their stubs and task runners: named in the development groups, never imported by a test.
_NOT_FOR_TESTS = re.compile(r"^(ty|pyright|mypy|nox|.*-stubs|types-.*)$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


class VendorSuiteError(Exception):
    """Something outside the suites stops us: no package index, no suite, a bad combination of options."""


@dataclass(frozen=True)
class Suite:
    """One vendor's suite, unpacked: ``name`` is its package, ``folder`` holds ``tests/`` and its pytest settings."""

    name: str
    version: str
    folder: Path


def prepare(line: str) -> tuple[dict[str, Suite], Path]:
    """Return the suites of a line by name and the python of its environment; downloads and installs what is missing.

    Raises ``VendorSuiteError`` where the package index cannot be reached or does not have a pinned release.
    """
    suites = {name: _unpacked(name, version) for name, version in LINES[line].items()}
    return suites, _environment(line, suites)


def _unpacked(name: str, version: str) -> Suite:
    """Fetch a source distribution from the index, once, and unpack it."""
    folder = HOME / f"{name}-{version}"
    if not (folder / "tests").is_dir():
        print(f"fetching {name} {version} (source distribution)", flush=True)
        archives = HOME / "sdists"
        archive = archives / f"{name}-{version}.tar.gz"
        if not archive.is_file():
            command = ["download", "--no-deps", "--no-binary", name, "--dest", str(archives), f"{name}=={version}"]
            _pip(Path(sys.executable), command, f"fetch {name} {version}")
        with tarfile.open(archive) as packed:
            packed.extractall(HOME, filter="data")
    if not (folder / "tests").is_dir():
        raise VendorSuiteError(f"the source distribution of {name} {version} has no tests/ folder")
    return Suite(name, version, folder)


def _environment(line: str, suites: dict[str, Suite]) -> Path:
    """Make the environment of a line, or keep the one whose stamp says that nothing it depends on has changed."""
    folder = HOME / f"venv-{line}"
    python = folder / "bin" / "python"
    stamp = folder / "ready.json"
    wanted = requirements(suites)
    pins = constraints(suites)
    own = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    state = json.dumps({"python": sys.version, "wanted": wanted, "pins": pins, "own": own}, indent=1)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        return python
    print(f"building the environment of the {line} line (about a minute)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)  # noqa: S603 - our own python
    pinned = folder / "constraints.txt"
    pinned.write_text("\n".join(pins) + "\n", encoding="utf-8")
    # Our own dependencies stay unpinned: only the suites' world is to be the vendors'.
    _pip(python, ["install", "--constraint", str(pinned), *wanted, *own], f"install what the {line} suites need")
    stamp.write_text(state, encoding="utf-8")
    return python


def requirements(suites: dict[str, Suite]) -> list[str]:
    """Return what the suites import, from their own pyproject files: the release with extras, and development tools."""
    found: list[str] = []
    for suite in suites.values():
        project = _toml(suite.folder / "pyproject.toml")
        extras = sorted(EXTRAS[suite.name] & set(project["project"].get("optional-dependencies", {})))
        found.append(f"{suite.name}[{','.join(extras)}]=={suite.version}")
        groups = project.get("dependency-groups", {}).get("dev", [])
        older = project.get("tool", {}).get("rye", {}).get("dev-dependencies", [])
        found += [each for each in [*groups, *older] if isinstance(each, str) and not _NOT_FOR_TESTS.match(_name(each))]
    return sorted(_agreed(found))


def constraints(suites: dict[str, Suite]) -> list[str]:
    """Return the versions that the lock files name: one a package, or the span between where they differ.

    The two suites share an environment, so each vendor's own version is tested only where the other agrees.
    """
    versions: dict[str, set[str]] = {}
    for suite in suites.values():
        for package in _toml(suite.folder / "uv.lock").get("package", []):
            if package["name"] not in suites and "version" in package:
                versions.setdefault(package["name"], set()).add(package["version"])
    lines = []
    for name, found in sorted(versions.items()):
        lowest, highest = min(found, key=_order), max(found, key=_order)
        lines.append(f"{name}=={lowest}" if lowest == highest else f"{name}>={lowest},<={highest}")
    return lines


def _agreed(wanted: list[str]) -> set[str]:
    """Drop the exact pins of development tools, which the two vendors may set differently; the lock files decide."""
    return {each if "[" in each and "==" in each else each.split("==")[0].strip() for each in wanted}


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _name(requirement: str) -> str:
    match = _NAME.match(requirement)
    return match.group().lower() if match else ""


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _pip(python: Path, arguments: list[str], purpose: str) -> None:
    """Run pip, quietly; on failure say what could not be done and show the end of its complaint."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip of our own python
    if done.returncode:
        complaint = [line for line in done.stderr.splitlines() if not line.startswith("WARNING: Location")]
        raise VendorSuiteError(
            f"could not {purpose}: is the package index reachable? pip said:\n  " + "\n  ".join(complaint[-6:])
        )


def fingerprint(python: Path, suite: Suite, arguments: list[str]) -> str:
    """Name everything a baseline depends on: suite, installed packages, our plugin and what pytest is to run."""
    command = [str(python), "-m", "pip", "freeze"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - as above
    plugin = (CHECKOUT / "scripts" / "vendor_plugin.py").read_text(encoding="utf-8")
    digest = hashlib.blake2b(f"{sys.version}{os.name}{frozen}{plugin}{arguments}".encode(), digest_size=5).hexdigest()
    return f"{suite.name}-{suite.version}-{digest}"
