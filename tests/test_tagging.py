"""`glat tag` and `glat calibrate`: recordings of any length, number and state."""

import io
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import ROOT
from data_fixtures import encode, tone
from hypothesis import given, settings, strategies as st
from scipy.ndimage import median_filter
from source_fixtures import step
from test_events import naive_events
from typer.testing import CliRunner

from glat import cli
from glat.config.runs import resolve, write_run
from glat.data.audio.clips import AudioError
from glat.lib.errors import GlatError
from glat.use import calibrating, hearing, recording_tags, tagging, thresholds
from glat.use.events import odd_steps
from glat.use.options import Options, plan
from glat.use.overlaps import Overlaps, Steps


@pytest.fixture
def project(corpus_project):
    return corpus_project


@pytest.fixture
def run(project, params):
    made_runs.untrained(params, project / "run", {})
    write_run(resolve(params, "cnn10", 0, {}), project / "run/config.yaml")
    return tagging.load(project / "run")


def tag(*arguments, **options):
    return CliRunner().invoke(cli.app, ["tag", "run", *map(str, arguments)], **options)


def test_scores_over_time_are_the_means_of_the_clips_frames(project, run):
    sound = (0.1 * np.random.default_rng(0).standard_normal(23 * 32000)).astype("f4")
    soundfile.write("x.wav", sound, 32000, "FLOAT")
    heard, starts = [], [0, 5, 10, 15]  # the one from 15 s on reaches the end
    for start in starts:
        clip = np.pad(sound[start * 32000 : (start + 10) * 32000], (0, max(0, (start - 13) * 32000)))
        with torch.inference_mode():
            heard.append(run.network.timeline(torch.from_numpy(clip)[None])[1].fused[0].numpy())
    frame = 0.04  # an eighth of CNN10's 0.32 s: the clip from 5 s on begins within a frame of the one before it
    total, many = np.zeros((625, 16)), np.zeros((625, 1))
    for start, scores in zip(starts, heard, strict=True):
        assert len(scores) == 31  # 9.92 s, and the last of them lasts to the clip's end
        at = round(start / frame)
        total[at : at + 250] += np.concatenate([scores.repeat(8, 0), scores[-1:], scores[-1:]])
        many[at : at + 250] += 1
    frames = int(np.ceil(23 / frame))
    found = run.scores("x.wav", hop=5)
    assert found.frame == frame and found.scores.shape == (frames, 16)
    np.testing.assert_allclose(found.scores, total[:frames] / many[:frames], atol=1e-5)
    assert [one.start for one in run.tag("x.wav", 1, hop=5)] == starts and run.tag("x.wav", 1, hop=5)[-1].end == 23
    # Events are of these scores.
    level = float(np.quantile(found.scores, 0.6))
    smooth = median_filter(found.scores, (odd_steps(1.0, frame), 1), mode="nearest")
    expected = naive_events(smooth, np.full(16, level), np.full(16, 0.9 * level), 1)
    given = run.tag("x.wav", events=True, hop=5, threshold=level, hysteresis=0.9, median=1.0)
    assert len(given) == len(expected) > 3
    for one, event in zip(given, expected, strict=True):
        assert one.label == run.labels[event.label]
        assert (one.start, one.end) == pytest.approx((event.onset * frame, min(event.offset * frame, 23)))


@settings(max_examples=200, deadline=None)
@given(st.integers(20, 600), st.sampled_from([0.04, 0.1, 0.16, 0.32, 0.64, 1.28, 10 / 101]), st.integers(1, 40))
def test_clips_of_any_length_leave_no_gap_and_no_frame_of_theirs_is_far_off(twentieths, frame, share):
    clip = twentieths / 20
    hop = round(32000 * max(0.1, clip * min(1.0, share / 32))) / 32000
    steps, time, rows = Steps(frame, clip, hop), Overlaps(), []
    for number in range(50):
        start = number * hop
        first, scores = steps.spread(start + np.arange(max(1, int(clip / frame)))[:, None] * frame, start)
        rows.append(time.add(first, scores))
        assert abs(first * steps.seconds - start) <= frame / 16 + 1e-9
    rows.append(time.end())
    heard = np.concatenate(rows)[:, 0]  # when the frame begins that each step is of
    assert np.isfinite(heard).all() and len(heard) == pytest.approx((49 * hop + clip) / steps.seconds, abs=1.01)
    at = np.arange(len(heard)) * steps.seconds
    if hop == clip:  # no means of several
        assert (heard - at).max() < frame / 16 + 1e-3 and (at - heard).max() < 2 * frame + frame / 16


