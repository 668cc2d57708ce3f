"""What depends on which source file: derived from imports, and compared with the code that Python really ran."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from made_runs import Corpus, make_all
from tiny_project import reruns

from glat.audit import report as audit
from glat.config.params import load
from glat.config.runs import resolve, split_packs, write_run
from glat.data.sources import registry as sources
from glat.lib import dependencies
from glat.models import registry
from glat.results import tables
from glat.scoring import evaluation
from glat.training import fit

# Nothing of a result is computed in these; the rules carry what the settings say as parameters.
OUTSIDE = ("cli", "config", "lib", "tracking")
# How a training is started, resumed and reported, and how its curve is judged: no weight depends on it.
AROUND_A_TRAINING = {f"training/{name}.py" for name in ("attempt", "convergence", "fit", "progress", "resume", "watch")}
# What is done with a trained run: no result is made by it.
WITH_A_RUN = {
    f"use/{name}.py"
    for name in (
        "access", "calibrating", "card", "demo", "events", "formats", "hub_folder", "inputs", "onnx_export", "onnx_file",
        "options", "overlaps", "pictures", "pyfunc", "recording", "recording_tags", "served", "serving", "tagging",
        "thresholds",
    )
}  # fmt: skip
WITH_A_RUN |= {"models/portable.py"}
# At recordings, before there is a dataset of them and before they are decoded; at backbones, and at what a library's weights
# score, which is in no table.
LOOK = {"data/survey.py", "data/room.py", "use/backbones.py", "use/library_weights.py"}
CODE = {  # the modules that each rule names
    rule: re.findall(r'"(glat\.[\w.]+)"', body)
    for file in (ROOT / "workflow/rules").glob("*.smk")
    for rule, body in re.findall(
        r"^(?:use )?rule (?:\w+ as )?(\w+)(?: with)?:\n(.*?)(?=^\S|\Z)", file.read_text(), re.MULTILINE | re.DOTALL
    )
    if "code=code(" in body
}  # fmt: skip


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package to edit, which the digests are then of."""
    copy = shutil.copytree(ROOT / "glat", tmp_path / "glat", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(dependencies, "PACKAGE", copy)
    forget()
    yield copy
    forget()


def forget() -> None:
    """What is known of files by their names. What is known by their content holds for each edit."""
    for function in (dependencies.digest, dependencies.sources, dependencies.imports, dependencies.code_digest):
        function.cache_clear()


def digests() -> dict[str, str]:
    """The digest of each rule, of the backbones, and of the sources of audio."""
    forget()
    found = {rule: dependencies.digest(*modules) for rule, modules in CODE.items()}
    found |= {f"network {name}": dependencies.digest(registry.entry(name).module) for name in registry.BACKBONES}
    return found | {f"source {name}": dependencies.digest(sources.module(name)) for name in sources.SOURCES}


RESULTS = {"table1", "table2", "fig2a", "fig2b", "controls", "localisation", "pr_curves", "training_curves", "report"}
RESULTS |= {"panns", "ladder"}


def test_every_rule_that_computes_names_its_code():
    text = "".join(path.read_text() for path in (ROOT / "workflow").rglob("*.smk"))
    rules = re.findall(r"^(?:use )?rule (?:\w+ as )?(\w+)", text, re.MULTILINE)
    assert set(rules) - CODE.keys() == {
        "configure",
        "fetch",
        "fetch_weights",
        "copy_result",
        "record",
        "evaluate_frames",
    }


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("models/selection.py", {"train", "train_glat", "evaluate", "teach", "published_run", "examples"}),
        ("models/atsca.py", {"network atsca"}),
        ("models/cnn10.py", {"network cnn10", "network atsca"}),
        ("training/augmentation.py", {"train", "train_glat"}),
        ("results/tables.py", RESULTS - {"report"}),
        ("results/plots.py", RESULTS - {"table1", "table2", "panns", "report"} | {"audit", "examples"}),
        ("results/report.html.j2", {"report"}),
        ("data/lists/ontology.tsv", {"metadata", "train", "train_glat", "localisation", "examples"}),
        ("data/resample.py", {"resample", "pack"}),
        ("data/sources/synthetic/sounds.py", {"source synthetic"}),
        ("data/sources/youtube/crew.py", {"source youtube"}),
        ("audit/signs.py", {"audit"}),
        ("training/progress.py", set()),
        ("lib/errors.py", set()),
        ("config/settings.py", set()),
        ("models/registry.py", set()),
    ],
)
def test_an_edit_changes_the_steps_that_compute_with_it_and_no_other(package, file, steps):
    before, path = digests(), package / file
    path.write_text(path.read_text() + "\nEDITED = True\n")
    after = digests()
    assert {step for step in before if before[step] != after[step]} == steps


