"""The package: what the wheel holds, that the installed command works, and that the two lists of dependencies agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kimi_ui import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_PINNED = {"pip"}  # it installs the list; every venv has its own
MAKE_LIST_ANEW = (
    "make requirements.txt again: uv pip compile --universal --python-version 3.11 --annotation-style line "
    "--no-emit-package pip -o requirements.txt pyproject.toml"
)


def declared() -> dict[str, Requirement]:
    """The dependencies of pyproject.toml, by normalised name."""
    found = map(Requirement, PROJECT["dependencies"])
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pinned() -> dict[str, Requirement]:
    """The lines of requirements.txt that apply to this Python and system, by normalised name."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line.partition(" #")[0]) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): one for one in found if not one.marker or one.marker.evaluate()}


def needed_in_the_end() -> set[str]:
    """The declared dependencies and their own, as installed here."""
    seen: set[str] = set()
    waiting = list(declared().values())
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen and not requirement.extras:
            continue
        seen.add(name)
        for line in distribution(requirement.name).requires or ():
            inner = Requirement(line)
            extras = ("", *requirement.extras)
            if not inner.marker or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    return seen


def test_exactly_the_packages_dependencies_are_pinned() -> None:
    needed = needed_in_the_end() - NOT_PINNED
    assert sorted(needed) == sorted(pinned()), MAKE_LIST_ANEW


@pytest.mark.parametrize("name", sorted(declared().keys() - NOT_PINNED))
def test_each_pinned_version_is_in_the_range_the_package_declares(name: str) -> None:
    (pin,) = pinned()[name].specifier
    assert pin.operator == "=="
    assert pin.version in declared()[name].specifier, MAKE_LIST_ANEW


def test_each_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = text.split("\ndependencies = [\n")[1].split("\n]\n")[0].splitlines()
    silent = [line for line in lines if not re.match(r' +("[^"]+", +)?# \w.{4,}', line)]
    assert not silent, silent


def files_of_the_package() -> set[str]:
    """Every tracked file that belongs in the wheel, by its name in the wheel."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "kimi_ui", "assets"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    tracked = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return {re.sub(r"^assets/", "kimi_ui/_assets/", name) for name in tracked}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return folder


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> dict[str, str]:
    """An environment without the checkout and without the user's own files."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(installed),
        "PYTHONUNBUFFERED": "1",
        "OLLAMA_HOST": "127.0.0.1:9",
    }


@pytest.fixture
def lanes(tmp_path: Path) -> Path:
    """A lane without a server, so that no model is fetched."""
    path = tmp_path / "lanes.toml"
    lane = 'id = "nobody"\nprovider = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
    path.write_text(f"[[lane]]\n{lane}", encoding="utf-8")
    return path


def test_the_wheel_holds_every_file_of_the_package_and_every_asset(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = files_of_the_package()
    assert {".js", ".css", ".sql", ".jinja"} <= {Path(name).suffix for name in expected}
    assert expected - held == set()
    assert {name for name in held - expected if not name.endswith(".py")} == set()


def test_the_wheel_has_the_version_of_the_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["Name"], metadata["Version"]) == ("kimi-ui", __version__)


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert first
    assert first[1] == __version__


@pytest.mark.slow
def test_the_installed_command_prints_its_version(installed: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [str(installed / "bin" / "kimi-ui"), "--version"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == f"Kimi UI {__version__}\n"


@pytest.mark.slow
def test_the_installed_doctor_command_works(
    installed: Path, environment: dict[str, str], lanes: Path, tmp_path: Path
) -> None:
    command = [str(installed / "bin" / "kimi-ui"), "doctor", "--lanes", str(lanes)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "nobody" in run.stdout


@pytest.mark.slow
def test_the_installed_command_serves_the_page_and_its_assets(
    installed: Path, environment: dict[str, str], lanes: Path, tmp_path: Path
) -> None:
    command = [str(installed / "bin" / "kimi-ui"), "serve", "--port", "0", "--no-browser", "--lanes", str(lanes)]
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **output) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "http://" in line), "")
            assert line, "it ended before it was ready"
            url = "http://" + line.split("http://")[1].split()[0]
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as browser:
                assert browser.get("/").status_code == 200
                for path in re.findall(r"<([^>]+)>; rel=", browser.get("/").headers["link"]):
                    assert browser.get(path).status_code == 200, path
        finally:
            process.terminate()
            assert process.wait(20) == 0
