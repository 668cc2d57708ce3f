"""Variants of GL-AT: each against a loop or finite differences, through a training, and in its own words where it is wrong."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from made_runs import Corpus, make_run
from test_results import settings
from test_training import facts, run_with, train
from test_twostream import CLASSES, SECONDS, batches_of, names, reached, tagger, waveform

from glat.config import controls as asked, experiments
from glat.config.faults import faults_of
from glat.config.params import load
from glat.config.runs import resolve, write_run
from glat.config.settings import Evaluation
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.models import build
from glat.models.fusion import LearnedFusion, own_scores
from glat.models.soft import interpolate_windows, soft_peaks
from glat.results import report
from glat.results.registry import RESULTS
from glat.scoring import evaluation
from glat.training import checkpoints, convergence, fit
from glat.training.freezing import rates
from glat.use import pictures

EVERY = {"scoring": "own", "fusion": "learned", "extra_taus": [0.8], "selection": "soft"}


def naive_local(network, logmel, m, y_g) -> tuple[torch.Tensor, list[float], list[int]]:
    """y_l of one clip, window by window, and the windows: `own` or `all`, of any number of lengths, hard or soft."""
    s_g, scores, starts = network.frame_scores(m)[0], [], []
    classes = sorted(range(CLASSES), key=lambda c: -y_g[c].item())[: network.n]
    for tau in (network.tau, *network.extra_taus):
        for c in classes:
            column = s_g[:, c].tolist()
            peak, frames = column.index(max(column)), len(column)
            if network.selection == "soft":
                near = [t for t in range(frames) if abs(t - peak) <= tau / 2 * frames / SECONDS]
                odds = [column[t] / (1 - column[t]) for t in near]
                peak = sum(t * w for t, w in zip(near, odds, strict=True)) / sum(odds)
            start = min(max((peak + 0.5) * SECONDS / frames - tau / 2, 0.0), SECONDS - tau)
            at, width = start * network.frames_per_second, round(tau * network.frames_per_second)
            first = math.floor(at) if network.selection == "soft" else round(at)
            window = logmel[:, :, first : first + width]
            if network.selection == "soft":
                window = window + (at - first) * (logmel[:, :, first + 1 : first + 1 + width] - window)
            scores.append(network.local_stream(window)[0])
            starts.append(start)
    chosen, y_l = classes * len(network.taus), []
    for c in range(CLASSES):
        own = [s[c] for s, k in zip(scores, chosen, strict=True) if k == c or network.scoring == "all"]
        own = own or [sum(s[c] for s in scores) / len(scores)]
        y_l.append((max(own) + sum(own) / len(own)) / 2)
    return torch.stack(y_l), starts, chosen


@pytest.mark.parametrize("variant", [
    {"extra_taus": [0.7, 0.5]}, {"selection": "soft"}, EVERY,
], ids=["lengths", "soft", "every"])  # fmt: skip
def test_windows_equal_a_loop_over_clips_classes_and_lengths(variant):
    model = tagger(**variant).eval()
    batches = batches_of(model.network.local_stream)
    audio = waveform(2)
    with torch.no_grad():
        streams = model.streams(audio)
        taus = model.network.taus
        assert batches == [(2 * 3, 1, round(tau * 100), 64) for tau in taus]  # one batch a length
        assert streams.windows.shape == streams.classes.shape == (2, 3 * len(taus))
        for b in range(2):
            logmel = model.front_end(audio[b : b + 1])
            m = model.network.global_stream.features(logmel)
            y_l, starts, classes = naive_local(model.network, logmel, m, streams.global_[b])
            assert streams.windows[b].tolist() == pytest.approx(starts, abs=1e-4)
            assert streams.classes[b].tolist() == classes
            torch.testing.assert_close(streams.local[b], y_l, atol=1e-5, rtol=0)


def test_random_windows_have_several_lengths_too():
    network = build(
        "cnn10", CLASSES, 0.125, glat={"n": 3, "tau": 1.0, "selection": "random", "extra_taus": [2.0]}
    ).network
    m, y_g = torch.zeros(50, 4, 64), torch.zeros(50, CLASSES)
    starts, classes = network.select(m, y_g, SECONDS, torch.Generator().manual_seed(0))
    assert starts.shape == (50, 6) and (classes == -1).all()
    assert 1.9 < starts[:, 3:].max() <= SECONDS - 2.0 < 2.9 < starts[:, :3].max() <= SECONDS - 1.0


def test_a_class_learns_in_its_own_windows_and_one_without_in_all():
    scores = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    own_scores(scores, torch.tensor([[2, 0, 2]])).sum().backward()
    grad = scores.grad[0]  # (window, class)
    assert grad[1, 2] == 0 == grad[0, 0] == grad[2, 0] and grad[1, 0] == 1
    assert grad[[0, 2], 2].sum() == 1 and (grad[[0, 2], 2] > 0).all()
    torch.testing.assert_close(grad[:, [1, 3]], torch.full((3, 2), 1 / 3))


def test_a_soft_peak_has_the_gradient_of_finite_differences_and_keeps_near_its_peak():
    generator = torch.Generator().manual_seed(0)
    activations = 0.1 + 0.3 * torch.rand(2, 3, 9, generator=generator, dtype=torch.float64)
    peaks = activations.argmax(2)
    activations.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: soft_peaks(a, peaks, 2.0), activations)
    found = soft_peaks(activations, peaks, 2.0)
    assert ((found - peaks).abs() < 2).all() and (found != peaks).any()
    assert torch.equal(soft_peaks(activations, peaks, 0.0), peaks.double())  # nothing beside the peak
    two = torch.full((1, 1, 30), 0.01)
    two[0, 0, [4, 25]] = torch.tensor([0.9, 0.89])
    assert 3.9 < soft_peaks(two, torch.tensor([[4]]), 5.0) < 4.1  # not between two events


def test_an_interpolated_window_has_the_gradient_of_finite_differences_and_is_the_cut_one_on_whole_frames():
    clips = torch.randn(2, 1, 60, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = tagger().network
    whole = torch.tensor([[0.0, 0.13], [0.37, 0.4]], dtype=torch.float64)
    network.tau = 0.2
    assert torch.equal(interpolate_windows(clips, whole[:, :1], 0.2, 100.0), network.cut(clips, whole[:, :1]))
    starts = torch.tensor([[0.004, 0.1337], [0.3711, 0.3961]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: interpolate_windows(clips, s, 0.2, 100.0), starts)


def test_the_local_loss_reaches_the_global_stream_through_soft_windows_as_finite_differences_say(monkeypatch):
    model = tagger(selection="soft")
    everything = names(model, "global_stream.") | names(model, "local_stream.")
    missing = everything - reached(model, "local")
    # A shift of all logits of a class moves no window, and which class has windows is a hard choice.
    assert missing <= {"global_stream.fc_audioset.bias"} and reached(tagger(), "local") == names(model, "local_stream.")
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    model = model.double().eval()
    weights = [model.network.global_stream.fc_audioset.weight, model.network.global_stream.conv_block2.conv1.weight]
    audio, generator = waveform().double(), torch.Generator().manual_seed(1)
    logmel = model.front_end(audio)

    def loss():
        scores = model.from_logmel(logmel, SECONDS).local
        return F.binary_cross_entropy(scores, torch.ones_like(scores))

    for weight in weights:
        direction = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        slope = (torch.autograd.grad(loss(), weight)[0] * direction).sum().item()
        with torch.no_grad():
            ends = []
            for step in (1e-8, -1e-8):  # a larger one would cross kinks: of ReLU, and between two frames
                weight += step * direction
                ends.append(loss().item())
                weight -= step * direction
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-8, rel=1e-5) and abs(slope) > 0.001


def test_a_learned_fusion_begins_between_the_streams_and_alone_learns_by_the_fused_score():
    model = tagger(fusion="learned").eval()
    streams = model.streams(waveform())
    low, high = (torch.stack((streams.global_, streams.local)).aminmax(dim=0)[i] for i in (0, 1))
    assert ((streams.fused >= low - 1e-6) & (streams.fused <= high + 1e-6)).all() and (streams.fused > low).any()
    assert reached(model, "fused") == {"fusion.balance"} and "fusion.balance" not in reached(model, "local")
    fusion = LearnedFusion(2)
    fusion.balance.data = torch.tensor([math.log(3.0), -20.0])  # three parts of the global stream to one, and none
    odds = (0.8 / 0.2) ** 0.75 * (0.1 / 0.9) ** 0.25
    found = fusion(torch.tensor([[0.8, 0.8]]), torch.tensor([[0.1, 0.1]]))[0].tolist()
    assert found == pytest.approx([odds / (1 + odds), 0.1], rel=1e-5)
    heads, rest = rates(model, 1e-3, 0.1)  # it starts anew, whatever the backbone starts from
    assert any(p is model.network.fusion.balance for p in heads["params"]) and heads["lr"] > rest["lr"]


@pytest.mark.parametrize(("variant", "told"), [
    ({"extra_taus": [0.1]}, "extra_taus is 0.1 s: Cnn10 needs windows of at least 0.16 s"),
    ({"scoring": "best"}, "scoring is 'best': allowed are all, own"),
    ({"fusion": "sum"}, "fusion is 'sum': allowed are mean_max, learned"),
    ({"scoring": "own", "selection": "random"}, "scoring is 'own': windows of selection 'random' are of no class"),
    ({"training": "none"}, "training is 'none': then the backbone that hears the clip hears the windows too"),
    ({"training": "none", "sharing": "backbone", "fusion": "learned"}, "fusion is 'learned': with training 'none'"),
])  # fmt: skip
def test_a_variant_that_is_wrong_is_told(variant, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        build("cnn10", CLASSES, 0.125, glat=variant)


@pytest.mark.parametrize(("changes", "told"), [
    ({"glat.extra_taus": [0.2]}, "glat.extra_taus: 0.2 s is too short: CNN10 needs at least 0.64 s"),
    ({"glat.extra_taus": [10.5]}, "glat.extra_taus: 10.5 s is longer than a clip (audio.clip_seconds: 10.0)"),
    ({"glat.extra_taus": [1.5], "training.spec_augment": {"where": "windows"}},
     "glat.extra_taus: [1.5], but training.spec_augment.where 'windows' masks windows of one length; set clip"),
    ({"glat.scoring": "own", "glat.selection": "uniform"},
     "glat.scoring: 'own', but windows of selection 'uniform' are of no class; set selection: attention or soft"),
    ({"glat.training": "none", "init.global": {"cnn10": "a.pth"}},
     "glat.training: 'none', but then the backbone that hears the clip hears the windows too; set sharing: backbone"),
    ({"glat.training": "none", "glat.sharing": "backbone"},
     "init.global: glat.training 'none' needs weights of the global stream for cnn10"),
])  # fmt: skip
def test_settings_of_variants_that_do_not_fit_together_are_one_sentence(changes, told):
    params = load(ROOT / "params.yaml", changes)
    assert faults_of(params, resolve(params, "cnn10", 0, {})) == [told]


def test_what_is_off_leaves_no_trace_and_what_is_on_names_the_run():
    params = load(ROOT / "params.yaml")
    off = resolve(params, "cnn10", 0, {})
    assert list(off.glat.model_dump()) == [
        "n", "tau", "selection", "suppress", "frame_classifier", "frame_dropout", "frame_time", "training", "sharing",
    ]  # fmt: skip
    run = resolve(params, "cnn10", 0, EVERY)
    assert run.name == "cnn10-glat-soft-scoring_own-fusion_learned-extra_taus0.8-s0"
    assert {k: run.glat.model_dump()[k] for k in EVERY} == EVERY
    assert type(run).model_validate(run.model_dump(by_alias=True)) == run
    own = load(ROOT / "params.yaml", {"glat.scoring": "own", "glat.extra_taus": [1.0]})
    assert resolve(own, "cnn10", 0, {}).name == "cnn10-glat-s0" and resolve(own, "cnn10", 0, {}).glat.scoring == "own"
    assert resolve(own, "cnn10", 0, {"extra_taus": []}).name == "cnn10-glat-no_extra_taus-s0"
    two = experiments.two_networks(own, "cnn10").runs[0]
    assert two.glat.taus == [10.0]


ALL = list(asked.variants(3.0))
CHOICE = {"controls.settings": [], "controls.variants": [*ALL, "own windows + two lengths"]}


def test_each_variant_has_the_backbone_alone_with_its_compute_to_beat(project):
    rows = asked.controls(settings(**CHOICE))
    found = {row.setting: row for row in rows}
    assert [row.setting for row in rows][:4] == ["backbone alone", "GL-AT", "equal compute", "equal compute, 20 steps"]
    assert {name: found[name].baseline for name in CHOICE["controls.variants"]} == {
        **dict.fromkeys(("shared backbone", "own windows", "learned fusion", "soft windows"), "equal compute"),
        **dict.fromkeys(("two lengths", "own windows + two lengths"), "equal compute, 20 steps"),
        "inference only": "backbone alone",
    }
    steps = {name: found[name].system.runs[0].training.steps for name in ("equal compute", "equal compute, 20 steps")}
    assert steps == {"equal compute": 15, "equal compute, 20 steps": 20}  # 6 (1 + 5 x 3 / 10) and 6 (1 + 5 x 4.5 / 10)
    last = found["inference only"].system.runs[0]
    assert last.name == "cnn10-glat-training_none-sharing_backbone-s0"
    assert last.init["global"] == "runs/mini/cnn10-s0/checkpoint.pt"
    assert found["own windows + two lengths"].system.runs[0].glat.extra_taus == [1.5]
    assert "cnn10-glat-scoring_own-s0" in experiments.all_runs(settings(**CHOICE))
    assert not [run for run in experiments.all_runs(settings()) if "scoring_own" in run or "none" in run]
    told = r"controls\.variants: 'soft' is not known; allowed are 'shared backbone', 'own windows'"
    with pytest.raises(GlatError, match=told):
        asked.controls(settings(**{"controls.variants": ["own windows + soft"]}))


def test_the_controls_page_has_a_variant_s_difference_with_equal_compute_and_its_cost(project):
    params = settings(**CHOICE)
    for run in experiments.runs_of([control.system for control in asked.controls(params)]):
        make_run(run, Corpus())
    RESULTS["controls"].write(params)
    table = pd.read_csv("results/mini/controls.csv").set_index("setting")
    assert np.isnan(table.loc["GL-AT", "vs_equal"]) and table["vs_equal"].notna().sum() == len(
        CHOICE["controls.variants"]
    )
    for name, baseline in (("own windows", "equal compute"), ("two lengths", "equal compute, 20 steps")):
        expected = table.loc[name, "mAP"] - table.loc[baseline, "mAP"]
        assert table.loc[name, "vs_equal"] == pytest.approx(expected, abs=2e-6)
    free = table.loc["inference only"]
    assert free["training_compute"] == 1 and free["vs_equal"] == pytest.approx(free["vs_alone"])
    page = (project / "results/mini/controls.md").read_text()
    assert "mAP minus equal compute's" in page and "| variant | inference only" in page


def evaluate(run, params):
    packs = [f"data/mini/packs/eval/{shard:03d}.h5" for shard in range(1)]
    evaluation.evaluate(run.folder / "checkpoint.pt", packs, Evaluation(batch_size=4), run.folder, threads=1)
    return json.loads((run.folder / "metrics.json").read_text())


def test_variants_train_and_are_scored_and_windows_at_inference_alone_cost_no_training(corpus_project, params):
    every = run_with(params, EVERY | {"n": 2}, steps=2)
    train(every, every.folder)
    tagger, run, *_ = checkpoints.restore(every.folder / "checkpoint.pt")
    assert run == every and tagger.network.taus == (3.0, 0.8)
    assert tagger.network.fusion.balance.abs().min() > 0  # it has learnt
    curve = pd.read_csv(every.folder / "train.csv")
    assert (curve["loss"] > curve["loss_global"] + curve["loss_local"]).all()
    assert "glat.scoring" in facts(every, Packs(every.packs))
    metrics = evaluate(every, params)
    assert set(metrics["streams"]) == {"fused", "global", "local"} and metrics["glat"]["fusion"] == "learned"

    plain = run_with(params, steps=2)
    train(plain, plain.folder)
    write_run(plain, plain.folder / "config.yaml")
    change = {"n": 2, "training": "none", "sharing": "backbone"}
    later = resolve(params, "cnn10", 0, change, start_from=plain)
    later = later.model_copy(update={"training": plain.training})
    train(later, later.folder)
    own, theirs = (checkpoints.read(one.folder / "checkpoint.pt")["model"] for one in (later, plain))
    for name, weight in theirs.items():
        stream = name.replace("network.", "network.global_stream.")
        assert torch.equal(own[stream if stream in own else name], weight)
    alone, both = evaluate(plain, params), evaluate(later, params)
    assert both["streams"]["global"] == alone["streams"]["fused"] != both["streams"]["fused"]
    assert both["parameters"] == alone["parameters"]
    assert both["convergence"] == alone["convergence"] == convergence.judge(plain, plain.folder)
    assert fit.DONE == -1 and (later.folder / "train.csv").read_text().startswith("step,loss")
    (row,) = report.run_rows([later])
    assert (row["steps"], row["training (min)"]) == (0, "0.0")
    (drawn := corpus_project / "drawn").mkdir()
    pictures.draw(later, later.folder, params, drawn)
    assert (drawn / "pr_curves.svg").exists() and not (drawn / "curves.svg").exists()
