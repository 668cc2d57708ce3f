"""Scores over time: against a loop over frames and windows, and an event at a known place."""

import numpy as np
import pytest
import torch
from test_twostream import CLASSES, RATE, SECONDS, tagger, waveform

from glat.models.timeline import lay
from glat.scoring.frames import fuse


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
        frames = s_g.shape[1]
        for b in range(len(audio)):
            for t in range(frames):
                middle, scores = (t + 0.5) * SECONDS / frames, []
                for k, start in enumerate(streams.windows[b].tolist()):
                    tau = net.taus[k // net.n]
                    if not start <= middle < start + tau:
                        continue
                    first, width = round(start * net.frames_per_second), round(tau * net.frames_per_second)
                    of_window = net.local_stream.frame_scores(
                        net.local_stream.features(logmel[b : b + 1, :, first : first + width])
                    )[0]
                    scores.append(of_window[int((middle - start) / tau * len(of_window))])
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
    laid, heard = lay(scores, torch.zeros(1, 1), tau=20.0, seconds=10.0, frames=5)
    assert torch.equal(laid, scores[:, 0]) and heard.all()


def test_stored_streams_are_fused_as_the_network_fuses_them():
    with torch.inference_mode():
        _, found = tagger(selection="uniform", n=2).eval().timeline(waveform())
    streams = {"global": found.global_.numpy(), "local": found.local.numpy()}
    fused = fuse(streams, found.heard.numpy())["fused"]
    np.testing.assert_allclose(fused, found.fused.numpy(), atol=1e-6)
    assert not found.heard.all() and (fused != streams["global"]).any()
