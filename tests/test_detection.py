"""Scores over time, against sed_scores_eval called on whole clips, known truth, and simulation."""

import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from sklearn.metrics import roc_auc_score

from glat.config import experiments
from glat.config.params import load
from glat.config.runs import evaluation_packs
from glat.data.packs.read import Packs
from glat.results import localisation
from glat.results.measured import read_metrics
from glat.scoring import evaluation
from glat.scoring.bootstrap import bounded, clip_weights, share
from glat.scoring.detection import COLLARS, detect, measure, true_events
from glat.scoring.framed import framed_measures, framed_points
from glat.scoring.frames import Clip, Frames, edges_of, join
from glat.scoring.predictions import read_predictions
from glat.scoring.resampled import auroc, resample
from glat.training import checkpoints

pytest.importorskip("sed_scores_eval", reason="sed_scores_eval is built with a C++ compiler: uv sync --extra sed")

from sed_scores_eval import collar_based, intersection_based, segment_based
from sed_scores_eval.base_modules.scores import create_score_dataframe

MIDS, FRAMES = ["a", "b", "c"], 40


def heard(clips=24, seed=0, noise=0.6):
    """Clips of 10 s with an event each, and scores that rise where it is: (clips, events by clip)."""
    rng, edges = np.random.default_rng(seed), np.arange(FRAMES + 1) * 10 / FRAMES
    made, rows = [], []
    for number in range(clips):
        logits = rng.normal(-1, noise, (FRAMES, 3))
        for label in {number % 2, int(rng.integers(2))}:
            start = rng.integers(0, 24) / 4
            rows.append((f"x{number}", start, start + rng.integers(4, 12) / 4, MIDS[label]))
            logits[(edges[:-1] >= rows[-1][1]) & (edges[1:] <= rows[-1][2]), label] += 2
        made.append(Clip(f"x{number}", edges, {"fused": (1 / (1 + np.exp(-logits))).astype(np.float32).astype(float)}))
    return made, true_events(
        pd.DataFrame(rows, columns=["clip", "start", "end", "label"]), [c.name for c in made], MIDS
    )


def by_the_library(clips, events, names):
    scores = {
        c.name: create_score_dataframe(c.scores["fused"][:, :2], c.edges, MIDS[:2]).astype(
            dict.fromkeys(MIDS[:2], "f4")
        )
        for c in clips
    }
    truth, seconds = {name: list(of) for name, of in events.items()}, {c.name: 10.0 for c in clips}
    how = {"dtc_threshold": 0.7, "gtc_threshold": 0.7}
    found = [intersection_based.psds(scores, truth, seconds, alpha_st=alpha, **how)[0] for alpha in (1.0, 0.0)]
    found.append(segment_based.auroc(scores, truth, seconds, segment_length=1.0, max_fpr=0.1)[0]["mean"])
    found.append(collar_based.fscore(scores, truth, 0.5, **COLLARS)[0]["macro_average"])
    return dict(
        zip(names, [*found, collar_based.best_fscore(scores, truth, **COLLARS)[0]["macro_average"]], strict=True)
    )


def test_measures_are_the_library_s_on_whole_clips_and_a_resample_is_the_set_that_it_weighs():
    clips, events = heard()
    found = detect(clips, MIDS, events, "fused")
    assert found.classes == ["a", "b"]  # c has no event
    values = measure(found)
    assert values == pytest.approx(by_the_library(clips, events, values))
    assert 0 < values["psds1"] < values["psds1_macro"] < 1 and 0 < values["f1"] < values["f1_best"] < 1
    # Weights of 0, 1 and 2 are a set without some clips, and with others twice.
    times = np.random.default_rng(1).integers(0, 3, len(clips))
    chosen = [c._replace(name=f"{c.name}-{k}") for c, n in zip(clips, times, strict=True) for k in range(n)]
    copies = {c.name: events[c.name.rpartition("-")[0]] for c in chosen}
    drawn = resample(found, np.stack([np.ones(len(clips)), times]))
    for row, expected in enumerate((values, by_the_library(chosen, copies, values))):
        assert {name: of[row] for name, of in drawn.items()} == pytest.approx(expected, abs=2e-3)


