"""The documents lead somewhere: links, headings, and the files and modules that they name."""

import ast
import re
from importlib import import_module

import pytest
from conftest import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
KINDS = ("glat/**/*.py", "benchmarks/*.py", "workflow/**/*.smk", "recipes/*", "*.yaml")
TEXTS = DOCUMENTS + sorted(path for kind in KINDS for path in ROOT.glob(kind))
FOLDERS = r"(?:glat|workflow|tests|benchmarks|docs|recipes|profiles)"


def anchors(path) -> set[str]:
    """The headings of a Markdown file, as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(path):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        file, _, heading = target.partition("#")
        place = path.parent / file if file else path
        assert place.exists(), f"{path.name}: {target}"
        assert not heading or heading in anchors(place), f"{path.name}: {target}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_and_modules_that_a_text_names_exist(path):
    text = path.read_text()
    for name in re.findall(rf"(?<![\w/.-])({FOLDERS}/[\w/.-]*\.(?:py|smk|md|yaml|json|png|svg))\b", text):
        assert (ROOT / name).exists(), f"{path.name}: {name}"
    for name in re.findall(r"`(glat(?:\.[a-z_]\w*){2,})", text):  # one dot alone is a setting, as in glat.tau
        module, _, attribute = name.rpartition(".")
        place = ROOT.joinpath(*name.split("."))
        exists = place.is_dir() or place.with_suffix(".py").exists() or hasattr(import_module(module), attribute)
        assert exists, f"{path.name}: {name}"


def test_the_table_of_the_readme_is_the_one_that_was_made():
    made = (ROOT / "docs/results/table1.md").read_text().splitlines()
    rows = [
        line for line in (ROOT / "README.md").read_text().splitlines() if re.match(r"\| (Method|TALNet|CNN10)", line)
    ]
    assert len(rows) == 6 and set(rows) <= set(made)


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("tests/long/*.py"), *ROOT.glob("tests/cluster/*.py")]), ids=lambda p: p.name
)
def test_tests_with_a_command_of_their_own_find_what_they_import(path):
    """They are not run with the others, so that what they import may go unnoticed."""
    for node in ast.walk(ast.parse(path.read_text())):
        beside = (
            [place / f"{node.module}.py" for place in (path.parent, ROOT / "tests")]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if own := next((file for file in beside if file.exists()), None):
            known = {getattr(one, "name", None) for one in ast.parse(own.read_text()).body}
            known |= {name.id for name in ast.walk(ast.parse(own.read_text())) if isinstance(name, ast.Name)}
            assert {alias.name for alias in node.names} <= known, f"{path.name}: {node.module}"
