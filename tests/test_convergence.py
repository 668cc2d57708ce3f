"""Whether a training had converged, by its own curve: real small trainings, `mini`'s own, and what curves can look like."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, TINY
from made_runs import Corpus, make_all, make_run
from typer.testing import CliRunner

from glat import cli
from glat.config import experiments
from glat.config.params import load
from glat.config.runs import write_run
from glat.results import controls as controls_page, curves, fig2
from glat.results.measured import read
from glat.results.registry import RESULTS
from glat.results.verdicts import comparison_columns, decide
from glat.training import convergence
from glat.training.convergence import CONVERGED, MOVING, NO_CURVE, NO_VERDICT, UNKNOWN, change, judge, marked

# Loss of CNN10 over mini's 800 steps, a line every 20, as docs/mlflow/cnn10_curves.png shows it: 0.57 mAP, where 2000
# steps reach 0.80.
MINI = [
    0.61, 0.425, 0.405, 0.40, 0.40, 0.385, 0.375, 0.376, 0.372, 0.373, 0.369, 0.357, 0.352, 0.341, 0.344, 0.344, 0.337,
    0.323, 0.313, 0.305, 0.318, 0.315, 0.289, 0.294, 0.287, 0.277, 0.269, 0.267, 0.257, 0.266, 0.258, 0.249, 0.253, 0.266,
    0.246, 0.243, 0.25, 0.248, 0.249, 0.252,
]  # fmt: skip
STEPS = 800


def rates(rows: int, schedule: str) -> np.ndarray:
    x = (np.arange(rows) + 0.5) / rows
    return 1e-3 * ((1 + np.cos(np.pi * x)) / 2 if schedule == "cosine" else np.ones(rows))


@pytest.fixture
def run(params, project):
    """A run of 800 steps, in whose folder `write` puts a curve."""
    settings = load(ROOT / "params.yaml", TINY | {"datasets.mini.training": {"steps": STEPS}})
    found = experiments.system(settings, "cnn10", {}).runs[0]
    found.folder.mkdir(parents=True)
    return found


def write(run, loss, loss_local=None, mAP=None, schedule="constant", last=STEPS):
    rows = len(loss)
    step = np.round(np.arange(1, rows + 1) * last / rows).astype(int)
    table = pd.DataFrame({"step": step, "loss": loss, "loss_global": loss, "loss_local": loss_local or [None] * rows})
    table.assign(learning_rate=rates(rows, schedule)).to_csv(run.folder / "train.csv", index=False)
    if mAP is not None:
        step = np.round(np.arange(1, len(mAP) + 1) * last / len(mAP)).astype(int)
        pd.DataFrame({"step": step, "mAP_fused": mAP}).to_csv(run.folder / "validation.csv", index=False)


def noisy(values, part=0.02, seed=0) -> list[float]:
    return list(values * (1 + part * np.random.default_rng(seed).normal(size=len(values))))


T = np.arange(1, 101) / 100
FLAT = noisy(0.2 + 0.3 * np.exp(-40 * T))
FALLS = noisy(0.4 - 0.15 * T)


def trained(steps: int, schedule: str, rate: float = 0.1, every: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A real training: a linear layer of four outputs on 400 clips of twelve features, a tenth of whose labels are wrong."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 12))
    y = (x @ draw.normal(size=(12, 4)) > 2) ^ (draw.random((400, 4)) < 0.1)
    weight, bias, losses = np.zeros((12, 4)), np.zeros(4), []
    slow = rates(steps, schedule) / 1e-3 * rate
    for step in slow:
        batch = draw.integers(400, size=16)
        p = 1 / (1 + np.exp(-(x[batch] @ weight + bias)))
        losses.append(-np.log(np.where(y[batch], p, 1 - p)).mean())
        gradient = (p - y[batch]) / 16
        weight, bias = weight - step * x[batch].T @ gradient, bias - step * gradient.sum(0)
    return np.cumsum(slow)[every - 1 :: every], np.reshape(losses, (-1, every)).mean(1)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_real_training_is_marked_while_it_learns_and_not_when_it_has_learned(schedule):
    assert change(*trained(4000, schedule, every=40)).state == CONVERGED
    short = change(*trained(600, schedule, rate=0.02))
    assert short.state == MOVING and short.change < 0


def test_mini_s_short_recipe_is_marked_although_cosine_flattens_its_end(run):
    write(run, MINI, schedule="cosine")
    found = judge(run, run.folder)
    assert found["state"] == MOVING and found["curves"]["loss_global"]["change"] < -0.1
    assert "loss global -" in found["reason"] and "% of its beginning" in found["reason"]
    last = np.mean(MINI[-5:]) - np.mean(MINI[-10:-5])
    assert abs(last) < convergence.TOLERANCE * MINI[1]  # its last steps alone look like an end


@pytest.mark.parametrize(
    ("loss", "local", "mAP", "state"),
    [
        (FLAT, None, None, CONVERGED),
        (FALLS, None, None, MOVING),
        (FALLS[::-1], None, None, MOVING),  # diverges
        (noisy(0.5 * np.exp(-12 * T)), None, None, CONVERGED),  # halves for ever, with nothing left to gain
        (noisy(FLAT, 0.3, 1), None, None, UNKNOWN),
        (FLAT[:18], None, None, UNKNOWN),  # too few lines
        (FLAT, noisy(FLAT, 0.01), None, CONVERGED),
        (FLAT, FALLS, None, MOVING),  # each stream by its own loss
        (FALLS, FLAT, None, MOVING),
        (FLAT, None, noisy(0.8 - 0.5 * np.exp(-20 * T)), CONVERGED),
        (FLAT, None, noisy(0.4 + 0.3 * T), MOVING),
        (FLAT, None, noisy(0.4 + 0.3 * T[:8]), CONVERGED),  # watched too rarely to say
        (FLAT, None, noisy(0.8 * np.ones(40), 0.2), CONVERGED),  # nor do looks on few clips, however noisy
        (FALLS, None, noisy(0.8 * np.ones(40)), MOVING),  # overfitting: the loss still falls, and that counts
    ],
)  # fmt: skip
def test_what_curves_say(run, loss, local, mAP, state):
    write(run, loss, local, mAP)
    found = judge(run, run.folder)
    assert found["state"] == state and marked(found) == (state != CONVERGED)
    json.dumps(found)


def test_a_frozen_stream_is_not_judged(run):
    frozen = run.model_copy(update={"glat": run.glat.model_copy(update={"training": "frozen_global"})})
    write(run, FALLS, FLAT)
    assert judge(run, run.folder)["state"] == MOVING and judge(frozen, run.folder)["state"] == CONVERGED
    assert list(judge(frozen, run.folder)["curves"]) == ["loss_local"]


def test_a_curve_that_is_not_the_training_s_is_not_believed(run):
    assert judge(run, run.folder)["state"] == UNKNOWN  # it was trained here, and train.csv is not there
    published = run.model_copy(update={"packs": []})
    assert judge(published, run.folder)["state"] == NO_CURVE and not marked(judge(published, run.folder))
    write(run, FLAT, last=STEPS - 100)
    assert judge(run, run.folder)["reason"] == "train.csv does not reach the last of its 800 steps"
    write(run, FLAT)
    looks = pd.DataFrame({"step": np.arange(1, 41) * 10, "mAP_fused": np.arange(1, 41) / 50})
    looks.to_csv(run.folder / "validation.csv", index=False)  # of an earlier training of half the steps
    assert judge(run, run.folder)["state"] == CONVERGED
    (run.folder / "train.csv").write_text("step,loss_global\n20,0.3\nx")
    assert judge(run, run.folder)["state"] == UNKNOWN


def test_one_marked_training_of_several_seeds_leaves_no_verdict(project):
    params = load(ROOT / "params.yaml", TINY | {"seeds": [0, 1, 2]})
    plain, glat = (experiments.system(params, "cnn10", method) for method in (None, {}))
    corpus = Corpus()
    for one in (*plain.runs, *glat.runs):
        make_run(one, corpus, 4.0 if one.glat else 1.0)
    sure = comparison_columns("vs", read(glat), read(plain))
    assert NO_VERDICT not in sure.values() and sure["vs_p"] < 0.01
    assert decide([sure], 0.95)["vs_verdict"][0] == "higher"
    make_run(plain.runs[1], corpus, 1.0, convergence={"state": MOVING, "reason": ""})
    for pair in ((glat, plain), (plain, glat)):
        found = comparison_columns("vs", *map(read, pair))
        assert {found[f"vs{metric}_verdict"] for metric in ("", "_mAUC", "_d_prime")} == {NO_VERDICT}
        assert abs(found["vs"]) == abs(sure["vs"]) and np.isnan(found["vs_p"])  # the numbers stand, but no p
        assert decide([found], 0.95)["vs_verdict"][0] == NO_VERDICT
    make_run(plain.runs[1], corpus, 1.0, convergence=None)  # evaluated before anybody looked
    assert read(plain).not_converged == ["cnn10-s1"]


FEW = TINY | {"fig2.n": [5, 7], "fig2.tau": [3], "backbones": ["cnn10", "atsca"]}
FEW |= {"controls.backbones": ["atsca"], "controls.settings": ["random"]}


@pytest.fixture
def half_trained(project):
    """All runs, of which `cnn10-glat-n7-s0` and `atsca-s0` had not converged."""
    params = load(ROOT / "params.yaml", FEW)
    make_all(params, Corpus())
    runs = experiments.all_runs(params)
    for name, state in (("cnn10-glat-n7-s0", MOVING), ("atsca-s0", UNKNOWN)):
        make_run(runs[name], Corpus(), 1.2, convergence={"state": state, "reason": "loss global -9.0 ± 0.8 %"})
    return params


def test_tables_mark_them_and_give_no_verdict(half_trained):
    for name in ("table1", "controls", "fig2a"):
        RESULTS[name].write(half_trained)
    table = pd.read_csv("results/mini/table1.csv").set_index("method")
    assert table["convergence"].tolist() == ["converged", "converged", "cannot tell", "converged"]
    assert table.loc["AT-SCA (our reading) + GL-AT", "vs_alone_verdict"] == NO_VERDICT
    assert table.loc["CNN10 + GL-AT", "vs_alone_verdict"] != NO_VERDICT
    page = Path("results/mini/table1.md").read_text()
    assert "| AT-SCA (our reading) † |" in page and "| CNN10 |" in page and page.count("† In at least one seed") == 1
    assert f", {NO_VERDICT} |" in page
    controls = pd.read_csv("results/mini/controls.csv").set_index("setting")
    assert (controls["vs_alone_verdict"].drop("backbone alone") == NO_VERDICT).all()
    assert controls.loc["random", "vs_glat_verdict"] != NO_VERDICT
    points = pd.read_csv("results/mini/fig2a.csv").set_index("value")
    assert (points["vs_alone_verdict"] == NO_VERDICT).tolist() == [False, False, True]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that results draw, by name."""
    found = {}
    for module in (fig2, controls_page, curves):

        @contextmanager
        def kept(path, *arguments, real=module.figure, **settings):
            with real(path, *arguments, **settings) as found[path.name]:
                yield found[path.name]

        monkeypatch.setattr(module, "figure", kept)
    return found


