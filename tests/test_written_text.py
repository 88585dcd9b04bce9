"""Text as models write it, where CommonMark alone shows raw marks, drops text or flashes. Each kind with exceptions.

- Emphasis beside CJK text: a star may touch CJK characters and their punctuation from either side; nothing else about
  emphasis changes.
- Formulas beside CJK text: a dollar may touch a CJK character; prices stay text.
- Tags: those of a closed list, without attributes, are rendered anywhere inline; every other tag is text.
- Footnotes: a numbered reference, or one whose note exists, is raised; the note is a paragraph with its label.
- A Markdown fence: fences with a language inside it do not end it.
- A growing line: it is never shown first as one kind of block and then as another. Ambiguous marks are held back.
- Right to left: a block with right-to-left text has ``dir="auto"``, its lists, quotations and tables too.
"""

from __future__ import annotations

import random
import re

import pytest

from kimi_ui.core.markdown import StreamingMarkdown, render
from tests.support.hostile_html import read, violations, visible_text


def streamed(text: str, seed: int) -> tuple[str, list[str]]:
    """The text in random pieces: the finished HTML, and what was shown after each piece."""
    rng = random.Random(seed)
    markdown, shown = StreamingMarkdown(), []
    position = 0
    while position < len(text):
        size = rng.randint(1, 5)
        markdown.feed(text[position : position + size])
        position += size
        frame = markdown.frame()
        shown.append("".join(markdown.blocks) + (frame.tail or ""))
    last = markdown.frame(final=True)
    return last.whole if last.whole is not None else "".join(markdown.blocks), shown


@pytest.mark.parametrize(
    ("text", "strong"),
    [
        ("含**「重点」**内容", "「重点」"),
        ("**不变。**源码", "不变。"),
        ("**復現：**10回", "復現："),
        ("这是**“引用”**的例子", "“引用”"),
        ("**주의(경고)**는 중요", "주의(경고)"),
        ("请看**(注意)**这里", "(注意)"),
        ("**コード`x`**です", "コードx"),
        ("版本**v2.0（新）**发布", "v2.0（新）"),
        ("**「A」**and B", "「A」"),
        ("𠮷**「野」**家", "「野」"),
        ("**a**b **c**", "a"),
    ],
)
def test_emphasis_may_touch_cjk_text(text: str, strong: str) -> None:
    html = render(text)
    assert f"<strong>{strong}</strong>" in re.sub("</?code>", "", html)
    assert "**" not in visible_text(html)
    assert streamed(text, 1)[0] == html


@pytest.mark.parametrize(
    "text", ["2 ** 3 ** 4", "a ** b", "f(**kwargs)", "`**「x」**`", "** 空格 **", "foo__「x」__bar"]
)
def test_stars_that_are_not_emphasis_stay(text: str) -> None:
    assert "strong" not in read(render(text)).tags


def test_other_emphasis_may_touch_cjk_text_too() -> None:
    assert render("これは*「強調」*です") == "<p>これは<em>「強調」</em>です</p>\n"
    assert render("已~~「删除」~~了") == "<p>已<s>「删除」</s>了</p>\n"


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("设质量$m$与加速度$a$成正比", 2),
        ("当$x>0$时，$f(x)$递增。", 2),
        ("面积は$\\pi r^2$です", 1),
        ("함수$f$의 값", 1),
        ("（$n$）个", 1),
        ("令$\\alpha=1$，则", 1),
        ("行内\\(x\\)公式", 1),
    ],
)
def test_formulas_may_touch_cjk_text(text: str, n: int) -> None:
    assert render(text).count("<math>") == n


@pytest.mark.parametrize(
    "text", ["价格$5到$10元", "售价$5，折后$3。", "约$20~$30之间", "花了US$5和US$6", "$100元 or $5元"]
)
def test_prices_in_cjk_text_stay_text(text: str) -> None:
    assert "<math" not in render(text)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("| a |\n|---|\n| 手順1<br>手順2 |", "手順1<br>\n手順2"),
        ("| a |\n|---|\n| 1<br/>2<br />3 |", "1<br>\n2<br>\n3"),
        ("H<sub>2</sub>O", "H<sub>2</sub>O"),
        ("x<sup>2</sup>", "x<sup>2</sup>"),
        ("press <kbd>Ctrl</kbd>+<kbd>C</kbd>", "<kbd>Ctrl</kbd>+<kbd>C</kbd>"),
        ("- CO<sub>2</sub>", "CO<sub>2</sub>"),
        ("**x<sub>i</sub>**", "<strong>x<sub>i</sub></strong>"),
        ("<sub>*a*</sub>", "<sub><em>a</em></sub>"),
        ("<b>bold</b> <i>it</i> <u>u</u> <mark>m</mark>", "<strong>bold</strong> <em>it</em> <u>u</u> <mark>m</mark>"),
        ("a<SUP>th</SUP>", "a<sup>th</sup>"),
        ("x<sup>a<sub>b</sub></sup>", "x<sup>a<sub>b</sub></sup>"),
    ],
)
def test_tags_of_the_closed_list_are_rendered(text: str, html: str) -> None:
    whole = render(text)
    assert html in whole
    assert violations(whole) == []
    assert streamed(text, 2)[0] == whole


