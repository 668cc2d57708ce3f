"""Multiply-adds against the sums that the layers' sizes give."""

from itertools import pairwise

import pytest

import glat.models
from glat.scoring.cost import Stopwatch, multiply_adds


def convolutions(sizes):
    """Of (outputs, inputs, kernel, frames, mels) each."""
    return sum(o * i * k * t * f for o, i, k, t, f in sizes)


def test_cnn10_costs_what_its_layers_say():
    tagger = glat.models.build("cnn10", classes=527)
    channels, frames, mels, layers = [1, 64, 128, 256, 512], 1001, 64, []
    for inputs, outputs in pairwise(channels):
        layers += [(outputs, inputs, 9, frames, mels), (outputs, outputs, 9, frames, mels)]
        frames, mels = frames // 2, mels // 2
    expected = convolutions(layers) + 512 * 512 + 512 * 527
    assert multiply_adds(tagger, 10.0) == expected


def test_talnet_s_recurrent_layer_is_counted():
    tagger = glat.models.build("talnet", classes=527)
    channels, frames, mels, layers = [1, 32, 64, 128, 256, 512], 400, 64, []
    for block, (inputs, outputs) in enumerate(pairwise(channels)):
        layers += [(outputs, inputs, 9, frames, mels), (outputs, outputs, 9, frames, mels)]
        frames, mels = (frames // 2 if block < 2 else frames), mels // 2
    gru = 2 * 100 * 3 * 512 * (1024 + 512)  # two directions, 100 frames, three gates, from input and state
    assert multiply_adds(tagger, 10.0) == convolutions(layers) + gru + 100 * 1024 * 527


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
def test_glat_costs_one_more_pass_over_its_windows(backbone):
    alone = multiply_adds(glat.models.build(backbone, 16, 0.125), 10.0)
    glat_ = multiply_adds(glat.models.build(backbone, 16, 0.125, glat={"n": 4, "tau": 2.5}), 10.0)
    assert glat_ / alone == pytest.approx(1 + 4 * 2.5 / 10, rel=0.03)
    two = multiply_adds(glat.models.build(backbone, 16, 0.125, glat={"n": 1, "tau": 10.0}), 10.0)
    assert two / alone == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize(("variant", "windows"), [
    ({}, [300]), ({"scoring": "own"}, [300]), ({"fusion": "learned"}, [300]), ({"selection": "soft"}, [300]),
    ({"sharing": "backbone"}, [300]), ({"training": "none", "sharing": "backbone"}, [300]),
    ({"extra_taus": [1.5, 0.8]}, [300, 150, 80]),
])  # fmt: skip
def test_a_variant_costs_the_clip_the_scores_of_its_frames_and_each_of_its_windows(variant, windows):
    channels, n, classes = [1, 8, 16, 32, 64], 2, 16

    def backbone(frames):
        layers, mels = [], 64
        for inputs, outputs in pairwise(channels):
            layers += [(outputs, inputs, 9, frames, mels), (outputs, outputs, 9, frames, mels)]
            frames, mels = frames // 2, mels // 2
        return convolutions(layers) + head

    head = 64 * 64 + 64 * classes
    tagger = glat.models.build("cnn10", classes, 0.125, glat={"n": n} | variant)
    expected = backbone(1001) + 62 * head + n * sum(map(backbone, windows))
    assert multiply_adds(tagger, 10.0) == expected


def test_the_network_is_left_as_it_was():
    tagger = glat.models.build("cnn10", 4, 0.125)
    assert tagger.training
    multiply_adds(tagger, 1.0)
    assert tagger.training


def test_the_stopwatch_leaves_the_first_batch_out():
    watch = Stopwatch("cpu")
    watch.laps = [9.0, 1.0, 3.0, 2.0]
    assert watch.seconds_per_clip == 2.0
    watch.laps = [9.0]
    assert watch.seconds_per_clip == 9.0
    with watch.lap(4):
        sum(range(10**6))
    assert 0 < watch.laps[-1] < 1
