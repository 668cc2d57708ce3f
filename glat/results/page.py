"""Self-contained web pages in one style (page.html.j2), with embedded pictures and sounds; they load nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, scripts: Sequence[str] = (), served: bool = False, **values: Any) -> str:
    """The page of a template, named by its path in the package; it extends `results/page.html.j2`.

    scripts: JavaScript of the package, named in the same way. The page's policy lets in these alone, by their hashes, so
    that no name of a class or a file can bring another one. served: whether the page asks the server that it comes from.
    """
    code = [part(script) for script in scripts]
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in code]
    policy = "; media-src data:" if code else ""
    policy += " 'self'; connect-src 'self'" if served else ""
    policy += "; script-src " + " ".join(f"'sha256-{one}'" for one in hashes) if code else ""
    return part(template, policy=policy, scripts=code, **values)


def part(template: str, **values: Any) -> Markup:
    """A part of a page, or all of it."""
    loader = FileSystemLoader(Path(__file__).parents[1])
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return Markup(pages.get_template(template).render(**values))


def image(path: Path, alt: str) -> Markup:
    """An SVG or PNG as an <img> with its bytes in a data URL."""
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    data = base64.b64encode(path.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:{};base64,{}">').format(alt, kind, Markup(data))
