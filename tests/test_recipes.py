"""The recipes: every part of the training that they are named after, as `Run` resolves it."""

from pathlib import Path

import pytest
import yaml

from glat.config.experiments import systems_of
from glat.config.params import load
from glat.config.runs import Run

ROOT = Path(__file__).parents[1]


def runs(recipe: str, **changes) -> list[Run]:
    settings = yaml.safe_load((ROOT / "recipes" / recipe).read_text())
    return [run for one in systems_of(load(ROOT / "params.yaml", settings | changes), "table1") for run in one.runs]


def test_the_settings_of_the_pipeline_in_ci_are_settings():
    settings = load(ROOT / "params.yaml", yaml.safe_load((ROOT / ".github/tiny.yaml").read_text()))
    assert settings.corpus.splits == {"train": 8, "eval": 4} and settings.execution_of("mini").checkpoint_every == 2


@pytest.mark.parametrize("dataset", ["audioset", "audioset_balanced"])
def test_from_panns_trains_as_the_released_code_does(dataset):
    made = runs("from_panns.yaml", dataset=dataset)
    settings = load(ROOT / "params.yaml", yaml.safe_load((ROOT / "recipes/from_panns.yaml").read_text()))
    two = [run for run in made if run.glat and (run.glat.n, run.glat.tau) == (1, 10)]
    assert [(run.backbone, run.glat.training) for run in two] == [("cnn10", "frozen_global")]
    made = [run for run in made if run not in two]
    weights = {"cnn10": "weights/Cnn10_mAP=0.380.pth", "resnet38": "weights/ResNet38_mAP=0.434.pth"}
    expected = [(name, glat) for name in weights for glat in (False, True)]
    assert [(run.backbone, run.glat is not None) for run in made] == expected
    for run in made:
        assert run.init["global"] == weights[run.backbone]
        training = run.training
        assert (training.steps, training.batch_size, training.learning_rate) == (300_000, 32, 2e-4)
        assert training.amsgrad and training.schedule == "constant" and training.warmup == 0
        assert training.gradient_clip is None and training.mixup_alpha == 0 and training.balanced
        execution = settings.execution_of(dataset, run.backbone)
        assert execution.keep_every == 2000 and execution.precision == "float32"
        masks = training.spec_augment
        assert (masks.where, masks.time_stripes, masks.time_width, masks.mel_stripes, masks.mel_width) == (
            "windows", 2, 64, 2, 8
        )  # fmt: skip
        assert (run.width, run.dropout, run.hop) == (1.0, 1.0, 320)
        if run.glat:
            method = run.glat
            assert (method.n, method.tau, method.selection, method.sharing) == (5, 3.0, "attention", "none")
            assert method.training == "frozen_global" and method.frame_time == "start"
            assert method.suppress and method.frame_classifier == "local" and method.frame_dropout


def test_talnet_trains_as_its_authors_code_does():
    for run in runs("talnet.yaml"):
        own, training = run.backbone == "talnet", run.training
        assert (training.batch_size, training.steps) == ((250, 30_000) if own else (32, 800_000))
        assert (training.schedule == "plateau") == own and training.learning_rate == 1e-3
        if own:
            assert (training.plateau.factor, training.plateau.patience, training.plateau.every) == (0.8, 3, 1000)
            assert training.mixup_alpha == training.spec_augment.time_stripes == training.spec_augment.mel_stripes == 0
            assert training.gradient_clip is None and training.balanced and not training.amsgrad


def test_talnets_masks_are_as_long_as_the_others():
    params = load(ROOT / "params.yaml", {"dataset": "audioset"})
    seconds = {
        name: params.training_of("audioset", name).spec_augment.time_width / rate
        for name, rate in (("talnet", 40), ("cnn10", 100))
    }
    assert abs(seconds["talnet"] - seconds["cnn10"]) <= 0.5 / 40
