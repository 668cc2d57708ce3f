"""The four backbones: size, shape, heads, and what a fifth one has to bring."""

import re
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn

from glat.lib import dependencies
from glat.models import BACKBONES, Backbone, backbone_class, build, registry
from glat.models.atsca import ChannelAttention, FrameAttention, RegionAttention
from glat.models.cnn10 import Cnn10
from glat.models.talnet import TALNet

# parameters, frames of the log-mel, T and C of the frame features for 10 s (at width 1 and 527 classes)
PUBLISHED = {
    "cnn10": (5_219_279, 1001, 62, 512),
    "resnet38": (73_783_247, 1001, 31, 2048),
    "talnet": (9_980_527, 400, 100, 1024),
}


def perturbed(module: nn.Module) -> nn.Module:
    """In evaluation mode, with biases and batch-norm weights that are not what they start as."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_at_full_width_are_as_published(name):
    with torch.device("meta"):
        backbone = backbone_class(name)(527)
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == PUBLISHED[name][0]


def test_atsca_adds_its_attention_to_cnn10():
    with torch.device("meta"):
        atsca, cnn10 = (backbone_class(name)(527) for name in ("atsca", "cnn10"))
    channels = (64, 128, 256, 512)
    # shared MLP with reduction 16, 7x7 convolution of two maps, 1-D convolution of three frames
    added = sum(2 * c * (c // 16) + c // 16 + c + (2 * 49 + 1) + (3 * c + 1) for c in channels)
    assert sum(p.numel() for p in atsca.parameters()) == sum(p.numel() for p in cnn10.parameters()) + added
    assert atsca.state_dict().keys() > cnn10.state_dict().keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_frames_and_channels_of_the_features_are_as_in_the_paper(name):
    _, frames, t, c = PUBLISHED[name]
    backbone = backbone_class(name)(527).eval()
    with torch.no_grad():
        features = backbone.features(torch.randn(1, 1, frames, 64))
        assert features.shape == (1, t, c)
        assert backbone.clip_scores(features).shape == (1, 527)
        assert backbone.frame_scores(features).shape == (1, t, 527)


@pytest.mark.parametrize("name", BACKBONES)
def test_scores_of_a_narrow_network_are_probabilities_in_float32_also_under_bf16(name):
    tagger = build(name, classes=7, width=0.0625).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logmel = tagger.front_end(0.1 * torch.randn(2, 32000))
        features = tagger.network.features(logmel)
        scores, frames = tagger.network.clip_scores(features), tagger.network.frame_scores(features)
    assert scores.shape == (2, 7) and frames.shape == (2, features.shape[1], 7)
    for out in (scores, frames):
        assert out.dtype == torch.float32 and out.min() > 0 and out.max() < 1


@pytest.mark.parametrize("name", BACKBONES)
def test_min_frames_is_the_shortest_input(name):
    backbone = backbone_class(name)(3, width=0.0625).eval()
    assert backbone(torch.randn(1, 1, backbone.min_frames, 64)).isfinite().all()
    with pytest.raises(RuntimeError):
        backbone(torch.randn(1, 1, backbone.min_frames - 1, 64))


def test_max_plus_mean_pooling_equals_a_loop():
    backbone = perturbed(Cnn10(5, width=0.125))
    m = torch.randn(3, 6, 64)
    for b in range(3):
        pooled = torch.tensor([max(m[b, :, c].tolist()) + sum(m[b, :, c].tolist()) / 6 for c in range(64)])
        expected = torch.sigmoid(backbone.fc_audioset(backbone.fc1(pooled).clamp_min(0)))
        torch.testing.assert_close(backbone.clip_scores(m)[b], expected)
        for t in range(6):
            expected = torch.sigmoid(backbone.fc_audioset(backbone.fc1(m[b, t]).clamp_min(0)))
            torch.testing.assert_close(backbone.frame_scores(m)[b, t], expected)


def test_linear_softmax_pooling_equals_a_loop():
    backbone = perturbed(TALNet(5, width=0.125))
    m = torch.randn(2, 9, 2 * backbone.gru.hidden_size)
    p = torch.sigmoid(backbone.fc(m))
    torch.testing.assert_close(backbone.frame_scores(m), p)
    for b in range(2):
        for c in range(5):
            values = p[b, :, c].tolist()
            expected = sum(v * v for v in values) / sum(values)
            assert backbone.clip_scores(m)[b, c].item() == pytest.approx(expected, rel=1e-5)


def test_talnet_starts_with_an_orthogonal_gru_and_zero_biases():
    backbone = TALNet(5, width=0.125)
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias") or "bias_" in name:
            assert not parameter.any(), name
    for weight in (p for n, p in backbone.gru.named_parameters() if "weight" in n):
        rows, columns = weight.shape
        gram = weight @ weight.T if rows <= columns else weight.T @ weight
        torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_no_probability_of_talnet_is_zero_or_one(sign):
    backbone = TALNet(5, width=0.125).eval()
    with torch.no_grad():
        backbone.fc.bias.fill_(sign * 200.0)
        m = torch.randn(2, 9, 2 * backbone.gru.hidden_size)
        frames, clip = backbone.frame_scores(m), backbone.clip_scores(m)
    nearest = torch.tensor(1e-7 if sign < 0 else 1 - 1e-7)
    assert (frames == nearest).all() and clip.min() >= 1e-7 and clip.max() < 1
    torch.testing.assert_close(clip, nearest.expand(2, 5), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_dropout_zero_makes_training_deterministic_and_its_default_does_not(name):
    logmel = torch.randn(2, 1, 96, 64)
    for dropout, same in ((0.0, True), (1.0, name == "talnet")):  # TALNet has no dropout
        torch.manual_seed(0)
        network = perturbed(build(name, classes=3, width=0.125, dropout=dropout).network).train()
        assert torch.equal(network(logmel), network(logmel)) == same
    assert torch.equal(network.eval()(logmel), network(logmel))


def test_gates_of_atsca_lie_between_zero_and_one_over_the_axes_they_name():
    torch.manual_seed(0)
    x = torch.rand(2, 16, 12, 8) + 0.5
    gates = ((ChannelAttention(16), (2, 3)), (RegionAttention(), (1,)), (FrameAttention(16), (1, 3)))
    for layer, constant_over in gates:
        gate = layer(x) / x
        assert gate.shape == x.shape and gate.min() > 0 and gate.max() < 1
        for dimension in constant_over:
            torch.testing.assert_close(gate, gate.narrow(dimension, 0, 1).expand_as(gate))
        assert gate.std() > 1e-3  # it does depend on the input


class Fifth(Backbone):
    """The least a backbone has to bring."""

    min_frames = 10
    classifier = ("out",)

    def __init__(self, classes: int, width: float = 1.0, mels: int = 64):
        super().__init__()
        self.conv = nn.Conv1d(mels, round(32 * width), 10, stride=10)
        self.out = nn.Linear(round(32 * width), classes)

    def features(self, logmel: Tensor) -> Tensor:
        return self.conv(logmel[:, 0].transpose(1, 2) / 100).relu().transpose(1, 2)

    def clip_scores(self, features: Tensor) -> Tensor:
        return self.frame_scores(features).mean(1)

    def frame_scores(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.out(features).float())


@pytest.mark.parametrize("glat", [None, {}, {"sharing": "classifier"}, {"suppress": True, "frame_classifier": "local"}])
def test_a_fifth_backbone_is_one_class(glat):
    tagger = build(Fifth, classes=6, width=0.5, glat=glat)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        streams = tagger.streams(0.1 * torch.randn(2, 320000))
    assert streams.fused.shape == (2, 6) and (glat is None or streams.windows.shape == (2, 5))
    streams.fused.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tagger.parameters())


def test_a_backbone_that_takes_no_mask_hears_stripes_of_the_clip_s_mean_in_each_band():
    fifth, heard = Fifth(6, 0.5), []
    fifth.conv.register_forward_pre_hook(lambda _, inputs: heard.append(100 * inputs[0].transpose(1, 2)))
    logmel, keep = torch.randn(2, 1, 40, 64), torch.ones(2, 1, 40, 64)
    keep[:, :, 3:7] = 0.0
    assert not fifth.takes_keep and fifth(logmel, keep).shape == (2, 6)
    parts = torch.cat([fifth.eval()(logmel[i : i + 1], keep[i : i + 1]) for i in range(2)])  # as of two processes
    torch.testing.assert_close(fifth(logmel, keep), parts)
    expected = logmel[:, 0].clone()
    expected[:, 3:7] = logmel.mean((1, 2))[:, None]
    torch.testing.assert_close(heard[0], expected)


def test_a_registered_fifth_backbone_is_one_line(monkeypatch):
    monkeypatch.setitem(BACKBONES, "fifth", BACKBONES["cnn10"]._replace(title="Fifth", location=f"{__name__}:Fifth"))
    assert type(build("fifth", classes=3).network) is Fifth


def test_an_unknown_backbone_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'cnn11' is not known: allowed are talnet, cnn10, resnet38, atsca"):
        build("cnn11", classes=3)


@pytest.mark.parametrize("own", [["cnn10"], ["atsca", "cnn10"], ["talnet"]])
def test_a_network_s_sources_are_what_is_imported_for_it(own):
    backbone = own[0]
    program = "import sys; from glat.models import build; build(sys.argv[1], 2, glat={'n': 1}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program, backbone], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in run.stdout.split() if name.startswith("glat.models.")}
    assert set(own) <= loaded
    sources = dependencies.sources("glat.models.factory", registry.entry(backbone).module)
    assert {path.relative_to(ROOT / "glat/models").stem for path in sources} == loaded - {"registry"}


@pytest.mark.parametrize("glat", [None, {}, {"sharing": "classifier"}])
def test_the_backbone_of_the_guide_is_one(tmp_path, glat):
    (code,) = [part for part in (ROOT / "docs/backbones.md").read_text().split("```python\n") if "class Mine" in part]
    (tmp_path / "mine.py").write_text(code.partition("```")[0])
    tagger = build(runpy.run_path(str(tmp_path / "mine.py"))["Mine"], 5, glat=glat).train()
    with torch.autocast("cpu", torch.bfloat16):
        streams = tagger.streams(torch.randn(2, 320000))
    assert streams.fused.shape == (2, 5) and streams.fused.dtype == torch.float32
    assert streams.fused.min() >= 0 and streams.fused.max() <= 1


def test_the_guide_s_file_and_line_are_all_that_a_new_backbone_takes(tmp_path):
    guide = (ROOT / "docs/backbones.md").read_text()
    (code,) = [part for part in guide.split("```python\n") if "class Mine" in part]
    (line,) = re.findall(r'`("mine": Entry\(.*?\),)`', guide)
    copy = shutil.copytree(ROOT / "glat", tmp_path / "glat", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "models/mine.py").write_text(code.partition("```")[0])
    table = copy / "models/registry.py"
    table.write_text(table.read_text().replace('    "talnet":', f'    {line}\n    "talnet":'))
    asked = "import glat.models, glat.models.registry as r; print(r.BACKBONES['mine'].min_frames, "
    asked += "glat.models.build('mine', 5, glat={}).parameter_count())"
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split()[0] == "10" and int(done.stdout.split()[1]) > 0
