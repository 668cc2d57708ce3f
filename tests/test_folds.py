"""Cross-validation: which runs there are, and that their numbers as one are the mean over folds."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, TINY
from made_runs import Corpus, make_run
from scipy.stats import binomtest

from glat.config import controls as asked, experiments
from glat.config.params import load
from glat.config.runs import evaluation_packs
from glat.lib.errors import GlatError
from glat.results.folds import combine_estimates, combine_influences, combine_predictions
from glat.results.measured import predictions, read, spread
from glat.results.registry import RESULTS
from glat.scoring.intervals import difference, interval, variances
from glat.scoring.jackknife import accuracy, jackknife
from glat.scoring.metrics import d_primes
from glat.scoring.predictions import Influence, read_influence, write_influence
from glat.use import explain

FOLDS = {
    "backbones": ["cnn10"], "fig2.n": [5], "fig2.tau": [3], "datasets.mini.train": [], "datasets.mini.evaluate": [],
    "datasets.mini.splits": {"fold1": 12, "fold2": 12, "fold3": 12, "train": 12, "eval": 12},
    "datasets.mini.folds": ["fold1", "fold2", "fold3"],
}  # fmt: skip


def settings(**more):
    return load(ROOT / "params.yaml", TINY | FOLDS | more)


def test_each_fold_is_evaluated_on_by_a_run_that_was_trained_on_the_others():
    params = settings(seeds=[0, 1])
    plain, glat = experiments.table1(params)
    assert [run.name for run in glat.runs] == [f"cnn10-glat-fold{f}-s{s}" for s in (0, 1) for f in (1, 2, 3)]
    for run in plain.runs:
        (own,) = evaluation_packs(params, run)
        assert explain.corpus(params, run)[0] == [own]
        assert f"/{run.fold}/" in own and own not in run.packs and len(run.packs) == 2 and run.group == "cnn10"
    frozen = next(one for one in asked.controls(params) if one.setting == "frozen global stream").system.runs
    assert all(f"-{run.fold}-s{run.seed}/" in run.init["global"] for run in frozen) and len(frozen) == 6


def test_every_run_that_a_result_needs_is_known():
    """Of localisation too, whose backbone need not be one of Table 1's."""
    params = settings(**{"seeds": [0, 1], "controls.backbones": ["resnet38"], "controls.seeds": [0]})
    known = experiments.all_runs(params)
    assert {run.name for run in experiments.runs_of(experiments.localisation(params))} <= set(known)
    assert set(experiments.runs_with_frames(params)) <= set(known)


def test_roles_that_do_not_fit_are_one_sentence():
    with pytest.raises(GlatError, match="datasets.mini: .*has folds, which take turns: leave out train and evaluate"):
        settings(**{"datasets.mini.train": ["train"], "datasets.mini.evaluate": ["eval"]})
    with pytest.raises(
        GlatError, match="datasets.mini: .*train: missing; name at least one of its splits, or give folds"
    ):
        settings(**{"datasets.mini.folds": None})
    with pytest.raises(GlatError, match="datasets.mini.folds: 'fold9' is not one of its splits"):
        settings(**{"datasets.mini.folds": ["fold1", "fold9"]})


def test_a_mean_over_folds_has_the_variance_of_independent_folds():
    """Against the spread of the mean over many draws of folds of 40, 60 and 80 clips."""
    rng, sizes = np.random.default_rng(0), (40, 60, 80)

    def draw():
        target = [rng.random((size, 4)) < 0.4 for size in sizes]
        return [jackknife(y, y + rng.normal(size=y.shape)).mAUC for y in target]

    drawn = [combine_estimates(draw()) for _ in range(400)]
    assert drawn[0].influence.shape == (180,)
    claimed = np.mean([one.influence @ one.influence / 180**2 for one in drawn]) ** 0.5
    assert claimed == pytest.approx(np.std([one.value for one in drawn]), rel=0.1)


def test_d_prime_is_that_of_the_mean_auc_and_accuracy_needs_one_label_in_every_fold():
    rng = np.random.default_rng(2)
    target = np.eye(3, dtype=bool)[rng.integers(3, size=40)]
    noisy = jackknife(target, target + rng.normal(size=target.shape))
    perfect = jackknife(target, target.astype(float))  # d' of its own would be infinite
    folds = [Influence("x", {"fused": noisy}, {"fused": accuracy(target, target.astype(float))})]
    folds.append(Influence("y", {"fused": perfect}))
    found = combine_influences(folds)
    assert found.accuracy == {}
    mean = (noisy.mAUC.value + 1) / 2
    of_mean = found.streams["fused"].d_prime
    assert of_mean.value == pytest.approx(float(d_primes(np.array([mean]))[0]))
    slope = (d_primes(np.array(mean + 1e-6)) - of_mean.value) / 1e-6
    assert np.ptp(of_mean.folds) == pytest.approx(slope * (1 - noisy.mAUC.value), rel=1e-3)


