"""Published PANNs checkpoints: their keys, what they compute, and what is refused."""

import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from glat.models import Backbone, build, load_panns
from glat.models.cnn10 import Cnn10
from glat.models.resnet38 import ResNet38
from glat.models.talnet import TALNet

PARAMETERS = {"Cnn10": 5_219_279, "ResNet38": 73_783_247}
INTEROP = Path(__file__).parents[2] / "shared/interop/panns_state_dict.json"


def randomised(module: nn.Module, seed: int) -> None:
    """Random biases and batch-norm weights, so that no layer is an identity by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def batch_norm(state: dict[str, tuple], name: str, channels: int) -> None:
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"{name}.{part}"] = (channels,)
    state[f"{name}.num_batches_tracked"] = ()


def panns_shapes(name: str) -> dict[str, tuple]:
    """Every key and shape of the published checkpoint, by the rules of PANNs' models.py."""
    state = {f"spectrogram_extractor.stft.conv_{part}.weight": (513, 1, 1024) for part in ("real", "imag")}
    state["logmel_extractor.melW"] = (513, 64)
    batch_norm(state, "bn0", 64)

    def convolutions(prefix: str, inputs: int, outputs: int) -> None:
        for i, channels in ((1, inputs), (2, outputs)):
            state[f"{prefix}.conv{i}.weight"] = (outputs, channels, 3, 3)
            batch_norm(state, f"{prefix}.bn{i}", outputs)

    convolutions("conv_block1", 1, 64)
    if name == "Cnn10":
        for i in (2, 3, 4):
            convolutions(f"conv_block{i}", 2 ** (i + 4), 2 ** (i + 5))
    else:
        inputs = 64
        for layer, blocks in enumerate((3, 4, 6, 3)):
            outputs = 64 * 2**layer
            for block in range(blocks):
                prefix = f"resnet.layer{layer + 1}.{block}"
                convolutions(prefix, inputs, outputs)
                if inputs != outputs:
                    state[f"{prefix}.downsample.1.weight"] = (outputs, inputs, 1, 1)
                    batch_norm(state, f"{prefix}.downsample.2", outputs)
                inputs = outputs
        convolutions("conv_block_after1", 512, 2048)
    top = 512 if name == "Cnn10" else 2048
    return state | {
        "fc1.weight": (top, top), "fc1.bias": (top,), "fc_audioset.weight": (527, top), "fc_audioset.bias": (527,)
    }  # fmt: skip


@lru_cache
def torchlibrosa_front_end() -> tuple[nn.Module, nn.Module]:
    stft = Spectrogram(n_fft=1024, hop_length=320, win_length=1024, freeze_parameters=True)
    mel = LogmelFilterBank(sr=32000, n_fft=1024, n_mels=64, fmin=50, fmax=14000, amin=1e-10, top_db=None)
    return stft, mel


def as_panns(backbone: Backbone) -> dict[str, Tensor]:
    """A state dict as PANNs publish it: the backbone's own, and torchlibrosa's front end."""
    stft, mel = torchlibrosa_front_end()
    front_end = {f"spectrogram_extractor.{k}": v for k, v in stft.state_dict().items()}
    front_end |= {f"logmel_extractor.{k}": v for k, v in mel.state_dict().items()}
    return front_end | {k: v.clone() for k, v in backbone.state_dict().items()}


