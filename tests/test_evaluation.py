"""Evaluation: what is written is what independent code computes from the same predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from glat import checkpoints, evaluation
from glat.config import Evaluation
from glat.data.packed import Packs
from glat.errors import GlatError
from glat.metrics import d_prime
from glat.predictions import METRICS, clips_hash, read_predictions, read_resamples
from glat.results.measured import read_metrics
from glat.runs import resolve, split_packs, write_run

SETTINGS = Evaluation(resamples=50, batch_size=5)


@pytest.fixture
def project(corpus, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(corpus / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def untrained(params, folder, glat=None, **update):
    """A checkpoint of random weights: evaluation does not care."""
    run = resolve(params, "cnn10", 0, glat).model_copy(update=update)
    torch.manual_seed(0)
    classes = Packs(run.packs).classes[["mid", "display_name"]].to_dict("records")
    checkpoints.save(checkpoints.build(run), run, classes, 0, folder / "checkpoint.pt")
    return run


def evaluated(params, folder, **kwargs):
    untrained(params, folder, **kwargs)
    packs = split_packs(params, "mini", ["eval"])
    evaluation.evaluate(folder / "checkpoint.pt", packs, SETTINGS, folder, threads=1)
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
    table = pd.read_csv(project / "run/per_class.csv")
    assert table["AP_fused"].isna().sum() == 16 - scored.sum()
    assert (table["positives"] == target.sum(0)).all()


def test_resamples_are_kept_for_comparisons_and_agree_with_the_intervals(project, params):
    metrics, kept = evaluated(params, project / "run", glat={})
    found = read_resamples(project / "run/resamples.npz")
    assert str(found["clips"]) == metrics["clips_hash"] == clips_hash(np.array(kept["clip"]), kept["target"])
    assert found["AP"].shape == (50, 16)
    for stream in ("fused", "global", "local"):
        for at, metric in enumerate(METRICS):
            told = metrics["streams"][stream][metric]
            assert found[f"{stream}_estimate"][at] == told["value"]
            values = np.sort(found[stream][at])
            assert (values[0], values[-1]) == (told["low"], told["high"])  # 1.25th of 50, rounded down, at each end
    np.testing.assert_allclose(np.nanmean(found["AP"], 1), found["fused"][0], rtol=1e-6)
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


def test_another_class_list_is_refused(project, params):
    run = untrained(params, project / "run")
    tagger, _, classes = checkpoints.load(project / "run/checkpoint.pt")
    checkpoints.save(tagger, run, classes[::-1], 0, project / "run/checkpoint.pt")
    with pytest.raises(GlatError, match="its class list is not that of"):
        evaluation.evaluate(
            project / "run/checkpoint.pt", split_packs(params, "mini", ["eval"]), SETTINGS, project / "run"
        )
    assert not (project / "run/metrics.json").exists()


def test_scores_that_are_not_finite_are_refused_by_clip(project, params):
    run = untrained(params, project / "run")
    tagger, _, classes = checkpoints.load(project / "run/checkpoint.pt")
    tagger.network.fc_audioset.bias.data[3] = torch.nan
    checkpoints.save(tagger, run, classes, 0, project / "run/checkpoint.pt")
    with pytest.raises(GlatError, match=r"clip \S+_\d+: its scores are not finite"):
        evaluation.evaluate(
            project / "run/checkpoint.pt", split_packs(params, "mini", ["eval"]), SETTINGS, project / "run"
        )


def test_a_checkpoint_of_another_run_is_refused(project, params):
    run = untrained(params, project / "run")
    packs = split_packs(params, "mini", ["eval"])
    write_run(run.model_copy(update={"backbone": "talnet"}), project / "run/config.yaml")
    with pytest.raises(GlatError, match=r"checkpoint\.pt: trained with backbone cnn10, but config\.yaml says talnet"):
        evaluation.evaluate(project / "run/checkpoint.pt", packs, SETTINGS, project / "run")
    assert not (project / "run/metrics.json").exists()
    write_run(run, project / "run/config.yaml")
    evaluation.evaluate(project / "run/checkpoint.pt", packs, SETTINGS, project / "run", threads=1)
    table = pd.read_csv(project / "run/per_class.csv")
    scored = table["positives"] > 0
    assert (table["AP_fused_low"] <= table["AP_fused_high"])[scored].all() and table["AP_fused_low"][
        ~scored
    ].isna().all()
    finite = table[scored & table["AUC_fused"].between(0.01, 0.99)]
    np.testing.assert_allclose(finite["d_prime_fused"], [d_prime(auc) for auc in finite["AUC_fused"]], atol=1e-4)
