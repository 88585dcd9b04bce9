"""Conventions as tests: who may import whom, where a library may be used, what no tracked file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kimi_ui"

# Lowest first. A module may import its own layer and those before it.
LAYERS = (
    "core",
    "tokenizers",
    "files",
    "config",
    "view",
    "log",
    "providers",
    "engine",
    "turns",
    "bus",
    "stats",
    "chat",
    "bench",
    "web",
    "ui",
    "cli",
)
LAYER_OF_FILE = {
    "lanes_file": "config",
    "lanes_edit": "config",
    "lanes_form": "config",
    "users_file": "config",
    "assets": "core",
    "__main__": "cli",
    "__init__": "core",
    "__version__": "core",
    "process": "cli",
    "algebra": "tokenizers",
    "algebra_child": "tokenizers",
    "limited": "core",
    "utc": "core",
    "replace_file": "core",
}
APART = [
    ("view", "config"),
    ("providers", "log"),
    ("engine", "log"),
    ("turns", "providers"),
    ("turns", "engine"),
    ("bus", "providers"),
    ("bus", "engine"),
    ("stats", "providers"),
    ("stats", "engine"),
]
"""Pairs of a layer and one below it that it must not import all the same."""

CONFINED = {
    "argon2": {"kimi_ui/users_file.py"},
    "authlib": {"kimi_ui/web/openid.py"},
    "joserfc": {"kimi_ui/web/openid.py"},
    "openai": {"kimi_ui/providers/openai_compatible/provider.py"},
    "ollama": {"kimi_ui/providers/ollama/client.py"},
    "tiktoken": {"kimi_ui/tokenizers.py"},
    "xllamacpp": {"kimi_ui/providers/embedded/child.py"},
    "sqlite_utils": {"kimi_ui/log/sqlite/"},
    "psycopg": {"kimi_ui/log/postgres/"},
    "sqlite3": {"kimi_ui/log/sqlite/", "kimi_ui/bench/sandbox/box/queries.py"},
    "math_verify": {"kimi_ui/algebra_child.py"},
    "pypdf": {"kimi_ui/files/child.py"},
    "gradio": {"kimi_ui/ui/"},
    "jinja2": {"kimi_ui/view/jinja.py"},
    "prometheus_client": {"kimi_ui/web/exporter.py"},
    "redis": {"kimi_ui/bus/bus.py", "kimi_ui/bus/claims.py"},
    "opentelemetry": {"kimi_ui/web/spans.py"},
    "html": {"kimi_ui/core/markdown/", "kimi_ui/providers/errors.py"},  # elsewhere templates escape
}
"""Libraries and the only files or folders that may import them."""

SQL_OF_SQLITE_ALONE = r"""(?x)
    \b(rowid|PRAGMA|sqlite_master|INSERT\s+OR)\b | \b(json_\w+|ifnull|instr)\( | ->>
    | \bIS\s+(NOT\s+)?['0-9:] | \bsum\(\w+\s*(=|IS)\s | \b(min|max)\([^()]+,
"""

CORE_MAY_IMPORT = {"markdown_it", "math_core", "pygments", "nh3", "pydantic", "rapidfuzz"}
CORE_MAY_NOT_IMPORT = {"time", "datetime", "asyncio", "threading", "socket", "subprocess", "random", "os", "pathlib"}
CORE_EXCEPTIONS = {
    ("kimi_ui/core/markdown/code.py", "time"),  # a budget of CPU time against hostile code blocks
    ("kimi_ui/core/lane.py", "datetime"),  # dates as values: the clock is not read
}


ALARM_LINES = 600


class Import(NamedTuple):
    """One import of ``module`` (absolute, dotted) at ``path:line``, made only for type checking or for real."""

    path: str
    line: int
    module: str
    for_types_only: bool


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix()
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module or "") if part)
            modules = [stem] if node.module else [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            yield Import(name, node.lineno, module, node in typing_only)


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a module below ``kimi_ui``, by its path's parts without the package's own name."""
    top = parts[0].removesuffix(".py") if parts else "core"
    return LAYER_OF_FILE.get(top, top)


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def all_imports() -> list[Import]:
    return [found for path in [*package_files(), ROOT / "app.py"] for found in imports_of(path)]


def test_every_module_belongs_to_a_layer() -> None:
    unknown = [path for path in package_files() if layer_of(path.relative_to(PACKAGE).parts) not in LAYERS]
    assert not unknown, f"name the layer of {unknown} in LAYERS"


def test_imports_go_down_only() -> None:
    wrong = []
    for found in all_imports():
        if not found.module.startswith("kimi_ui.") or found.for_types_only or found.path == "app.py":
            continue
        importer = layer_of(Path(found.path).relative_to("kimi_ui").parts)
        imported = layer_of(tuple(found.module.split(".")[1:]))
        if LAYERS.index(imported) > LAYERS.index(importer):
            wrong.append(f"{found.path}:{found.line} ({importer}) imports {found.module} ({imported})")
        if (importer, imported) in APART:
            wrong.append(f"{found.path}:{found.line} ({importer}) imports {found.module} ({imported})")
    assert not wrong, wrong


@pytest.mark.parametrize("library", CONFINED)
def test_each_library_is_imported_only_where_it_belongs(library: str) -> None:
    places = [found for found in all_imports() if found.module.split(".")[0] == library]
    wrong = [
        f"{found.path}:{found.line}"
        for found in places
        if not any(
            found.path == home or (home.endswith("/") and found.path.startswith(home)) for home in CONFINED[library]
        )
    ]
    assert not wrong, wrong


def test_shared_sql_uses_nothing_that_only_sqlite_has() -> None:
    """Outside ``log/sqlite``, whose statements a second store would replace."""
    files = [*(PACKAGE / "stats").glob("*.py"), *(PACKAGE / "log").glob("*.py"), *(PACKAGE / "log").glob("*.sql")]
    wrong = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        statements = _sql_in(text) if path.suffix == ".py" else [re.sub(r"--[^\n]*", "", text)]
        wrong += [f"{path.name}: {found[0]}" for sql in statements for found in re.finditer(SQL_OF_SQLITE_ALONE, sql)]
    assert not wrong, wrong


def _sql_in(text: str) -> list[str]:
    """The string literals of a module that hold SQL, docstrings left out."""
    nodes = ast.walk(ast.parse(text))
    strings = [ast.unparse(node) for node in nodes if isinstance(node, ast.JoinedStr) or _is_text(node)]
    return [found for found in strings if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE)\b", found)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_core_uses_no_clock_no_io_and_only_its_own_libraries() -> None:
    installed_by_us = {name.replace("-", "_").lower() for name in requirement_names("requirements.txt")}
    wrong = []
    for found in all_imports():
        top = found.module.split(".")[0]
        if not found.path.startswith("kimi_ui/core/") or top == "kimi_ui":
            continue
        if (found.path, top) in CORE_EXCEPTIONS:
            continue
        if top in CORE_MAY_NOT_IMPORT or (top in installed_by_us and top not in CORE_MAY_IMPORT):
            wrong.append(f"{found.path}:{found.line} imports {found.module}")
    assert not wrong, wrong


def tracked_texts() -> list[tuple[str, str]]:
    """Name and text of every tracked text file."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    texts = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            texts.append((name, data.decode("utf-8")))
    assert texts, "git lists no files"
    return texts


FORBIDDEN = {
    "a package registry's host": r"pypi\.(org|python\.org)|pythonhosted|registry\.npmjs|deb\.debian\.org|crates\.io",
    "a machine's path": r"(?<![\w.:/])/(root|work|home/[a-z]\w*|Users/[A-Za-z]\w*|tmp/w)/",
    "a key": r"\b(sk-[A-Za-z0-9-]{20,}|cpk_[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{20,})|BEGIN [A-Z ]*PRIVATE KEY",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_contains_forbidden_text(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{name}: {match.group()}"
        for name, text in tracked_texts()
        if name != "tests/test_layers.py" and (match := pattern.search(text))
    ]
    assert not found, found


def test_no_installed_package_is_tracked() -> None:
    """Installed packages are third-party code: ``git rm -r --cached`` them, keep the list of their versions."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    installed = [
        name for name in listed.split("\0") if re.search(r"(^|/)(node_modules|site-packages|\.venv[^/]*)(/|$)", name)
    ]
    assert not installed, f"{len(installed)} files, like {installed[0]}"


def test_no_html_template_has_double_braces() -> None:
    """Gradio's gr.HTML evaluates ``${…}`` of the data as JavaScript in a template with ``{{…}}``.

    Jinja's templates (``*.html.jinja``) are rendered on the server and never given to Gradio as a template.
    """
    wrong = [name for name, text in tracked_texts() if name.endswith((".html", ".htm", ".css")) and "{{" in text]
    for path in (PACKAGE / "ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.keyword) or node.arg not in ("html_template", "css_template", "js_on_load"):
                continue
            if any(_has_double_braces(part) or _is_rendered(part) for part in ast.walk(node.value)):
                wrong.append(f"{path.name}:{node.value.lineno}")
    assert not wrong, wrong


def _is_rendered(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].startswith("render")


def _has_double_braces(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value


def requirement_names(file: str) -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [re.split(r"[=<>~!\[ ]", line)[0] for line in lines if line and not line.startswith(("#", "-r "))]


@pytest.mark.parametrize("file", ["requirements.txt", "tests/requirements.txt"])
def test_each_requirement_is_pinned_and_says_what_it_is_for(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    right = re.compile(r"#.*|-r \S+|[A-Za-z0-9_.\[\]-]+==\S+( ; [^#]+)? +# .{4,}")
    wrong = [line for line in lines if line and not right.fullmatch(line)]
    assert not wrong, wrong


def test_no_file_is_longer_than_600_lines() -> None:
    """Reviewers judge whether a file tells one story; this only reports a file that nobody looked at."""
    sources = [*package_files(), *(ROOT / "assets").rglob("*.js"), *(ROOT / "assets").rglob("*.css")]
    long = {str(path.relative_to(ROOT)): n for path in sources if (n := path.read_text().count("\n")) >= ALARM_LINES}
    assert not long, long


def test_no_line_of_javascript_is_longer_than_160_characters() -> None:
    """ruff sees to Python's; the JavaScript linter has no such rule."""
    lines = ((path, line) for path in (ROOT / "assets").rglob("*.js") for line in path.read_text("utf-8").splitlines())
    long = [f"{path.relative_to(ROOT)}: {line.strip()[:40]}" for path, line in lines if len(line) > 160]
    assert not long, long


def test_every_module_has_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in package_files()
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent, silent
