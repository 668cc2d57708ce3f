"""The ladder: which trainings it needs, what each row is compared with, and the page."""

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from made_runs import Corpus, make_run
from test_results import settings

from glat.config import experiments
from glat.config.faults import faults_of
from glat.config.ladder import ladder
from glat.config.params import load
from glat.lib.errors import GlatError
from glat.results.registry import RESULTS

RUNGS = {"average": {"ema": 0.9}, "gain": {"augmentation": {"gain": 6.0}}, "roll": {"augmentation": {"roll": 1.0}}}
CHOICE = {
    "ladder.rungs": RUNGS,
    "ladder.variants": ["own windows", "two lengths", "inference only"],
    "ladder.beside": {"atsca": 9},
}


def test_each_rung_trains_as_those_below_it_and_what_is_on_top_as_all(project):
    params = settings(**CHOICE)
    rows = {(row.part, row.name): row for row in ladder(params)}
    names = [name for _, name in rows]
    assert names[:4] == ["as params.yaml has it", "+ average", "+ gain", "+ roll"]
    assert names[4:6] == ["equal compute, 15 steps", "GL-AT"]
    trainings = {key: row.system.runs[0].training for key, row in rows.items()}
    gain, roll = trainings["recipe", "+ gain"], trainings["recipe", "+ roll"]
    assert (gain.ema, gain.augmentation.gain, gain.augmentation.roll) == (0.9, 6.0, 0.0)
    assert (roll.ema, roll.augmentation.gain, roll.augmentation.roll) == (0.9, 6.0, 1.0)
    assert trainings["recipe", "as params.yaml has it"] == params.training_of("mini", "cnn10")
    top = [row for row in rows.values() if row.part == "method"]
    assert all(row.below == "+ roll" for row in top)
    assert all(row.system.runs[0].training.augmentation == roll.augmentation for row in top)
    assert rows["method", "two lengths"].equal == "equal compute, 20 steps"
    assert rows["method", "inference only"].equal == "+ roll"
    start = rows["method", "inference only"].system.runs[0].init["global"]
    assert start == "runs/mini/cnn10-rung_roll-s0/checkpoint.pt"
    assert trainings["another backbone", "+ roll"].steps == 9
    runs = experiments.all_runs(params)
    assert {"cnn10-rung_average-s0", "cnn10-rung_roll-glat-s0", "atsca-rung_roll-steps9-s0"} <= runs.keys()
    assert not [name for name in experiments.all_runs(settings()) if "rung" in name]


def test_the_page_says_what_each_rung_adds_and_what_it_costs(project):
    params = settings(**CHOICE)
    for skill, row in enumerate(ladder(params)):
        for run in row.system.runs:
            make_run(run, Corpus(), 0.5 + 0.1 * skill)
    RESULTS["ladder"].write(params)
    table = pd.read_csv("results/mini/ladder.csv")
    own = table[table["part"] != "another backbone"].set_index("name")
    assert own.loc["+ roll", "vs_below"] == pytest.approx(own.loc["+ roll", "mAP"] - own.loc["+ gain", "mAP"], abs=2e-6)
    first = own.loc["as params.yaml has it"]
    assert own.loc["+ roll", "vs_plain"] == pytest.approx(own.loc["+ roll", "mAP"] - first["mAP"], abs=2e-6)
    equal = own.loc["GL-AT", "mAP"] - own.loc["equal compute, 15 steps", "mAP"]
    assert own.loc["GL-AT", "vs_equal"] == pytest.approx(equal, abs=2e-6)
    assert own.loc["GL-AT", "training_compute"] == own.loc["equal compute, 15 steps", "training_compute"] == 2.5
    assert own.loc["inference only", "training_compute"] == 1 and np.isnan(first["vs_below"])
    others = table[table["part"] == "another backbone"]
    assert others["vs_below"].notna().tolist() == [False, True]
    page = (project / "results/mini/ladder.md").read_text()
    assert page.count("\n| ") == 2 + len(table) and "| another backbone | + roll" in page


def test_what_is_wrong_with_a_ladder_is_told(project):
    with pytest.raises(GlatError, match=r"ladder\.rungs: there are none; --configfile recipes/ladder\.yaml"):
        RESULTS["ladder"].write(settings())
    with pytest.raises(GlatError, match=r"ladder\.variants: 'windows' is not known"):
        ladder(settings(**CHOICE | {"ladder.variants": ["windows"]}))
    with pytest.raises(GlatError, match=r"ladder\.rungs\.average\.emma"):
        settings(**{"ladder.rungs": {"average": {"emma": 0.9}}})
    own = settings(**{"training.distillation": {"teacher": "runs/mini/cnn10-s0"}})
    told = [fault for run in experiments.all_runs(own).values() for fault in faults_of(own, run)]
    remedy = "name another run, or set it for other backbones alone"
    assert told == [f"training.distillation.teacher: runs/mini/cnn10-s0 would learn from itself; {remedy}"]


def test_a_variant_that_trains_nothing_stands_on_a_recipe_with_a_teacher(project):
    rungs = {"teacher": {"distillation": {"teacher": "runs/mini/cnn10-s0"}}}
    params = settings(**{"ladder.rungs": rungs, "ladder.variants": ["inference only"]})
    (run,) = [row.system.runs[0] for row in ladder(params) if row.name == "inference only"]
    assert not run.training.teachers and run.init["global"] == "runs/mini/cnn10-rung_teacher-s0/checkpoint.pt"
    assert not [fault for run in experiments.all_runs(params).values() for fault in faults_of(params, run)]


def test_the_recipe_is_a_ladder():
    recipe = yaml.safe_load((ROOT / "recipes/ladder.yaml").read_text())
    rows = ladder(load(ROOT / "params.yaml", recipe))
    assert [row.name for row in rows if row.part == "recipe"][1:] == [f"+ {name}" for name in recipe["ladder"]["rungs"]]