def test_scores_that_are_the_truth_get_everything_and_constant_ones_nothing():
    clips, events = heard()
    for number, clip in enumerate(clips):
        scores = np.zeros((FRAMES, 3))
        for start, end, label in events[clip.name]:
            scores[(clip.edges[:-1] >= start) & (clip.edges[1:] <= end), MIDS.index(label)] = 0.9
        clips[number] = clip._replace(scores={"fused": scores, "local": np.full((FRAMES, 3), 0.9)})
    perfect = measure(detect(clips, MIDS, events, "fused"))
    assert perfect == pytest.approx(dict.fromkeys(perfect, 1.0))
    constant = measure(detect(clips, MIDS, events, "local"))
    assert constant == pytest.approx(dict.fromkeys(constant, 0.0))


def test_events_that_overlap_or_touch_are_one():
    rows = [
        ("x", 1, 2, "a"),
        ("x", 1.5, 3, "a"),
        ("x", 3, 4, "a"),
        ("x", 6, 7, "a"),
        ("x", 1, 2, "b"),
        ("y", 0, 1, "a"),
    ]
    strong = pd.DataFrame([*rows, ("x", 0, 1, "unknown")], columns=["clip", "start", "end", "label"])
    assert true_events(strong, ["x"], MIDS) == {"x": [(1, 4, "a"), (6, 7, "a"), (1, 2, "b")]}


def test_the_framed_labels_of_each_class_have_an_auc_and_clips_are_weighed_as_one():
    clips, events = heard(noise=2.0)
    rows = []
    for clip in clips:
        for start, label in product(np.arange(10) * 0.96, "ab"):
            inside = any(on < start + 0.96 and start < off for on, off, of in events[clip.name] if of == label)
            rows.append((clip.name, start, start + 0.96, label, inside))
    framed = pd.DataFrame(rows, columns=["clip", "start", "end", "label", "present"])
    framed = pd.concat([framed, pd.DataFrame([("x0", 0, 0.96, "c", True)], columns=framed.columns)])  # only one kind
    numbers = {c.name: number for number, c in enumerate(clips)}
    points = framed_points(clips, numbers, MIDS, framed, "fused")
    assert len(points) == 2
    of_clip = {c.name: np.repeat(c.scores["fused"], 100, 0) for c in clips}  # every 2.5 ms
    naive = [of_clip[clip][round(a * 400) : round(b * 400), MIDS.index(label)].mean() for clip, a, b, label, _ in rows]
    weights = np.stack([np.ones(len(clips)), np.random.default_rng(0).integers(0, 3, len(clips))])
    drawn = framed_measures(points, weights)
    table = framed[framed["label"] != "c"].assign(score=naive)
    for row, of in enumerate(weights):
        auc = []
        for _, one in table.groupby("label"):
            sample = of[one["clip"].map(numbers)]
            auc.append(roc_auc_score(one["present"].astype(bool), one["score"], sample_weight=sample))
        assert drawn["framed_auroc"][row] == pytest.approx(np.mean(auc), abs=2e-3)


