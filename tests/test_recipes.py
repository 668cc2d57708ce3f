"""The recipes: every part of the training that they are named after, as `Run` resolves it."""

from pathlib import Path

import pytest
import yaml

from glat.config.experiments import faults, runs_of, systems_of
from glat.config.params import load
from glat.config.runs import Run
from glat.training.optimisation import rate_factor

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


ESC50 = {
    "source": {"kind": "files", "audio": "esc50"}, "metadata": "esc50/lists", "classes": 50, "shard_size": 2000,
    "splits": {"train": 1600, "eval": 400}, "train": ["train"], "evaluate": ["eval"],
}  # fmt: skip


def test_esc50_starts_from_panns_with_a_frozen_backbone_and_a_small_rate():
    recipe = yaml.safe_load((ROOT / "recipes/esc50_from_panns.yaml").read_text())
    if "esc50" not in load(ROOT / "params.yaml").datasets:
        recipe["datasets"]["esc50"] |= ESC50
        recipe["audio"] = {"clip_seconds": 5.0}
    params = load(ROOT / "params.yaml", recipe)
    assert faults(params, "table1") == [], "what the recipe sets fits together"
    made = runs_of(systems_of(params, "table1"))
    assert {run.backbone for run in made} == {"cnn10"} and {run.glat is not None for run in made} == {False, True}
    for run in made:
        training, streams = run.training, {"global", "local"} if run.glat else {"global"}
        assert {
            stream for stream, path in run.init.items() if path == params.weights["cnn10"].path.as_posix()
        } == streams
        assert run.init_classes.keys() == streams, "the rows of classes that AudioSet has are taken over"
        assert (run.width, run.dropout, run.hop, run.audio.clip_seconds) == (1.0, 1.0, 320, 5.0)
        assert (training.schedule, training.steps) == ("cosine", 2500)
        assert 0 < training.freeze_backbone < training.steps / 5 and 0 < training.warmup < training.steps / 5
        assert training.learning_rate * training.backbone_learning_rate == pytest.approx(1e-4)


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


def test_panns_trains_as_their_released_code_does():
    settings = yaml.safe_load((ROOT / "recipes/panns.yaml").read_text())
    made, params = runs("panns.yaml"), load(ROOT / "params.yaml", settings)
    assert faults(params, "table1") == [] and {run.backbone for run in made} == {"cnn10", "resnet38"}
    assert params.execution_of("audioset").precision == "float32"
    for run in made:
        training = run.training
        assert (training.steps, training.batch_size, training.learning_rate) == (1_000_000, 32, 1e-3)
        assert training.amsgrad and training.mixup_pairs and training.mixup_alpha == 1 and not training.sync_batchnorm
        assert (run.width, run.dropout, run.hop) == (1.0, 1.0, 320) and not any(run.init.values())
    # What it marks is what differs from params.yaml, and nothing else does.
    text = (ROOT / "recipes/panns.yaml").read_text().splitlines()
    marked = {line.split(":")[0].strip() for line in text if " # [differs]" in line}
    plain = load(ROOT / "params.yaml", {"dataset": "audioset"})
    theirs, ours = (one.training_of("audioset", "cnn10").model_dump() for one in (params, plain))
    differing = {key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)}
    assert differing | {"backbones", "precision"} == marked


def test_psla_trains_as_its_released_code_does():
    params = load(ROOT / "params.yaml", yaml.safe_load((ROOT / "recipes/psla.yaml").read_text()))
    assert faults(params, "table1") == [], "what the recipe sets fits together"
    made = runs("psla.yaml")
    assert [(run.backbone, run.glat is not None) for run in made] == [("psla", False), ("psla", True)]
    for run in made:
        training, masks = run.training, run.training.spec_augment
        assert run.network.head == "attention" and run.network.pretrained and run.network.front_end.mels == 128
        assert (training.batch_size, training.learning_rate, training.weight_decay) == (100, 1e-3, 5e-7)
        assert (
            training.steps == 60 * (20550 // 100)
            and training.average.last * training.average.every == training.steps / 3
        )
        assert (masks.time_stripes, masks.time_width, masks.mel_stripes, masks.mel_width) == (1, 192, 1, 48)
        mixup = training.augmentation.waveform_mixup
        assert (mixup.rate, mixup.alpha, training.mixup_alpha, training.balanced) == (0.5, 10, 0, False)
        # Half the rate at epochs 35 to 55: five times in all, as the line of its logarithm has it.
        halves = [2.0 ** -sum(epoch >= at for at in (35, 40, 45, 50, 55)) for epoch in (30, 60)]
        assert [rate_factor(training, epoch * 205) for epoch in (30, 60)] == pytest.approx(halves)
