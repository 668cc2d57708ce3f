"""PANNs' published weights, end to end on made-up ones in the same format: fetched, checked, scored, and trained from."""

import hashlib
import json
import os
import re
from pathlib import Path

import h5py
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import transformers
import yaml
from conftest import ROOT
from http_fixtures import served
from sklearn.metrics import average_precision_score
from test_fetching import File, Unreliable
from test_panns import as_panns, naive_cnn10, randomised
from test_workflow import copy_of_the_project, snakemake
from typer.testing import CliRunner

from glat import cli
from glat.config.settings import Weights
from glat.data.packs.read import Packs
from glat.data.packs.write import pack_shard
from glat.data.resample import resample_shard
from glat.lib import fetching
from glat.lib.errors import GlatError
from glat.models import build
from glat.results.panns import LISTED_CLIPS, PUBLISHED_CLIPS, reach
from glat.training import checkpoints
from glat.use import weights

CLASSES = pd.DataFrame([(c, f"/m/x{c}", f"Class {c}") for c in range(527)], columns=["index", "mid", "display_name"])
CLASS_LIST = ROOT.parent / "shared/audioset/class_labels_indices.csv"
FILE = "weights/Cnn10_mAP=0.380.pth"
SETTINGS = {
    "dataset": "audioset_balanced",
    "datasets.audioset_balanced.splits": {"balanced_train": 8, "eval": 10},
    "datasets.audioset_balanced.training": {"steps": 2, "batch_size": 2},
    "datasets.audioset_balanced.execution": {"workers": 0, "checkpoint_every": 2},
    "audio.clip_seconds": 1.0,
    "glat.n": 2, "glat.tau": 0.5, "fig2.n": [2], "fig2.tau": [0.5],
    "evaluation.batch_size": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint as PANNs published theirs, in torch's old file format, and its state."""
    torch.manual_seed(0)
    network = build("cnn10", classes=527).network
    randomised(network, 1)
    state = as_panns(network)
    path = tmp_path_factory.mktemp("published") / "Cnn10.pth"
    torch.save({"iteration": 600_000, "model": state}, path, _use_new_zipfile_serialization=False)
    return path, state


@pytest.fixture(scope="module")
def packs(tmp_path_factory) -> Path:
    """A folder with packs of one second of noise a clip, of as many classes as AudioSet has."""
    root, rng = tmp_path_factory.mktemp("packs"), np.random.default_rng(0)
    for split, clips in (("balanced_train", 8), ("eval", 10)):
        (root / split).mkdir()
        names = [f"{split[0]}{i:010d}_{1000 * i}" for i in range(clips)]
        for i, name in enumerate(names):
            tone = np.sin(2 * np.pi * 100 * (i + 1) * np.arange(32000) / 32000)
            soundfile.write(root / split / f"{name}.wav", 0.2 * tone + 0.05 * rng.standard_normal(32000), 32000)
        labels = [tuple(CLASSES["mid"][rng.choice(40, 3, replace=False)]) for _ in names]
        start = np.arange(clips) * 1.0
        rows = pd.DataFrame({"clip": names, "youtube_id": [n[:11] for n in names], "start": start, "end": start + 1,
                             "labels": pd.Series(labels, dtype=object)})  # fmt: skip
        listing = pd.DataFrame({"clip": names, "file": [f"{name}.wav" for name in names], "reason": ""})
        out, pack = root / f"resampled/{split}", root / f"data/audioset_balanced/packs/{split}/000.h5"
        resample_shard(rows, listing, root / split, out, 32000, 1.0)
        pack_shard(out, rows, CLASSES, pack, pack.with_suffix(".ledger.csv"), 32000, {"dataset": "audioset_balanced"})
    return root


@pytest.fixture
def project(packs, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(packs / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "CLASSES", hashlib.sha256("\n".join(CLASSES["mid"]).encode()).hexdigest())
    monkeypatch.setattr(fetching, "PAUSES", (0, 0))
    return tmp_path


@pytest.fixture
def server(published):
    with served(File, Unreliable) as server:
        server.content = published[0].read_bytes()
        yield server


def glat(*arguments, **changes):
    """The command as typed: what it printed to both, and its error."""
    options = [f"--set={key}={json.dumps(value)}" for key, value in (SETTINGS | changes).items()]
    threads = ["--threads", "1"] if arguments[0] not in ("configure", "panns") else []
    call = ["--params", str(ROOT / "params.yaml"), *options, *map(str, arguments), *threads]
    result = CliRunner().invoke(cli.app, call)
    assert result.exception is None or isinstance(result.exception, GlatError | SystemExit), result.exception
    return result.output, None if result.exception is None else str(result.exception)


def test_weights_from_an_address_are_resumed_checked_scored_and_not_made_twice(project, server, published):
    md5 = hashlib.md5(server.content).hexdigest()
    server.cuts = [10_000_000, 5_000_000]
    known = {"weights.cnn10.file": server.address, "weights.cnn10.md5": md5}
    output, error = glat("weights", "cnn10", **known)
    assert error is None and [asked is None for asked, _ in server.asked] == [True, False, False]
    run = Path("runs/audioset_balanced/cnn10-panns")
    sha256 = hashlib.sha256(server.content).hexdigest()
    assert f"weights/weights=1.pth: SHA-256 {sha256}, MD5 {md5}, as published" in output
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "checkpoint.pt", "predictions.h5", "influence.npz", "per_class.csv", "clips.txt", "metrics.json"
    }  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    corpus = Packs("data/audioset_balanced/packs/eval/000.h5")
    scores = naive_cnn10(published[1], torch.from_numpy(corpus.read(range(10)))).numpy()
    target = corpus.labels.dense()
    scored = np.flatnonzero(target.any(0))
    expected = np.mean([average_precision_score(target[:, c], scores[:, c]) for c in scored])
    assert metrics["streams"]["fused"]["mAP"]["value"] == pytest.approx(expected, abs=1e-6)
    assert (metrics["precision"], metrics["clips"], metrics["steps"]) == ("float32", 10, 600_000)
    assert "from the published 0.380 on 18887; clips lost at random explain up to" in output
    assert f"{527 - len(scored)} classes have no positive among these clips" in output
    assert "Too few clips: these clips can't tell" in output
    # Again: nothing is fetched, made or scored a second time, unless a setting or the file changed.
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    output, error = glat("weights", "cnn10", **known)
    assert error is None and "scored before with these settings" in output and "from the published 0.380" in output
    assert len(server.asked) == 3 and before == {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    Path("only.txt").write_text("\n".join(corpus.clips[:7]))
    output, error = glat("weights", "cnn10", **known, **{"evaluation.only": "only.txt"})
    assert error is None and "only.txt: 7 clips listed, 7 found" in output and "on 7 clips" in output
    changed = {name for name, at in before.items() if (run / name).stat().st_mtime_ns != at}
    assert changed == before.keys() - {"config.yaml", "checkpoint.pt"}
    # It is a run like any other: `glat evaluate` scores it too.
    assert glat("evaluate", run / "config.yaml")[1] is None
    assert json.loads((run / "metrics.json").read_text())["streams"] == metrics["streams"]
    assert "scored before with these settings" in glat("weights", "cnn10", **known)[0]
    # The table.
    assert "`glat weights resnet38` makes it" in glat("panns", **known)[1]
    others = known | {"weights.cnn10.file": "theirs.pth", "weights.resnet38": None}
    assert "cnn10-panns: evaluated weights/weights=1.pth, not theirs.pth; `glat weights" in glat("panns", **others)[1]
    output, error = glat("panns", **known, **{"weights.resnet38": None})
    assert error is None and "| CNN10, PANNs' weights | " in output
    row = pd.read_csv("results/audioset_balanced/panns.csv").iloc[0]
    assert row["mAP"] == pytest.approx(expected, abs=1e-5) and row["published_mAUC"] == 0.971
    assert row["difference"] == pytest.approx(row["mAP"] - 0.380, abs=2e-6) and row["verdict"] in output


def test_a_damaged_file_on_the_way_or_in_its_place_is_refused(project, server):
    known = {"weights.cnn10.file": server.address, "weights.cnn10.md5": "0" * 32}
    _, error = glat("weights", "cnn10", **known)
    assert "weights%3D1.pth?download=1: its MD5 is" in error and not list(project.glob("weights/[!.]*"))
    Path("weights").mkdir(exist_ok=True)
    Path("weights/weights=1.pth").write_bytes(b"cut off")
    _, error = glat("weights", "cnn10", **known)
    assert error.startswith("weights/weights=1.pth: its MD5 is") and error.endswith("remove it to fetch it anew")
    assert not Path("runs").exists()


def test_a_path_is_used_where_it_lies(project, published):
    path, _ = published
    output, error = glat("weights", "cnn10", path, "--until", "run")
    assert error is None and ", not a file that params.yaml knows" in output
    run = checkpoints.load("runs/audioset_balanced/cnn10-panns/checkpoint.pt")[1]
    assert run.init == {"global": str(path), "local": None} and not Path("weights").exists()
    done = Path("runs/audioset_balanced/cnn10-panns/checkpoint.pt")
    # A checkpoint that was cut is made again; metrics of other weights do not stay beside new ones.
    done.write_bytes(done.read_bytes()[:1000])
    (done.parent / "metrics.json").write_text("{}")
    assert glat("weights", "cnn10", path, "--until", "run")[1] is None
    assert checkpoints.load(done)[1] == run and not (done.parent / "metrics.json").exists()


def test_two_files_of_one_name_have_two_places():
    one, two = (Weights(file=f"https://{host}/a/model.pth?download=1") for host in ("a.org", "b.org"))
    places = [one.path, two.path]
    assert places[0] != places[1] and all(re.fullmatch(r"weights/model-[0-9a-f]{8}\.pth", str(p)) for p in places)
    assert one.model_copy(update={"md5": "0" * 32}).path == Path("weights/model.pth")


@pytest.mark.parametrize(
    ("arguments", "changes", "told"),
    [
        (["talnet"], {}, "PANNs published no weights of 'talnet'; allowed are cnn10, resnet38"),
        (["cnn10", "none.pth"], {}, "none.pth: no such file of weights; give the path or the address"),
        (["cnn10", "PATH", "--md5", "0" * 32], {}, "its MD5 is"),
        (["cnn10", "PATH", "--sha256", "abc"], {}, "--sha256: 'abc' is not allowed"),
        (["cnn10", "http://127.0.0.1:9/"], {}, "http://127.0.0.1:9/: this address does not name a file"),
        (["resnet38", "PATH"], {}, "not a checkpoint of ResNet38"),
        (["cnn10", "ours.pt"], {}, "ours.pt: a checkpoint of this project, not of PANNs; `glat evaluate` scores it"),
        (["cnn10", "text.pth"], {}, "text.pth: holds more than tensors and plain values, or is no checkpoint"),
        (["cnn10", "PATH"], {"audio.sample_rate": 16000}, "audio.sample_rate: 16000, but PANNs' weights hear 32000 Hz"),
        (["cnn10"], {"weights.talnet": {"file": "x"}}, "weights: PANNs published no weights of 'talnet'"),
        (["cnn10"], {"weights.cnn10.md5": "12"}, "weights.cnn10.md5: '12' is not allowed"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_sentence(project, published, arguments, changes, told):
    Path("text.pth").write_text("not weights")
    torch.save({"glat": 1, "model": {}}, "ours.pt")
    arguments = [str(published[0]) if argument == "PATH" else argument for argument in arguments]
    _, error = glat("weights", *arguments, **changes)
    assert error is not None and told in error and "\n" not in error
    assert not Path("runs").exists()


def test_other_classes_are_refused_before_anything_is_fetched(project, server, monkeypatch):
    known = {"weights.cnn10.file": server.address}
    with monkeypatch.context() as patch:
        patch.setattr(weights, "CLASS_COUNT", 528)
        error = glat("weights", "cnn10", **known)[1]
    assert "eval/000.h5: 527 classes, but PANNs' weights know AudioSet's 528; choose a dataset of AudioSet" in error
    monkeypatch.setattr(weights, "CLASSES", "of another order")
    error = glat("weights", "cnn10", **known)[1]
    assert "eval/000.h5: its classes are not AudioSet's in the order of class_labels_indices.csv" in error
    Path("data").unlink()
    assert "no such pack" in glat("weights", "cnn10", **known)[1]
    assert not server.asked


@pytest.mark.skipif(not CLASS_LIST.exists(), reason="AudioSet's class list is not beside this project")
def test_the_order_of_classes_is_that_of_audioset_s_list():
    mids = pd.read_csv(CLASS_LIST)["mid"]
    assert hashlib.sha256("\n".join(mids).encode()).hexdigest() == weights.CLASSES and len(mids) == weights.CLASS_COUNT


def test_a_difference_is_in_reach_where_clips_lost_at_random_explain_it():
    # Two labs lose different clips of one list; the score is a mean over clips, whose deviation is known.
    rng = np.random.default_rng(0)
    inside, differences = 0, []
    for _ in range(400):
        value = rng.normal(0.4, 0.5, LISTED_CLIPS)
        ours, theirs = (rng.choice(value, size, replace=False) for size in (16_000, PUBLISHED_CLIPS))
        found = reach(ours.mean(), ours.std() / len(ours) ** 0.5, len(ours), theirs.mean())
        inside += abs(found.difference) <= found.lost - 0.0005  # without what rounding adds
        differences.append(found)
    assert 0.91 < inside / 400 < 0.98
    assert all(found.lost < found.drawn for found in differences)


@pytest.mark.parametrize(
    ("score", "clips", "verdict"),
    [
        (0.380, 18_887, "in reach"),
        (0.3785, 18_887, "in reach"),
        (0.3755, 18_887, "undecided"),
        (0.368, 18_887, "out of reach"),
        (0.3785, 20_371, "in reach"),
        (0.3803, 40_000, "in reach"),  # of another list, longer than AudioSet's
    ],
)
def test_the_verdict_on_a_score_of_audioset(score, clips, verdict):
    assert reach(score, 0.003, clips, 0.380).verdict == verdict
    assert reach(score, 0.003, clips, 0.380, all_classes=False).verdict == "too few clips"


def test_few_clips_prove_nothing_but_may_disprove():
    assert reach(0.379, 0.05, 100, 0.380).verdict == "too few clips"
    assert reach(0.1, 0.05, 100, 0.380).verdict == "out of reach"


def test_gl_at_trains_from_the_published_weights_as_the_recipe_says(project, published):
    path, state = published
    Path("weights").mkdir()
    os.symlink(path, FILE)
    recipe = yaml.safe_load((ROOT / "recipes/from_panns.yaml").read_text())
    short = {"n": 2, "tau": 0.5}
    changes = recipe | {"dataset": "audioset_balanced", "glat": recipe["glat"] | short}
    run = Path("runs/audioset_balanced/cnn10-glat-s0")
    assert glat("configure", run.name, **changes)[1] is None
    assert glat("train", run / "config.yaml")[1] is None
    tagger, made, _ = checkpoints.load(run / "checkpoint.pt")
    assert (made.width, made.hop, made.training.learning_rate, made.glat.training) == (1.0, 320, 2e-4, "frozen_global")
    streams = {name: backbone.state_dict() for name, backbone in tagger.backbones().items()}
    assert all(torch.equal(value, state[key]) for key, value in streams["global"].items())
    local = {key: value for key, value in streams["local"].items() if key.endswith("weight")}
    moved = max((value - state[key]).abs().max().item() for key, value in local.items())
    assert 0 < moved <= 2 * 2e-4 * 1.01  # two steps of Adam from the same weights
    assert glat("evaluate", run / "config.yaml", **changes)[1] is None
    assert set(json.loads((run / "metrics.json").read_text())["streams"]) == {"fused", "global", "local"}


def class_list(rows=CLASSES):
    """Its content."""
    return rows.to_csv(index=False).encode()


def test_the_class_list_of_weights_is_fetched_once_read_and_needs_no_packs(project, server):
    Path("data").unlink()
    server.content = class_list()
    known = {"weights.cnn10.classes": server.address}
    for _ in range(2):
        output, error = glat("weights", "cnn10", "--until", "classes", **known)
        assert error is None and re.search(r"weights/weights=1-[0-9a-f]{8}\.pth: the class list of cnn10", output)
    assert len(server.asked) == 1 and len(list(Path("weights").glob("[!.]*"))) == 1
    # What is none leaves nothing, so that the next try fetches it anew.
    (path,) = Path("weights").glob("[!.]*")
    path.unlink()
    server.content = b"index,mid,display_name\n0,/m/a,A\n2,/m/b,B\n"
    _, error = glat("weights", "cnn10", "--until", "classes", **known)
    assert "line 3: expected index 1" in error and server.address.partition("?")[0] in error
    assert "(weights.cnn10.classes)" in error and not path.exists()
    Path("own.csv").write_bytes(server.content)
    _, error = glat("weights", "cnn10", "--until", "classes", **{"weights.cnn10.classes": "own.csv"})
    assert "own.csv: line 3: expected index 1" in error and Path("own.csv").exists(), "of one's own, nothing is removed"
    _, error = glat("weights", "cnn10", "--until", "classes", **{"weights.cnn10.classes": "gone.csv"})
    assert error == "gone.csv: no such class list; give its path or address (weights.cnn10.classes)"
    _, error = glat("weights", "cnn10", "--until", "classes", **{"weights.cnn10.classes": None})
    assert error == "weights.cnn10.classes: params.yaml names no class list; give its path or address"


def test_classes_of_one_s_own_train_from_the_published_weights_as_the_recipe_for_esc50_says(project, packs, published):
    """A folder of six classes, of which AudioSet has four; clips of a second in the place of five."""
    path, state = published
    Path("data").unlink()
    classes = pd.DataFrame([(0, "own/1", "Mine"), (1, "/m/x7", "Class 7"), (2, "/m/x0", "Class 0"),
                            (3, "own/2", "Mine too"), (4, "/m/x3", "Class 3"), (5, "/m/x1", "Class 1")],
                           columns=["index", "mid", "display_name"])  # fmt: skip
    names = [f"b{i:010d}_{1000 * i}" for i in range(8)]
    labels = pd.Series([(mid,) for mid in [*classes["mid"], "own/1", "own/2"]], dtype=object)
    rows = pd.DataFrame({"clip": names, "youtube_id": [n[:11] for n in names], "start": np.arange(8.0),
                         "end": np.arange(8) + 1.0, "labels": labels})  # fmt: skip
    pack = Path("data/sounds/packs/train/000.h5")
    pack_shard(packs / "resampled/balanced_train", rows, classes, pack, pack.with_suffix(".csv"), 32000, {})
    Path("weights").mkdir()
    os.symlink(path, FILE)
    Path("weights/classes.csv").write_bytes(class_list())
    recipe = yaml.safe_load((ROOT / "recipes/esc50_from_panns.yaml").read_text())
    own = recipe["datasets"].pop("esc50") | {
        "source": {"kind": "files", "audio": "."}, "metadata": "lists", "classes": 6, "shard_size": 10,
        "splits": {"train": 8, "eval": 4}, "train": ["train"], "evaluate": ["eval"],
    }  # fmt: skip
    own["training"] |= {"steps": 3, "batch_size": 4, "freeze_backbone": 2, "warmup": 0}
    recipe["datasets"]["sounds"] = own
    changes = recipe | {"dataset": "sounds", "weights.cnn10.classes": "weights/classes.csv"}
    run = Path("runs/sounds/cnn10-s0")
    assert glat("configure", run.name, **changes)[1] is None
    output, error = glat("train", run / "config.yaml", **changes | {"datasets.sounds.execution.keep_every": 1})
    what = "of 6 classes, the classifier's rows of 4 are taken over (Class 7, Class 0, Class 3, Class 1)"
    assert error is None and f"{run}: init.global: {FILE}: {what}, those of 2 are made anew (Mine, Mine too)" in output
    assert f"{run}: up to step 2 only the classifier is trained" in output
    files = (run / "kept/0000001/checkpoint.pt", run / "checkpoint.pt")
    first, last = (checkpoints.load(file)[0].network.state_dict() for file in files)
    kept = [key for key in first if not key.startswith(("fc1.", "fc_audioset."))]
    assert all(torch.equal(first[key], state[key]) for key in kept)
    moved = (first["fc_audioset.weight"][[1, 2, 4, 5]] - state["fc_audioset.weight"][[7, 0, 3, 1]]).abs().max().item()
    assert 0 < moved <= 5e-4 * 1.01, "a step of Adam from there"
    moved = max((last[key] - state[key]).abs().max().item() for key in kept if ".conv" in key)
    assert 0 < moved <= 1e-4 * 1.01
    # A list of other length is told, and so is one that is not there.
    Path("weights/classes.csv").write_bytes(class_list(CLASSES[:526]))
    (run / "resume.ckpt").unlink(missing_ok=True)
    _, error = glat("train", run / "config.yaml")
    assert (
        error
        == f"{FILE}: init.global: it scores 527 classes, but weights/classes.csv names 526; give the list of its classes"
    )
    Path("weights/classes.csv").unlink()
    assert "weights/classes.csv: no such class list of" in glat("train", run / "config.yaml")[1]


def test_the_workflow_fetches_the_class_list_where_a_training_needs_it(tmp_path, server):
    project, server.content = copy_of_the_project(tmp_path), class_list()
    changes = [f"init={{global: {{cnn10: '{FILE}'}}}}", f"weights={{cnn10: {{classes: '{server.address}'}}}}"]
    target = "runs/mini/cnn10-s0/checkpoint.pt"
    done = snakemake(project, "-n", "--cores", "2", target, "--config", *changes)
    made = sorted(re.findall(r"output: (weights/\S+)", done.stdout))
    assert made[0] == FILE and re.fullmatch(r"weights/weights=1-\w+\.pth", made[1]) and len(made) == 2
    snakemake(project, "--cores", "2", made[1], "--config", *changes)
    assert (project / made[1]).read_bytes() == server.content and len(server.asked) == 1


def test_the_workflow_fetches_weights_where_a_result_needs_them(tmp_path):
    project = copy_of_the_project(tmp_path)
    targets = ["results/table1.csv", "results/panns.md", "weights/Cnn10_mAP=0.380.pth"]
    done = snakemake(project, "-n", "--cores", "2", *targets, "--configfile", str(ROOT / "recipes/from_panns.yaml"))
    stats = done.stdout.partition("Job stats:")[2].split("\n")[3:]
    jobs = dict(line.split() for line in stats if len(line.split()) == 2)
    assert (jobs["fetch_weights"], jobs["published_run"], jobs["panns"]) == ("2", "2", "1")
    assert (jobs["train"], jobs["train_glat"], jobs["configure"]) == ("2", "2", "4")
    assert (jobs["evaluate"], jobs["evaluate_frames"]) == ("4", "2")
    done = snakemake(project, "-n", "--cores", "2", "--config", "evaluation={only: gone.txt}", check=False)
    assert done.returncode != 0 and "gone.txt: no such list of clips" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def tiny_ast(tmp_path_factory):
    """A tiny AST with a published head of as many classes as the packs have, in another order, in transformers' own form."""
    names = dict(enumerate(CLASSES["display_name"][::-1]))
    labels = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    size = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "num_hidden_layers": 1}
    torch.manual_seed(0)
    network = transformers.ASTForAudioClassification(transformers.ASTConfig(**size, **labels, max_length=100)).eval()
    with torch.no_grad():
        network.classifier.dense.weight.normal_(0, 2.0)
    folder = tmp_path_factory.mktemp("ast")
    network.save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=100).save_pretrained(folder)
    return folder


def test_the_weights_of_a_library_are_scored_as_they_were_published(project, tiny_ast):
    networks = {"networks.ast": {"model": f"transformers:{tiny_ast}"}}
    out, error = glat("weights", "ast", **networks)
    assert error is None, error
    folder = project / "runs/audioset_balanced/ast-published"
    scored = json.loads((folder / "metrics.json").read_text())["streams"]["fused"]["mAP"]["value"]
    assert f"published weights: mAP {scored:.3f} [" in out and "10 clips" in out
    # What transformers itself says to the same clips.
    packs = Packs("data/audioset_balanced/packs/eval/000.h5")
    network = transformers.ASTForAudioClassification.from_pretrained(tiny_ast).eval()
    extract = transformers.ASTFeatureExtractor.from_pretrained(tiny_ast)
    sounds = [librosa.resample(heard, orig_sr=32000, target_sr=16000) for heard in packs.read(range(10))]
    with torch.no_grad():
        theirs = torch.sigmoid(network(**extract(sounds, sampling_rate=16000, return_tensors="pt")).logits).numpy()
    with h5py.File(folder / "predictions.h5") as ours:
        np.testing.assert_allclose(ours["fused"][()], theirs[:, ::-1], atol=0.03)  # two resamplers
    assert theirs.std() > 0.3
    made = (folder / "checkpoint.pt").stat().st_mtime_ns
    out, _ = glat("weights", "ast", **networks)
    assert "scored before" in out and (folder / "checkpoint.pt").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("network", "arguments", "told"),
    [
        (
            {"model": "transformers:{}", "head": "mean"},
            [],
            "ast: its published weights do not know 527 of the 527 classes",
        ),
        ({"model": "transformers:{}"}, ["Cnn10.pth"], "ast: a library's weights come from where `model` says"),
        ({"model": "transformers:{}"}, ["--until", "file"], "ast: a library's weights come from where `model` says"),
        ({"model": "own_backbone:Own"}, [], "networks.ast: not a network of timm or transformers; `init` takes"),
        ({"model": "transformers:nowhere"}, [], "nowhere"),
    ],
)
def test_weights_of_a_library_that_cannot_be_scored_are_refused(project, tiny_ast, network, arguments, told):
    network = {key: value.format(tiny_ast) for key, value in network.items()}
    out, error = glat("weights", "ast", *arguments, **{"networks.ast": network})
    assert told in (error or out) and not list(project.rglob("checkpoint.pt"))
