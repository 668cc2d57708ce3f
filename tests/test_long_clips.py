"""Recordings that are longer than a network hears at a time: packed whole, trained on in parts, evaluated in all of them."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import ROOT
from data_fixtures import CLASSES, tone

from glat.config.params import load
from glat.config.runs import resolve
from glat.config.settings import Evaluation
from glat.config.training import Execution
from glat.data.packs.codecs import Flac, Span
from glat.data.packs.read import Crops, PackedClips, Packs
from glat.data.packs.write import pack_shard
from glat.data.resample import encode_flac, resample_shard
from glat.lib.errors import GlatError
from glat.scoring import evaluation, predict
from glat.scoring.localisation import localise
from glat.scoring.parts import pool_parts
from glat.scoring.predictions import read_predictions
from glat.training import checkpoints, fit, watch
from glat.training.stage import Batches

RATE, SECONDS = 16000, 2.0
LENGTHS = [2.0, 5.5, 1.0, 4.0, 2.2, 7.3]  # seconds
SETTINGS = {
    "audio": {"sample_rate": RATE, "clip_seconds": SECONDS}, "glat": {"n": 2, "tau": 1.0}, "fig2": {"n": [2], "tau": [1]},
    "backbones": ["cnn10"], "datasets.mini.classes": 4, "datasets.mini.shard_size": 6,
    "datasets.mini.splits": {"train": 6, "eval": 6}, "datasets.mini.hop": 640, "datasets.mini.width": 0.05,
    "datasets.mini.training": {"steps": 4, "batch_size": 4}, "tracking": {"enabled": False},
}  # fmt: skip


@pytest.fixture(params=["pcm16", "flac"])
def project(request, project):
    """A working folder with packs of recordings of several lengths, one for training and the same for evaluation."""
    names = [f"r{i}" for i in range(len(LENGTHS))]
    segments = pd.DataFrame({
        "clip": [f"{name}_0" for name in names], "youtube_id": names, "start": 0.0, "end": LENGTHS,
        "labels": pd.Series([(CLASSES["mid"][i % 4],) for i in range(len(names))], dtype=object),
    })  # fmt: skip
    for i, (name, seconds) in enumerate(zip(names, LENGTHS, strict=True)):
        soundfile.write(f"{name}.wav", tone(seconds, RATE, 1, i).T, RATE)
    files = [str(project / f"{name}.wav") for name in names]
    listing = pd.DataFrame({"clip": segments["clip"], "file": files, "part": "", "kind": "", "reason": ""})
    resample_shard(segments, listing, project, project / "r", RATE, SECONDS, codec=request.param, recordings=True)
    for split in ("train", "eval"):
        pack = project / f"data/mini/packs/{split}/000.h5"
        pack_shard(project / "r", segments, CLASSES, pack, pack.with_suffix(".ledger.csv"), RATE, {"dataset": "mini"})
    return project


@pytest.fixture
def params():
    return load(ROOT / "params.yaml", SETTINGS)


def sound(i: int) -> np.ndarray:
    whole = tone(LENGTHS[i], RATE, 1, i)[0]
    return np.pad(whole, (0, max(0, round(SECONDS * RATE) - len(whole))))


def test_a_pack_holds_all_of_each_recording(project):
    packs = Packs(project / "data/mini/packs/eval/000.h5")
    assert packs.longer and packs.length.tolist() == [round(max(s, SECONDS) * RATE) for s in LENGTHS]
    clip, offset = packs.parts(np.arange(len(packs)))
    assert clip.tolist() == [0, 1, 1, 1, 2, 3, 3, 4, 4, 5, 5, 5, 5]
    read = packs.read(clip, offset)
    for row, i, begin in zip(read, clip, offset, strict=True):
        np.testing.assert_allclose(row, sound(i)[begin : begin + packs.samples], atol=1e-4)
    # From any sample on, and no further than to the end.
    for begin in (1, 12_345, 32_000, 56_000):
        np.testing.assert_allclose(packs.read([1], [begin])[0], sound(1)[begin : begin + 32_000], atol=1e-4)
    for begin in (-1, 56_001):
        with pytest.raises(IndexError, match="of clip r1_0"):
            packs.read([1], [begin])
    heard = np.zeros(packs.length[5], bool)
    for begin in packs.parts(np.array([5]))[1]:
        heard[begin : begin + packs.samples] = True
    assert heard.all()


def write_flac_pack(path, sound: np.ndarray, of_short: np.ndarray, samples: int) -> Flac:
    """A pack with one long FLAC stream between two short ones, open for reading."""
    streams = [np.frombuffer(encode_flac(one, RATE), np.uint8) for one in (of_short, sound, of_short)]
    with h5py.File(path, "w") as pack:
        pack["flac"] = np.concatenate(streams)
        pack["flac_end"] = np.cumsum([len(one) for one in streams])
    return Flac(h5py.File(path), np.array([samples, len(sound), samples]), samples)


def test_a_part_of_a_long_flac_stream_is_read_and_decoded_alone(tmp_path, monkeypatch):
    """Five minutes, quiet and loud, so that bytes are spread unevenly over time: all parts in their order read the stream about
    once, and a part from anywhere little more than its own bytes."""
    random, samples = np.random.default_rng(0), 5 * RATE
    sound = (random.normal(size=300 * RATE) * np.repeat(random.choice([3, 300, 9000], 300), RATE)).astype(np.int16)
    flac, size = write_flac_pack(tmp_path / "p.h5", sound, sound[:samples], samples), len(encode_flac(sound, RATE))
    read = []
    whole = Span.readinto
    monkeypatch.setattr(Span, "readinto", lambda *args: read.append(whole(*args)) or read[-1])
    out = np.empty(samples, np.int16)
    for begin in [*range(0, len(sound), samples), len(sound) - samples]:
        flac.read(1, out, begin)
        np.testing.assert_array_equal(out, sound[begin : begin + samples])
    assert size <= sum(read) < 1.25 * size  # soundfile looks a second time for the place where it stops
    for begin in random.integers(0, len(sound) - samples, 20):
        del read[:]
        flac.read(0, out)
        np.testing.assert_array_equal(out, sound[:samples])
        flac.read(1, out, begin)
        np.testing.assert_array_equal(out, sound[begin : begin + samples])
        own = len(encode_flac(sound[begin : begin + samples], RATE))
        assert sum(read) < own + 12 * Flac.BUFFER < size / 8


def test_a_long_flac_stream_that_breaks_off_is_told_of_and_the_others_are_read(tmp_path, monkeypatch):
    random, samples = np.random.default_rng(0), RATE
    sound = random.integers(-3000, 3000, 20 * RATE).astype(np.int16)
    flac, out = write_flac_pack(tmp_path / "p.h5", sound, sound[:samples], samples), np.empty(samples, np.int16)
    flac.read(1, out, 3 * RATE)
    flac._end[1] -= 100_000
    flac.read(0, out)  # it is open no more, and opened anew is short
    with pytest.raises((ValueError, soundfile.LibsndfileError)):
        flac._open = None
        flac.read(1, out, 19 * RATE)
    flac.read(1, out, 2 * RATE)
    np.testing.assert_array_equal(out, sound[2 * RATE : 3 * RATE])

    def fail(*_):
        raise OSError("can't read data")

    monkeypatch.setattr(flac, "_flac", type("Dataset", (), {"read_direct": fail})())
    flac._open = None
    with pytest.raises(OSError, match="can't read data"):
        flac.read(1, out, 9 * RATE)


def test_crops_are_drawn_evenly_and_reach_both_ends(project):
    packs = Packs(project / "data/mini/packs/train/000.h5")
    offsets = Crops(packs).__getitems__([(1, 0.0), (1, 1 - 1e-12), (0, 0.7), (1, 0.5)])["offset"].tolist()
    assert offsets == [0, 56_000, 0, 28_000]
    batch = Crops(packs).__getitems__([(1, 0.5)])
    np.testing.assert_array_equal(batch["waveform"][0].numpy(), packs.read_int16([1], [28_000])[0])
    assert batch["target"][0].tolist() == [0, 1, 0, 0]


def test_a_training_hears_random_parts_of_the_step_alone(project, params, monkeypatch):
    run, packs = resolve(params, "cnn10", 0, {}), Packs("data/mini/packs/train/000.h5")

    def drawn(start: int) -> list[list[int]]:
        batches = Batches(run, packs, start)
        cpu = SimpleNamespace(root_device=torch.device("cpu"))
        batches.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=cpu)
        return [batch["offset"].tolist() for batch in batches.train_dataloader()]

    whole = drawn(0)
    assert drawn(2) == whole[2:] and len({offset for batch in whole for offset in batch}) > 3
    fit.train(run, run.folder, execution=Execution(checkpoint_every=2, log_every=1), threads=1)
    weights = checkpoints.read(run.folder / "checkpoint.pt")["model"]
    again = run.model_copy(update={"name": "again"})
    monkeypatch.setattr("glat.training.stage.LogMels.MOST", 0)  # without a cache
    fit.train(again, again.folder, execution=Execution(checkpoint_every=2, log_every=1), threads=1)
    other = checkpoints.read(again.folder / "checkpoint.pt")["model"]
    assert all(torch.equal(weights[key], other[key]) for key in weights)


@pytest.mark.parametrize("pool", ["mean", "maximum"])
def test_an_evaluation_puts_the_scores_of_all_parts_together(project, params, pool):
    run, packs = resolve(params, "cnn10", 0, {"selection": "random"}), Packs("data/mini/packs/eval/000.h5")
    torch.manual_seed(0)
    classes = CLASSES[["mid", "display_name"]].to_dict("records")
    run.folder.mkdir(parents=True)
    checkpoints.save(checkpoints.build(run), run, classes, 0, run.folder / "checkpoint.pt")
    settings = Evaluation(batch_size=4, pool=pool)
    evaluation.evaluate(run.folder / "checkpoint.pt", ["data/mini/packs/eval/000.h5"], settings, run.folder, threads=1)
    kept = read_predictions(run.folder / "predictions.h5")
    assert len(kept["clip"]) == len(kept["fused"]) == 6 and len(kept["windows"]) == len(kept["part"]) == 13
    assert kept["begin"][:4].tolist() == [0.0, 0.0, 2.0, 3.5]
    tagger = checkpoints.load(run.folder / "checkpoint.pt")[0]
    clip, offset = packs.parts(np.arange(6))
    waveform = PackedClips(packs, clip, offset).__getitems__(list(range(13)))["waveform"]
    with torch.inference_mode():
        scores = tagger.streams(waveform).global_.numpy()
    expected = [getattr(scores[clip == i], {"mean": "mean", "maximum": "max"}[pool])(0) for i in range(6)]
    np.testing.assert_allclose(kept["global"], expected, atol=2e-3)
    names, counts = np.unique(kept["windows"].round(4), axis=0, return_counts=True)
    assert len(names) > 10 and counts.max() == 1  # each part has random windows of its own


def test_a_training_is_watched_on_the_windows_that_an_evaluation_has(project, params, monkeypatch):
    run, packs = resolve(params, "cnn10", 0, {"selection": "random"}), Packs("data/mini/packs/eval/000.h5")
    torch.manual_seed(0)
    tagger = checkpoints.build(run)
    pooled = []
    monkeypatch.setattr(watch, "pool_parts", lambda scores, clip: pooled.append(scores) or pool_parts(scores, clip))
    stage = SimpleNamespace(tagger=tagger, device=torch.device("cpu"), trainer=SimpleNamespace(precision="32-true"))
    watch.Watch(run, run.folder, packs.paths, 1.0).look(stage)
    monkeypatch.setattr(predict, "pool_parts", lambda scores, clip, pool: scores)
    found, _ = predict.predict(tagger, packs, batch_size=4, device="cpu", precision="float32", seed=0)
    for stream, scores in zip(("fused", "global", "local"), pooled, strict=True):
        np.testing.assert_allclose(scores, found[stream], atol=1e-6)


def test_pooling_is_per_clip_and_leaves_single_parts_alone():
    scores = np.array([[0.2], [0.4], [0.9], [0.1]], np.float32)
    np.testing.assert_allclose(pool_parts(scores, np.array([4, 4, 4, 2]), "mean").ravel(), [0.5, 0.1])
    np.testing.assert_allclose(pool_parts(scores, np.array([4, 4, 4, 2]), "maximum").ravel(), [0.9, 0.1])
    assert pool_parts(scores, np.arange(4)) is scores


def test_windows_are_compared_with_the_events_of_their_own_part():
    kept = {
        "clip": ["x", "y"], "mid": ["a"], "part": np.array([0, 0, 1]), "begin": np.array([0.0, 2.0, 0.0]),
        "windows": np.array([[0.5], [0.5], [0.0]]), "classes": np.array([[0], [0], [0]]),
    }  # fmt: skip
    truth = pd.DataFrame([("x", 1.8, 2.2, "a"), ("x", 2.6, 2.9, "a")], columns=["clip", "start", "end", "label"])
    found = localise(kept, truth, 1.0, 2.0)
    # The window of the first part, 0.5 to 1.5 s, misses the event that begins at 1.8 s; that of the second, 2.5 to 3.5 s, hits.
    assert found["clip"].tolist() == ["x", "x"] and found["hit"].tolist() == [0.0, 1.0]


def test_predictions_whose_parts_do_not_fit_are_refused(tmp_path):
    from glat.scoring.predictions import write_predictions

    scores = {"fused": np.zeros((2, 4), np.float32), "part": np.array([0, 5]), "begin": np.zeros(2)}
    write_predictions(tmp_path / "p.h5", scores, np.array(["x", "y"]), np.zeros((2, 4)), CLASSES)
    with pytest.raises(GlatError, match=r"p.h5: damaged predictions: its parts are not those of its clips"):
        read_predictions(tmp_path / "p.h5")
