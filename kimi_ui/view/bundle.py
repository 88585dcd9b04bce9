"""The page's scripts and its styles as one text each, for a self-contained page.

Browsers do not load ES modules from a file on disk, so each module becomes a function that returns its exports, in the
order of imports. A module's name is its path under ``assets/``. Only the forms used in ``assets/`` are supported:
imports and exports begin a line, imported names are in braces, paths are relative, ``export`` precedes a declaration.
Anything else raises.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.\.?/[\w./-]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:const|let|class|function\*?) (\w+)", re.MULTILINE)
_EXPORT_WORD = re.compile(r"^export (?=(?:async )?(?:const|let|class|function))", re.MULTILINE)
_LEFT = re.compile(
    r"(?:^|; *)(?:import|export)\b.*|\bimport\(|\bimport\.meta|</?script|<!--", re.MULTILINE | re.IGNORECASE
)


class CannotBundle(ValueError):
    """A module uses a form of import or export that the bundler does not support."""


def bundle_scripts(assets: Path, entries: Iterable[str], replaced: Mapping[str, str] | None = None) -> str:
    """One script that runs the modules ``entries`` and their imports, and keeps the exports in ``modules`` by name.

    ``replaced`` maps module names to source used instead of the file.
    """
    sources = replaced or {}
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...] = ()) -> None:
        if name in above:
            raise CannotBundle(f"{name} imports itself by way of {', '.join(above)}.")
        if name not in order:
            for _, path in _IMPORT.findall(_source(assets, name, sources)):
                visit(_resolved(name, path), (*above, name))
            order.append(name)

    for entry in entries:
        visit(entry)
    modules = "".join(_module(name, _source(assets, name, sources)) for name in order)
    return f'"use strict";\nconst modules = {{}};\n{modules}'


def bundle_styles(assets: Path, names: Iterable[str]) -> str:
    return "\n".join((assets / f"{name}.css").read_text(encoding="utf-8") for name in names)


def _source(assets: Path, name: str, replaced: Mapping[str, str]) -> str:
    return replaced[name] if name in replaced else (assets / name).read_text(encoding="utf-8")


def _module(name: str, source: str) -> str:
    """A module as a function: imports become constants, exports its return value."""
    exports = _EXPORT.findall(source)
    body = _IMPORT.sub(
        lambda found: f'const {{{_renamed(found[1])}}} = modules["{_resolved(name, found[2])}"];', source
    )
    body = _EXPORT_WORD.sub("", body)
    if left := _LEFT.search(body):
        raise CannotBundle(f"{name}: {left[0].strip()!r} cannot be bundled.")
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exports)} }};\n}})();\n'


def _resolved(importer: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))


def _renamed(names: str) -> str:
    return re.sub(r"(\w+) as (\w+)", r"\1: \2", names)
