"""Evaluation and Table 1: what is written is what independent code computes from the same predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from glat import checkpoints, evaluation
from glat.config import Evaluation
from glat.data.packed import Packs
from glat.errors import GlatError
from glat.results import published
from glat.results.tables import markdown, read_metrics, table1, write_table1
from glat.runs import resolve, split_packs

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
    return read_metrics(folder / "metrics.json"), evaluation.read_predictions(folder / "predictions.h5")


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


def made(backbone, glat, seed, mAP, **update):
    scores = {
        m: {"value": v, "low": v - 0.02, "high": v + 0.02} for m, v in (("mAP", mAP), ("mAUC", 0.9), ("d_prime", 1.8))
    }
    return {
        "run": f"{backbone}-s{seed}", "dataset": "mini", "backbone": backbone, "glat": {"n": 5} if glat else None,
        "seed": seed, "parameters": 1234, "clips": 600, "classes": 16, "classes_scored": 15, "collapsed": False,
        "streams": {"fused": scores}, "evaluation": {"confidence": 0.95},
    } | update  # fmt: skip


def test_table_1_gives_mean_and_deviation_over_seeds_beside_the_published_values():
    rows = [made("cnn10", glat, seed, 0.5 + 0.1 * seed + 0.05 * glat) for glat in (False, True) for seed in (0, 1, 2)]
    table = table1(rows).set_index("method")
    plain, glat = table.loc["CNN10"], table.loc["CNN10 + GL-AT"]
    assert plain["mAP"] == pytest.approx(0.6) and plain["mAP_std"] == pytest.approx(0.1)
    assert (plain["mAP_low"], plain["mAP_high"]) == pytest.approx((0.58, 0.62))
    assert glat["mAP"] == pytest.approx(0.65)
    assert (plain["seeds"], plain["evaluation_clips"], plain["classes_scored"], plain["dataset"]) == (
        3,
        600,
        15,
        "mini",
    )
    assert plain["paper_audioset_mAP"] == 0.380 and plain["paper_reproduced_audioset_mAP"] == 0.382
    assert glat["paper_audioset_mAP"] == 0.408 and pd.isna(glat["paper_reproduced_audioset_mAP"])


def test_table_1_in_the_paper_s_layout_says_what_was_measured_where():
    text = markdown(table1([made("talnet", False, 0, 0.5), made("talnet", True, 0, 0.6)]), 0.95)
    assert "600 evaluation clips, 15 classes" in text and "one seed says nothing" in text
    assert "| TALNet | 0.500 [0.480, 0.520] |" in text and "| 0.362 / 0.368 | 0.965 / 0.967 | 2.554 / 2.600 |" in text
    assert "| TALNet + GL-AT | 0.600 [0.580, 0.620] |" in text and "AudioSet" in text


def test_table_1_refuses_what_can_not_stand_side_by_side():
    with pytest.raises(GlatError, match="different clips"):
        table1([made("cnn10", False, 0, 0.5), made("cnn10", True, 0, 0.5, clips=599)])
    with pytest.raises(GlatError, match="twice"):
        table1([made("cnn10", False, 0, 0.5), made("cnn10", False, 0, 0.6)])


def test_table_1_is_written_whole(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(made("cnn10", False, 0, 0.5)))
    write_table1([str(tmp_path / "a.json")], tmp_path / "t.csv", tmp_path / "t.md")
    assert pd.read_csv(tmp_path / "t.csv").loc[0, "mAP"] == 0.5
    with pytest.raises(GlatError, match="b.json: no such file; evaluate the run first"):
        write_table1([str(tmp_path / "b.json")], tmp_path / "u.csv", tmp_path / "u.md")
    assert not (tmp_path / "u.csv").exists()


def test_the_published_values_are_the_paper_s():
    # d' of the mean AUC agrees with the printed one, within the rounding of the AUC, where METHOD says it does.
    from glat.metrics import d_prime

    for scores in (published.ORIGINAL, published.WITH_GLAT):
        for backbone, score in scores.items():
            low, high = d_prime(score.mAUC - 0.0006), d_prime(score.mAUC + 0.0006)
            assert low <= score.d_prime <= high, backbone