def test_a_batch_of_several_files_gives_what_each_alone_does(project, run):
    names = [f"{i}.wav" for i in range(5)]
    for i, name in enumerate(names):
        soundfile.write(name, tone(3 + 4 * i, 16000, 1, i)[0], 16000)
    together = run.tag(names, 3)
    alone = [one for name in names for one in run.tag(name, 3)]
    assert [one[:4] for one in together] == [one[:4] for one in alone] and {one.file.name for one in alone} == set(
        names
    )
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_what_a_command_line_names_is_tagged_once_and_in_order(project, run):
    (project / "in/deep").mkdir(parents=True)
    for name in ("-dash.wav", "in/b.wav", "in/deep/a.wav"):
        soundfile.write(project / name, tone(1.0, 16000, 1)[0], 16000)
    (project / "in/notes.txt").write_text("no sound")
    given = ["-dash.wav", "in", "in/*.wav", "**/a.wav", "-", "--top", "1"]
    done = tag(*given, input=(project / "-dash.wav").read_bytes())
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["-dash.wav", "in/b.wav", "in/deep/a.wav", "-"] and done.exit_code == 0
    assert rows[0][3:] == rows[3][3:]
    assert "none*.wav: no file matches this pattern" in str(tag("none*.wav").exception)
    (project / "empty").mkdir()
    assert "empty: a folder without an audio file" in str(tag("empty").exception)
    assert not tag("in", "--format", "csv", "--out", "out.csv").stdout
    assert len(pd.read_csv("out.csv")) == 10 and [p.name for p in project.glob("*out*")] == ["out.csv"]
    assert "a label track is of one recording, not of 2" in str(tag("in", "--format", "audacity").exception)
    (project / "linked").mkdir()
    (project / "linked/deep").symlink_to(project / "in/deep")
    (project / "linked/deep/again").symlink_to(project / "linked")
    assert [line.split("\t")[0] for line in tag("linked", "--top", "1").stdout.splitlines()] == ["linked/deep/a.wav"]
    os.mkfifo("pipe")
    assert "pipe: a device or a pipe, not a file" in str(tag("in", "--out", "pipe").exception)
    (project / "b.wav").symlink_to("in/b.wav")
    assert "in/b.wav and b.wav have one name" in str(tag("in", "b.wav", "--format", "dcase").exception)


def test_a_damaged_part_is_told_and_the_rest_is_tagged_where_it_is(project, run):
    """Noise, and a burst near the end, from an MP3, an Opus and a FLAC with a hole in the middle."""
    rng = np.random.default_rng(0)
    sound = (0.02 * rng.standard_normal((1, 30 * 44100))).astype("f4")
    sound[0, 25 * 44100 : 26 * 44100] += 0.7 * np.sin(np.arange(44100) * 0.1).astype("f4")
    for suffix in (".mp3", ".opus", ".flac"):
        content = bytearray(encode(project / f"x{suffix}", sound).read_bytes())
        third, hole = len(content) // 3, len(content) // 30
        content[third : third + hole] = rng.bytes(hole)
        Path(f"x{suffix}").write_bytes(content)
        parts = []
        with pytest.raises(GlatError, match=r"^(damaged|truncated): .* lost"):
            parts.extend(hearing.stream(Path(f"x{suffix}"), 32000))
        heard = np.concatenate(parts)
        at = np.flatnonzero(np.abs(heard) > 0.5)
        assert len(heard) / 32000 == pytest.approx(30, abs=0.1)
        assert at[0] / 32000 == pytest.approx(25, abs=0.1) and at[-1] / 32000 == pytest.approx(26, abs=0.1), suffix
    done = tag("x.opus", "x.flac", "--top", "1")
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["0.0", "10.0", "20.0"] * 2
    assert str(done.exception) == "2 of 2 files were tagged in part" and done.exit_code == 1
    assert "glat: x.opus: damaged: " in done.output
    with pytest.raises(GlatError, match=r"x\.mp3: .* lost at "):
        run.tag("x.mp3")


def test_what_is_no_sound_is_one_sentence(project, run):
    soundfile.write("silent.wav", np.zeros(3 * 8000), 8000)
    soundfile.write("none.wav", np.zeros(0), 8000)
    Path("text.wav").write_text("these are words")
    first, second = (written_ogg(rate) for rate in (22050, 44100))
    Path("rates.ogg").write_bytes(first + second)  # chained: the rate changes
    done = tag("silent.wav", "none.wav", "text.wav", "rates.ogg", "--top", "1")
    told = done.output
    assert "silent.wav: silent throughout" in told and "silent.wav\t0.0\t3.0" in told
    assert "none.wav: undecodable: no audio in it" in told and "text.wav: undecodable: " in told
    assert (
        "rates.ogg\t0.0\t3.0" in told
        and "rates.ogg: undecodable: from 3.0 s on FFmpeg cannot go on, as where the sample rate changes; convert"
        in told
    )
    assert str(done.exception).startswith("2 of 4 files were not tagged; 1 of 4 files were tagged in part")


