"""Which source files a step depends on: derived from imports, here alone, for rules and fingerprints alike.

A step depends on the module that does its work, on every module of the package that this one imports, at its top or
inside a function, and so on; a template or a table counts as part of the module that it shares its folder and first name
with (`report.html.j2`, `ontology.tsv`). Not followed:

- the packages that a module lies in, whose `__init__` passes names on, unless a name is imported from one;
- imports under `if TYPE_CHECKING`, which nothing runs;
- `glat.lib`, which reads, writes and reports but computes nothing of a result;
- `glat.config`, which yields settings: their values are parameters of each step already;
- a module called `registry`, which maps names to modules: whoever looks one up names the module itself.

A module outside of the package, a backbone of one's own, counts with those beside it that it imports.

A file counts by its code: comments, docstrings and layout are no part of its digest.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .sources import source_file

PACKAGE = Path(__file__).parents[1]
NOT_FOLLOWED = ("glat.lib", "glat.config")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)  # what may begin with a docstring


@cache  # Snakemake asks for it with each job
def digest(*entries: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the code that the modules `entries` depend on.

    Raises:
        ValueError: an entry that is no module of the package.

    >>> digest("glat.models.cnn10") == digest("glat.models.cnn10"), len(digest("glat.models.cnn10"))
    (True, 16)
    """
    root = PACKAGE.parent
    parts = [
        f"{path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name} {code_digest(path)}"
        for path in sources(*entries)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def sources(*entries: str) -> tuple[Path, ...]:
    """The files that the modules `entries` (as "glat.training.stage") depend on, sorted.

    >>> len(sources("glat.models.cnn10"))  # backbone.py and cnn10.py
    2
    """
    waiting, found = list(entries), set()
    own = {path.parent for entry in entries if not _file(entry) and (path := source_file(entry))}
    if lost := [entry for entry in entries if _place(entry, own) is None]:
        raise ValueError(f"{lost[0]} is no module of {PACKAGE.name} and was not found on Python's path either")
    while waiting:
        name = waiting.pop()
        path = _place(name, own)
        if path is None or path in found or not _followed(name):
            continue
        beside = [*path.parent.glob(f"{path.stem}.*.j2"), *path.parent.glob(f"{path.stem}.tsv")]
        found |= {path, *beside}
        waiting += imports(name) if _file(name) else _named(name, path)
    return tuple(sorted(found))


def _place(name: str, own: set[Path]) -> Path | None:
    """The file of a module of the package, or of one that lies in one of the folders `own`."""
    if (path := _file(name)) or not own or name.partition(".")[0] in sys.stdlib_module_names:
        return path
    path = source_file(name)
    return path if path and path.parent in own else None


@cache
def imports(name: str) -> tuple[str, ...]:
    """The modules of the package that a module names in its imports, which may be inside a function."""
    path = _file(name)
    return tuple(each for each in _named(name, path) if _file(each)) if path else ()


def _named(name: str, path: Path) -> list[str]:
    """The modules that a module names in its imports, and what could be modules. path: its file."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: list[str] = []
    for node in _executed(_tree(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *(node.module or "").split(".")] if node.module else above)
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return list(dict.fromkeys(found))


@cache
def code_digest(path: Path) -> str:
    """The SHA-256 of a file: of Python the code alone, the same in every version of Python; of anything else the bytes."""
    content = path.read_bytes()
    return _python_digest(content) if path.suffix == ".py" else hashlib.sha256(content).hexdigest()


@cache
def _python_digest(content: bytes) -> str:
    return hashlib.sha256("".join(_code(_tree(content), [])).encode()).hexdigest()


@cache
def _tree(content: bytes) -> ast.Module:
    return ast.parse(content)


def _file(name: str) -> Path | None:
    head, _, inside = name.partition(".")
    if head != PACKAGE.name:
        return None
    place = PACKAGE.joinpath(*inside.split(".")) if inside else PACKAGE
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


def _followed(name: str) -> bool:
    return not name.endswith(".registry") and not any(f"{name}.".startswith(f"{room}.") for room in NOT_FOLLOWED)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements of a tree, those inside others too, but for those under `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.expr):
                continue
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                continue
            yield node
            waiting.append(node)


def _code(node: ast.AST, text: list[str]) -> list[str]:
    """A tree as text, added to `text`: without docstrings and without what one version of Python has and another lacks, empty
    fields."""
    text.append(f"({type(node).__name__}")
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None or value == []:
            continue
        parts = value if isinstance(value, list) else (value,)
        if field == "body" and isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            parts = value[1:]
            if not parts:
                continue
        text.append(f" {field}=")
        for part in parts:
            if isinstance(part, ast.AST):
                _code(part, text)
            else:
                text.append(f"{part!r},")
    text.append(")")
    return text
