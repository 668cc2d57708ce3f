"""Evaluation: what is written is what independent code computes from the same predictions."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_runs import untrained
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from glat import cli
from glat.config.runs import split_packs, write_run
from glat.config.settings import Evaluation
from glat.config.training import Execution
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.lib.files import digest
from glat.results.measured import read_metrics
from glat.scoring import evaluation
from glat.scoring.jackknife import jackknife
from glat.scoring.manifest import choose, common_clips, read_list, write_manifest
from glat.scoring.metrics import d_prime
from glat.scoring.predictions import METRICS, clips_hash, read_influence, read_predictions
from glat.training import checkpoints

SETTINGS = Evaluation(batch_size=5)


@pytest.fixture
def project(corpus_project):
    return corpus_project


def evaluate(params, folder):
    packs = split_packs(params, "mini", ["eval"])
    evaluation.evaluate(folder / "checkpoint.pt", packs, SETTINGS, folder, threads=1)


def evaluated(params, folder, **kwargs):
    untrained(params, folder, **kwargs)
    evaluate(params, folder)
    return read_metrics(folder / "metrics.json"), read_predictions(folder / "predictions.h5")


def test_metrics_are_those_of_the_kept_predictions(project, params):
    metrics, kept = evaluated(params, project / "run", glat={})
    target = kept["target"].astype(bool)
    scored = target.any(0)
    assert metrics["classes_scored"] == scored.sum() <= metrics["classes"] == 16
    assert metrics["clips"] == len(kept["clip"]) == 12
    for stream in ("fused", "global", "local"):
        ap = [average_precision_score(target[:, c], kept[stream][:, c]) for c in np.flatnonzero(scored)]
        auc = [roc_auc_score(target[:, c], kept[stream][:, c]) for c in np.flatnonzero(scored)]
        found = metrics["streams"][stream]
        assert found["mAP"]["value"] == pytest.approx(np.mean(ap), abs=1e-9)
        assert found["mAUC"]["value"] == pytest.approx(np.mean(auc), abs=1e-9)
        assert found["mAP"]["low"] <= found["mAP"]["high"]
    finding = metrics["convergence"]
    assert finding["state"] == "cannot tell" and "train.csv is not there" in finding["reason"]
    table = pd.read_csv(project / "run/per_class.csv")
    assert table["AP_fused"].isna().sum() == 16 - scored.sum()
    assert (table["positives"] == target.sum(0)).all()


def test_influences_are_kept_for_comparisons_and_agree_with_the_intervals(project, params):
    metrics, kept = evaluated(params, project / "run", glat={})
    found = read_influence(project / "run/influence.npz")
    assert found.clips == metrics["clips_hash"] == clips_hash(np.array(kept["clip"]), kept["target"])
    assert set(found.streams) == {"fused", "global", "local"}
    for stream, one in found.streams.items():
        expected = jackknife(kept["target"], kept[stream])
        for metric in METRICS:
            told = metrics["streams"][stream][metric]
            assert getattr(one, metric).value == told["value"] and told["low"] < told["value"] <= told["high"]
            a, b = getattr(one, metric), getattr(expected, metric)
            np.testing.assert_allclose(a.influence, b.influence, rtol=1e-5, atol=1e-6)
            assert (a.centre, a.doubt, a.freedom) == pytest.approx((b.centre, b.doubt, b.freedom))
        assert metrics["streams"][stream]["mAP"]["centre"] == one.mAP.centre < one.mAP.value
    other = clips_hash(np.array(kept["clip"][::-1]), kept["target"])
    assert other != metrics["clips_hash"]


def test_cost_is_counted_and_measured(project, params):
    cost = evaluated(params, project / "run", glat={})[0]["cost"]
    alone = evaluated(params, project / "alone")[0]["cost"]
    assert cost["multiply_adds_per_clip"] == pytest.approx(2.5 * alone["multiply_adds_per_clip"], rel=0.02)
    assert cost["seconds_per_clip"] > alone["seconds_per_clip"] > 0 and cost["clock"] == "CPU time"


def test_fusion_and_windows_are_kept(project, params):
    _, kept = evaluated(params, project / "run", glat={"n": 3, "tau": 2.0})
    both = np.stack([kept["global"], kept["local"]])
    np.testing.assert_allclose(kept["fused"], (both.max(0) + both.mean(0)) / 2, rtol=1e-5)
    assert kept["windows"].shape == kept["classes"].shape == (12, 3)
    assert (kept["windows"] >= 0).all() and (kept["windows"] <= 8).all()
    order = np.argsort(-kept["global"], axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(kept["classes"], order)


def test_a_plain_backbone_has_one_stream_and_the_batch_size_does_not_matter(project, params):
    metrics, kept = evaluated(params, project / "run")
    assert list(metrics["streams"]) == ["fused"] and "windows" not in kept
    tagger, _, _ = checkpoints.load(project / "run/checkpoint.pt")
    packs = Packs(split_packs(params, "mini", ["eval"]))
    with torch.inference_mode():
        alone = torch.cat([tagger(torch.from_numpy(packs.read([i]))) for i in range(len(packs))])
    np.testing.assert_allclose(kept["fused"], alone, atol=0.02)  # bfloat16 against float32


def test_a_checkpoint_of_a_gpu_is_scored_on_a_cpu(project, params):
    run = untrained(params, project / "run", glat={})
    packs, path = split_packs(params, "mini", ["eval"]), project / "run/checkpoint.pt"
    tagger, _, classes = checkpoints.load(path)
    executed = {"accelerator": "gpu", "devices": 8, "precision": "bf16", "workers": 6}
    checkpoints.save(tagger, run, classes, 0, path, trained={"environment": {}, "execution": executed})
    write_run(run, project / "run/config.yaml")
    for execution in (Execution(), Execution(accelerator="cpu", precision="float32")):
        evaluation.evaluate(path, packs, SETTINGS, project / "run", execution=execution, threads=1)
        metrics = read_metrics(project / "run/metrics.json")
        assert metrics["trained"]["execution"] == executed and metrics["checkpoint"] == digest(path)
    assert metrics["precision"] == "float32"


def test_another_class_list_is_refused(project, params):
    run = untrained(params, project / "run")
    tagger, _, classes = checkpoints.load(project / "run/checkpoint.pt")
    checkpoints.save(tagger, run, classes[::-1], 0, project / "run/checkpoint.pt")
    with pytest.raises(GlatError, match="its class list is not that of"):
        evaluate(params, project / "run")
    assert not (project / "run/metrics.json").exists()


def test_scores_that_are_not_finite_are_refused_by_clip(project, params):
    run = untrained(params, project / "run")
    tagger, _, classes = checkpoints.load(project / "run/checkpoint.pt")
    tagger.network.fc1.weight.data[:] = 3e38  # finite, and what comes of it is not
    checkpoints.save(tagger, run, classes, 0, project / "run/checkpoint.pt")
    with pytest.raises(GlatError, match=r"clip \S+_\d+: its scores are not finite"):
        evaluate(params, project / "run")


def test_what_an_evaluation_left_unfinished_has_no_metrics_of_an_earlier_one(project, params, monkeypatch):
    evaluated(params, project / "run")
    monkeypatch.setattr(evaluation, "write_influence", None)  # as a kill before it
    with pytest.raises(TypeError):
        evaluate(params, project / "run")
    assert not (project / "run/metrics.json").exists()


def test_a_checkpoint_of_another_run_is_refused(project, params):
    run = untrained(params, project / "run")
    write_run(run.model_copy(update={"backbone": "talnet"}), project / "run/config.yaml")
    with pytest.raises(GlatError, match=r"checkpoint\.pt: trained with backbone cnn10, but config\.yaml says talnet"):
        evaluate(params, project / "run")
    assert not (project / "run/metrics.json").exists()
    write_run(run, project / "run/config.yaml")
    evaluate(params, project / "run")
    table = pd.read_csv(project / "run/per_class.csv")
    scored = table["positives"] > 0
    assert (table["AP_fused_low"] <= table["AP_fused_high"])[scored].all()
    assert table["AP_fused_low"][~scored].isna().all()
    finite = table[scored & table["AUC_fused"].between(0.01, 0.99)]
    np.testing.assert_allclose(finite["d_prime_fused"], [d_prime(auc) for auc in finite["AUC_fused"]], atol=1e-4)


def test_a_run_names_its_clips_in_a_manifest_that_sha256sum_confirms(project, params):
    metrics, kept = evaluated(params, project / "run")
    lines = (project / "run/clips.txt").read_text().splitlines()
    assert lines == sorted(kept["clip"]) and len(lines) == metrics["clips"] == 12 and metrics["only"] is None
    told = subprocess.run(["sha256sum", project / "run/clips.txt"], check=True, capture_output=True, text=True).stdout
    assert told.split()[0] == metrics["manifest"]["sha256"] and metrics["manifest"]["file"] == "clips.txt"


def test_only_the_clips_of_a_list_are_scored_and_two_labs_come_to_the_same_manifest(project, params, capsys):
    whole_set, everything = evaluated(params, project / "all")
    names, row = everything["clip"], {clip: i for i, clip in enumerate(everything["clip"])}
    # Another lab's manifest: it lost clips that are here, and has one that is not.
    write_manifest(project / "theirs.txt", [*names[:9], "elsewhere00_0"])
    packs = split_packs(params, "mini", ["eval"])
    chosen = SETTINGS.model_copy(update={"only": "theirs.txt"})
    evaluation.evaluate(project / "all/checkpoint.pt", packs, chosen, project / "only", threads=1)
    told = "theirs.txt: 10 clips listed, 9 found, 1 not in the packs (first elsewhere00_0)"
    assert told in capsys.readouterr().err
    metrics = read_metrics(project / "only/metrics.json")
    assert metrics["clips"] == 9 and metrics["classes_scored"] <= whole_set["classes_scored"]
    assert metrics["only"] == {
        "path": "theirs.txt", "sha256": hashlib.sha256(Path("theirs.txt").read_bytes()).hexdigest(),
        "listed": 10, "found": 9, "missing": 1,
    }  # fmt: skip
    kept = read_predictions(project / "only/predictions.h5")
    assert kept["clip"] == names[:9]
    for name in ("fused", "target"):
        expected = everything[name][[row[clip] for clip in kept["clip"]]]
        np.testing.assert_allclose(kept[name], expected, atol=0.02)  # other batches of bfloat16
    # What common-clips finds of both manifests is, to the byte, the manifest of either evaluation on it.
    (project / "common.txt").write_text("".join(f"{clip}\n" for clip in common_clips(["all", "theirs.txt"])))
    assert hashlib.sha256((project / "common.txt").read_bytes()).hexdigest() == metrics["manifest"]["sha256"]


def test_a_list_of_clips_comes_in_the_formats_that_people_have(tmp_path):
    clips = ["--4gqARaEJE_0", "--BfvyPmVMo_20000", "abc_def_123_4000", "zzzzzzzzzzz_1"]
    for text, found in (
        ("--4gqARaEJE_0\nzzzzzzzzzzz_1\n", [0, 3]),
        ("# of another lab\n--BfvyPmVMo # gone since\r\n\r\nabc_def_123\n", [1, 2]),
        ("\ufeffclip,reason\nzzzzzzzzzzz_1,\n--4gqARaEJE_0,\n", [0, 3]),
        ('# YTID, start_seconds\n--BfvyPmVMo, 20.000, 30.000, "/m/03l9g,/m/1"\n', [1]),
        ('YTID,start_seconds,end_seconds,positive_labels\n--BfvyPmVMo,30.000,40.000,"/m/03l9g"\n--4gqARaEJE,0,10,x\n', [0]),
        ("Y--4gqARaEJE.wav\nYzzzzzzzzzzz.wav\n", [0, 3]),
        ("zzzzzzzzzzz_1\nzzzzzzzzzzz\nzzzzzzzzzzz_1\n", [3]),
    ):  # fmt: skip
        (tmp_path / "list").write_text(text)
        assert choose(np.array(clips), tmp_path / "list").indices.tolist() == found, text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such list of clips"),
        (b"", "lists no clip; it needs one name"),
        (b"# nothing but a comment\n\n", "lists no clip"),
        (b"\x89HDF\r\n\xff\x00", "not a text file"),
        (b"abc_0\n<!DOCTYPE html>\n", "line 2: '<!DOCTYPE html>' is neither a clip's name"),
        (b'["abc_0"]\n', "line 1: .* is neither a clip's name"),
        (b"a\x00b\n", "line 1: "),
        (b"a" * 200000 + b" b\n", "line 1: "),
        (b"other_0\nmore_5\n", r"2 clips listed, 0 found, 2 not in the packs \(first other_0\); evaluation.only takes"),
    ],
)
def test_a_list_that_is_none_or_of_other_clips_is_refused_in_one_sentence(tmp_path, content, told):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GlatError, match=told) as error:
        choose(np.array(["abc_0"]), path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value) and len(str(error.value)) < 400


def test_common_clips_of_runs_and_lists(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("a/clips.txt"), ["bbbbbbbbbbb_2", "aaaaaaaaaaa_1", "ccccccccccc_3"])
    Path("ids.txt").write_text("ccccccccccc\naaaaaaaaaaa\nddddddddddd\n")
    result = CliRunner().invoke(cli.app, ["common-clips", "ids.txt", "a"])
    assert result.stdout == "aaaaaaaaaaa_1\nccccccccccc_3\n" and "2 clips in common of 3 and 3" in result.stderr
    Path("other.txt").write_text("eeeeeeeeeee_1\n")
    with pytest.raises(GlatError, match=r"a/clips\.txt, other\.txt: no clip is in all of them"):
        common_clips(["a", "other.txt"])
    with pytest.raises(GlatError, match=r"b: no such list of clips"):
        common_clips(["a", "b"])
    Path("b").mkdir()
    with pytest.raises(GlatError, match=r"b/clips\.txt: no such list of clips"):
        common_clips(["a", "b"])


def test_a_score_behind_a_clip_is_no_start_and_whole_seconds_are(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("-a_b, 30, 40\n-abcdefghij, 0.5, 10.5\nabcdefghijk_30000, 0.37\nYabcdefghijk.flac\n")
    assert read_list(path) == ["-a_b_30000", "-abcdefghij_500", "abcdefghijk_30000", "abcdefghijk"]
