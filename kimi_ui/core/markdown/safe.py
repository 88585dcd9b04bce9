"""The allow-list for model text as HTML, applied after everything else.

``clean_text`` runs first and removes characters that deceive or control a display; ``sanitize`` runs last. Whatever the
parser, a plugin or a converter produced in between, only the elements and attribute values listed here reach the page:
no scripts, styles, forms, images, frames, ids, event handlers or relative URLs, and only classes with our prefixes, so
no class of the page itself.
"""

from __future__ import annotations

import re

import nh3

LINK = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)  # the only URLs a link may have

_HTML_TAGS = (
    "a blockquote br button code del div em h3 h4 h5 h6 hr ins kbd li mark ol p pre s small span strong sub sup table "
    "tbody td th thead tr u ul"
)
_MATH_TAGS = (
    "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt mstyle msub "
    "msubsup msup mtable mtd mtext mtr munder munderover"
)
TAGS = frozenset(_HTML_TAGS.split()) | frozenset(_MATH_TAGS.split())

_CLASSES = re.compile(r"(?:(?:md|hl|language)-[\w+#.-]{1,40}(?: |$))+")
_BOOLEAN = re.compile(r"true|false")
_WORDS = re.compile(r"[a-z -]{1,80}")
# Never negative and under 10 em, so that space neither pulls content over its neighbours nor inflates the page.
_LENGTH = re.compile(r"\+?(?:\d?\.\d{1,9}|\d)(?:r?em|ex|px|pt|cm|mm|mu)?|[1-4]\d(?:px|pt)")
_LEVEL = re.compile(r"[+-]?\d")
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,6}|[a-zA-Z]{1,20}")
_LENGTHS = re.compile(rf"(?:{_LENGTH.pattern})(?: (?:{_LENGTH.pattern})){{0,40}}")

_VALUES: dict[str, dict[str, re.Pattern[str]]] = {
    "*": {"class": _CLASSES, "dir": re.compile("auto")},
    "a": {"href": LINK},
    "button": {"type": re.compile("button"), "aria-label": re.compile("Copy code")},
    "ol": {"start": re.compile(r"\d{1,9}")},
    "pre": {"tabindex": re.compile("0")},
    "div": {"tabindex": re.compile("0")},
    "math": {"display": re.compile("inline|block")},
    "mi": {"mathvariant": _WORDS},
    "mn": {"mathvariant": _WORDS},
    "mtext": {"mathvariant": _WORDS},
    "mo": {
        **dict.fromkeys(
            ("stretchy", "fence", "separator", "accent", "largeop", "movablelimits", "symmetric"), _BOOLEAN
        ),
        **dict.fromkeys(("lspace", "rspace", "minsize", "maxsize"), _LENGTH),
        "form": re.compile("prefix|infix|postfix"),
        "mathvariant": _WORDS,
    },
    "mfrac": {"linethickness": _LENGTH, "bevelled": _BOOLEAN, "displaystyle": _BOOLEAN, "scriptlevel": _LEVEL},
    "mrow": {"displaystyle": _BOOLEAN, "scriptlevel": _LEVEL, "mathcolor": _COLOUR},
    "mspace": {"width": _LENGTH, "height": _LENGTH, "depth": _LENGTH, "linebreak": _WORDS},
    "mpadded": {"width": _LENGTH, "height": _LENGTH, "depth": _LENGTH, "voffset": _LENGTH, "lspace": _LENGTH},
    "mstyle": {
        "displaystyle": _BOOLEAN,
        "scriptlevel": _LEVEL,
        "mathsize": _LENGTH,
        "mathcolor": _COLOUR,
        "mathvariant": _WORDS,
    },
    "mtable": {
        **dict.fromkeys(("columnalign", "rowalign", "columnlines", "rowlines", "frame"), _WORDS),
        **dict.fromkeys(("columnspacing", "rowspacing"), _LENGTHS),
        "displaystyle": _BOOLEAN,
        "scriptlevel": _LEVEL,
    },
    "mtd": {"columnalign": _WORDS, "rowalign": _WORDS},
    "menclose": {"notation": _WORDS},
    "mover": {"accent": _BOOLEAN},
    "munder": {"accentunder": _BOOLEAN},
    "munderover": {"accent": _BOOLEAN, "accentunder": _BOOLEAN},
}
ATTRIBUTES = {tag: frozenset(values) for tag, values in _VALUES.items()}


def allowed_value(tag: str, attribute: str, value: str) -> str | None:
    """The value, or None if the attribute must be removed. Not called for the fixed ``rel`` and ``target``."""
    pattern = _VALUES.get(tag, {}).get(attribute) or _VALUES["*"].get(attribute)
    if pattern is None:
        return None
    match = pattern.match(value) if pattern is LINK else pattern.fullmatch(value)
    return value if match else None


_CLEANER = nh3.Cleaner(
    tags=set(TAGS),
    clean_content_tags={"script", "style"},
    attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
    attribute_filter=lambda tag, name, value: value if name in ("rel", "target") else allowed_value(tag, name, value),
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
)


def sanitize(html: str) -> str:
    """Remove everything that is not on the allow-list. Idempotent. Thread-safe: the cleaner is stateless."""
    return _CLEANER.clean(html)


# C0/C1 controls, such as ANSI escapes, have no use on a page; direction overrides and isolates make text look different
# from what it is ("Trojan Source"). The marks that Arabic and Hebrew need (U+200E, U+200F, U+061C) stay.
_DROP = [*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_TABLE: dict[int, str | None] = {
    **dict.fromkeys(_DROP),
    0x0B: " ",
    0x0C: " ",
    0x85: "\n",
    0x2028: "\n",
    0x2029: "\n",
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # lone surrogates cannot be encoded
}


def clean_text(text: str) -> str:
    """Text without controls and direction overrides; lines end in ``\\n``. Works per character, except for CR LF."""
    if text.isprintable():  # nothing that is dropped or replaced is
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)
