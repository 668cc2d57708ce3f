"""GL-AT around small backbones: against a loop over clips, and what each loss may change."""

import pytest
import torch
import torch.nn.functional as F
from test_selection import naive_peaks
from torch import Tensor, nn

from glat.models import Streams, TwoStream, build
from glat.models.backbone import Masked, normalise_mels
from glat.models.selection import SELECTIONS
from glat.models.talnet import TALNet

RATE, SECONDS, CLASSES = 32000, 4.0, 6


def waveform(clips: int = 2, seed: int = 0) -> Tensor:
    """Noise whose loudness changes along each clip, so that frames and windows differ."""
    generator = torch.Generator().manual_seed(seed)
    samples = round(SECONDS * RATE)
    loudness = F.interpolate(torch.rand(clips, 1, 9, generator=generator), samples, mode="linear")[:, 0]
    return 0.3 * loudness.square() * torch.randn(clips, samples, generator=generator)


def tagger(backbone="cnn10", seed: int = 0, **glat):
    torch.manual_seed(seed)
    settings = {"n": 3, "tau": 1.0} | glat
    model = build(backbone, CLASSES, width=0.125, glat=settings, dropout=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0  # statistics of this batch alone, so that evaluation sees normalised features at once
    with torch.no_grad():
        model.train()(waveform(4, seed=9))
    for layer in layers:
        layer.momentum = 0.1
    return model


def naive(model, audio: Tensor) -> list[tuple[Tensor, Tensor, Tensor, list, list]]:
    """Paper, section 2, one clip at a time: y, y_g, y_l, window starts, classes."""
    net, out = model.network, []
    for clip in audio:
        logmel = model.front_end(clip[None])
        m = net.global_stream.features(logmel)
        y_g = net.global_stream.clip_scores(m)[0]
        s_g = getattr(net, f"{net.frame_classifier}_stream").frame_scores(m)[0]  # (T, L)
        classes = sorted(range(CLASSES), key=lambda c: -y_g[c].item())[: net.n]
        scores, starts = [], []
        for c in classes:
            column = s_g[:, c].tolist()
            centre = (column.index(max(column)) + 0.5) * SECONDS / len(column)
            start = min(max(centre - net.tau / 2, 0.0), SECONDS - net.tau)
            first, width = round(start * net.frames_per_second), round(net.tau * net.frames_per_second)
            scores.append(net.local_stream(logmel[:, :, first : first + width])[0])
            starts.append(start)
        highest, mean = scores[0], sum(scores) / net.n
        for score in scores:
            highest = torch.maximum(highest, score)
        y_l = (highest + mean) / 2
        y = (torch.maximum(y_g, y_l) + (y_g + y_l) / 2) / 2
        out.append((y, y_g, y_l, starts, classes))
    return out


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
@pytest.mark.parametrize("frame_classifier", ["global", "local"])
def test_forward_equals_a_loop_over_clips_and_windows(backbone, frame_classifier):
    model = tagger(backbone, frame_classifier=frame_classifier).eval()
    audio = waveform(3)
    with torch.no_grad():
        streams = model.streams(audio)
        for b, (y, y_g, y_l, starts, classes) in enumerate(naive(model, audio)):
            assert streams.classes[b].tolist() == classes
            assert streams.windows[b].tolist() == pytest.approx(starts)
            torch.testing.assert_close(streams.global_[b], y_g, atol=1e-5, rtol=0)
            torch.testing.assert_close(streams.local[b], y_l, atol=1e-5, rtol=0)
            torch.testing.assert_close(streams.fused[b], y, atol=1e-5, rtol=0)
        torch.testing.assert_close(model(audio), streams.fused)
    assert streams.windows.unique().numel() > 2  # the clips do choose different windows


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_suppression_goes_by_the_samples_of_the_clip(backbone, tau):
    model, audio = tagger(backbone, tau=tau, suppress=True, frame_time="start").eval(), waveform(6)
    network = model.network
    with torch.no_grad():
        streams = model.streams(audio)
        s_g = network.frame_scores(network.global_stream.features(model.front_end(audio)))
    for b, classes in enumerate(streams.classes.tolist()):
        peaks = naive_peaks([s_g[b, :, c].tolist() for c in classes], round(tau * RATE), round(SECONDS * RATE))
        expected = [min(max(p * SECONDS / s_g.shape[1] - tau / 2, 0.0), SECONDS - tau) for p in peaks]
        assert streams.windows[b].tolist() == pytest.approx(expected)


def test_fusion_of_known_scores():
    model = tagger(selection="uniform", n=2).eval()
    model.network.global_stream.clip_scores = lambda m: torch.full((len(m), CLASSES), 0.2)
    scores = torch.tensor([0.4, 0.8])
    model.network.local_stream.clip_scores = lambda m: scores.repeat(len(m) // 2)[:, None].expand(-1, CLASSES)
    streams = model.streams(waveform())
    assert streams.local[0, 0].item() == pytest.approx((0.8 + 0.6) / 2)
    assert streams.fused[1, 3].item() == pytest.approx((0.7 + 0.45) / 2)


@pytest.mark.parametrize("hop", [320, 640])
@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
def test_a_window_as_long_as_the_clip_is_exactly_the_clip(backbone, hop):
    for selection in SELECTIONS:
        glat = {"n": 1, "tau": SECONDS, "selection": selection}
        model = build(backbone, CLASSES, width=0.125, glat=glat, front_end={"hop": hop}).eval()
        model.network.local_stream.load_state_dict(model.network.global_stream.state_dict())
        streams = model.streams(waveform())
        assert torch.equal(streams.local, streams.global_) and torch.equal(streams.fused, streams.global_)
        assert streams.windows.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("selection", ["random", "uniform"])
def test_the_controls_choose_by_no_class_and_follow_their_generator(selection):
    model = tagger(selection=selection).eval()
    draws = [model.streams(waveform(), torch.Generator().manual_seed(s)).windows for s in (0, 0, 1)]
    assert (model.streams(waveform()).classes == -1).all()
    assert torch.equal(draws[0], draws[1]) and torch.equal(draws[0], draws[2]) == (selection == "uniform")
    assert draws[0].min() >= 0 and draws[0].max() <= SECONDS - 1


def batches_of(backbone) -> list[torch.Size]:
    """A list that the shapes of what a backbone hears from now on are added to."""
    shapes, features = [], backbone.features

    def hear(logmel, *keep):
        shapes.append(logmel.shape)
        return features(logmel, *keep)

    backbone.features = hear
    return shapes


def test_all_windows_of_all_clips_go_through_the_local_backbone_as_one_batch():
    model = tagger()
    shapes = batches_of(model.network.local_stream)
    model.streams(waveform(4))
    assert shapes == [(4 * 3, 1, 100, 64)]


def reached(model, score: str) -> set[str]:
    """Names of the weights that the BCE of one stream's scores has a gradient for."""
    model.zero_grad(set_to_none=True)
    scores: Tensor = getattr(model.streams(waveform()), score)
    F.binary_cross_entropy(scores, torch.ones_like(scores)).backward()
    return {n.removeprefix("network.") for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def names(model, prefix: str, but: tuple[str, ...] = ()) -> set[str]:
    every = {n.removeprefix("network.") for n, _ in model.named_parameters()}
    return {n for n in every if n.startswith(prefix) and not any(f".{layer}." in n for layer in but)}


@pytest.mark.parametrize("frame_classifier", ["global", "local"])
def test_without_sharing_each_loss_reaches_all_of_its_own_stream_and_nothing_of_the_other(frame_classifier):
    model = tagger(frame_classifier=frame_classifier)
    assert reached(model, "global_") == names(model, "global_stream.")
    assert reached(model, "local") == names(model, "local_stream.")  # so none through the selection either


def test_a_shared_classifier_hears_both_losses_and_the_rest_its_own():
    model = tagger(sharing="classifier")
    head = names(model, "global_stream.fc1.") | names(model, "global_stream.fc_audioset.")
    assert not names(model, "local_stream.fc") and len(head) == 4
    assert reached(model, "global_") == names(model, "global_stream.")
    assert reached(model, "local") == names(model, "local_stream.") | head


def test_a_shared_backbone_hears_both_losses():
    model = tagger(sharing="backbone")
    assert reached(model, "global_") == reached(model, "local") == names(model, "global_stream.")


def test_the_gradient_of_both_losses_is_the_sum_of_each():
    model = tagger(sharing="backbone")
    grads = []
    for score in ("global_", "local", None):
        model.zero_grad()
        streams = model.streams(waveform())
        parts = [getattr(streams, s) for s in ("global_", "local") if score in (s, None)]
        sum(F.binary_cross_entropy(part, torch.ones_like(part)) for part in parts).backward()
        grads.append(model.network.global_stream.fc1.weight.grad.clone())
    torch.testing.assert_close(grads[0] + grads[1], grads[2])


def test_the_local_classifier_chooses_other_frames_than_the_global_one():
    model = tagger().eval()
    a = model.streams(waveform(6))
    model.network.frame_classifier = "local"
    b = model.streams(waveform(6))
    assert torch.equal(a.classes, b.classes) and not torch.equal(a.windows, b.windows)


def hears(model, heard: dict) -> None:
    """Note what enters the first convolution of each stream."""
    for name, stream in model.backbones().items():
        stream.conv_block1.register_forward_pre_hook(lambda _, inputs, name=name: heard.__setitem__(name, inputs[0]))


def test_a_mask_is_zero_behind_the_normalisation_of_each_stream_and_cut_as_its_windows_are():
    model, heard = tagger().eval(), {}
    hears(model, heard)
    logmel = model.front_end(waveform())
    plain = model.from_logmel(logmel, SECONDS)
    clean = dict(heard)
    keep = torch.ones_like(logmel)
    keep[0, :, 100:180], keep[1, :, :, 5:9] = 0.0, 0.5
    masked = model.from_logmel(logmel, SECONDS, masked=Masked(logmel, keep))
    assert torch.equal(heard["global"], clean["global"] * keep) and not torch.equal(masked.global_, plain.global_)
    starts = (masked.windows * 100).round().long()
    kept = torch.cat([keep[b, :, s : s + 100][None] for b in range(2) for s in starts[b]])
    windows = torch.cat([logmel[b, :, s : s + 100][None] for b in range(2) for s in starts[b]])
    torch.testing.assert_close(heard["local"], normalise_mels(model.network.local_stream.bn0, windows) * kept)
    assert (heard["local"][kept == 0] == 0).all()  # -0.73 where the fill came before a normalisation of its own


def test_windows_are_masked_once_they_are_cut_where_they_have_masks_of_their_own():
    model, heard = tagger().eval(), {}
    hears(model, heard)
    logmel = model.front_end(waveform())
    keep, own = torch.ones_like(logmel), torch.ones(6, 1, 100, 64)
    keep[:, :, 50:60], own[torch.arange(6), :, torch.arange(6) * 10] = 0.0, 0.0
    quiet = Masked(logmel - 100, keep)  # a mixture may sound otherwise in its stripes: windows are of the clip itself
    found = model.from_logmel(logmel, SECONDS, masked=quiet, keep_windows=own)
    windows = model.network.cut(logmel, found.windows)
    torch.testing.assert_close(heard["local"], normalise_mels(model.network.local_stream.bn0, windows) * own)
    assert torch.equal(heard["local"] == 0, own == 0)
    assert torch.equal(heard["global"] == 0, keep == 0)
    assert model.windows(logmel.shape[2]) == (3, 100) and build("cnn10", CLASSES, 0.125).windows(401) is None


@pytest.mark.parametrize("own", [False, True])
def test_a_frozen_global_stream_hears_the_clip_as_it_is(own):
    model, heard = tagger(training="frozen_global").train(), {}
    hears(model, heard)
    logmel = model.front_end(waveform())
    plain = model.from_logmel(logmel, SECONDS)
    clean = dict(heard)
    keep_windows = torch.zeros(6, 1, 100, 64) if own else None
    nothing = Masked(logmel - 100, torch.zeros_like(logmel))
    masked = model.from_logmel(logmel, SECONDS, masked=nothing, keep_windows=keep_windows)
    assert torch.equal(heard["global"], clean["global"]) and not heard["local"].any()
    assert torch.equal(masked.global_, plain.global_) and torch.equal(masked.windows, plain.windows)


@pytest.mark.parametrize("backbone", ["talnet", "cnn10", "resnet38", "atsca"])
def test_every_backbone_masks_behind_its_normalisation(backbone):
    torch.manual_seed(0)
    network = build(backbone, CLASSES, width=0.0625).network.eval()
    logmel, keep = 20 * torch.randn(2, 1, 64, 64) - 40, (torch.rand(2, 1, 64, 64) > 0.3).float()
    with torch.no_grad():
        network.bn0.running_mean.fill_(-40.0)
        network.bn0.running_var.fill_(400.0)
        assert network.takes_keep
        expected = network(torch.where(keep == 0, -40.0, logmel))  # which its normalisation makes zero
        torch.testing.assert_close(network(logmel, keep), expected)
        torch.testing.assert_close(network(logmel, torch.ones_like(keep)), network(logmel))


@pytest.mark.parametrize(("backbone", "layers"), [("cnn10", 2), ("talnet", 1)])
@pytest.mark.parametrize("frame_classifier", ["global", "local"])
def test_frame_scores_that_choose_windows_pass_dropout_while_training(backbone, layers, frame_classifier):
    model = tagger(backbone, frame_classifier=frame_classifier, frame_dropout=True).eval()
    network = model.network
    stream = getattr(network, f"{frame_classifier}_stream")
    stream.dropout_scale = 1.0
    m = network.global_stream.features(model.front_end(waveform()))
    assert torch.equal(network.frame_scores(m), stream.frame_scores(m))  # never in evaluation
    network.training = True  # the streams stay in evaluation mode, as a frozen one does
    torch.manual_seed(0)
    found = network.frame_scores(m)
    torch.manual_seed(0)
    x = m
    for number, name in enumerate(stream.classifier):
        x = getattr(stream, name)(F.dropout(x, 0.5))
        x = F.relu(x) if number < layers - 1 else torch.sigmoid(x)
    assert len(stream.classifier) == layers
    torch.testing.assert_close(found, x)
    assert torch.equal(stream.frame_scores(m), stream.frame_scores(m))  # nothing is left on the layers
    stream.dropout_scale = 0.0
    assert torch.equal(network.frame_scores(m), stream.frame_scores(m))
    network.frame_dropout, stream.dropout_scale = False, 1.0
    assert torch.equal(network.frame_scores(m), stream.frame_scores(m))


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_a_frozen_global_stream_stays_as_it_is_and_the_local_one_learns(dropout):
    torch.manual_seed(0)
    glat = {"n": 2, "tau": 1.0, "training": "frozen_global"}
    model = build("cnn10", CLASSES, width=0.125, glat=glat, dropout=dropout)
    network = model.network
    start = {k: v.clone() for k, v in network.global_stream.state_dict().items()}
    assert all(torch.equal(v, start[k]) for k, v in network.local_stream.state_dict().items())  # the same weights
    model.train()
    assert network.local_stream.training and not any(m.training for m in network.global_stream.modules())
    y_g = network.global_stream(model.front_end(waveform()))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    streams = model.streams(waveform())
    assert torch.equal(streams.global_, y_g) and not y_g.requires_grad
    F.binary_cross_entropy(streams.local, torch.ones_like(streams.local)).backward()
    optimizer.step()
    assert all(torch.equal(v, start[k]) for k, v in network.global_stream.state_dict().items())
    changed = [k for k, v in network.local_stream.state_dict().items() if not torch.equal(v, start[k])]
    assert "bn0.running_mean" in changed and "conv_block1.conv1.weight" in changed and "fc1.weight" in changed


def test_joint_training_updates_the_statistics_of_both_streams():
    model = tagger()
    before = {k: v.clone() for k, v in model.state_dict().items() if k.endswith("bn0.running_mean")}
    model.train().streams(waveform(seed=5))
    assert len(before) == 2 and not any(torch.equal(model.state_dict()[k], v) for k, v in before.items())


def test_parameters_count_once_where_they_are_shared():
    torch.manual_seed(0)
    plain = build("cnn10", CLASSES, width=0.125)
    one, head = plain.parameter_count(), sum(p.numel() for n, p in plain.named_parameters() if "fc" in n)
    count = {sharing: tagger(sharing=sharing).parameter_count() for sharing in ("none", "classifier", "backbone")}
    assert count == {"none": 2 * one, "classifier": 2 * one - head, "backbone": one}
    assert tagger(training="frozen_global").parameter_count() == 2 * one


def test_streams_by_name_with_and_without_glat():
    plain, model = build("cnn10", CLASSES, width=0.125).eval(), tagger()
    assert list(plain.backbones()) == ["global"] and list(model.backbones()) == ["global", "local"]
    streams: Streams = plain.streams(waveform())
    assert torch.equal(streams.fused, streams.global_) and streams.local is None and streams.windows is None


def test_as_many_windows_as_classes_and_no_more():
    assert tagger(n=CLASSES).streams(waveform()).windows.shape == (2, CLASSES)
    with pytest.raises(ValueError, match="n is 7: there are only 6 classes"):
        tagger(n=CLASSES + 1)


def test_a_window_as_long_as_the_clip_is_the_clip():
    model = tagger(tau=SECONDS, n=2).eval()
    streams = model.streams(waveform())
    assert not streams.windows.any()
    model.network.tau = 2 * SECONDS  # on a clip shorter than tau the whole clip is heard
    assert model.streams(waveform()).local.shape == (2, CLASSES)


@pytest.mark.parametrize("settings", [
    {"n": 0}, {"tau": -1.0}, {"tau": 0.0}, {"tau": 0.1}, {"selection": "best"}, {"frame_classifier": "both"},
    {"frame_time": "end"}, {"training": "none"}, {"sharing": "all"},
])  # fmt: skip
def test_a_setting_outside_its_range_is_named(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} is "):
        tagger(**settings)


def test_a_frozen_stream_shares_nothing():
    for sharing in ("classifier", "backbone"):
        with pytest.raises(ValueError, match=f"sharing is '{sharing}': with training 'frozen_global'"):
            tagger(training="frozen_global", sharing=sharing)


def test_sharing_is_by_the_classifier_that_the_backbone_names():
    streams = [TALNet(CLASSES, width=0.125) for _ in range(2)]
    network = TwoStream(*streams, 40.0, n=2, sharing="classifier")
    assert network.local_stream.fc is network.global_stream.fc
    assert isinstance(network.local_stream.gru, nn.GRU) and network.local_stream.gru is not network.global_stream.gru
