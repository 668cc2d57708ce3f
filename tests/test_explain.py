"""`glat explain`: the picture shows what the network computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from data_fixtures import encode, tone

from glat import checkpoints, explain
from glat.data.packed import Packs
from glat.errors import GlatError
from glat.runs import resolve, split_packs

NONE = pd.DataFrame(columns=["clip", "start", "end", "label"])  # no strong labels


@pytest.fixture
def project(corpus, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(corpus / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def untrained(params, folder, glat):
    run = resolve(params, "cnn10", 0, glat)
    torch.manual_seed(0)
    classes = Packs(run.packs).classes[["mid", "display_name"]].to_dict("records")
    checkpoints.save(checkpoints.build(run), run, classes, 0, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


@pytest.mark.parametrize("glat", [None, {}, {"frame_classifier": "local"}, {"selection": "random"}])
def test_a_clip_is_pictured_as_it_is_scored(project, params, glat):
    checkpoint = untrained(params, project / "run", glat)
    packs = split_packs(params, "mini", ["eval"])
    tagger, _, _ = checkpoints.load(checkpoint)
    waveform = Packs(packs).read([3])[0]
    heard = explain.hear(tagger, waveform)
    with torch.inference_mode():
        streams = tagger.streams(torch.from_numpy(waveform)[None], torch.Generator().manual_seed(0))
    np.testing.assert_allclose(heard.streams["fused"], streams.fused[0], atol=1e-6)
    assert heard.activations.shape[1] == 16 and heard.seconds == 10.0
    if glat == {}:
        # Each window lies around the peak of its class's activation, or is pushed against an end of the clip.
        frames = len(heard.activations)
        for start, c in zip(heard.windows, heard.classes, strict=True):
            peak = (heard.activations[:, c].argmax() + 0.5) * 10 / frames
            assert start == pytest.approx(np.clip(peak - 1.5, 0, 7), abs=1e-6)
    if glat is None:
        assert list(heard.streams) == ["fused"] and not len(heard.windows)


def test_a_packed_clip_and_an_audio_file_are_drawn(project, params):
    checkpoint = untrained(params, project / "run", {})
    packs = split_packs(params, "mini", ["eval"])
    clip = explain.draw_lots(packs, 1, 0)[0]
    explain.explain(checkpoint, clip, packs, NONE, project / "a")
    explain.explain(checkpoint, str(encode(project / "tone.wav", tone(4.0))), packs, NONE, project / "b")
    for name in ("a.svg", "a.png", "b.svg", "b.png"):
        assert (project / name).stat().st_size > 10_000
    with pytest.raises(GlatError, match="nothing_0: neither an audio file nor a clip"):
        explain.explain(checkpoint, "nothing_0", packs, NONE, project / "c")


def test_lots_depend_on_the_seed_alone(project, params):
    packs = split_packs(params, "mini", ["eval"])
    assert explain.draw_lots(packs, 4, 0) == explain.draw_lots(packs, 4, 0)
    assert explain.draw_lots(packs, 4, 0)[:2] == explain.draw_lots(packs, 2, 0)
    assert set(explain.draw_lots(packs, 100, 1)) == set(Packs(packs).clips)