def written_ogg(rate):
    file = io.BytesIO()
    soundfile.write(file, tone(3.0, rate, 1)[0], rate, format="OGG")
    return file.getvalue()


def test_memory_does_not_grow_with_the_recording(project, run):
    """What is read ahead, however slow the network: 32 clips and what they are made from, far less than all samples."""
    run.tag(encode(project / "warm.wav", tone(1.0, 8000, 1), 8000))
    run.network.streams, run.network.timeline = cheap(run)
    soundfile.write("long.wav", np.random.default_rng(0).normal(0, 0.1, 1920 * 8000).astype("f4"), 8000)
    tracemalloc.start()
    assert run.tag("long.wav", events=True, threshold=0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6 < 1920 * 32000 * 4 / 2


def cheap(run):
    """A network's answers of half without the network, later than its recording is read."""
    with torch.inference_mode():
        streams, timeline = run.network.timeline(torch.zeros(1, 320000))

    def expand(parts, many):
        tensors = (one.expand(many, *one.shape[1:]) if torch.is_tensor(one) else one for one in parts)
        return type(parts)(*tensors)

    def over_time(waveform, _):
        time.sleep(0.01 * len(waveform))
        return expand(streams, len(waveform)), expand(timeline, len(waveform))

    return (lambda waveform, _: expand(streams, len(waveform))), over_time


WRONG = [
    ({"hop": 0}, "hop: expected a number from 0.1 to 10 s"), ({"hop": 11}, "found 11"), ({"hop": float("nan")}, "hop: "),
    ({"hop": "5"}, "hop: expected a number"), ({"threshold": 2}, "threshold: expected a number from 0 to 1, found 2"),
    ({"median": 1.0}, "median: of events alone"), ({"hysteresis": 0.5}, "hysteresis: of events alone"),
    ({"events": True, "top": 3}, "top: of clips alone"), ({"events": 1}, "events: expected true or false, found 1"),
    ({"calibrated": True, "threshold": 0.5}, "threshold: with calibrated, each class has its own"),
    ({"top": 1.5}, "top: expected a whole number, found 1.5"), ({"top": 0}, "top: expected a whole number from 1, found 0"),
    ({"calibrated": True}, "thresholds.json: no such file; no thresholds were calibrated; `glat calibrate .*run` makes"),
]  # fmt: skip


def test_an_option_that_is_none_is_one_sentence(project, run):
    for options, told in WRONG:
        with pytest.raises(GlatError, match=told):
            run.plan(Options(**options))


def test_thresholds_are_chosen_on_validation_clips_and_kept_with_the_run(project, run):
    told = step("calibrate", "run")
    assert "has no splits of `validate`" in told and "--split" in told and not Path("run/thresholds.json").exists()
    settings_ = {"splits": {"train": 24, "eval": 12}, "shard_size": 12, "classes": 16, "source": {"classes": None}}
    known = ["--set", f"datasets.mini={json.dumps(settings_)}"]
    done = CliRunner().invoke(cli.app, [*known, "calibrate", "run", "--split", "eval"])
    assert done.exit_code == 0 and "the run is evaluated on these clips" in done.output
    content = json.loads(Path("run/thresholds.json").read_text())
    assert (content["role"], content["splits"], content["clips"], content["aim"]) == ("evaluation", ["eval"], 12, "F1")
    read = run.thresholds()
    packs = calibrating.Packs([f"data/mini/packs/eval/{i:03d}.h5" for i in range(1)])
    target = packs.labels.dense(np.arange(12)).astype(bool)
    with torch.inference_mode():
        scores = run.network.streams(torch.from_numpy(packs.read(range(12)))).fused.numpy()
    expected = thresholds.choose(target, scores).threshold
    np.testing.assert_allclose(read.tags, np.where(np.isnan(expected), 0.5, expected), atol=1e-4)
    assert read.lacking == (~target.any(0)).sum() and read.median == 0.5
    # An event of a class is where the highest score over time reaches the class's own threshold.
    soundfile.write("x.wav", packs.read([0])[0], 32000, "FLOAT")
    found = run.tag("x.wav", events=True, calibrated=True)
    time = run.scores("x.wav")
    highest = median_filter(time.scores, (odd_steps(0.5, time.frame), 1), mode="nearest").max(0)
    assert {one.label for one in found} == {run.labels[i] for i in np.flatnonzero(highest >= read.events)}
    assert {one.label for one in run.tag("x.wav", calibrated=True)} == {
        run.labels[i] for i in np.flatnonzero(run(packs.read([0]))[0] >= read.tags)
    }
    with pytest.raises(GlatError, match="median: 1 s, but the thresholds were calibrated with 0.5 s"):
        run.plan(Options(events=True, calibrated=True, median=1.0))
    Path("run/thresholds.json").write_text("{}")
    with pytest.raises(GlatError, match=r"run/thresholds.json: damaged; `glat calibrate run` makes it"):
        tagging.load("run").plan(Options(calibrated=True))
    content["checkpoint"] = "another"
    Path("run/thresholds.json").write_text(json.dumps(content))
    assert "calibrated for another network" in str(tag("x.wav", "--calibrated").exception)


def test_the_best_classes_are_those_of_the_ones_that_reach_their_thresholds():
    options = Options(top=1)
    chosen = plan(options, 10.0, 2, lambda: pytest.fail("none asked for"))._replace(high=np.array([0.9, 0.1]))
    assert list(recording_tags.best(torch.tensor([0.6, 0.3]), chosen)) == [(1, pytest.approx(0.3))]


def test_a_sound_of_milliseconds_is_refused_and_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(500, 0.1, np.float32), 192000)
    with pytest.raises(AudioError, match="too short: 2.6 ms"):
        list(hearing.stream(tmp_path / "a.wav", 32000))


