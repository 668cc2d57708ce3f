"""Training and tagging on a GPU; skipped where there is none."""

import h5py
import lightning
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from test_training import run_with, train

import glat
from glat.config.training import Augmentation, Distillation
from glat.data.packs.read import Packs
from glat.lib.errors import GlatError
from glat.training import checkpoints

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
METHODS = [None, {}, {"selection": "random"}]


@pytest.fixture
def project(corpus_project):
    return corpus_project


class NoWaiting(lightning.Callback):
    """From the end of one step to that of another, whatever waits for the GPU is an error; then the training ends."""

    def __init__(self, first, last):
        self.first, self.last, self.looked = first, last, False

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.first:
            torch.cuda.set_sync_debug_mode("error")
        if trainer.global_step == self.last:
            torch.cuda.set_sync_debug_mode("default")
            self.looked = trainer.should_stop = True

    def on_exception(self, *_):
        torch.cuda.set_sync_debug_mode("default")


RECIPE = {
    "augmentation": Augmentation(roll=0.1, gain=6, waveform_mixup={"rate": 0.5}, mix_style={"rate": 0.5}),
    "mixup_alpha": 1.0, "mixup_pairs": True, "label_smoothing": 0.1, "optimizer": "adamw", "weight_decay": 0.01,
    "accumulate": 2, "layer_decay": 0.7, "ema": 0.9, "distillation": Distillation(teacher="teacher.h5"),
}  # fmt: skip


@pytest.mark.parametrize(("method", "settings"), [*((method, {}) for method in METHODS), ({}, RECIPE)])
def test_no_step_waits_for_the_gpu(project, params, method, settings):
    steps = NoWaiting(first=5, last=15)
    run = run_with(params, method, steps=400, **settings)  # a line of progress each 20 steps
    with h5py.File("teacher.h5", "w") as file:
        file["clip"], file["logits"] = Packs(run.packs).clips, np.zeros((24, 16), np.float32)
    train(run, project / "a", [steps], accelerator="gpu", log_every=50, checkpoint_every=1000, workers=1)
    assert steps.looked


@pytest.mark.parametrize("method", METHODS)
def test_what_a_gpu_trained_scores_the_same_on_a_cpu(project, params, method, tmp_path):
    train(run_with(params, method), project / "a", accelerator="gpu")
    file = tmp_path / "noise.wav"
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 25 * 32000), 32000)
    found = {
        device: [(tag.start, tag.label, tag.score) for tag in glat.load(project / "a", device).tag(file, top=16)]
        for device in ("cpu", "cuda")
    }
    by_class = [{(start, label): score for start, label, score in tags} for tags in found.values()]
    assert len(by_class[0]) == 48
    assert by_class[0] == pytest.approx(by_class[1], abs=1e-4)


def test_a_training_that_a_gpu_began_goes_on_on_a_cpu(project, params, capsys):
    class End(lightning.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 4:
                raise ValueError("the machine went down")

    with pytest.raises(ValueError, match="went down"):
        train(run_with(params, {}), project / "a", [End()], accelerator="gpu")
    train(run_with(params, {}), project / "a", accelerator="cpu")
    assert "resumed at step 4" in capsys.readouterr().err
    assert checkpoints.read(project / "a/checkpoint.pt")["step"] == 6


def test_a_batch_that_a_gpu_cannot_hold_is_told(project, params):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0005)
    try:
        with pytest.raises(GlatError, match=r"does not hold 4 clips .*training.batch_size: 2"):
            train(run_with(params, {}), project / "a", accelerator="gpu")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_compiled_backbones_train_as_they_are(project, params):
    for name in ("plain", "compiled"):
        how = {"accelerator": "gpu", "precision": "float32", "compile": name == "compiled", "log_every": 1}
        train(run_with(params, {}, steps=3), project / name, **how)
    curves = (pd.read_csv(project / name / "train.csv") for name in ("plain", "compiled"))
    plain, compiled = (curve[["loss_global", "loss_local", "gradient_norm"]].to_numpy() for curve in curves)
    np.testing.assert_allclose(compiled, plain, rtol=1e-2)  # convolutions round to 10 bits (TF32)
