"""Each backbone, alone and in GL-AT, as an ONNX file of a fixed and of any length: some minutes (CONTRIBUTING.md)."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT

from glat.models import BACKBONES, build
from glat.use import onnx_export, onnx_file
from glat.use.hearing import listen
from glat.use.onnx_file import OnnxTagger, compare, translate

SAMPLES, RATE = 160000, 32000
RECORDINGS = sorted((ROOT.parent / "shared/esc10").rglob("*.ogg"))[::100]
VARIANTS = [
    {"scoring": "own", "fusion": "learned"},
    {"selection": "uniform", "n": 3},
    {"selection": "soft"},
    {"suppress": True, "frame_classifier": "local", "frame_time": "start"},
    {"sharing": "backbone", "extra_taus": [1.0]},
]


def network(backbone, glat):
    """Small, with statistics and a spread of scores as if trained."""
    torch.manual_seed(0)
    tagger = build(backbone, classes=20, width=0.125, glat=glat).eval()
    for part in tagger.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1), part.running_var.uniform_(0.5, 2)
    return tagger


def agree(tagger, path: Path, samples: int):
    exported = OnnxTagger(path)
    sounds = {"noise": 0.1 * torch.randn(3, samples)}
    if RECORDINGS:
        heard = [listen(one, RATE)[:samples] for one in RECORDINGS]
        sounds["recordings"] = torch.from_numpy(np.stack([np.pad(one, (0, samples - len(one))) for one in heard]))
    for what, waveform in sounds.items():
        found = compare(tagger, exported, waveform)
        assert found.scores <= onnx_export.TOLERANCE and found.same == len(waveform), (what, found)


@pytest.mark.parametrize("glat", [None, {"tau": 2.0}], ids=["alone", "glat"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_alone_and_in_glat(backbone, glat, tmp_path):
    tagger = network(backbone, glat)
    onnx.save(translate(tagger, SAMPLES, 18), tmp_path / "fixed.onnx")
    agree(tagger, tmp_path / "fixed.onnx", SAMPLES)


@pytest.mark.parametrize("glat", VARIANTS, ids=str)
def test_every_variant_of_glat(glat, tmp_path):
    tagger = network("cnn10", {"tau": 2.0} | glat)
    onnx.save(translate(tagger, SAMPLES, 20), tmp_path / "variant.onnx")
    agree(tagger, tmp_path / "variant.onnx", SAMPLES)


@pytest.mark.parametrize("backbone", ["cnn10", "resnet38", "atsca"])  # TALNet: docs/export.md
def test_clips_of_any_length(backbone, tmp_path):
    tagger = network(backbone, {"tau": 2.0})
    onnx.save(translate(tagger, SAMPLES, onnx_file.OPSETS[1], dynamic=True), tmp_path / "any.onnx")
    for seconds in (3.17, 5.0, 7.3, 17.3):  # at 3.17 and 7.3 s, windows of ResNet38 begin between two frames
        agree(tagger, tmp_path / "any.onnx", round(seconds * RATE))
