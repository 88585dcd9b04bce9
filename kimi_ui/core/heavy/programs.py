"""Code with the same structure after renaming: layout, comments, docstrings and the names it binds do not count.

Equal keys mean the same structure of the text, not the same behaviour, and different keys may behave alike.
"""

from __future__ import annotations

import ast
import hashlib
import warnings

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Name, Text
from pygments.util import ClassNotFound

MAX_CHARS = 20_000

_PYTHON = {"python", "py", "python3", "py3", ""}


def structure(source: str, language: str = "") -> str | None:
    """A key that is equal for programs of the same structure.

    None if the text is empty or too long, or if no language is named and it is not Python.
    """
    if len(source) > MAX_CHARS or not source.strip():
        return None
    language = language.lower()
    if language in _PYTHON and (tree := _parsed(source)) is not None:
        return _digest("python", tree)
    if not language:
        return None
    return _digest(language, _tokens(source, language))


def _digest(language: str, text: str) -> str:
    return f"{language}:{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _parsed(source: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the model's code, such as an invalid escape
            tree = ast.parse(source)
        names = _Bound()
        names.visit(tree)
        return ast.dump(_Renamed(names.order).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Bound(ast.NodeVisitor):
    """The names that a program binds itself, in order of appearance; imported and built-in names keep theirs."""

    def __init__(self) -> None:
        self.order: dict[str, str] = {}

    def _bind(self, name: str) -> None:
        self.order.setdefault(name, f"_{len(self.order)}")

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        self._bind(node.arg)
        self.generic_visit(node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._bind(node.name)
        self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)


class _Renamed(ast.NodeTransformer):
    """The same tree with those names replaced, and without docstrings and annotations."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._names.get(node.arg, node.arg))

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        return ast.keyword(self._names.get(node.arg or "", node.arg), self.visit(node.value))

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._names.get(node.name or "", node.name)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else self.visit(ast.Assign([node.target], node.value))

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        if not isinstance(node, ast.ClassDef):
            node.returns = None
        return self._without_docstring(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)


def _tokens(source: str, language: str) -> str:
    """The tokens without space and comments, plain names numbered by their first appearance."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return " ".join(source.split())
    names: dict[str, str] = {}
    words = []
    for kind, text in lexer.get_tokens(source):
        if kind in Comment or (kind in Text and not text.strip()) or not text.strip():
            continue
        renamed = kind in Name and kind not in Name.Builtin and kind not in Name.Tag and kind not in Name.Attribute
        words.append(names.setdefault(text, f"_{len(names)}") if renamed else text.strip())
    return " ".join(words)
