"""HTML from Jinja templates, which escape every value that the template does not mark ``safe``.

These are not Gradio's templates: a ``gr.HTML`` component's ``html_template`` must contain no ``{{``
(``tests/test_layers.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,  # a missing value is an error, not an empty string
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def render(name: str, **values: Any) -> str:
    """The document of ``templates/NAME.html.jinja``."""
    return _ENVIRONMENT.get_template(f"{name}.html.jinja").render(values)


def render_part(name: str, part: str, *values: Any) -> str:
    """One part of a document: the macro ``part`` of ``templates/NAME.html.jinja``."""
    return str(getattr(_ENVIRONMENT.get_template(f"{name}.html.jinja").module, part)(*values))
