"""Scores over time: against a loop over frames and windows, and an event at a known place."""

import numpy as np
import pytest
import torch
from test_twostream import CLASSES, RATE, SECONDS, tagger, waveform

from glat.config.network import Network
from glat.models.backbone import Backbone
from glat.models.factory import build
from glat.models.frontend import LogMel
from glat.models.registry import BACKBONES
from glat.models.tagger import Tagger
from glat.models.timeline import Window, timeline
from glat.scoring.frames import fuse
from glat.use.hearing import Heard, hear
from glat.use.overlaps import Steps
from glat.use.recording_tags import OverTime


@pytest.mark.parametrize("glat", [{}, {"extra_taus": [2.0]}, {"selection": "uniform", "n": 2}])
def test_scores_over_time_equal_a_loop_over_frames_and_windows(glat):
    model = tagger(**glat).eval()
    audio = waveform()
    with torch.inference_mode():
        streams, found = model.timeline(audio)
        net, logmel = model.network, model.front_end(audio)
        s_g = net.global_stream.frame_scores(net.global_stream.features(logmel))  # (B, T, L)
        expected_streams = model.streams(audio)
        assert all(torch.equal(a, b) for a, b in zip(streams, expected_streams, strict=True))
        frame = 16 / net.frames_per_second  # CNN10 halves time four times
        assert found.frame == frame and SECONDS - frame < s_g.shape[1] * frame <= SECONDS
        for b in range(len(audio)):
            for t in range(s_g.shape[1]):
                middle, scores = (t + 0.5) * frame, []
                for k, start in enumerate(streams.windows[b].tolist()):
                    tau = net.taus[k // net.n]
                    if not start <= middle < start + tau:
                        continue
                    first, width = round(start * net.frames_per_second), round(tau * net.frames_per_second)
                    of_window = net.local_stream.frame_scores(
                        net.local_stream.features(logmel[b : b + 1, :, first : first + width])
                    )[0]
                    scores.append(of_window[min(int((middle - start) / frame + 1e-3), len(of_window) - 1)])
                local = torch.stack(scores).amax(0) if scores else torch.zeros(CLASSES)
                assert found.heard[b, t] == bool(scores)
                torch.testing.assert_close(found.local[b, t], local, atol=1e-5, rtol=0)
                both = torch.stack([s_g[b, t], local])
                fused = (both.amax(0) + both.mean(0)) / 2 if scores else s_g[b, t]
                torch.testing.assert_close(found.fused[b, t], fused, atol=1e-5, rtol=0)
    assert found.heard.any() and (glat.get("n") != 2 or not found.heard.all())


def test_the_backbone_alone_has_its_own_frame_scores_over_time():
    model = tagger(n=1).eval()
    alone = type(model)(model.front_end, model.network.global_stream)
    with torch.inference_mode():
        audio = waveform()
        streams, found = alone.timeline(audio)
        assert torch.equal(streams.fused, alone(audio))
        assert torch.equal(found.fused, model.timeline(audio)[1].global_) and found.local is None
    assert audio.shape[1] == SECONDS * RATE


def test_a_window_longer_than_the_clip_lies_on_all_of_it():
    scores = torch.rand(1, 1, 5, 2)
    found = timeline(torch.zeros(1, 5, 2), 2.0, 10.0, [Window(scores, torch.zeros(1, 1), 20.0, 2.0)])
    assert torch.equal(found.local, scores[:, 0]) and found.heard.all()


@pytest.mark.parametrize(("frames", "frame"), [(32, 0.32), (63, 0.16)])  # what is padded to whole frames
def test_a_frame_that_is_partly_padding_is_heard_by_a_window_at_the_clips_end(frames, frame):
    scores, starts = torch.ones(1, 1, round(3 / frame), 1), torch.full((1, 1), 7.0)
    found = timeline(torch.zeros(1, frames, 1), frame, 10.0, [Window(scores, starts, 3.0, frame)])
    expected = torch.arange(frames) * frame + frame / 2 > 7
    assert torch.equal(found.heard[0], expected) and torch.equal(found.local[0, :, 0], expected.float())


def test_stored_streams_are_fused_as_the_network_fuses_them():
    with torch.inference_mode():
        _, found = tagger(selection="uniform", n=2).eval().timeline(waveform())
    streams = {"global": found.global_.numpy(), "local": found.local.numpy()}
    fused = fuse(streams, found.heard.numpy())["fused"]
    np.testing.assert_allclose(fused, found.fused.numpy(), atol=1e-6)
    assert not found.heard.all() and (fused != streams["global"]).any()


@pytest.mark.parametrize("name", [*BACKBONES, "timm:mobilenetv3_small_100", "timm:vit_tiny_patch16_224"])
def test_a_stride_is_the_log_mel_that_one_more_frame_takes(name):
    network = Network(model=name) if ":" in name else None
    backbone = build(name, 3, width=0.125, network=network).eval().network
    with torch.inference_mode():
        frames, more = (backbone.features(torch.randn(1, 1, n, 64)).shape[1] for n in (251, 251 + 20 * backbone.stride))
    assert more - frames == 20


class Loudness(Backbone):
    """A frame's score is the highest level of 16 frames of log-mel: what is left at the end of a clip is in none."""

    stride = 16

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros(1))  # dB

    def features(self, logmel):
        return torch.nn.functional.max_pool1d(logmel.amax(3), 16).transpose(1, 2)  # (B, T, 1)

    def clip_scores(self, features):
        return self.frame_scores(features).amax(1)

    def frame_scores(self, features):
        return torch.sigmoid(features - self.level)


@pytest.mark.parametrize("hop", [10.0, 2.5])
def test_scores_over_time_rise_and_fall_when_the_sound_does(hop):
    """Clips of 10 s have 15 frames of 0.64 s, that is 9.6 s: spread over the clip, the last would be 0.37 s late."""
    rate, spans = 32000, [(0.0, 0.6), (4.0, 5.0), (8.99, 9.59), (11.0, 12.1), (18.99, 19.5), (25.0, 26.3)]
    sound = 1e-4 * np.random.default_rng(0).standard_normal(30 * rate)
    for begin, end in spans:
        sound[round(begin * rate) : round(end * rate)] *= 1e4
    tagger, time = Tagger(LogMel(rate, hop=1280), Loudness()), OverTime(10.0, hop)
    heard = hear(tagger, [("x", [sound.astype("f4")])], 10.0, hop=hop, over_time=True)
    parts = [time.add(one) if isinstance(one, Heard) else time.end(one.seconds) for one in heard]
    scores = np.concatenate([part for part in parts if len(part)])[:, 0]
    frame = 16 * 1280 / rate
    on = (np.flatnonzero(scores > 0.9)[:, None] + [0, 1]) * time.step  # (n, 2): where it surely sounds
    assert len(scores) == round(30 / time.step) and time.step == pytest.approx(0.08)
    assert Steps(0.64, 5.0, 5.0).spread(np.zeros((7, 1)), 0.0)[1].shape == (63, 1)  # 62.5: an event may last to the end
    near = 0.05 + time.step / 2  # a window of the log-mel, and a step's rounding
    for begin, end in spans:
        inside = on[(on[:, 1] > begin - frame - near) & (on[:, 0] < end + frame + near)]
        assert inside.min() <= begin + near and end - near <= inside.max()
    assert all(any(b - frame - near <= low and high <= e + frame + near for b, e in spans) for low, high in on)
