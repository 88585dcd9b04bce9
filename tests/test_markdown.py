"""Markdown to safe HTML: what is rendered, what is removed, and that the cost of any text is bounded."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.parser_inline import ParserInline
from markdown_it.token import Token

from kimi_ui.core.markdown import highlight_css, parse, render
from kimi_ui.core.markdown.code import DARK, DARK_BACKGROUND, LANGUAGES, LIGHT, LIGHT_BACKGROUND, code_html, colours
from kimi_ui.core.markdown.latex import to_mathml
from kimi_ui.core.markdown.safe import TAGS, clean_text, sanitize
from tests.support.hostile_html import read, violations, visible_text

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def tags(text: str) -> list[str]:
    return read(render(text)).tags


# Rendering


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>\n"),
        ("# One\n\n## Two\n\n###### Six", "<h3>One</h3>\n<h4>Two</h4>\n<h6>Six</h6>\n"),
        ("- [ ] a\n- [x] b", '<ul>\n<li class="md-task">☐ a</li>\n<li class="md-task">☑ b</li>\n</ul>\n'),
        ("3. c", '<ol start="3">\n<li>c</li>\n</ol>\n'),
        ("a  \nb", "<p>a<br>\nb</p>\n"),
        ("> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"),
        ("&lt;b&gt; \\*", "<p>&lt;b&gt; *</p>\n"),
        ("```\n```", None),
        ("", ""),
    ],
)
def test_common_markdown(text: str, html: str | None) -> None:
    assert render(text) == html or (html is None and "md-code" in render(text))


def test_table_has_alignment_by_class_and_scrolls_by_keyboard() -> None:
    html = render("| a | b |\n|--:|:-:|\n| 1 | 2 |")
    assert '<th class="md-right">a</th>' in html
    assert '<td class="md-center">2</td>' in html
    assert 'class="md-table" tabindex="0"' in html
    assert "style" not in html


def test_code_is_labelled_highlighted_and_copyable() -> None:
    html = render("```python title=x\nprint('<hi>')\n```")
    assert '<span class="md-language">python</span>' in html
    assert 'class="hl-nb">print</span>' in html
    assert "&lt;hi&gt;" in html
    assert '<button class="md-copy" type="button" aria-label="Copy code">Copy</button>' in html
    assert visible_text(html).strip().endswith("print('<hi>')")


@pytest.mark.parametrize("info", ["mermaid", "no-such-language", "", "plantuml", "svg", "math"])
def test_other_fences_stay_plain_code(info: str) -> None:
    html = render(f"```{info}\ngraph TD; A[<img src=x>]-->B\n```")
    assert "hl-" not in html
    assert "&lt;img src=x&gt;" in html
    assert "img" not in read(html).tags


def test_a_fence_label_is_cut_to_one_short_word() -> None:
    html = render("```System:enter·your·password·below·and·press·the·button please\nx\n```")
    label = re.search(r'md-language">([^<]*)<', html)
    assert label is not None
    assert label[1] == "System"


def test_every_language_has_a_lexer() -> None:
    for language in LANGUAGES:
        assert "md-code" in render(f"```{language}\nx = 1\n```"), language


@pytest.mark.parametrize(
    ("language", "code", "last"),
    [
        ("python", "def one():\n    return 'two'", 'hl-s1">'),
        ("html", "<style>a { color: red }</style>\n<script>let one = 2;</script>\n<p>", 'hl-nt">p<'),
    ],
)
def test_the_first_code_block_of_a_process_is_fully_highlighted(language: str, code: str, last: str) -> None:
    """Pygments compiles its lexer once per process, which takes longer than the budget of a code block."""
    script = "import sys; from kimi_ui.core.markdown.code import code_html; print(code_html(*sys.argv[1:]))"
    html = subprocess.run([sys.executable, "-c", script, code, language], capture_output=True, text=True, check=True)
    assert last in html.stdout


def test_large_code_is_shown_without_highlighting() -> None:
    html = render("```python\n" + "x = 1\n" * 5_000 + "```")
    assert "hl-" not in html
    assert html.count("x = 1") == 5_000


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("csharp", "a\n" * 9_000),
        ("java", ("a " * 400 + "\n") * 20),
        ("c", "\n" * 19_000),
        ("python", " \n" * 9_000),
        ("hcl", "<<A\n" * 4_000),
    ],
)
def test_code_made_to_stall_a_lexer_is_cut_short_and_shown_whole(language: str, code: str) -> None:
    """Without the budget each of these takes 4 to 60 s."""
    assert visible_text(code_html(code, language)).removeprefix(f"{language}Copy") == code + "\n"


@pytest.mark.parametrize(
    ("text", "href", "label"),
    [
        ("see https://a.example/x_(y).", "https://a.example/x_(y)", "https://a.example/x_(y)"),
        ("(http://a.example/b)", "http://a.example/b", "http://a.example/b"),
        ("**https://a.example/b**", "https://a.example/b", "https://a.example/b"),
        ("见 https://a.example/b。好", "https://a.example/b", "https://a.example/b"),
        ("<https://a.example>", "https://a.example", "https://a.example"),
        ("<me@a.example>", "mailto:me@a.example", "me@a.example"),
        ("[t](https://a.example 'title')", "https://a.example", "t"),
        ("HTTPS://A.example/q?a=1&b=2", "HTTPS://A.example/q?a=1&amp;b=2", "HTTPS://A.example/q?a=1&amp;b=2"),
    ],
)
def test_links(text: str, href: str, label: str) -> None:
    link = f'<a href="{href}" target="_blank" rel="noopener noreferrer nofollow">{label}</a>'
    assert link in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\tscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "[x](file:///etc/passwd)",
        "[x](//evil.example)",
        "[x](/gradio_api/file=https://evil.example)",
        "[x](?__theme=dark)",
        "[x](#top)",
        "[x](\\\\evil.example)",
        "[x](blob:https://a/b)",
        "[x]\n\n[x]: javascript:alert(1)",
        "<javascript:alert(1)>",
        "<ftp://a.example/>",
        "javascript://a.example/%0aalert(1)",
        "xhttp://a.example",
    ],
)
def test_no_other_link_has_a_target(text: str) -> None:
    assert "href" not in render(text)


def test_images_are_links_and_never_fetched() -> None:
    html = render("![a *cat*](https://a.example/c.png) ![x](/local.png) ![y](data:image/png;base64,AAAA)")
    assert "<img" not in html
    assert html.count("<a ") == 1
    assert '<a href="https://a.example/c.png"' in html
    assert '<span class="md-image">a cat</span>' in html
    assert '<span class="md-image">x</span>' in html


def test_an_image_in_a_link_becomes_its_alternative_text() -> None:
    html = render("[![alt](https://a.example/i.png)](https://b.example)")
    assert html.count("<a ") == 1
    assert 'href="https://b.example"' in html
    assert ">alt<" in html


# Formulas


@pytest.mark.parametrize(
    "text",
    [
        *("$x^2$", "\\(x^2\\)", "a $x^2$ b", "$$x^2$$", "\\[x^2\\]", "$$\nx^2\n$$", "\\[\nx^2\n\\]"),
        *("- $$x^2$$", "> \\[\n> x^2\n> \\]"),
    ],
)
def test_all_four_notations_of_formulas_become_mathml(text: str) -> None:
    html = render(text)
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in html
    assert violations(html) == []


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "from $5-$10 a month",
        "costs $5, or 10$ with tax",
        "It is $20k/month vs. $30k/month.",
        "US$5 and US$6",
        "$1,000.50 (about $2 less)",
        "a $ b $ c",
        "escaped \\$x\\$",
        "`$x$` in code",
        "$",
        "$$",
        "$ x $",
        "shell: $HOME and $PATH",
    ],
)
def test_dollars_that_are_not_math_stay_text(text: str) -> None:
    assert "<math" not in render(text)


@pytest.mark.parametrize("name", ["align", "align*", "equation", "gather*"])
def test_a_bare_environment_is_display_math(name: str) -> None:
    html = render(f"So:\n\\begin{{{name}}}\n- a &= b \\\\\n# c &= d\n\\end{{{name}}}\n\nEnd.")
    assert html.count('<math display="block">') == 1
    assert violations(html) == []
    assert not {"ul", "h3", "code"} & set(read(html).tags)
    assert "End." in visible_text(html)


def test_an_environment_that_is_not_math_or_never_ends_stays_text() -> None:
    for text in ("\\begin{itemize}\na\n\\end{itemize}", "\\begin{align}\na &= b", "`\\begin{align}a\\end{align}`"):
        assert "<math" not in render(text)


def test_display_math_is_not_read_as_lists_or_headings() -> None:
    html = render("Then\n$$\na\n- b\n= c\n---\n$$\nafter")
    assert html.count('<math display="block">') == 1
    assert not {"ul", "hr", "h4"} & set(read(html).tags)


@pytest.mark.parametrize(
    "latex", ["\\frac{a}{", "\\left(x", "x_1_2_3^^", "\\begin{matrix}", "\\def\\a{xx}\\a", "\\newcommand{\\b}{b}\\b"]
)
def test_invalid_latex_is_shown_as_its_source(latex: str) -> None:
    html = render(f"$${latex}$$")
    assert "<math" not in html
    assert visible_text(html).strip() == f"$${latex}$$"


def test_mathml_is_escaped_before_the_allow_list() -> None:
    mathml = to_mathml("\\text{<img src=x onerror=alert(1)>}", False)
    assert mathml is not None
    assert "<img" not in mathml
    assert "&lt;img" in mathml


@pytest.mark.parametrize(
    "latex",
    [
        "\\href{javascript:alert(1)}{x}",
        "\\href{https://evil.example}{x}",
        "\\includegraphics{https://evil.example/x.png}",
        "\\class{lane-stop}{x}",
        "\\style{position:fixed;inset:0}{x}",
        "\\unicode{x3c}script\\unicode{x3e}",
        "\\text{</mtext></math><script>alert(1)</script>}",
        "\\hspace{-1000em}x",
        "\\rule{9999em}{9999em}",
        "\\color{url(https://evil.example)}x",
        "\\colorbox{red;position:fixed}{x}",
        "\\verb|<svg onload=alert(1)>|",
        "\\operatorname{<iframe>}",
    ],
)
def test_hostile_latex_stays_inside_the_allow_list(latex: str) -> None:
    for text in (f"${latex}$", f"$$\n{latex}\n$$"):
        html = render(text)
        assert violations(html) == []
        assert "href=" not in html
        assert "9999" not in re.sub(">[^<]*<", "><", html)


# Hostile text


def test_direction_overrides_and_controls_are_dropped() -> None:
    assert clean_text("a\u202eb\u2066c\x1b[31md\x00e\ufefff\u200fg\u200dh\ud800i") == "abc[31mdef\u200fg\u200dh\ufffdi"
    assert "\u202e" not in render("```\n\u202ex\n```\n[\u202ey](https://a.example/\u202e)")


@pytest.mark.parametrize(
    "html",
    [
        "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
        "<a href='java&#10;script:alert(1)'>x</a>",
        "<div style='position:fixed'>x</div><form action=/><input></form>",
        "<p class='lane-stop md-x'>x</p>",
        "<a ping=https://evil.example href=https://a.example>x</a>",
        "<button onclick=alert(1) type=submit form=f>x</button>",
    ],
)
def test_the_sanitizer_alone_removes_everything_harmful(html: str) -> None:
    cleaned = sanitize(html)
    assert violations(cleaned) == []
    assert sanitize(cleaned) == cleaned


TOKENS = [
    *(
        "<",
        ">",
        '"',
        "'",
        "&",
        "&lt;",
        "&#60;",
        "`",
        "```",
        "~~~",
        "$",
        "$$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "[",
        "]",
        "(",
        ")",
        "!",
    ),
    *(
        "<script>",
        "</script>",
        "<img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://a.example",
    ),
    *(
        "<svg/onload=alert(1)>",
        "<math>",
        "<mtext>",
        "</math>",
        "<style>",
        "<!--",
        "-->",
        "]]>",
        "\\text{",
        "}",
        "\\href{",
    ),
    *(
        "\\unicode{x3c}",
        "class=",
        "{{x}}",
        "${1+1}",
        "\n",
        "\n\n",
        "# ",
        "- ",
        "| ",
        "|-|\n",
        "> ",
        "    ",
        "*",
        "_",
        "\\",
        "\0",
    ),
]


MARKS = [
    "**",
    "~~",
    "`",
    "`x`",
    "[^1]",
    "](b.c)",
    "![",
    "<b>",
    "</b>",
    "<br>",
    "&amp;",
    "  \n",
    "\\(",
    "$",
    ":",
    "中",
    "a",
    " ",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=30).map("".join))
def test_any_text_yields_only_what_is_allowed(text: str) -> None:
    html = render(text)
    assert violations(html) == []
    assert sanitize(html) == html


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.sampled_from(MARKS) | st.text(max_size=4), max_size=30).map("".join))
def test_trying_only_the_rules_that_can_begin_somewhere_renders_the_same(text: str) -> None:
    inline = parse._MD.inline
    with patch.object(inline, "tokenize", partial(ParserInline.tokenize, inline)):
        tried_all = render(text)
    assert render(text) == tried_all


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", " ", "   "]),
    st.sampled_from("aZé日ß"),
    st.lists(st.sampled_from(TOKENS) | st.sampled_from(MARKS) | st.text(max_size=4), max_size=8).map("".join),
    st.sampled_from(["", "\n", "\n\n"]),
)
def test_a_line_that_begins_with_a_letter_is_a_paragraph(indent: str, letter: str, rest: str, end: str) -> None:
    text = clean_text(f"{indent}{letter}{rest}").replace("\n", " ") + end
    by_the_rules: list[Token] = []
    parse._MD.block.parse(text, parse._MD, {}, by_the_rules)
    assert parse.parse_blocks(text, {}) == by_the_rules == parse._paragraph(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=20).map("".join))
def test_any_html_yields_only_what_is_allowed(text: str) -> None:
    assert violations(sanitize(text)) == []


def test_the_allow_list_holds_nothing_that_loads_runs_or_submits() -> None:
    dangerous = (
        "script style link meta base iframe frame object embed applet img image audio video source track svg use form"
    )
    assert not TAGS & {
        *dangerous.split(),
        "input",
        "textarea",
        "select",
        "annotation-xml",
        "mglyph",
        "maction",
        "template",
    }


N = 60_000
UNITS = [
    *("[", "![", "[a](", "](", "*", "**a ", "_a", "`", "`a", "~", "$", "$a ", "$$ a\n", "\\[\n", "\\(", "<", "&", "> "),
    *("- ", "- a\n", "* a\n ", "|", "a|b\n", "|-", "[a]: b\n", "<http://", "http://a(", "{{", "\\", "#", "\n", "```\n"),
]
PATHOLOGICAL = {
    **{unit: unit * (N // len(unit)) for unit in UNITS},
    "deep list": "".join("  " * i + "- a\n" for i in range(300)),
    "deep quote": "".join(">" * i + " a\n" for i in range(300)),
    "wide table": "|a" * 10_000 + "|\n" + "|-" * 10_000 + "|\n|x|\n",
    "tall table": "|a|b|\n|-|-|\n" + "|x|y|\n" * 8_000,
    "many cells from little": "|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|x|\n" * 2_000,
    "latex bomb": "$$\\def\\a{xx}\\def\\b{\\a\\a}\\def\\c{\\b\\b}" + "\\c" * 200 + "$$",
    "latex braces": "$" + "{" * 3_000 + "x" + "}" * 3_000 + "$",
    "long code line": "```python\n" + '"' * 19_000 + "\n```",
    "long word": "x" * 1_000_000,
    "one megabyte": "Some **words** and `code` at https://a.example, $x$.\n\n" * 20_000,
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_pathological_text_does_not_take_quadratic_time(name: str) -> None:
    """The bound is the suite's own time limit per test: quadratic behaviour in any of these takes minutes."""
    html = render(PATHOLOGICAL[name])
    assert len(html) < 100 * len(PATHOLOGICAL[name]) + 1_000


def test_many_threads_render_the_same() -> None:
    texts = [f"# {i}\n\n$x_{i}$ and `{i}`\n\n```python\nx = {i}\n```\n\n| a |\n|--:|\n| {i} |\n" for i in range(40)]
    expected = [render(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(render, texts * 4)) == expected * 4


# The stylesheet


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two ``#rrggbb`` colours."""

    def luminance(colour: str) -> float:
        channels = [int(colour.lstrip("#")[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_served_stylesheet_is_the_generated_one() -> None:
    assert (ASSETS / "lane/highlight.css").read_text() == highlight_css()


@pytest.mark.parametrize(("style", "background"), [(LIGHT, LIGHT_BACKGROUND), (DARK, DARK_BACKGROUND)])
def test_every_code_colour_has_enough_contrast(style: str, background: str) -> None:
    for colour in colours(style):
        assert contrast(colour, background) >= 4.5, colour