def naive_cnn10(state: dict[str, Tensor], waveform: Tensor) -> Tensor:
    """PANNs' Cnn10 in evaluation, written from its state dict alone."""

    def bn(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        shape = (1, -1, 1, 1)
        return (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5) * weight.view(shape) + bias.view(shape)

    padded = F.pad(waveform[:, None], (512, 512), "reflect")
    stft = "spectrogram_extractor.stft.conv_{}.weight"
    real, imaginary = (F.conv1d(padded, state[stft.format(k)], stride=320) for k in ("real", "imag"))
    power = (real**2 + imaginary**2).transpose(1, 2)  # (B, 1001, 513)
    x = 10 * torch.log10((power @ state["logmel_extractor.melW"]).clamp_min(1e-10))[:, None]
    x = bn(x.transpose(1, 3), "bn0").transpose(1, 3)
    for i in (1, 2, 3, 4):
        for j in (1, 2):
            x = F.conv2d(x, state[f"conv_block{i}.conv{j}.weight"], padding=1)
            x = F.relu(bn(x, f"conv_block{i}.bn{j}"))
        x = F.avg_pool2d(x, 2)
    x = x.mean(3)
    x = x.max(2).values + x.mean(2)
    x = F.relu(x @ state["fc1.weight"].T + state["fc1.bias"])
    return 1 / (1 + torch.exp(-(x @ state["fc_audioset.weight"].T + state["fc_audioset.bias"])))


@pytest.mark.parametrize(("name", "cls"), [("Cnn10", Cnn10), ("ResNet38", ResNet38)])
def test_keys_and_shapes_are_those_of_panns(name, cls):
    with torch.device("meta"):
        own = {k: tuple(v.shape) for k, v in cls(527).state_dict().items()}
    stft, mel = torchlibrosa_front_end()
    own |= {f"spectrogram_extractor.{k}": tuple(v.shape) for k, v in stft.state_dict().items()}
    own |= {f"logmel_extractor.{k}": tuple(v.shape) for k, v in mel.state_dict().items()}
    assert own == panns_shapes(name)


@pytest.mark.skipif(not INTEROP.exists(), reason="the list of the published keys is not beside this project")
@pytest.mark.parametrize("name", ["Cnn10", "ResNet38"])
def test_the_rules_for_panns_keys_agree_with_the_published_list(name):
    published = json.loads(INTEROP.read_text())[name]
    assert panns_shapes(name) == {k: tuple(shape) for k, shape in published["state_dict"].items()}
    assert published["parameters"] == PARAMETERS[name]


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A PANNs state dict of CNN10, waveforms, and the scores that it gives them."""
    generator = torch.Generator().manual_seed(2)
    waveform = 0.1 * torch.randn(2, 64000, generator=generator)
    waveform[1] = torch.sin(0.05 * torch.arange(64000)) * torch.linspace(0, 1, 64000)
    tagger = build("cnn10", classes=527)
    randomised(tagger.network, seed=1)
    for module in tagger.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of these clips, so that no layer is saturated or dead
    with torch.no_grad():
        tagger.train()(waveform)
    state = as_panns(tagger.network)
    return state, waveform, naive_cnn10(state, waveform)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_panns_checkpoint_gives_the_output_of_panns(published, wrapped):
    state, waveform, expected = published
    tagger = build("cnn10", classes=527).eval()
    load_panns(tagger.network, {"iteration": 1, "model": state} if wrapped else state, tagger.front_end)
    with torch.no_grad():
        torch.testing.assert_close(tagger(waveform), expected, atol=1e-4, rtol=0)
    assert (expected[0] - expected[1]).abs().max() > 0.05  # scores that depend on the input
    assert "logmel_extractor.melW" in state  # the caller's dict is left alone


def change(key: str, value: Tensor | None):
    return lambda state: state.pop(key) if value is None else state.update({key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("fc1.bias", None), r"1 keys missing, 0 unexpected, 0 of another shape, first fc1\.bias"),
        (change("bn0.running_var", None), r"first bn0\.running_var"),
        (change("fc2.bias", torch.zeros(3)), r"0 keys missing, 1 unexpected.*first fc2\.bias"),
        (change("fc_audioset.weight", torch.zeros(10, 512)), r"1 of another shape, first fc_audioset\.weight"),
        (change("logmel_extractor.melW", None), r"melW is missing.*Cnn10"),
        (change("logmel_extractor.melW", torch.zeros(513, 128)), r"melW is of shape \(513, 128\)"),
        (change("logmel_extractor.melW", torch.rand(513, 64)), r"melW differs from our mel filter bank"),
    ],
)
def test_a_damaged_panns_checkpoint_is_refused_and_loads_nothing(published, damage, message):
    state = dict(published[0])
    damage(state)
    tagger = build("cnn10", classes=527)
    before = {k: v.clone() for k, v in tagger.network.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_panns(tagger.network, state, tagger.front_end)
    assert all(torch.equal(v, before[k]) for k, v in tagger.network.state_dict().items())


def test_a_panns_checkpoint_is_refused_by_another_backbone_and_another_width(published):
    for backbone in (TALNet(527, width=0.125), Cnn10(527, width=0.5), Cnn10(10)):
        with pytest.raises(ValueError, match=f"not a checkpoint of {type(backbone).__name__}"):
            load_panns(backbone, published[0])


def test_a_mel_filter_bank_of_another_scale_is_refused(published):
    tagger = build("cnn10", classes=527, front_end={"fmin": 20.0})
    with pytest.raises(ValueError, match="trained on other log-mels"):
        load_panns(tagger.network, published[0], tagger.front_end)
