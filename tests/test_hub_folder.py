"""A trained run as a folder for the Hugging Face Hub, and back from there, from a folder and from a Hub on loopback."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from hub_fixtures import COMMIT, hub  # noqa: F401
from made_runs import Corpus, make_run
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import glat
from glat import cli
from glat.config.runs import resolve
from glat.lib.errors import GlatError
from glat.lib.files import digest
from glat.training import checkpoints, convergence
from glat.use import hub_folder

NAMES = [
    "Siren",
    "[x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "a | b",
    *(f"Class {c}" for c in range(4, 16)),
]
REPOSITORY = "someone/siren-tagger"


@pytest.fixture(scope="module")
def run(params_once, tmp_path_factory):
    """A run's folder with its numbers: random weights, made-up scores, random windows."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run = resolve(params_once, "cnn10", 0, {"n": 2, "selection": "random", "sharing": "classifier"})
        run = run.model_copy(update={"init": {"global": None, "local": None}, "packs": ["/home/me/secret/000.h5"]})
        make_run(run, Corpus())
        torch.manual_seed(0)
        classes = [{"mid": f"/m/{index}", "display_name": name} for index, name in enumerate(NAMES)]
        checkpoints.save(checkpoints.build(run, classes), run, classes, 6, run.folder / "checkpoint.pt")
        metrics = json.loads((run.folder / "metrics.json").read_text())
        metrics |= {"checkpoint": digest(run.folder / "checkpoint.pt"), "evaluation": {"confidence": 0.95, "seed": 7}}
        (run.folder / "metrics.json").write_text(json.dumps(metrics))
        thresholds = {"version": 1, "checkpoint": metrics["checkpoint"], "classes": []}
        (run.folder / "thresholds.json").write_text(json.dumps(thresholds))
    return root / run.folder


@pytest.fixture(scope="module")
def params_once():
    from conftest import ROOT, TINY

    from glat.config.params import load

    return load(ROOT / "params.yaml", TINY)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "siren-tagger"
    done = CliRunner().invoke(cli.app, ["export", str(run), "--hub", str(out), "--license", "cc-by-4.0"])
    assert done.exit_code == 0 and done.stdout == f"{out}\n" and "hf upload" in done.stderr, done.output
    return out


def waveform(seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (2, 320000)).astype(np.float32)


def test_the_folder_holds_tensors_settings_and_a_card_and_no_path_of_this_machine(folder, run):
    assert sorted(one.name for one in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "thresholds.json",
    ]
    thresholds = [json.loads((one / "thresholds.json").read_text()) for one in (run, folder)]
    assert thresholds[0] == thresholds[1]
    settings = (folder / "config.json").read_text()
    assert "secret" not in settings and json.loads(settings)["classes"][0] == {"mid": "/m/0", "display_name": "Siren"}
    kept = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
    found = load_file(folder / "model.safetensors")
    assert found.keys() == kept.keys() and all(torch.equal(found[key], kept[key]) for key in kept)


def test_the_folder_scores_as_the_run_bit_for_bit_random_windows_and_all(folder, run):
    ours, theirs = glat.load(run, "cpu"), glat.load(folder, "cpu")
    assert np.array_equal(ours(waveform()), theirs(waveform())) and theirs.seed == ours.seed == 7
    assert theirs.labels == ours.labels == NAMES and theirs.run.glat == ours.run.glat
    done = CliRunner().invoke(
        cli.app, ["tag", str(folder), str(folder / "README.md")]
    )  # the network is there, a sound is not
    assert "checkpoint" not in str(done.exception) and "1 of 1" in str(done.exception)


