"""Hooks of mkdocs: links work on the site as they do on GitHub, to README.md and to files that are no documentation.

README.md and its neighbours become pages; a source file or folder that a page links to becomes one, too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose sources lie outside docs/."""
    texts = {name: (ROOT / name).read_text() for name in PAGES}
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=texts[name]))
    texts |= {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages() if file.abs_src_path}
    linked = {target for name, text in texts.items() for link in LINK.findall(text) if (target := _target(name, link))}
    for path in sorted({one for target in linked for one in (target, *_inside(target))}):
        if _page(path) not in files.src_uris:
            files.append(File.generated(config, _page(path), content=_shown(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have each link point to the page that its target has on the site."""
    here = page.file.src_uri
    name = next((name for name, uri in PAGES.items() if uri == here), f"docs/{here}")

    def link(found: re.Match[str]) -> str:
        target = None if here.startswith("files/") else _target(name, found[1])
        return os.path.relpath(_page(target), Path(here).parent) if target else found[1]

    return LINK.sub(link, markdown)


def _target(name: str, link: str) -> str | None:
    """What a link in the file `name` points to, from the repository's root; None where there is no such file."""
    path = Path(os.path.normpath(ROOT / Path(name).parent / link))
    return path.relative_to(ROOT).as_posix() if path.exists() and path.is_relative_to(ROOT) else None


def _page(path: str) -> str:
    """Where a file of the repository stands on the site."""
    return PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}.md")


def _inside(path: str) -> list[str]:
    """The files of a folder; none of a file."""
    return [one.relative_to(ROOT).as_posix() for one in (ROOT / path).glob("[!_.]*") if one.is_file()]


def _shown(path: str) -> str:
    place = ROOT / path
    if place.is_dir():
        body = "\n".join(f"- [{Path(one).name}]({place.name}/{Path(one).name}.md)" for one in sorted(_inside(path)))
    else:
        kind = {"py": "python", "yaml": "yaml", "json": "json", "smk": "python"}.get(place.suffix[1:], "text")
        body = f"````{kind}\n{place.read_text()}\n````"
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{body}\n"
