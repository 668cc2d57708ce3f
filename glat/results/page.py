"""Self-contained web pages in one style (page.html.j2), with embedded pictures; they load nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """The page of a template, named by its path in the package; it extends `results/page.html.j2`."""
    loader = FileSystemLoader(Path(__file__).parents[1])
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return pages.get_template(template).render(**values)


def image(path: Path, alt: str) -> Markup:
    """An SVG or PNG as an <img> with its bytes in a data URL."""
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:{};base64,{}">').format(alt, kind, Markup(data))