def test_every_module_belongs_to_a_step_but_for_those_that_compute_nothing():
    steps = [*(module for modules in CODE.values() for module in modules), *map(sources.module, sources.SOURCES)]
    libraries = (location.partition(":")[0] for location in registry.LIBRARIES.values())
    known = named(*steps, *(registry.entry(name).module for name in registry.BACKBONES), *libraries)
    modules = {path.relative_to(ROOT / "glat").as_posix() for path in (ROOT / "glat").rglob("*.py")}
    modules = {name for name in modules if name.split("/")[0] not in OUTSIDE}
    rest = {name for name in modules - known if not name.endswith(("__init__.py", "registry.py"))}
    assert rest == (AROUND_A_TRAINING | WITH_A_RUN | LOOK) - {"training/convergence.py"}


def test_comments_docstrings_and_layout_are_no_code(package):
    before = digests()
    for path in package.rglob("*.py"):
        other = path.read_text().replace('    """', '    """Other words. ', 1)
        path.write_text(f"# A comment.\n\n{other}\n\n# At the end.\n")
    assert digests() == before


def test_a_module_of_one_s_own_counts_with_those_beside_it(tmp_path, monkeypatch):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package/__init__.py").write_text("from .net import Net\nimport json\n")
    (tmp_path / "own_package/net.py").write_text("from .layers import Layer as Net\nfrom glat.models import Backbone\n")
    (tmp_path / "own_package/layers.py").write_text("import torch\nLayer = torch.nn.Linear\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {path.name for path in dependencies.sources("own_package") if path.is_relative_to(tmp_path)}
    assert found == {"__init__.py", "net.py", "layers.py"}


def test_an_entry_that_is_no_module_is_refused():
    with pytest.raises(ValueError, match=r"glat\.nothing is no module of glat"):
        dependencies.digest("glat.nothing")


def executed(call) -> set[str]:
    """The files of the package whose functions ran in a call."""
    files = set()
    sys.setprofile(lambda frame, event, _: files.add(frame.f_code.co_filename) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    own = {Path(name).relative_to(ROOT / "glat").as_posix() for name in files if name.startswith(f"{ROOT}/glat/")}
    own = {name for name in own if name.split("/")[0] not in OUTSIDE}
    return {name for name in own if not name.endswith(("registry.py", "__init__.py"))}


def named(*modules: str) -> set[str]:
    return {path.relative_to(ROOT / "glat").as_posix() for path in dependencies.sources(*modules)}


def test_what_ran_in_a_step_is_what_the_step_depends_on(corpus, params, monkeypatch):
    monkeypatch.chdir(corpus)
    run = resolve(params, "cnn10", 7, {})
    run = run.model_copy(update={"packs": split_packs(params, "mini", ["train"])})
    write_run(run, run.folder / "config.yaml")
    ran = executed(lambda: fit.train(run, run.folder, threads=1))
    assert "models/twostream.py" in ran
    assert not ran - named(*CODE["train"], "glat.models.cnn10") - AROUND_A_TRAINING

    packs = split_packs(params, "mini", ["eval"])
    score = lambda: evaluation.evaluate(run.folder / "checkpoint.pt", packs, params.evaluation, run.folder, threads=1)
    ran = executed(score)
    assert "scoring/jackknife.py" in ran and not ran - named(*CODE["evaluate"], "glat.models.cnn10")


def test_what_ran_for_a_table_is_what_it_depends_on(params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_all(params, Corpus())
    ran = executed(lambda: tables.write_table1(params, tmp_path))
    assert "results/verdicts.py" in ran and not ran - named(*CODE["table1"])


def test_what_ran_for_an_audit_is_what_it_depends_on(made_project, tmp_path, monkeypatch):
    monkeypatch.chdir(made_project)
    params = load("params.yaml")
    ran = executed(lambda: audit.write(params, tmp_path))
    assert "audit/signs.py" in ran and not ran - named(*CODE["audit"])


def test_snakemake_reruns_what_an_edit_of_the_code_concerns(made_project, tmp_path):
    project = shutil.copytree(made_project, tmp_path / "project", symlinks=True)
    for file, change, rules in (
        ("glat/training/stage.py", "# A comment.\n", set()),
        ("glat/models/talnet.py", "EDITED = True\n", set()),  # no run is of it
        ("glat/audit/signs.py", "EDITED = True\n", {"audit", "copy_result", "record", "all"}),
    ):
        path = project / file
        before = path.read_text()
        path.write_text(before + change)
        assert reruns(project) == rules, file
        path.write_text(before)