def noise_of(seconds, rate=32000):
    return np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * rate)).astype(np.float32)


def starts(tagger, seconds, **how):
    return [(one.start, round(one.end, 3)) for one in hearing.clips(tagger, noise_of(seconds), 10.0, **how)]


def test_what_a_codec_leaves_behind_a_clip_is_no_clip(project, run):
    assert starts(run.network, 10.01) == [(0, 10)] and starts(run.network, 10.09, hop=5.0) == [(0, 10)]
    assert starts(run.network, 10.2) == [(0, 10), (10, 10.2)] and starts(run.network, 0.05) == [(0, 0.05)]
    assert starts(run.network, 15.2, hop=5.0) == [(0, 10), (5, 15), (10, 15.2)]
    soundfile.write("long.wav", noise_of(20.05), 32000)
    assert [tag.start for tag in run.tag("long.wav", top=1)] == [0, 10]
    end = list(hearing.hear(run.network, [("", [noise_of(20.05)])], 10.0))[-1]
    assert end.seconds == pytest.approx(20.05) and not end.silent
    assert len(run.scores("long.wav").scores) == len(run.scores("long.wav", hop=10.0).scores)


def test_up_to_a_sample_that_is_none_a_sound_is_heard(project, run):
    for value, told in (
        (np.nan, "not finite: NaN or infinite samples, from 21.00 s on"),
        (1e9, "too loud: samples of 1e"),
    ):
        samples = noise_of(30)
        samples[21 * 32000] = value
        soundfile.write("a.wav", samples, 32000, "FLOAT")
        with pytest.raises(GlatError, match=told + ".*; heard up to 21.0 s"):
            run.tag("a.wav")
        assert {tag.start for tag in run.tag("a.wav", errors="warn")} == {0, 10, 20}


def test_in_python_too_one_file_keeps_back_no_other_where_that_is_asked_for(project, run, caplog):
    Path("empty.wav").touch()
    soundfile.write("good.wav", noise_of(3), 32000)
    soundfile.write("flat.wav", np.full(3 * 32000, 0.2), 32000)
    assert {tag.file.name for tag in run.tag(["empty.wav", "flat.wav", "good.wav"], errors="warn")} == {
        "flat.wav",
        "good.wav",
    }
    told = [record.getMessage() for record in caplog.records]
    assert told == ["empty.wav: empty file", f"flat.wav: {hearing.SILENT}"]
    with pytest.raises(GlatError, match="errors: expected 'raise' or 'warn', found 'ignore'"):
        run.tag("good.wav", errors="ignore")


def by_itself(*arguments):
    """The command as a process of its own, whose end is seen, too."""
    call = [sys.executable, "-m", "glat.cli", *arguments]
    return subprocess.run(call, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_the_last_line_says_how_many_and_nothing_is_told_behind_it(project, run):
    samples = noise_of(30)
    samples[5] = np.nan
    soundfile.write("none.wav", samples, 32000, "FLOAT")
    samples[5], samples[21 * 32000] = 0, np.nan
    soundfile.write("part.wav", samples, 32000, "FLOAT")
    done = by_itself("tag", "run", "none.wav", "part.wav")
    assert done.stderr.splitlines()[-1] == "glat: 2 of 2 files were tagged in part" and done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    done = by_itself("explain", "run", "part.wav")
    assert done.stderr.splitlines() == [] and done.returncode == 0
    done = by_itself("explain", "run", "none.wav")
    assert done.stderr.splitlines() == ["glat: none.wav: not finite: NaN or infinite samples, from 0.00 s on"]