@pytest.mark.parametrize(
    "text",
    [
        *("<sub>never closed", "closed</sub> only", "<sub class=x>a</sub>", "<span>a</span>", "<div>a</div>"),
        *("<script>a</script>", "`<br>` and `<kbd>`", "<br onload=x>", "<img src=x>", "a < b > c", "<subx>a</subx>"),
    ],
)
def test_other_tags_stay_text(text: str) -> None:
    html = render(text)
    assert visible_text(html).strip() == text.replace("`", "")
    assert not {"sub", "br", "kbd", "span", "div", "script", "img"} & set(read(html).tags)


def test_crossing_tags_end_with_their_block() -> None:
    html = render("*a <sub>b* c</sub> d\n\ne")
    assert violations(html) == []
    assert "<p>e</p>" in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Water is wet[^1].\n\n[^1]: See *Thales*.", '<sup class="md-note">1</sup> See <em>Thales</em>.'),
        ("a[^1] b[^2]\n\n[^1]: x\n[^2]: y", '<sup class="md-note">2</sup> y'),
        ("a[^note]\n\n[^note]: x", 'a<sup class="md-note">note</sup>'),
        ("a[^note]\n\n[^note]: x\n\nmore\n\nand more", 'a<sup class="md-note">note</sup>'),
        ("- a[^1]\n\n[^1]: x\n  goes on", "x\ngoes on"),
        ("[^1] starts", '<p><sup class="md-note">1</sup> starts'),
    ],
)
def test_footnotes_are_raised_and_their_notes_labelled(text: str, html: str) -> None:
    whole = render(text)
    assert html in whole
    assert "[^" not in visible_text(whole)
    assert streamed(text, 3)[0] == whole


@pytest.mark.parametrize("text", ["the class [^abc] of a regex", "`[^1]`", "[^ 1]", "[^]", "x [^a](https://a.example)"])
def test_brackets_that_are_not_footnotes_stay(text: str) -> None:
    assert "sup" not in read(render(text)).tags


NESTED = "```markdown\n# T\n```bash\nls\n```\nmore\n```\nafter"


@pytest.mark.parametrize(
    ("text", "n_blocks", "after"),
    [
        (NESTED, 1, "after"),
        (NESTED.replace("markdown", "md"), 1, "after"),
        (NESTED.replace("bash", "python title=x"), 1, "after"),
        ("```md\n```a\nx\n```\n```b\ny\n```\nend\n```\nafter", 1, "after"),
        ("~~~markdown\n```sh\nls\n```\n~~~\nafter", 1, "after"),
        ("- item\n\n  ```md\n  ```sh\n  ls\n  ```\n  ```\n\nafter", 1, "after"),
        ("```md\n# T\n```\nafter", 1, "after"),
        ("```bash\nls\n```\nafter", 1, "after"),
        ("````md\n```sh\nls\n```\n````\nafter", 1, "after"),
        ("```md\n```sh\nls\n```\nafter", 1, "after"),
    ],
)
def test_a_markdown_fence_can_contain_fences(text: str, n_blocks: int, after: str) -> None:
    html = render(text)
    assert html.count('<div class="md-code">') == n_blocks
    assert html.endswith(f"<p>{after}</p>\n")
    assert streamed(text, 4)[0] == html


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("Steps\n- wash\n- dry", "h4"),
        ("Result\n= 5", "h3"),
        ("Above\n\n- a\n- b\n\n---\n\nBelow", "h4"),
        ("Steps\n* wash", "em"),
        ("Steps\n+ wash", "h4"),
        ("Steps\n1. wash", "h4"),
        ("Tag\n\n#tag and more", "h3"),
        ("Quote:\n> q", "h4"),
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_a_growing_line_is_never_shown_as_another_block(text: str, never: str, seed: int) -> None:
    html, shown = streamed(text, seed)
    assert html == render(text)
    assert not [one for one in shown if f"<{never}>" in one and f"<{never}>" not in html]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("Before.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", r"\|"),
        ("a **bold** b", r"\*"),
        ("a `code` b", "`"),
        ("H<sub>2</sub>O and 1<br>2", "<"),
    ],
)
def test_incomplete_markup_is_not_shown_as_raw_marks(text: str, raw: str, seed: int) -> None:
    _, shown = streamed(text, seed)
    assert not [visible_text(one) for one in shown if re.search(raw, visible_text(one))]


def test_marks_that_are_not_markup_are_shown_at_the_end() -> None:
    for text in ("a\n-", "| a |", "a **", "a `", "x <", "5\n="):
        assert streamed(text, 0)[0] == render(text)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("- مرحبا\n- بالعالم", "ul"),
        ("1. مرحبا", "ol"),
        ("> اقتباس", "blockquote"),
        ("| اسم | قيمة |\n|---|---|\n| أ | ب |", "div"),
        ("# عنوان", "h3"),
        ("שלום עולם", "p"),
        ("- یک\n  - دو", "ul"),
    ],
)
def test_right_to_left_blocks_have_dir_auto(text: str, tag: str) -> None:
    assert re.match(f'<{tag}( [^>]*)? dir="auto">', render(text))
    assert render(text).count("dir=") == 1


def test_left_to_right_blocks_have_no_dir() -> None:
    assert "dir=" not in render("# a\n\n- b\n\n> c\n\n| d |\n|---|\n| e |")
    assert render("a\n\nمرحبا").startswith("<p>a</p>")
