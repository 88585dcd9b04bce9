"""The child process of ``algebra.py``, a script that runs under limits: a pair of expressions per line in, true, false
or null out."""

import json
import re
import sys

ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\w+))")


def latex(text: str) -> str:
    """Plain notation as LaTeX, which is the only form whose parser does not evaluate Python."""
    if "__" in text or re.search(r"\b(?:import|eval|exec|lambda|os|sys)\b", text):
        raise ValueError("not mathematics")
    text = re.sub(r"(?<!\\)\bsqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = ROOT.sub(lambda match: r"\sqrt{" + (match[1] or match[2]) + "}", text)
    text = re.sub(r"(?<!\\)\b(sin|cos|tan|log|ln|exp|pi)\b", r"\\\1", text)
    return "$" + text.replace("**", "^").replace("*", r" \cdot ").replace("−", "-").replace("·", r" \cdot ") + "$"


def main() -> None:
    from math_verify import LatexExtractionConfig, parse, verify

    print("ready", flush=True)
    for line in sys.stdin:
        verdict = None
        try:
            read = [
                parse(latex(text), [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
                for text in json.loads(line)
            ]
            if all(read):
                verdict = bool(verify(read[0], read[1], timeout_seconds=None))
        except Exception:
            verdict = None  # what cannot be read has no verdict
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    main()