def test_the_hub_gives_the_same_network_and_what_was_fetched_serves_without_a_network(
    folder, run, hub, monkeypatch, tmp_path  # noqa: F811
):  # fmt: skip
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub.repositories[REPOSITORY] = {COMMIT: {one.name: one.read_bytes() for one in folder.iterdir()}}
    expected = glat.load(run, "cpu")(waveform())
    assert np.array_equal(glat.load(REPOSITORY, "cpu")(waveform()), expected)
    assert {path for _, path, _ in hub.asked} == {"config.json", "model.safetensors", "thresholds.json"}
    assert np.array_equal(glat.load(f"{REPOSITORY}@{COMMIT}", "cpu")(waveform()), expected)
    for name, told in (("someone/none", "no such model"), (f"{REPOSITORY}@no", "no revision no")):
        with pytest.raises(GlatError, match=f"^{re.escape(name.split('@')[0])}: no run and no folder here.*{told}"):
            glat.load(name)
    hub.repositories[REPOSITORY][COMMIT]["old/pytorch_model.bin"] = b"\x80\x04."
    with pytest.raises(GlatError, match=r"siren-tagger: old/pytorch_model.bin may be a pickle"):
        glat.load(REPOSITORY)
    del hub.repositories[REPOSITORY][COMMIT]["old/pytorch_model.bin"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert np.array_equal(glat.load(REPOSITORY, "cpu")(waveform()), expected)
    with pytest.raises(GlatError, match="nothing was fetched before"):
        glat.load("someone/else")


def test_the_card_has_the_run_s_numbers_and_no_markup_of_others(folder, run):
    text = (folder / "README.md").read_text()
    head, body = re.fullmatch(r"---\n(.*?)---\n(.*)", text, re.DOTALL).groups()
    metadata, metrics = yaml.safe_load(head), json.loads((run / "metrics.json").read_text())
    assert metadata["license"] == "cc-by-4.0" and metadata["pipeline_tag"] == "audio-classification"
    found = metrics["streams"]["fused"]["mAP"]
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == round(found["value"], 4)
    assert f"| both streams | {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}] |" in body
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    assert "<script" not in html and "href=" not in html and "&lt;script&gt;" in html
    assert "{{" not in text and "`thresholds.json` has a threshold" in text and "40 evaluation clips" in body
    code = re.search(r"```python\n(.*?)```", body, re.DOTALL)[1]
    compile(code, "card", "exec")


def test_numbers_of_another_checkpoint_are_in_no_card_and_its_thresholds_are_refused(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "run")
    content = torch.load(other / "checkpoint.pt", weights_only=True)
    torch.save(content | {"step": 5}, other / "checkpoint.pt")
    export = lambda: CliRunner().invoke(cli.app, ["export", str(other), "--hub", str(tmp_path / "hub")])
    assert "thresholds.json: of another network" in str(export().exception) and not (tmp_path / "hub").exists()
    (other / "thresholds.json").unlink()
    assert export().exit_code == 0
    card = (tmp_path / "hub/README.md").read_text()
    assert "This network was not evaluated." in card and "mAP" not in card and "Choose a threshold" in card
    assert "none was given" in card and yaml.safe_load(card.split("---")[1])["license"] == "unknown"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt", "x.PKL", "deep/x.pkl", "x.pth.tar"])
def test_a_folder_with_a_pickle_is_refused_in_one_sentence(folder, tmp_path, name):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"\x80\x04.")
    with pytest.raises(GlatError, match=f"{name} may be a pickle, which runs code") as told:
        glat.load(copy)
    assert "\n" not in str(told.value)


def test_whether_its_training_had_converged_goes_with_it(folder, run, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    loaded = glat.load(copy).run
    assert not loaded.published and convergence.found(loaded, copy)["state"] == "converged"
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"convergence": None}))
    assert convergence.marked(convergence.found(loaded, copy))


def test_what_the_hub_takes_for_no_name_is_one_sentence():
    with pytest.raises(GlatError, match=r"my--runs/x: no run and no folder here, and at .*: no name of a model"):
        glat.load("my--runs/x")


def edit(folder, **update):
    settings = json.loads((folder / "config.json").read_text())
    settings["run"] |= update
    (folder / "config.json").write_text(json.dumps(settings))


def without_a_number(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"network.global_stream.fc1.bias": torch.full((64,), torch.nan)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: no such file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 99), "model.safetensors: damaged"),
        (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: damaged"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "config.json: no model of glat"),
        (lambda f: (f / "config.json").write_text(" " * 2**21), "longer than settings"),
        (lambda f: edit(f, width=4000.0), "checkpoint of another network"),
        (lambda f: edit(f, network={"model": "os:path"}), "code that the folder does not hold"),
        (lambda f: edit(f, classes=9), "checkpoint of another network"),
        (without_a_number, "not finite"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_one_sentence(folder, tmp_path, harm, message):
    copy = shutil.copytree(folder, tmp_path / "model")
    harm(copy)
    with pytest.raises(GlatError, match=message) as told:
        glat.load(copy)
    assert "\n" not in str(told.value) and str(copy) in str(told.value)


def test_a_place_that_holds_other_things_is_left_alone(run, folder, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, message in (("mine", "holds thesis.tex, which no export wrote"), ("file", "a file, not a folder")):
        with pytest.raises(GlatError, match=message):
            hub_folder.check_place(tmp_path / name)
        done = CliRunner().invoke(cli.app, ["export", str(run), "--hub", str(tmp_path / name)])
        assert message in str(done.exception)
    again = shutil.copytree(folder, tmp_path / "again")
    assert CliRunner().invoke(cli.app, ["export", str(run), "--hub", str(again)]).exit_code == 0
    monkeypatch.setattr(hub_folder, "card", lambda *_: 1 / 0)  # a fault on the way leaves what was there
    before = (again / "config.json").read_bytes()
    assert CliRunner().invoke(cli.app, ["export", str(run), "--hub", str(again)]).exit_code != 0
    assert (again / "config.json").read_bytes() == before and [one.name for one in tmp_path.glob(".again*")] == []


def test_code_of_one_s_own_is_not_published(run, tmp_path):
    from glat.config.network import Network

    checkpoint = checkpoints.restore(run / "checkpoint.pt")
    own = checkpoint._replace(run=checkpoint.run.model_copy(update={"network": Network(model="mine:Net")}))
    with pytest.raises(GlatError, match="mine:Net is code of your own"):
        hub_folder.write(own, run, tmp_path / "hub", "mit")


def test_a_path_with_a_slip_in_it_is_not_asked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/cnn10-s0", "a/b/c", "model.pt", "x/model.pt", "../x"):
        assert hub_folder.find(path) is None
