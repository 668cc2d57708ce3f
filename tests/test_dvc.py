"""DVC over Snakemake: real `dvc`, `git` and `snakemake` on the tiny corpus, a local S3 server, clones and experiments."""

import json
import re
import resource
import shutil

import pytest
import yaml
from conftest import ROOT
from moto.server import ThreadedMotoServer
from tiny_project import MADE, contents, dvc, git, reruns

STAGES = [
    "dataset", "packs", "audit", "train", "evaluate", "table1", "table2", "fig2", "controls", "localisation", "curves",
    "report",
]  # fmt: skip
RAN = "Running stage"


def changed(project):
    """The stages that DVC would run first, without those that follow from them."""
    return set(json.loads(dvc(project, "status", "--json").stdout))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two remotes, by name: a folder, and a bucket of a local S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        import boto3

        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="glat")
        folder = tmp_path_factory.mktemp("store")
        yield {"folder": {"url": str(folder)}, "bucket": {"url": "s3://glat/store", "endpointurl": address}}
    server.stop()


def add_remotes(project, stores):
    for name, options in stores.items():
        dvc(project, "remote", "add", "--local", name, options["url"])
        for key in options.keys() - {"url"}:
            dvc(project, "remote", "modify", "--local", name, key, options[key])


@pytest.fixture(scope="module")
def recorded(made_project, tmp_path_factory):
    """A repository in which everything was made and recorded by `dvc repro`, with what DVC noted of it committed."""
    project = shutil.copytree(made_project, tmp_path_factory.mktemp("recorded") / "project", symlinks=True)
    assert git(project, "status", "--porcelain") == "?? dvc.lock\n"
    git(project, "add", "-A")
    git(project, "commit", "-qm", "recorded")
    return project


@pytest.fixture(scope="module")
def clone(recorded, stores, tmp_path_factory):
    """A clone that has everything from the bucket."""
    add_remotes(recorded, stores)
    dvc(recorded, "push", "-r", "bucket")
    project = tmp_path_factory.mktemp("clone") / "project"
    git(recorded, "clone", "-q", ".", str(project))
    add_remotes(project, stores)
    dvc(project, "pull", "-r", "bucket")
    return project


def test_a_second_repro_runs_nothing_and_nothing_large_is_in_git(recorded):
    assert RAN not in dvc(recorded, "repro").stdout
    assert git(recorded, "status", "--porcelain") == ""
    tracked = [recorded / name for name in git(recorded, "ls-files").split()]
    assert not [path for path in tracked if path.relative_to(recorded).parts[0] in MADE]
    assert max(path.stat().st_size for path in tracked) < 200_000


def test_what_snakemake_made_is_recorded_without_making_anything(made_project):
    said = made_project.with_name("made.done").read_text()
    assert said.count("Nothing to be done") == said.count(RAN) == len(STAGES) - 2  # `dataset` and `packs` ran before


def test_every_stage_that_calls_snakemake_depends_on_the_code_whole():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STAGES
    for name, stage in list(stages.items())[1:]:  # `dataset` notes settings alone
        assert {"glat", "workflow"} <= set(stage["deps"]) and stage["cmd"] == f"snakemake {name}_record --cores all"


def test_params_yaml_has_the_settings_that_the_stages_name():
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values():
        for key in stage.get("params", []):
            value = settings
            for part in key.split("."):
                assert part in value, key
                value = value[part]


def test_what_was_pushed_is_there_elsewhere_and_both_tools_take_it_as_up_to_date(recorded, clone):
    assert dvc(clone, "status").stdout == "Data and pipelines are up to date.\n"
    assert reruns(clone) == set()
    assert dvc(clone, "status").stdout == "Data and pipelines are up to date.\n"
    assert git(clone, "status", "--porcelain") == ""
    for table in [*recorded.glob("results/*.csv"), *recorded.glob("results/*.md"), *recorded.glob("runs/mini/*/*")]:
        if table.name != ".lock":
            assert (clone / table.relative_to(recorded)).read_bytes() == table.read_bytes(), table
    dvc(recorded, "push", "-r", "folder")
    assert "in sync" in dvc(recorded, "status", "-c", "-r", "folder").stdout


