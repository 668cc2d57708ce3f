"""`glat explain`: the picture shows what the network computed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import ROOT
from data_fixtures import encode, tone
from typer.testing import CliRunner

import glat
from glat import cli
from glat.config.runs import split_packs, write_run
from glat.data.packs.read import Packs
from glat.data.randomness import clip_generators
from glat.lib.errors import GlatError
from glat.models.tagger import Tagger
from glat.scoring.predict import predict
from glat.training import checkpoints
from glat.use import explain, hearing, tagging

NONE = pd.DataFrame(columns=["clip", "start", "end", "label"])  # no strong labels


@pytest.fixture
def project(corpus_project):
    return corpus_project


def untrained(params, folder, glat):
    made_runs.untrained(params, folder, glat)
    return folder / "checkpoint.pt"


@pytest.mark.parametrize("glat", [None, {}, {"frame_classifier": "local"}, {"selection": "random"}])
def test_a_clip_is_pictured_as_it_is_scored(project, params, glat):
    checkpoint = untrained(params, project / "run", glat)
    packs = split_packs(params, "mini", ["eval"])
    tagger, _, _ = checkpoints.load(checkpoint)
    waveform = Packs(packs).read([3])[0]
    heard = explain.hear(tagger, waveform, draw=clip_generators(7, ["clip"]))
    with torch.inference_mode():
        streams = tagger.streams(torch.from_numpy(waveform)[None], clip_generators(7, ["clip"]))
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


def test_random_windows_belong_to_the_clip_in_any_batch_picture_and_where_it_is_tagged(project, params, monkeypatch):
    checkpoint = untrained(params, project / "run", {"selection": "random"})
    paths = split_packs(params, "mini", ["eval"])
    (tagger, _, _), packs = checkpoints.load(checkpoint), Packs(paths)

    def windows(batch_size: int, seed: int = 3, only: list[int] | None = None):
        chosen = None if only is None else np.array(only)
        how = {"batch_size": batch_size, "device": "cpu", "precision": "float32", "seed": seed, "only": chosen}
        return predict(tagger, packs, **how)[0]["windows"]

    expected = windows(5)
    assert len(np.unique(expected)) == expected.size  # no clip has another's
    np.testing.assert_array_equal(windows(12), expected)
    np.testing.assert_array_equal(windows(1, only=[9, 2]), expected[[9, 2]])
    assert not np.isin(windows(12, seed=4), expected).any()
    waveform, name = packs.read([9])[0], str(packs.clips[9])
    [(_, _, tagged, _)] = hearing.clips(tagger, waveform, 10.0, name, 3)
    np.testing.assert_array_equal(tagged.windows[0], expected[9])
    parts = list(hearing.clips(tagger, np.tile(waveform, 2), 10.0, name, 3))
    assert torch.equal(parts[0].streams.windows, tagged.windows) and not torch.equal(
        parts[1].streams.windows, tagged.windows
    )
    # The seed of the command is the evaluation's own.
    drawn = []
    monkeypatch.setattr(explain, "draw", lambda heard, *_, **how: drawn.append(heard.windows))
    explain.explain(checkpoint, name, project / "a", packs=paths, strong=NONE, seed=3)
    sound = project / f"{name}.wav"
    soundfile.write(sound, waveform, 32000, "FLOAT")
    explain.explain(checkpoint, str(sound), project / "b", packs=paths, strong=NONE, seed=3)
    np.testing.assert_array_equal(drawn, [expected[9]] * 2)


def test_a_file_whose_name_is_not_utf_8_is_pictured_with_the_windows_it_is_tagged_by(project, params, monkeypatch):
    checkpoint = untrained(params, project / "run", {"selection": "random"})
    sound, windows = os.fsdecode(os.fsencode(project) + b"/caf\xe9.wav"), {"tag": [], "explain": []}
    os.rename(encode(project / "cafe.wav", tone(4.0)), sound)
    streams, draw = Tagger.streams, explain.draw
    heard = lambda *given: (found := streams(*given), windows["tag"].append(found.windows[0].tolist()))[0]
    monkeypatch.setattr(Tagger, "streams", heard)
    assert [tag.file.name for tag in tagging.load(checkpoint).tag(sound, 1)] == [Path(sound).name]
    drawn = lambda heard, *given, **how: (windows["explain"].append(heard.windows.tolist()), draw(heard, *given, **how))
    monkeypatch.setattr(explain, "draw", drawn)
    write_run(checkpoints.load(checkpoint)[1], project / "run/config.yaml")
    told = CliRunner().invoke(cli.app, ["explain", "run", sound, "--out", Path(sound).stem], catch_exceptions=False)
    assert told.stdout_bytes == b"caf\xe9.svg\ncaf\xe9.png\ncaf\xe9.html\n"
    assert len(windows["tag"]) == 1 and windows["tag"] == windows["explain"]
    assert "caf\\udce9.wav" in Path(sound).with_suffix(".svg").read_text()


def test_tags_are_drawn_by_the_seed_that_the_run_was_evaluated_by(tmp_path):
    assert tagging.evaluation_seed(tmp_path) == 0
    (tmp_path / "metrics.json").write_text('{"evaluation": {"seed": 5}}')
    assert tagging.evaluation_seed(tmp_path) == 5
    (tmp_path / "metrics.json").write_text("{}")
    assert tagging.evaluation_seed(tmp_path) == 0


def test_a_packed_clip_and_an_audio_file_are_drawn(project, params):
    checkpoint = untrained(params, project / "run", {})
    packs = split_packs(params, "mini", ["eval"])
    clip = explain.draw_lots(packs, 1, 0)[0]
    explain.explain(checkpoint, clip, project / "a", packs=packs, strong=NONE)
    sound = str(encode(project / "tone.wav", tone(4.0)))
    explain.explain(checkpoint, sound, project / "b", packs=packs, strong=NONE)
    for name in ("a.svg", "a.png", "a.html", "b.svg", "b.png", "b.html"):
        assert (project / name).stat().st_size > 10_000
    page = (project / "b.html").read_text()
    assert len(page) < 400_000 and page.count("data:audio/webm;base64,") == 1 and "tone.wav" in page
    assert set(re.findall(r'(?:src|href)="([a-z]+:[a-z/+]*)', page)) == {
        "data:",
        "data:audio/webm",
        "data:image/svg+xml",
    }
    picture = (project / "a.svg").read_text()
    assert f"CNN10 + GL-AT † (cnn10-glat-s0): {clip}" in picture  # untrained, so nothing says that it converged
    assert "Open marks and †" in picture
    told = "nothing_0: no audio file, and no clip of the evaluation set; the names are in .*/clips.txt"
    with pytest.raises(GlatError, match=told):
        explain.explain(checkpoint, "nothing_0", project / "c", packs=packs, strong=NONE)


def test_lots_depend_on_the_seed_alone(project, params):
    packs = split_packs(params, "mini", ["eval"])
    assert explain.draw_lots(packs, 4, 0) == explain.draw_lots(packs, 4, 0)
    assert explain.draw_lots(packs, 4, 0)[:2] == explain.draw_lots(packs, 2, 0)
    assert set(explain.draw_lots(packs, 100, 1)) == set(Packs(packs).clips)


def test_a_run_is_loaded_in_one_line_and_tags_as_the_command_does(project, params):
    checkpoint = untrained(params, project / "runs/mini/cnn10-glat-s0", {"selection": "random"})
    sound = encode(project / "tone.wav", tone(4.0))
    for run in ("runs/mini/cnn10-glat-s0", checkpoint):
        tagger = glat.load(run)
        printed = CliRunner().invoke(cli.app, ["tag", str(run), str(sound), "--top", "3"]).stdout.splitlines()
        assert printed == [f"{sound}\t0.0\t4.0\t{one.score:.3f}\t{one.label}" for one in tagger.tag(sound, top=3)]
    waveform = 0.1 * np.sin(np.arange(2 * 320000, dtype=np.float32)).reshape(2, -1)
    assert tagger(waveform).shape == (2, len(tagger.labels)) == (2, 16) and tagger(waveform[0]).shape == (1, 16)
    assert (tagger.sample_rate, tagger.seconds) == (32000, 10.0)
    with pytest.raises(GlatError, match=r"mini/none/checkpoint\.pt: no such checkpoint; runs/mini has cnn10-glat-s0"):
        glat.load("runs/mini/none")


def test_nothing_imports_what_only_some_need():
    """`import glat` needs no torch. The settings, which every command and each start of Snakemake read, need nothing that only
    computes; an evaluation needs nothing that trains."""
    assert imported("glat; glat.load", "torch", "numpy", "pydantic") == set()
    read = f"glat.config.params; from pathlib import Path; glat.config.params.load(Path({str(ROOT / 'params.yaml')!r}), {{}})"
    assert imported(read, "torch", "scipy.signal", "scipy.stats", "matplotlib", "librosa", "sklearn", "yt_dlp") == set()
    assert imported("glat.scoring.evaluation, glat.tracking.sender", "lightning", "torchmetrics") == set()


def imported(what, *names):
    """Those of the modules `names` that Python has after an import."""
    code = f"import sys, {what}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split()) & set(names)
