"""Formulas that models write, each with a feature that its MathML must have; the share that is right is printed.

The kind: LaTeX as chat models write it, with environments and commands of amsmath, mathtools, physics and mhchem, CJK
text, stray comments and underscores. A formula is right if it is converted (not shown as source), keeps the listed
feature, and leaves nothing raw: no ``&``, no command name, no inline style.
"""

from __future__ import annotations

import re

import pytest

from kimi_ui.core.markdown import render
from kimi_ui.core.markdown.maths import text_with_formulas
from tests.support.hostile_html import read, violations, visible_text

FORMULAS = [
    # environments
    (r"\begin{aligned} a &= b + c \\ &= d \end{aligned}", "md-right.*md-left.*<mtr><mtd.*</mtd><mtd"),
    (r"\begin{align} a &= b \\ c &= d \end{align}", "(md-right.*){2}"),
    (r"\begin{align*} a &= b \\ c &= d \end{align*}", "(md-right.*){2}"),
    (r"\begin{align} x &= 1 \tag{a} \\ y &= 2 \notag \end{align}", r"\(a\)"),
    (r"\begin{split} a &= b \\ &= c \end{split}", "md-right.*md-left"),
    (r"\begin{equation} a = b \end{equation}", "<mi>a</mi><mo>=</mo><mi>b</mi>"),
    (r"\begin{equation} a &= b \\ &= c \end{equation}", "md-right"),
    (r"\begin{gather} a \\ b \end{gather}", "<mtr>.*<mtr>"),
    (r"\begin{gathered} a \\ b \end{gathered}", "<mtr>.*<mtr>"),
    (r"\begin{multline} a \\ b \end{multline}", "md-left.*md-right"),
    (r"\begin{eqnarray} a &=& b \\ c &=& d \end{eqnarray}", "(<mtr>.*){2}"),
    (r"\begin{alignat}{2} a &= b & c &= d \end{alignat}", "(md-right.*){2}"),
    (r"\begin{alignedat}{2} a &= b \end{alignedat}", "md-right"),
    (r"\begin{flalign*} a &= b \end{flalign*}", "md-right"),
    (r"\begin{aligned}[t] a &= b \end{aligned}", "md-right"),
    (r"f(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{otherwise} \end{cases}", "<mo>{</mo>.*otherwise"),
    (r"\begin{dcases} a & b \\ c & d\end{dcases}", "<mo>{</mo>.*<mtable"),
    (r"\begin{rcases} a \end{rcases}", "<mo[^>]*>}</mo>"),
    (r"\begin{cases} x & \text{if } x \geq 0 \\[4pt] -x & \text{if } x<0 \end{cases}", "<mtr>.*<mtr>"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"<mo>\(</mo><mtable.*<mo[^>]*>\)</mo>"),
    (r"\begin{bmatrix} a \\ b \end{bmatrix}", r"<mo>\[</mo><mtable"),
    (r"\begin{vmatrix} a & b \\ c & d\end{vmatrix}", r"<mo>\|</mo><mtable"),
    (r"\begin{Bmatrix} a \end{Bmatrix}", "<mo>{</mo><mtable"),
    (r"\begin{Vmatrix} a \end{Vmatrix}", "<mo>‖</mo><mtable"),
    (r"\begin{smallmatrix} a & b \\ c & d \end{smallmatrix}", "<mtr>.*<mtr>"),
    (
        r"\begin{array}{|c|c|} \hline a & b \\ \hline c & d \\ \hline \end{array}",
        "md-line-bottom md-line-left",
    ),
    (r"\left(\begin{array}{cc|c}1&2&3\end{array}\right)", "md-line-right"),
    (r"\left\{ \begin{array}{ll} 1 & x>0 \\ 0 & x \le 0 \end{array} \right.", "<mo>{</mo>.*md-left"),
    (r"\left[\begin{matrix}1\end{matrix}\right]", r"<mo>\[</mo>"),
    (r"\sum_{\substack{i<n \\ j<m}} a", "<munder>.*<mtable"),
    # operators and limits
    (r"\arg\min_x f(x)", "arg.*<munder>.*min"),
    (r"\arg\max_{\theta}", "arg.*max"),
    (r"\operatorname*{arg\,max}_{\theta} L", "<munder>.*arg.max"),
    (r"\underset{x\in X}{\operatorname{argmin}}", "<munder>.*argmin"),
    (r"\mathop{\arg\max}\limits_x", "arg.*max"),
    (r"\mathop{\mathrm{argmin}}_x", "argmin"),
    (r"\operatorname{softmax}(x)", "softmax"),
    (r"\operatorname{sgn}\left(x\right)", "sgn"),
    (r"\lim_{x\to 0} \frac{\sin x}{x} = 1", "<munder>.*lim.*<mfrac>"),
    (r"\lim\limits_{n \to \infty} a_n", "<munder>"),
    (r"\limsup_{n} a_n \varliminf_n b_n", "lim"),
    (r"\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}", "<msubsup><mo[^>]*>∫"),
    (r"\int\limits_a^b f", "<munderover><mo[^>]*>∫"),
    (r"\iint_D \oint_C \iiint", "∬.*∮.*∭"),
    (r"\sum_{i=1}^{n} i^2", "<munderover><mo[^>]*>∑"),
    (r"\displaystyle \sum_i x_i", 'displaystyle="true"'),
    (r"\prod_{k=1}^n k", "∏"),
    (r"\bigcup_{i} A_i \bigcap \bigoplus \bigwedge", "⋃.*⋂.*⨁.*⋀"),
    (r"\gcd(a,b) \log_2 n \ln x \det A \dim V \ker f \Pr(X)", "gcd.*log.*ln.*det.*dim.*ker.*Pr"),
    (r"\max_{i} a_i \min_j b_j \sup \inf", "max.*min.*sup.*inf"),
    (r"\tan^{-1} x + \sin^2\theta", "<msup>.*tan"),
    # fractions, roots, scripts
    (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn>"),
    (r"\dfrac{\partial^2 f}{\partial x\,\partial y}", "<mfrac[^>]*>.*∂"),
    (r"\tfrac{1}{2} \cfrac{1}{1+\cfrac{1}{2}}", "<mfrac"),
    (r"\nicefrac{1}{2}", "<mo[^>]*>/</mo>"),
    (r"\binom{n}{k} \dbinom{n}{k}", 'linethickness="0"'),
    (r"\genfrac{(}{)}{0pt}{}{n}{k}", 'linethickness="0"'),
    (r"\sqrt{x} \sqrt[3]{x}", "<msqrt>.*<mroot>"),
    (r"x_1^2 {}_2F_1", "<msubsup>"),
    (r"x' x'' f^{\prime}", "′.*″"),
    (r"90^\circ", "<msup>"),
    (r"\prescript{14}{6}{C}", "<mmultiscripts>"),
    (r"\sideset{}{'}\sum", "∑"),
    # accents and braces
    (r"\overline{AB} \perp \vec{v}", "<mover.*⃗"),
    (r"\hat{y} \bar{x} \tilde{n} \dot{x} \ddot{x}", "(<mover.*){5}"),
    (r"\widehat{ABC} \widetilde{xyz}", "(<mover.*){2}"),
    (r"\underbrace{a+b}_{n} \overbrace{c+d}^{m}", "⏟.*⏞"),
    (r"\underline{x} \overline{x}", "<munder.*<mover"),
    (r"\overrightarrow{AB} \overleftrightarrow{AB}", "→.*↔"),
    (r"\stackrel{\text{def}}{=} \overset{!}{=} \underset{x}{y}", "def.*<munder>"),
    (r"x \stackrel{?}{=} y", "<mover>"),
    (r"\mathrel{\overset{\text{iid}}{\sim}}", "iid"),
    (r"\xrightarrow{f} \xleftarrow[g]{h}", "→.*←"),
    (r"\mathring{A} \wideparen{AB}", "<mover"),
    # alphabets and text
    (r"\mathbb{R}^n \mathcal{L} \mathfrak{g} \mathscr{F}", "ℝ.*ℒ.*𝔤.*ℱ"),
    (r"\mathbf{x} \boldsymbol{\theta} \bm{x} \pmb{y}", "𝐱.*𝜽.*𝒙"),
    (r"\mathrm{d}x \mathsf{A} \mathtt{B}", "𝖠.*𝙱"),
    (r"\mathbb{1} \mathds{1}", "𝟙.*𝟙"),
    (r"\vec{\mathbf{F}} = m\vec{a}", "𝐅"),
    (r"\mathbf{A}^\top \mathbf{A}^{-1}", "⊤"),
    (r"\text{if } x = \text{cost in \$}", r"cost.*in.*\$"),
    (r"\text{if $x>0$}", "<mi>x</mi>"),
    (r"\text{learning_rate} = 0.1", "learning_rate"),
    (r"\text{速度} = \frac{\text{距离}}{\text{时间}}", "速度.*<mfrac>"),
    (r"速度 = 距离/时间", "速"),
    (r"\textbf{bold} \textit{it} \texttt{tt} \textrm{rm}", "<strong>bold</strong>.*<em>it</em>.*<code>tt</code>"),
    (r"\mbox{so} \text{Var}(X)", "so.*Var"),
    (r"\mathrm{km/h} \ \mathrm{m\,s^{-1}}", "km.*<msup>"),
    (r"x\,\text{kg}\cdot\text{m}^2", "kg.*<msup>"),
    # relations, arrows, signs
    (r"a \equiv b \pmod{n}", "≡.*mod"),
    (r"a \bmod b", "mod"),
    (r"\not\in \notin \nmid \ne \neq \not=", "∉.*∉.*∤.*≠"),
    (r"\leq \geq \leqslant \ll \gg \simeq \cong \propto \approx \sim", "≤.*≥.*⩽.*≪.*≫.*≃.*≅.*∝.*≈.*∼"),
    (r"a \lt b \gt c", "&lt;.*&gt;"),
    (r"\implies \iff \to \mapsto \Rightarrow \hookrightarrow", "⟹.*⟺.*→.*↦.*⇒.*↪"),
    (r"\longrightarrow \rightleftharpoons \nearrow \leadsto", "⟶.*⇌.*↗"),
    (r"\forall x \exists y \in \mathbb{N}", "∀.*∃.*∈.*ℕ"),
    (r"\subseteq \supseteq \cap \cup \setminus \emptyset", "⊆.*⊇.*∩.*∪"),
    (r"\pm \mp \times \div \cdot \ast \star \oplus \otimes", "±.*∓.*×.*÷.*⋅.*⊕.*⊗"),
    (r"\triangleq \coloneqq \doteq", "≜.*≔.*≐"),
    (r"\nabla \cdot \vec{E} = \frac{\rho}{\varepsilon_0}", "∇.*⋅.*ρ.*ε"),
    (r"\hbar \ell \Re \Im \aleph \partial \infty", "ℏ.*ℓ.*ℜ.*ℑ.*ℵ.*∂.*∞"),
    (r"\degree \angle ABC \triangle \parallel", "°.*∠.*△.*∥"),
    (r"\checkmark \square \blacksquare \therefore \because", "✓.*□.*■.*∴.*∵"),
    (r"\dots \ldots \cdots \vdots \ddots", "⋯.*⋮.*⋱"),
    (r"100\% \# \& \_", "%.*#.*&amp;.*_"),
    (r"50% of x", "%.*<mi>x</mi>"),
    # delimiters and spaces
    (r"\left( \frac{a}{b} \right)", r"<mo>\(</mo><mfrac>"),
    (r"\left<x\right>", "⟨.*⟩"),
    (r"\left. \frac{dy}{dx} \right|_{x=0}", r"<mo>\|</mo>"),
    (r"\left( a \middle| b \right)", r"\|"),
    (r"\left\lbrace x \right\rbrace \{1,2\}", "{.*}"),
    (r"\bigl( x \bigr) \Big| y \Big| \Bigg( z \Bigg)", "minsize"),
    (r"\lfloor x \rfloor \lceil y \rceil \langle z \rangle", "⌊.*⌋.*⌈.*⌉.*⟨.*⟩"),
    (r"\lVert v \rVert \|x\| \lvert x \rvert", "‖.*‖"),
    (r"\left\| x \right\| \abs{x} \norm{v}", "‖"),
    (r"P(A \mid B) = \mathbb{E}\left[X\right]", "∣.*𝔼"),
    (r"\phantom{x} \quad \qquad \; \, \! \:", "<mphantom>.*<mspace"),
    (r"\hspace{1em} x \hspace*{1em} y", "<mspace"),
    (r"\strut \smash{x} \vphantom{y}", "<mi>x</mi>"),
    # boxes, colours, numbers
    (r"\boxed{42}", '<menclose notation="box">'),
    (r"\boxed{\text{Yes}} \fbox{x}", "<menclose"),
    (r"\boxed{\begin{aligned}a&=b\end{aligned}}", "<menclose.*<mtable"),
    (r"\cancel{x} \bcancel{y} \xcancel{z}", "updiagonalstrike.*downdiagonalstrike"),
    (r"\color{red}{x} \textcolor{blue}{y}", 'mathcolor="#FF0000".*mathcolor="#0000FF"'),
    (r"\textcolor{#ff0000}{x}", "<mi>x</mi>"),
    (r"E = mc^2 \tag{1}", r"\(1\)"),
    (r"E = mc^2 \tag*{E} \label{eq:e}", "<mtext>E</mtext>"),
    # physics and chemistry
    (r"\bra{\psi} \ket{\phi} \braket{a|b}", r"⟨.*ψ.*ϕ.*⟩"),
    (r"\dv{y}{x} + \pdv{f}{x}", "(<mfrac>.*){2}"),
    (r"\ce{H2O}", "<msub>.*<mn>2</mn>"),
    (r"\ce{2H2 + O2 -> 2H2O}", "→"),
    (r"\ce{SO4^2-}", "<msubsup>"),
    (r"\ce{Na+ + Cl- -> NaCl}", "<msup>.*→"),
    (r"\ce{CO2(g) <=> CO3^2-}", "⇌"),
    (r"\ce{Fe(OH)3}", "<msub>"),
    (r"\ce{^{14}_6C}", "<msubsup>"),
]


def converted(latex: str) -> str:
    return render(f"$$\n{latex}\n$$")


def problem(latex: str, feature: str) -> str:
    """What is wrong with the formula's HTML; empty if it is right."""
    html = converted(latex)
    if "<math" not in html:
        return "shown as source"
    if not re.search(feature, html, re.DOTALL):
        return f"no {feature!r} in {html}"
    if raw := re.search(r"\\[A-Za-z]+", visible_text(html)):
        return f"shows {raw[0]}"
    return "; ".join(violations(html))


@pytest.mark.parametrize(("latex", "feature"), FORMULAS, ids=[latex for latex, _ in FORMULAS])
def test_a_formula_is_typeset(latex: str, feature: str) -> None:
    assert problem(latex, feature) == ""


def test_the_share_of_formulas_that_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    right = sum(problem(latex, feature) == "" for latex, feature in FORMULAS)
    with capsys.disabled():
        print(f"\nformulas typeset right: {right} of {len(FORMULAS)}")
    assert len(FORMULAS) >= 120
    assert right == len(FORMULAS)


@pytest.mark.parametrize(
    "latex",
    [
        *(r"\SI{5}{\meter}", r"\begin{CD}A@>>>B\end{CD}", r"\verb|x|", r"\frac{a}{", r"\rule{5em}{1em}"),
        *(r"\ce{\ch{x}}", r"\href{https://a.example}{x}", r"\newcommand{\a}{b}\a", r"\unknowncommand x"),
    ],
)
def test_a_formula_that_cannot_be_typeset_is_shown_whole_as_code(latex: str) -> None:
    html = converted(latex)
    assert "code" in read(html).tags
    assert visible_text(html).strip() == f"$$\n{latex}\n$$"


@pytest.mark.parametrize(
    "text", ["no formula", "$5 for tea, $6 for cake", r"an unfinished \frac{1}{2 and $x", "a < b & c", r"$\x{$"]
)
def test_plain_text_without_a_formula_stays_text(text: str) -> None:
    assert text_with_formulas(text) is None


def test_formulas_in_a_line_of_plain_text_are_drawn_and_the_rest_is_escaped() -> None:
    html = text_with_formulas(r"<img src=x> *a* $x \ge 1$ & \(y\) or $\bad{$ and <b>$z$</b>")
    assert html is not None
    assert violations(html) == []
    assert read(html).tags.count("math") == 3
    assert html.startswith("&lt;img src=x&gt; *a* <math>")
    assert r"&amp; <math>" in html
    assert r"or $\bad{$ and &lt;b&gt;<math>" in html