def test_folds_that_lie_apart_widen_the_interval_and_those_that_a_difference_has_in_common_do_not():
    rng = np.random.default_rng(3)
    target = [rng.random((60, 4)) < 0.4 for _ in range(3)]
    score = [rng.normal(size=y.shape) + skill * y for y, skill in zip(target, (0.5, 1.5, 2.5), strict=True)]
    better = [one + 0.1 * rng.normal(size=one.shape) + 0.2 * y for one, y in zip(score, target, strict=True)]
    one, other = (
        combine_estimates([jackknife(y, s).mAUC for y, s in zip(target, of, strict=True)]) for of in (score, better)
    )
    assert one.folds == tuple(jackknife(y, s).mAUC.centre for y, s in zip(target, score, strict=True))
    wide, narrow = interval([one]), interval([one._replace(folds=())])
    assert wide.low < narrow.low - 0.05 and wide.high > narrow.high + 0.02 and wide.value == narrow.value
    apart = difference([other], [one])
    assert apart.high - apart.low < 0.4 * (wide.high - wide.low) and np.isnan(apart.p)
    # Over seeds, the deviation is that of the folds' means.
    again = one._replace(folds=one.folds[::-1])
    assert variances([one, again]).folds < 0.1 * variances([one]).folds and variances([one, again]).folds_freedom == 2


def test_accuracy_is_that_of_the_highest_score_with_wilsons_interval(tmp_path):
    rng = np.random.default_rng(1)
    target = np.eye(5, dtype=bool)[rng.integers(5, size=200)]
    score = rng.random((200, 5)) + 0.6 * target
    right = int((score.argmax(1) == target.argmax(1)).sum())
    found = accuracy(target, score)
    wilson = binomtest(right, 200).proportion_ci(0.95, "wilson")
    value, low, high = interval([found])
    assert value == right / 200 and (low, high) == pytest.approx((wilson.low, wilson.high), abs=4e-3)
    two = target.copy()
    two[0] = True
    assert accuracy(two, score) is None and accuracy(target[:, :1], score[:, :1]) is None
    write_influence(tmp_path / "i.npz", Influence("x", {"fused": jackknife(target, score)}, {"fused": found}))
    again = read_influence(tmp_path / "i.npz")
    assert again.accuracy["fused"].value == found.value
    np.testing.assert_allclose(again.accuracy["fused"].influence, found.influence, atol=1e-6)


def test_table_1_of_folds(project):
    params = settings(seeds=[0, 1])
    for system in experiments.table1(params):
        for run in system.runs:
            corpus = Corpus(30 + 10 * int(run.fold[-1]), seed=int(run.fold[-1]))
            corpus.clips = np.array([f"{run.fold}-{name}" for name in corpus.clips])
            make_run(run, corpus, skill=2.0 if run.glat else 1.0)
    RESULTS["table1"].write(params)
    table = pd.read_csv("results/mini/table1.csv").set_index("method")
    runs = {one.label: one.runs for one in experiments.table1(params)}
    for label, row in table.iterrows():
        each = [
            json.loads((run.folder / "metrics.json").read_text())["streams"]["fused"]["mAP"]["value"]
            for run in runs[label]
        ]
        by_seed = np.reshape(each, (2, 3)).mean(1)
        assert row["mAP"] == pytest.approx(by_seed.mean(), abs=1e-6)
        assert row["mAP_std"] == pytest.approx(by_seed.std(ddof=1), abs=1e-6)
        assert (row["evaluation_clips"], row["folds"], row["seeds"]) == (150, 3, 2)
        assert row["mAP_std_folds"] == pytest.approx(np.reshape(each, (2, 3)).std(1, ddof=1).mean(), abs=1e-6)
    assert table.loc["CNN10 + GL-AT", "vs_alone_verdict"] == "higher"
    names = sorted(name for run in runs["CNN10"][:3] for name in (run.folder / "clips.txt").read_text().splitlines())
    assert (
        table.loc["CNN10", "clips_sha256"] == hashlib.sha256("".join(f"{n}\n" for n in names).encode()).hexdigest()[:12]
    )
    text = (project / "results/mini/table1.md").read_text()
    assert "the mean over 3 folds" in text and "interval over clips, folds and seeds; after" in text
    system = experiments.table1(params)[0]
    joined = predictions(system)[0]
    assert len(joined["clip"]) == len(joined["fused"]) == 150 and joined["clip"][0].startswith("fold1-")
    assert spread(read(system), "mAP").mean == pytest.approx(table.loc["CNN10", "mAP"], abs=1e-6)


def test_parts_of_longer_clips_keep_their_clips_when_folds_are_joined():
    long = {"mid": ["a"], "display_name": ["A"], "clip": ["x", "y"], "target": np.zeros((2, 1)), "fused": np.zeros((2, 1)),
            "windows": np.zeros((3, 1)), "classes": np.zeros((3, 1)), "part": np.array([0, 0, 1]),
            "begin": np.array([0.0, 5.0, 0.0])}  # fmt: skip
    short = {"mid": ["a"], "display_name": ["A"], "clip": ["z"], "target": np.zeros((1, 1)), "fused": np.zeros((1, 1)),
             "windows": np.zeros((1, 1)), "classes": np.zeros((1, 1))}  # fmt: skip
    found = combine_predictions([short, long])
    assert found["part"].tolist() == [0, 1, 1, 2] and found["begin"].tolist() == [0, 0, 5, 0]
    assert len(found["windows"]) == 4 and found["clip"] == ["z", "x", "y"]