def test_parts_of_a_long_clip_follow_each_other_up_to_its_end():
    index, edges = join(
        np.array([0.0, 4.0, 5.5]), edges_of(8, 0.5, 4.0), 9.5
    )  # the last overlaps the second from 5.5 to 8
    assert (np.diff(edges) > 0).all() and (edges[0], edges[-1]) == (0.0, 9.5) and 6.75 in edges
    times = (
        np.array([0.0, 4.0, 5.5])[index // 8] + (index % 8) * 0.5
    ) + 0.25  # the middle of each frame, where it was heard
    assert np.abs(times - (edges[1:] + edges[:-1]) / 2).max() <= 0.25
    index, edges = join(np.zeros(1), edges_of(8, 0.5, 4.0), 1.2)  # a clip that is shorter than what the network hears
    assert index.tolist() == [0, 1, 2] and edges.tolist() == [0.0, 0.5, 1.0, 1.2]
    index, edges = join(np.array([0.0, 4.0]), edges_of(2, 1.5, 4.0), 8.0)  # frames that leave a second of each part
    assert index.tolist() == [0, 1, 2, 3] and edges.tolist() == [0.0, 1.5, 4.0, 5.5, 8.0]
    assert edges_of(2, 2.5, 4.0).tolist() == [0.0, 2.5, 4.0]  # or last longer than it


def test_intervals_cover_where_the_windows_of_a_clip_hit_or_miss_together():
    rng, covered, independent = np.random.default_rng(0), 0, 0
    for seed in range(200):
        hits = rng.random(25) < 0.8
        ones, counts = (np.repeat(of, 4).reshape(25, 4).sum(1)[None] for of in (hits, np.ones(25)))
        found = share(ones, counts, 0.95, seed)
        covered += found.low <= 0.8 <= found.high
        independent += abs(hits.mean() - 0.8) <= 1.96 * (0.16 / 100) ** 0.5  # as if there were 100 windows
    assert covered / 200 >= 0.91 > independent / 200


def test_intervals_of_measures_cover():
    """Of the AUROC of segments, whose value on endlessly many clips is that on 400."""
    clips, events = heard(400, seed=3)
    found, rng, covered = detect(clips, MIDS, events, "fused"), np.random.default_rng(0), 0
    for points in found.segments:
        truth = auroc(points, np.ones((1, 400)), 0.1)[0]
        for draw in range(50):
            some = np.zeros((1, 400))
            some[0, rng.choice(400, 40, replace=False)] = 1
            drawn = auroc(points, np.concatenate([some, some * clip_weights(40, 400, draw)]), 0.1)
            value = bounded(drawn[:1], drawn[None, 1:], 0.95)
            covered += value.low <= truth <= value.high
    assert covered >= 0.88 * 100


@pytest.fixture
def evaluated(corpus_project):
    """The tiny corpus with the runs that localisation shows, untrained and evaluated with scores over time."""
    params = load("params.yaml", TINY | {"localisation.resamples": 20})
    for run in experiments.runs_of(experiments.localisation(params)):
        packs = evaluation_packs(params, run)
        run.folder.mkdir(parents=True)
        classes = Packs(packs).classes[["mid", "display_name"]].to_dict("records")
        torch.manual_seed(0)
        checkpoints.save(checkpoints.build(run), run, classes, 0, run.folder / "checkpoint.pt")
        how = {"threads": 1, "frames": True}
        evaluation.evaluate(run.folder / "checkpoint.pt", packs, params.evaluation, run.folder, **how)
    return params


def test_frames_are_kept_beside_scores_that_they_do_not_change_and_become_a_table(evaluated, tmp_path):
    run = experiments.localisation(evaluated)[1].runs[0]
    kept, frames = read_predictions(run.folder / "predictions.h5"), Frames(run.folder / "frames.h5")
    assert (
        frames.clip == kept["clip"]
        and frames.mid == kept["mid"]
        and set(frames.streams) == {"fused", "global", "local"}
    )
    for row, clip in enumerate(frames.read()):
        assert clip.edges[-1] == frames.seconds[row] <= 10
        middle = (clip.edges[1:] + clip.edges[:-1]) / 2
        inside = ((middle[:, None] >= kept["windows"][row]) & (middle[:, None] < kept["windows"][row] + 3)).any(1)
        np.testing.assert_array_equal(clip.scores["local"].any(1), inside)
        np.testing.assert_allclose(clip.scores["fused"][~inside], clip.scores["global"][~inside])
        assert (
            clip.scores["fused"][inside] >= np.minimum(*(clip.scores[s][inside] for s in ("global", "local")))
        ).all()
    before = read_metrics(run.folder / "metrics.json")
    shutil.copy(run.folder / "frames.h5", tmp_path)
    how = {"threads": 1}
    evaluation.evaluate(
        run.folder / "checkpoint.pt", evaluation_packs(evaluated, run), evaluated.evaluation, run.folder, **how
    )
    assert read_metrics(run.folder / "metrics.json")["streams"] == before["streams"]
    assert not (run.folder / "frames.h5").exists()  # it would be of an earlier evaluation
    localisation.write(evaluated, tmp_path / "results/mini")
    assert "frames.h5 is not there; evaluate the run again" in (tmp_path / "results/mini/localisation.md").read_text()
    shutil.copy(tmp_path / "frames.h5", run.folder)
    localisation.write(evaluated, tmp_path / "results/mini")
    table = pd.read_csv(tmp_path / "results/mini/detection.csv")
    columns = table[["windows", "stream"]].drop_duplicates().to_numpy().tolist()
    attention = [["attention", stream] for stream in ("global", "local", "fused")]
    assert columns == [["none", "fused"], *attention, ["random", "fused"]]
    assert table["value"].between(0, 1).all() and (table["resamples"] == 20).all()
    page = (tmp_path / "results/mini/localisation.md").read_text()
    assert "When each sound is heard" in page and "nan" not in page.partition("When each")[2]
