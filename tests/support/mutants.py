"""Mutants of a function: the same source with one small mistake each, as people and models make them."""

from __future__ import annotations

import ast
import random

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add}


def mutants(source: str, most: int, seed: int) -> list[str]:
    """Up to ``most`` different mutants, drawn with the seed from all that have one mistake."""
    tree = ast.parse(source)
    found = []
    for number in range(sum(1 for _ in ast.walk(tree))):
        for variant in range(3):
            changed = ast.parse(source)  # twenty times as fast as a deep copy
            node = list(ast.walk(changed))[number]
            if _mutate(changed, node, variant):
                found.append(ast.unparse(ast.fix_missing_locations(changed)))
    original = ast.unparse(tree)
    different = sorted(set(found) - {original})
    return random.Random(seed).sample(different, min(most, len(different)))


def _mutate(tree: ast.AST, node: ast.AST, variant: int) -> bool:
    """Make one mistake at the node. False: there is no such mistake."""
    if isinstance(node, ast.Compare) and variant == 0:
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign) and variant == 0 and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) is int and variant < 2:
        node.value += (1, -1)[variant]
    elif isinstance(node, ast.BoolOp) and variant == 0:
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif isinstance(node, ast.IfExp | ast.If | ast.While) and variant == 0 and isinstance(node.test, ast.expr):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.If) and variant == 2 and len(node.body) > 1:
        dropped = next((at for at, line in enumerate(node.body) if isinstance(line, ast.AugAssign | ast.Expr)), None)
        if dropped is None:
            return False
        del node.body[dropped]
    elif isinstance(node, ast.Return) and node.value is not None and variant == 1:
        node.value = ast.Constant(None)
    else:
        return False
    return True
