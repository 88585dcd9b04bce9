"""LaTeX formulas as MathML Core, converted by math-core.

math-core takes 2 µs for a short formula (latex2mathml: 220 µs). It lacks some commands of LaTeX packages, so these are
rewritten with commands that it has. It aligns columns and draws rules by inline styles; the allow-list admits no style,
so they become classes (``assets/lane/markdown.css``). Equations are not numbered: ``align`` is typeset like
``aligned``, and a ``\\tag`` follows its equation in parentheses.
"""

from __future__ import annotations

import re
from functools import lru_cache

from math_core import LatexError, LatexToMathML

MAX_LATEX_CHARS = 4_000  # take at most 20 ms and give at most 50 times as many characters of MathML

# Macros may expand without bound, and answers need not define any.
_DEFINITION = re.compile(r"\\(?:(?:re|provide)?new(?:command|environment)|[gex]?def|let|DeclareMathOperator)(?![a-z])")
_CONVERTER = LatexToMathML(
    fancy_error=False,
    allow_unreliable_rendering=True,
    macros={  # commands that math-core lacks, in terms of those it has
        "substack": r"\begin{subarray}{c}#1\end{subarray}",
        **dict.fromkeys(("mbox", "hbox"), r"\text{#1}"),
        "pmb": r"\boldsymbol{#1}",
        "mathds": r"\mathbb{#1}",
        **dict.fromkeys(("nicefrac", "sfrac"), r"{#1}/{#2}"),
        "smash": "#1",
        "wideparen": r"\overparen{#1}",
        "varliminf": r"\liminf",
        "varlimsup": r"\limsup",
        "euro": r"\text{€}",
        "strut": "",
        "mathstrut": "",
        "dd": r"\mathrm{d}",
        "dv": r"\frac{\mathrm{d}#1}{\mathrm{d}#2}",
        "pdv": r"\frac{\partial #1}{\partial #2}",
        "abs": r"\left|#1\right|",
        "norm": r"\left\lVert#1\right\rVert",
    },
)
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\ce\s*\{((?:[^{}]|\{[^{}]*\})*)\}", lambda found: _chemistry(found[0], found[1])),
        (r"(?<!\\)((?:\\\\)*)([%#])", r"\1\\\2"),  # TeX reads them as comment and parameter; models mean the characters
        (r"\\(?:notag|nonumber)(?![A-Za-z])|\\label\s*\{[^{}]*\}", ""),
        (r"\\tag(\*?)\s*\{([^{}]*)\}", lambda tag: r"\qquad\text{" + (tag[2] if tag[1] else f"({tag[2]})") + "}"),
        (r"\\(begin|end)\{(?:align|flalign|split)\*?\}", r"\\\1{aligned}"),
        (r"\\begin\{aligned\}\s*\[[tbc]\]", r"\\begin{aligned}"),
        (r"\\begin\{align(?:at\*?|edat)\}\s*\{\d+\}", r"\\begin{aligned}"),
        (r"\\end\{align(?:at\*?|edat)\}", r"\\end{aligned}"),
        (r"\\(begin|end)\{(?:gather|equation)\*?\}", r"\\\1{gathered}"),
        (r"\\(begin|end)\{multline\*?\}", r"\\\1{multline*}"),
        (r"\\begin\{eqnarray\*?\}", r"\\begin{array}{rcl}"),
        (r"\\end\{eqnarray\*?\}", r"\\end{array}"),
        (r"\\(begin|end)\{smallmatrix\}", r"\\\1{matrix}"),
        (r"\\(left|right|[bB]igg?[lrm]?)\s*<", r"\\\1\\langle "),
        (r"\\(left|right|[bB]igg?[lrm]?)\s*>", r"\\\1\\rangle "),
        (r"\\hspace\*", r"\\hspace"),
        (r"\\(?:text)?color\s*\{\\#[0-9A-Fa-f]{3,8}\}", ""),
        (r"(\\mathop\s*\{[^{}]*\})\\limits", r"\1"),
        (r"\\(text(?:bf|it|rm|sf|tt)?|mbox)\s*\{([^{}]*)\}", lambda text: _text_command(text[1], text[2])),
    )
]
_CHEMICAL = re.compile(r"[A-Za-z0-9+\-^_{}()\[\]<>=→⇌ .]+")
_REACTIONS = {  # longest first
    "<=>": r"\rightleftharpoons ",
    "<->": r"\leftrightarrow ",
    "->": r"\rightarrow ",
    "<-": r"\leftarrow ",
}
_DOLLAR = re.compile(r"(?<!\\)\$")
_BARE = re.compile(r"(?<!\\)[_^&]")
_STYLE = re.compile(r' style="([^"]*)"')
_STRIKE = re.compile(r'<mrow class="menclose-[\w-]*"></mrow>')  # the style sheet draws it from the notation instead
# math-core turns a final \\hline into an empty row of one cell; it is the table's bottom line.
_LAST_LINE = re.compile(
    r'<mtable(?: class="([^"]*)")?((?:(?!<mtable).)*?)<mtr><mtd class="md-line-top[^"]*"></mtd></mtr></mtable>'
)
_INNER_TAGS = {"<b>": "<strong>", "</b>": "</strong>", "<i>": "<em>", "</i>": "</em>"}
_INNER = re.compile("|".join(_INNER_TAGS))
_CLASS_OF = {
    "text-align:left": "md-left",
    "text-align:right": "md-right",
    "padding-left:0": "md-tight-left",
    "padding-right:0": "md-tight-right",
    "padding-left:1em": "md-gap-left",
    **{f"border-{side}:0.05em solid currentcolor": f"md-line-{side}" for side in ("left", "right", "top", "bottom")},
    **{f"border-{side}:0.05em dashed currentcolor": f"md-dash-{side}" for side in ("left", "right", "top", "bottom")},
}


