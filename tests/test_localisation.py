"""Localisation against cases worked by hand, and chance against a naive draw."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, TINY
from hypothesis import given, settings, strategies as st
from made_runs import Corpus, make_run
from scipy.stats import beta

from glat.config import experiments
from glat.config.params import load
from glat.results import localisation
from glat.results.localisation import gains
from glat.results.measured import read
from glat.results.verdicts import ONE_SEED
from glat.scoring.intervals import difference, holm
from glat.scoring.jackknife import class_estimates
from glat.scoring.localisation import centre_error, chance_to_hit, class_table, hits, localise, windows_per_class


def events(*pairs):
    return np.array(pairs, float)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        # Windows of 2 s in 10 s start in [0, 8]. An event [4, 5] is hit by starts in (2, 5): 3 of 8.
        ([(4, 5)], 3 / 8),
        ([(0, 1)], 1 / 8),  # starts in [0, 1)
        ([(9, 10)], 1 / 8),  # starts in (7, 8]
        ([(0, 10)], 1.0),
        ([(4, 5), (4.5, 5.5)], 3.5 / 8),  # (2, 5) and (2.5, 5.5)
        ([(1, 1.5), (8, 8.5)], (1.5 + 2) / 8),  # [0, 1.5) and (6, 8]
    ],
)
def test_the_chance_of_a_random_window(times, expected):
    assert chance_to_hit(events(*times), 2.0, 10.0) == pytest.approx(expected)


def test_a_window_as_long_as_the_clip_always_hits():
    assert chance_to_hit(events((4, 5)), 10.0, 10.0) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0.05, 5)), min_size=1, max_size=4), st.floats(0.5, 9))
def test_the_chance_agrees_with_drawn_windows(drawn, tau):
    times = events(*((on, min(on + length, 10)) for on, length in drawn))
    starts = np.linspace(0, 10 - tau, 20001)
    assert chance_to_hit(times, tau, 10.0) == pytest.approx(hits(starts, times, tau).mean(), abs=2e-3)


def test_hits_and_errors_of_windows():
    starts = np.array([0.0, 2.0, 5.0, 6.0])
    np.testing.assert_array_equal(hits(starts, events((4, 5)), 2.0), [False, False, False, False])  # touching is not
    np.testing.assert_array_equal(hits(starts, events((3.9, 5.1)), 2.0), [False, True, True, False])
    np.testing.assert_allclose(centre_error(starts, events((4, 5), (8, 9)), 2.0), [3.5, 1.5, 1.5, 1.5])


def strong(*rows):
    return pd.DataFrame(rows, columns=["clip", "start", "end", "label"])


def test_localise_judges_the_window_that_was_chosen_for_the_class():
    kept = {
        "clip": ["x", "y"], "mid": ["a", "b", "c"],
        "windows": np.array([[1.0, 5.0], [0.0, 6.0]]), "classes": np.array([[0, 1], [2, 1]]),
    }  # fmt: skip
    truth = strong(("x", 1.5, 2.5, "a"), ("x", 8, 9, "b"), ("y", 0, 1, "a"), ("z", 0, 1, "a"), ("y", 0, 1, "unknown"))
    found = localise(kept, truth, 2.0, 10.0).set_index(["clip", "mid"])
    assert list(found.index) == [("x", "a"), ("x", "b"), ("y", "a")]
    assert found.loc[("x", "a"), ["chosen", "hit", "error", "covered"]].tolist() == [True, 1.0, 0.0, True]
    assert found.loc[("x", "b"), ["chosen", "hit", "error", "covered"]].tolist() == [True, 0.0, 2.5, False]
    missed = found.loc[("y", "a")]  # no window was chosen for it, but that of c covers it
    assert not missed["chosen"] and np.isnan(missed["hit"]) and missed["covered"]
    assert missed["chance"] == pytest.approx(1 / 8) and missed["chance_covered"] == pytest.approx(1 - (7 / 8) ** 2)
    # Random centres lie in [1, 9], evenly: the mean distance to 0.5 is 4.5.
    assert missed["chance_error"] == pytest.approx(4.5, abs=1e-3)
    chosen = windows_per_class(kept, truth)
    assert chosen.tolist() == [1, 2, 1]  # of b once in x, which holds it, and once in y, which does not
    table = class_table([found.reset_index()], truth, {"a": "A", "b": "B", "c": "C"}, chosen, 0.95).set_index("mid")
    assert table.loc["a", ["windows", "hits", "covered_pairs", "events"]].tolist() == [1, 1, 2, 2]
    assert table.loc["all", ["windows", "hits", "hit"]].tolist() == [2, 1, 0.5]
    low, high = table.loc["all", ["hit_low", "hit_high"]]  # both windows are of one clip, which says little
    assert low < 0.15 and low == pytest.approx(1 - high, abs=0.03)
    assert table.loc["b", ["selected", "hit_of_selected"]].tolist() == [2, 0.0]
    assert table.loc["all", ["selected", "hit_of_selected"]].tolist() == [4, 0.25]
    # Random windows hit only where there is an event: 3 of 8 starts for a in x, 2 of 8 for b in x.
    assert table.loc["all", "hit_of_selected_random"] == pytest.approx((2.5 / 8 + 2 / 8) / 4, abs=0.02)
    assert table.loc["a", "centre_error"] == 0.0 and table.loc["b", "centre_error"] == 2.5


def test_the_windows_of_several_runs_do_not_narrow_the_interval_and_runs_that_differ_widen_it():
    one = pd.DataFrame({"clip": list("vwxyz"), "mid": "a", "chosen": True, "hit": [1.0, 1, 1, 0, 1], "error": 0.0,
                        "covered": True, "chance": 0.5, "chance_error": 1.0, "chance_covered": 0.9})  # fmt: skip
    truth = strong(*((clip, 0, 1, "a") for clip in "vwxyz"))
    alone = class_table([one], truth, {"a": "A"}, np.array([5]), 0.95).iloc[0]
    thrice = class_table([one] * 3, truth, {"a": "A"}, np.array([15]), 0.95).iloc[0]
    columns = ["hit", "hit_low", "hit_high", "hit_of_selected"]
    assert thrice[columns].tolist() == pytest.approx(alone[columns].tolist()) and thrice["windows"] == 15
    assert alone[columns[1:3]].tolist() == pytest.approx(beta(4.5, 1.5).ppf([0.025, 0.975]), abs=0.02)  # Jeffreys
    better, worse = one.assign(hit=1.0), one.assign(hit=[1.0, 0, 1, 0, 1])
    apart = class_table([one, better, worse], truth, {"a": "A"}, np.array([15]), 0.95).iloc[0]
    assert apart["hit"] == alone["hit"] and apart["hit_low"] < alone["hit_low"]
    perfect = class_table([better] * 2, truth, {"a": "A"}, np.array([10]), 0.95).iloc[0]
    assert perfect["hit_high"] == 1 and perfect["hit_low"] == pytest.approx(beta(5.5, 0.5).ppf(0.025), abs=0.02)


def test_windows_in_one_clip_count_together():
    clips = [f"clip{i}" for i in range(20)]
    one = pd.DataFrame({"clip": clips * 2, "mid": ["a"] * 20 + ["b"] * 20, "chosen": True, "hit": [1.0, 0] * 20,
                        "error": 0.0, "covered": True, "chance": 0.5, "chance_error": 1.0, "chance_covered": 0.9})  # fmt: skip
    truth = strong(*((clip, 0, 1, mid) for clip in clips for mid in "ab"))
    table = class_table([one], truth, {"a": "A", "b": "B"}, np.array([20, 20]), 0.95).set_index("mid")
    # The two windows of a clip hit or miss together, so that 40 say as much as 20.
    columns = ["hit", "hit_low", "hit_high"]
    assert table.loc["all", columns].tolist() == pytest.approx(table.loc["a", columns].tolist(), abs=1e-9)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = load(ROOT / "params.yaml", TINY)
    for glat in (None, {}):
        for run in experiments.system(params, "cnn10", glat).runs:
            make_run(run, Corpus(), 1.5 if glat is None else 1.0)
    return params


def test_a_dataset_without_strong_labels_skips_localisation_and_says_so(project, tmp_path):
    localisation.write(project, tmp_path / "results/mini")
    told = (tmp_path / "results/mini/localisation.md").read_text()
    assert "mini has no strong labels of its evaluation clips: localisation was skipped" in told
    assert pd.read_csv(tmp_path / "results/mini/localisation.csv").empty
    assert (tmp_path / "results/mini/durations.svg").exists()


def test_with_strong_labels_windows_and_gains_are_told_by_class(project, tmp_path):
    corpus, metadata = Corpus(), tmp_path / "data/mini/metadata"
    metadata.mkdir(parents=True)
    lines = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
    for row, clip in enumerate(corpus.clips):
        lines += [f"{clip}\t1.0\t{1.5 + c / 4}\t/m/{c}" for c in np.flatnonzero(corpus.target[row])]
    (metadata / "eval_strong.tsv").write_text("\n".join(lines) + "\n")
    localisation.write(project, tmp_path / "results/mini")
    table = pd.read_csv(tmp_path / "results/mini/localisation.csv")
    assert table["mid"].tolist() == [f"/m/{c}" for c in range(16)] + ["all"]
    assert table["covered_pairs"].iloc[-1] == corpus.target.sum()
    assert table["median_duration"].tolist()[:16] == pytest.approx([0.5 + c / 4 for c in range(16)])
    gained = pd.read_csv(tmp_path / "results/mini/durations.csv")
    plain, glat = (read(experiments.system(project, "cnn10", method)) for method in (None, {}))
    ap = [pd.read_csv(one.system.runs[0].folder / "per_class.csv")["AP_fused"] for one in (plain, glat)]
    np.testing.assert_allclose(gained["gain"], ap[1] - ap[0], atol=2e-6)
    assert (gained["gain_low"] < gained["gain_high"]).all() and set(gained["gain_verdict"]) == {ONE_SEED}
    hits = (tmp_path / "results/mini/localisation.svg").read_text()
    assert "CNN10 + GL-AT: windows of 3 s" in hits
    half = {"convergence": {"state": "cannot tell", "reason": ""}}
    make_run(plain.system.runs[0], corpus, 1.5, **half)
    localisation.write(project, tmp_path / "results/mini")
    assert "CNN10 + GL-AT minus CNN10 †" in (tmp_path / "results/mini/durations.svg").read_text()
    assert (tmp_path / "results/mini/localisation.svg").read_text() == hits
    make_run(plain.system.runs[0], corpus, 1.5)
    localisation.write(project, tmp_path / "results/mini")
    text = (tmp_path / "results/mini/localisation.md").read_text()
    assert f"Single classes: {ONE_SEED}." in text and "p =" not in text
    assert len(gains(plain, glat, pd.Series({"/m/0": 1.0}))) == 1


def test_gains_of_classes_are_paired_by_clip_and_seed_and_their_p_is_corrected(project, tmp_path):
    corpus, skills = Corpus(clips=80), {None: 0.5, "glat": 3.0}
    params = load(ROOT / "params.yaml", TINY | {"seeds": [0, 1, 2]})
    systems = [experiments.system(params, "cnn10", method) for method in (None, {})]
    pairs = zip(systems, skills.values(), strict=True)
    kept = [[make_run(run, corpus, skill)["fused"] for run in system.runs] for system, skill in pairs]
    found = gains(*(read(system) for system in systems), pd.Series({f"/m/{c}": 1.0 for c in range(16)}))
    of_class = [[next(class_estimates(corpus.target[:, 4:5], s[:, 4:5]))[0] for s in of] for of in kept]
    expected = difference(*of_class[::-1])
    np.testing.assert_allclose(found.loc[4, ["gain", "gain_low", "gain_high", "gain_p"]].astype(float), expected)
    np.testing.assert_allclose(found["gain_p_holm"], holm(found["gain_p"]))
    assert (found["gain_p_holm"] >= found["gain_p"]).all()
    assert "higher" in set(found["gain_verdict"]) and "lower" not in set(found["gain_verdict"])