def test_a_clone_knows_what_its_files_were_made_from(clone):
    """What differs from what the files were made from is made again, by either way in, and nothing else."""
    params = clone / "params.yaml"
    scored = {"evaluate", "metrics", "table1", "table2", "fig2a", "fig2b", "controls", "localisation", "pr_curves"}
    scored |= {"report", "copy_result", "record", "all", "evaluate_frames"}
    heard = scored | {"resample", "pack", "audit", "train", "train_glat", "training_curves", "examples"}
    heard |= {"download"}  # the audio itself is not carried
    for file, old, new, stages, made in (
        (params, "confidence: 0.95", "confidence: 0.9", {"dataset", "evaluate", "report"}, scored),
        (clone / "glat/data/resample.py", None, "EDITED = True\n", set(STAGES) - {"dataset"}, heard),
        (clone / "glat/data/resample.py", None, "# A comment.\n", set(STAGES) - {"dataset"}, set()),
        (clone / "README.md", None, "<!-- edited -->\n", set(), set()),
    ):
        before = file.read_text()
        try:
            file.write_text(before.replace(old, new) if old else before + new)
            assert changed(clone) == stages
            assert reruns(clone) == made
            if file is params:
                difference = json.loads(dvc(clone, "params", "diff", "--json").stdout)
                assert list(difference["params.yaml"]) == ["evaluation.confidence"]
        finally:
            file.write_text(before)
    assert changed(clone) == set()


def test_metrics_of_every_run(recorded):
    shown = json.loads(dvc(recorded, "metrics", "show", "--json").stdout)[""]["data"]["results/metrics.json"]["data"]
    folders = {path.parent.name: json.loads(path.read_text()) for path in recorded.glob("runs/mini/*/metrics.json")}
    assert shown.keys() == folders.keys()
    for name, metrics in folders.items():
        fused = metrics["streams"]["fused"]
        expected = {key: round(fused[key]["value"], 6) for key in ("mAP", "mAUC", "d_prime")}
        method = "CNN10 + GL-AT †" if metrics["glat"] else "CNN10 †"  # six steps say nothing
        assert shown[name] == expected | {"method": method, "convergence": "cannot tell"}


def test_plots_are_drawn(recorded, tmp_path):
    dvc(recorded, "plots", "show", "-o", str(tmp_path / "plots"))
    page = (tmp_path / "plots/index.html").read_text()
    for title in ("Fig. 2(a)", "Fig. 2(b)", "Training", "Precision and recall"):
        assert title in page
    assert "cnn10-glat-random-s0" in page and "CNN10 + GL-AT" in page  # a line each
    images = {path.name for path in (tmp_path / "plots/static").iterdir()}
    assert {name for name in images if re.search(r"fig2[ab]\.svg$", name)}.__len__() == 2


def test_the_graph_is_one_that_can_be_read(recorded):
    assert dvc(recorded, "dag", "--md").stdout.strip() in (ROOT / "docs/dvc.md").read_text()
    edges = set(re.findall(r'"(\w+)" -> "(\w+)"', dvc(recorded, "dag", "--dot").stdout))
    results = {"table1", "table2", "fig2", "controls", "localisation", "curves"}
    wanted = {
        ("dataset", "packs"), ("dataset", "audit"), ("dataset", "train"), ("dataset", "evaluate"),
        ("dataset", "report"), ("packs", "train"), ("packs", "evaluate"), ("train", "evaluate"), ("packs", "audit"),
        ("audit", "report"),
    }  # fmt: skip
    wanted |= {("evaluate", one) for one in results} | {(one, "report") for one in results}
    assert edges == wanted | {("packs", "localisation"), ("evaluate", "report")}


def test_what_cannot_be_done_is_told_and_leaves_the_results_alone(made_project, recorded, tmp_path):
    before = contents(recorded)
    done = dvc(recorded, "push", "-r", "nowhere", check=False)
    assert done.returncode != 0 and "remote 'nowhere' doesn't exist" in done.stderr
    done = dvc(recorded, "push", check=False)
    assert done.returncode != 0 and "no remote specified" in done.stderr

    small = tmp_path / "small"  # as on a disk that is full: no file grows beyond 6 MB, but packs do
    small.mkdir()
    dvc(recorded, "remote", "add", "--local", "small", str(small))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6 * 2**20, 6 * 2**20))
    done = dvc(recorded, "push", "-r", "small", check=False, preexec_fn=limit)
    assert done.returncode != 0 and "File too large" in done.stderr and "Traceback" not in done.stderr
    assert contents(recorded) == before

    plain = tmp_path / "plain"
    shutil.copytree(recorded, plain, symlinks=True, ignore=shutil.ignore_patterns(".git", "cache", "tmp"))
    done = dvc(plain, "repro", check=False)
    assert done.returncode != 0 and done.stderr == f"ERROR: {plain} is not a git repository\n"
    assert contents(plain).keys() == {plain / path.relative_to(recorded) for path in before}