def _chemistry(source: str, formula: str) -> str:
    """mhchem's ``\\ce{2H2 + O2 -> 2H2O}``: counts, charges and arrows; returns ``source`` for anything else."""
    if not _CHEMICAL.fullmatch(formula):
        return source
    formula = re.sub(r"\^\{?(\d*[+-])\}?|(?<=[A-Za-z\])])(\d*[+-])(?=[\s)\]]|$)", r"^{\1\2}", formula)
    formula = re.sub(r"(?<=[A-Za-z)\]])(\d+)", r"_{\1}", formula)
    for arrow, command in _REACTIONS.items():
        formula = formula.replace(arrow, command)
    return rf"\mathrm{{{formula}}}"


def _text_command(command: str, text: str) -> str:
    """A text command as math-core reads it: formulas in dollars move outside, bare ``_``, ``^``, ``&`` are escaped."""
    parts = _DOLLAR.split(text)
    if len(parts) % 2 == 0:
        parts = [_DOLLAR.sub(r"\\$", text)]
    texts = (rf"\{command}{{{_BARE.sub(_escaped, part)}}}" if i % 2 == 0 else part for i, part in enumerate(parts))
    return "".join(texts)


def _escaped(match: re.Match[str]) -> str:
    return {"^": r"\textasciicircum "}.get(match[0], f"\\{match[0]}")


def _attributes(style: re.Match[str]) -> str:
    """An inline style of math-core as classes and a colour; other declarations (widths, negative space) are dropped."""
    declarations = [part.replace(": ", ":").strip() for part in style[1].split(";")]
    classes = " ".join(_CLASS_OF[part] for part in declarations if part in _CLASS_OF)
    colours = [part.removeprefix("color:") for part in declarations if part.startswith("color:")]
    return (f' class="{classes}"' if classes else "") + (f' mathcolor="{colours[0]}"' if colours else "")


@lru_cache(maxsize=512)
def to_mathml(latex: str, display: bool) -> str | None:
    """Well-formed, escaped MathML of a formula; None if it is too long or invalid."""
    if len(latex) > MAX_LATEX_CHARS or _DEFINITION.search(latex):
        return None
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    if "&" in latex:  # models also align inside one-column environments
        latex = latex.replace("{gathered}", "{aligned}")
    try:
        mathml = _CONVERTER.convert_with_local_state(latex, displaystyle=display)
    except LatexError:
        return None
    mathml = _STYLE.sub(_attributes, _STRIKE.sub("", mathml))
    mathml = _LAST_LINE.sub(r'<mtable class="md-line-bottom \1"\2</mtable>', mathml)
    return _INNER.sub(lambda tag: _INNER_TAGS[tag[0]], mathml)
