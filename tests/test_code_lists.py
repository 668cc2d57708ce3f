"""Which sources a rule depends on: all that its command imports for its work, by itself or through a step before it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT
from tiny_project import copy_of_the_project, snakemake

# What each rule's command does its work with, and the rules before it, whose rerun is followed by its own.
RULES = {
    "metadata": (["data/metadata.py"], []),
    "download": (["data/audioset.py"], ["metadata"]),
    "resample": (["data/resample.py", "data/audioset.py"], ["download"]),
    "pack": (["data/pack.py", "data/audioset.py"], ["resample"]),
    "audit": (["audit/report.py"], ["pack"]),
    "train": (["training.py"], ["pack"]),
    "evaluate": (["evaluation.py"], ["train"]),
    "metrics": (["results/summary.py"], ["evaluate"]),
    "table1": (["results/tables.py"], ["evaluate"]),
    "table2": (["results/tables.py"], ["evaluate"]),
    "fig2a": (["results/fig2.py"], ["evaluate"]),
    "fig2b": (["results/fig2.py"], ["evaluate"]),
    "controls": (["results/controls.py"], ["evaluate"]),
    "localisation": (["results/localisation.py"], ["evaluate"]),
    "pr_curves": (["results/curves.py"], ["evaluate"]),
    "training_curves": (["results/curves.py"], ["train"]),
    "examples": (["explain.py"], ["train"]),
    "report": (["results/report.py"], ["evaluate", "table1", "localisation", "examples"]),
}
# How settings, files and addresses are read and refused, how many cores there are, and what is noted of all this.
PLUMBING = {
    "__init__.py", "checks.py", "config.py", "cores.py", "documents.py", "errors.py", "fetching.py", "files.py",
    "hardware.py", "provenance.py", "redaction.py", "registry.py",
    "results/__init__.py", "runs.py", "settings.py", "data/__init__.py", "data/shards.py", "data/sources/__init__.py",
}  # fmt: skip


# A training takes from it what a file is called.
NAMES_ALONE = {"train": {"convergence.py"}}


def imported(path: Path) -> set[Path]:
    """The modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name.split(".") for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            above = path.relative_to(ROOT).parent.parts
            module = [*above[: len(above) - node.level + 1]] if node.level else []
            module += (node.module or "").split(".") if node.module else []
            names = [module, *([*module, alias.name] for alias in node.names)]
        for name in names:
            place = ROOT.joinpath(*name)
            found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return {file for file in found if file.is_relative_to(ROOT / "glat")}


def closure(entries: list[str]) -> set[str]:
    waiting, found = [ROOT / "glat" / entry for entry in entries], set()
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(ROOT / "glat"))
        if name not in found | PLUMBING:
            found.add(name)
            waiting += imported(path)
    return found


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Of each rule the sources among its inputs, as a dry run tells them."""
    out = snakemake(copy_of_the_project(tmp_path_factory.mktemp("lists")), "-n", "--cores", "8").stdout
    jobs = re.findall(r"rule (\w+):\n    input: (.*)\n", out)
    return {rule: {name[5:] for name in inputs.split(", ") if name.startswith("glat/")} for rule, inputs in jobs}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_depends_on_all_that_its_command_imports(listed, rule):
    entries, before = RULES[rule]
    known = listed[rule] | NAMES_ALONE.get(rule, set())
    while before:
        step, *before = before
        known |= listed[step]
        before += RULES[step][1]
    assert set(entries) <= listed[rule] and not sorted(closure(entries) - known)