def open_points(ax):
    marks = [line for line in ax.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    return [tuple(line.get_xydata()[0]) for line in marks]


def test_figures_show_them_as_open_marks_and_say_what_these_are(half_trained, drawn, tmp_path):
    for name in ("fig2a", "fig2b", "controls", "pr_curves"):
        RESULTS[name].write(half_trained)
    table = pd.read_csv("results/mini/fig2a.csv").set_index("value")
    fig, (score, _) = drawn["fig2a"]
    assert open_points(score) == [(7, pytest.approx(table.loc[7, "mAP"], abs=1e-6))]
    assert "Open marks" in fig.get_supxlabel()
    fig, (score, _) = drawn["fig2b"]
    assert open_points(score) == [] and fig.get_supxlabel() == ""
    fig, axes = drawn["controls"]
    alone = pd.read_csv("results/mini/controls.csv").set_index("setting").loc["backbone alone", "mAP"]
    assert [x for x, _ in open_points(axes[0, 0])] == [pytest.approx(alone, abs=1e-6)]
    assert axes[0, 0].get_title("right").startswith("AT-SCA (our reading)")
    fig, ax = drawn["pr_curves"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["CNN10", "CNN10 + GL-AT", "AT-SCA (our reading) †", "AT-SCA (our reading) + GL-AT"]
    runs = experiments.all_runs(half_trained)
    lines = [(runs[n], pd.read_csv(f"runs/mini/{n}/train.csv")) for n in ("cnn10-s0", "atsca-s0", "atsca-glat-s0")]
    curves.draw_training(lines, tmp_path / "training", {"atsca-s0", "atsca-glat-s0"})
    fig, axes = drawn["training"]
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["cnn10", "atsca (our reading) †", "atsca-glat (our reading) †"]
    assert len(open_points(axes[0])) == 2 and len(open_points(axes[1])) == 1


def test_every_result_that_names_a_network_marks_it(half_trained):
    for name in ("pr_curves", "metrics"):
        RESULTS[name].write(half_trained)
    curve = pd.read_csv("results/mini/pr_curves.csv").groupby("method")[["convergence", "not_converged"]].first()
    assert curve.loc["AT-SCA (our reading)"].tolist() == ["cannot tell", 1]
    assert curve.loc["CNN10 + GL-AT"].tolist() == ["converged", 0]
    metrics = json.loads(Path("results/mini/metrics.json").read_text())
    told = {name: (metrics[name]["method"], metrics[name]["convergence"]) for name in metrics}
    assert told["atsca-s0"] == ("AT-SCA (our reading) †", "cannot tell")
    assert told["cnn10-glat-n7-s0"] == ("CNN10 + GL-AT †", "still moving")
    assert told["cnn10-s0"] == ("CNN10", "converged")


def test_the_report_names_the_network_of_its_clips_with_its_marks(half_trained):
    for name in RESULTS:
        if name not in ("report", "panns", "ladder"):
            RESULTS[name].write(half_trained)
    Path("results/mini/clips").mkdir()
    picture = Path("results/mini/fig2a.png").read_bytes()
    Path("results/mini/clips/1_a.png").write_bytes(picture)
    for backbone, state, heading in (
        ("cnn10", "converged", "Clips: CNN10 + GL-AT<"),
        ("atsca", MOVING, "Clips: AT-SCA (our reading) + GL-AT †<"),
    ):
        params = load(ROOT / "params.yaml", FEW | {"table2.backbone": backbone})
        run = experiments.table2(params)[-1].runs[0]
        make_run(run, Corpus(), 1.5, convergence={"state": state, "reason": ""})
        RESULTS["report"].write(params)
        page = Path("results/mini/report.html").read_text()
        assert heading in page
    text = page.partition(heading)[2].partition("<img")[0]
    assert "† In at least one seed" in text and "built from its abstract" in text


def test_the_training_figure_says_what_the_tables_say_where_the_looks_are_gone(params, project, drawn):
    """As in a clone, to which DVC brings train.csv and metrics.json but no validation.csv."""
    make_all(params, Corpus())
    run = experiments.system(params, "cnn10", None).runs[0]
    make_run(run, Corpus(), convergence={"state": MOVING, "reason": "validation mAP +9.0 ± 0.8 % of itself"})
    RESULTS["training_curves"].write(params)
    fig, axes = drawn["training_table1"]
    marked_ = [text.get_text() for text in fig.legends[0].get_texts() if "†" in text.get_text()]
    assert marked_ == ["cnn10 †"] and len(open_points(axes[0])) == 1
    assert convergence.found(run, run.folder)["state"] == MOVING
    (run.folder / "checkpoint.pt").write_bytes(b"of a later training")
    assert convergence.found(run, run.folder)["state"] == judge(run, run.folder)["state"] == UNKNOWN


def test_the_end_of_a_training_says_it_in_one_line(run):
    write(run, MINI, schedule="cosine")
    line = convergence.sentence(run, judge(run, run.folder))
    assert line.startswith(f"{run.folder}: still moving at its end (loss global -") and "\n" not in line
    write(run, FLAT)
    assert convergence.sentence(run, judge(run, run.folder)).startswith(f"{run.folder}: converged (loss global ")


def test_glat_train_ends_with_it_and_leaves_no_look_of_an_earlier_training(corpus, params, project):
    (project / "data").symlink_to(corpus / "data")
    short = experiments.system(params, "cnn10", None).runs[0]
    short.folder.mkdir(parents=True)
    write_run(short, short.folder / "config.yaml")
    (short.folder / "validation.csv").write_text("step,mAP_fused\n6,0.5\n")
    done = CliRunner().invoke(cli.app, ["train", str(short.folder / "config.yaml"), "--threads", "1"])
    assert done.exit_code == 0, done.output
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("runs/mini/cnn10-s0: cannot tell at its end (train.csv has fewer than 5 lines")
    assert not (short.folder / "validation.csv").exists()
