"""The audit: a healthy corpus has no warning, and each damage, done for real to its files, is told by its own name."""

import re
import shutil
from functools import cache

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
import torch
from browser import CHROMIUM, Browser
from conftest import ROOT
from data_fixtures import CLASSES
from test_report_in_a_browser import MEASURES
from typer.testing import CliRunner

from glat import cli
from glat.audit import audit, report
from glat.config.params import load
from glat.data.kinds import Kind
from glat.data.lists import audioset
from glat.data.packs.write import pack_shard
from glat.data.resample import resample_shard
from glat.lib.errors import GlatError

SECONDS, RATE, SIZES = 3, 44100, {"train": 24, "eval": 12}
SETTINGS = {
    "datasets.mini.splits": SIZES,
    "datasets.mini.classes": len(CLASSES),
    "datasets.mini.shard_size": 12,
    "audio.clip_seconds": SECONDS,
    "fig2": {"n": [1], "tau": [2]},
    "glat.n": 2,
    "audit.clips": 16,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def sound(split: str, i: int) -> np.ndarray:
    """(samples,) float, peak 0.6: pink noise from 20 Hz up to half the rate that swells by 40 dB, and a tone."""
    rng = np.random.default_rng([split == "eval", i])
    bins = np.fft.rfft(rng.standard_normal(SECONDS * RATE)) / np.sqrt(np.arange(1, SECONDS * RATE // 2 + 2))
    bins[: 20 * SECONDS] = 0
    noise = np.fft.irfft(bins)
    t = np.arange(len(noise)) / RATE
    mixed = noise / np.abs(noise).max() + 0.2 * np.sin(2 * np.pi * rng.uniform(200, 4000) * t)
    mixed *= 10 ** (np.sin(2 * np.pi * (t + rng.uniform())) - 1)
    return 0.6 * mixed / np.abs(mixed).max()


def integers(x: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(x * 2**15, -(2**15), 2**15 - 1)).astype(np.int16)


def name(split: str, i: int) -> tuple[str, int]:
    """A clip's YouTube id, which may hold an underscore, and its start in seconds."""
    return f"{split}_{i:03d}", 10 * i


def lists(root, names=name):
    folder = root / "data/mini/metadata"
    folder.mkdir(parents=True, exist_ok=True)
    CLASSES.to_csv(folder / "class_labels_indices.csv", index=False)
    for split, size in SIZES.items():
        lines = ["YTID,start_seconds,end_seconds,positive_labels"]
        for i in range(size):
            video, start = names(split, i)
            label = CLASSES["mid"][i % 3] if i else CLASSES["mid"][3]  # only the first clip has the last class
            lines.append(f'{video},{start}.0,{start + SECONDS}.0,"{label}"')
        (folder / f"{split}_segments.csv").write_text("\n".join(lines) + "\n")


def pack(root, split, files=None, reasons=None, notes=None, recordings=False):
    """Pack a split from WAV files: files(i) gives (samples, rate in the header). recordings: keep them whole."""
    files = files or (lambda i: (integers(sound(split, i)), RATE))
    classes = audioset.read_class_list(root / "data/mini/metadata/class_labels_indices.csv")
    segments = audioset.read_segments(root / f"data/mini/metadata/{split}_segments.csv", classes)
    for shard in range(SIZES[split] // 12):
        rows = audioset.shard_rows(segments, shard, 12)
        listing = root / f"data/mini/audio/{split}/{shard:03d}.csv"
        audio = listing.with_suffix("")
        audio.mkdir(parents=True, exist_ok=True)
        lines = []
        for i, clip in enumerate(rows["clip"], start=12 * shard):
            kind, reason = (reasons or {}).get(i, ("", ""))
            if not kind:
                soundfile.write(audio / f"{clip}.wav", *files(i))
            lines.append((clip, "" if kind else f"{clip}.wav", kind, reason, (notes or {}).get(i, "")))
        table = pd.DataFrame(lines, columns=["clip", "file", "kind", "reason", "note"])
        table.to_csv(listing, index=False)
        out = root / f"resampled/{split}/{shard:03d}"
        resample_shard(rows, table, audio, out, seconds=SECONDS, recordings=recordings)
        made = root / f"data/mini/packs/{split}/{shard:03d}.h5"
        pack_shard(out, rows, classes, made, made.with_suffix(".ledger.csv"), 32000, {"dataset": "mini"})


@pytest.fixture(scope="module")
def params():
    return load(ROOT / "params.yaml", SETTINGS)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    root = tmp_path_factory.mktemp("healthy")
    lists(root)
    for split in SIZES:
        pack(root, split)
    return root


@pytest.fixture
def with_train(healthy, tmp_path):
    """The healthy corpus with its training split packed anew from other files."""

    def made(*arguments, **settings):
        shutil.copytree(healthy / "data", tmp_path / "data", dirs_exist_ok=True)
        pack(tmp_path, "train", *arguments, **settings)
        return tmp_path

    return made


def findings(found):
    return {
        (row.split, row.key): row.verdict.grade for row in found.rows if row.verdict.grade in ("warning", "not fit")
    }


def why(found, key):
    return next(row.verdict.why for row in found.rows if row.key == key and row.verdict.why)


def test_a_healthy_corpus_is_fit_without_a_warning(healthy, params):
    found = audit(params, healthy)
    assert findings(found) == {} and str(found.verdict) == "fit for training" and found.fit
    values = {(row.split, row.measure, row.key): row.value for row in found.rows}
    assert values["train", "clips", "asked for"] == values["train", "clips", "got"] == 24
    assert values["train", "clips of a class", "Ü d"] == 1 and values["eval", "clips of a class", "A"] == 3
    assert values["eval", "source rate (Hz)", "44100"] == 12


def test_recordings_that_are_kept_whole_are_neither_damaged_nor_too_long(with_train, params):
    """Each lasts three clips or two; their list says 30 s of all, as that of FSD50K does."""
    root = with_train()
    path = root / "data/mini/metadata/train_segments.csv"
    lines = [line.split(",", 3) for line in path.read_text().splitlines()]
    lines[1:] = [[video, start, str(float(start) + 30), label] for video, start, _, label in lines[1:]]
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    pack(root, "train", lambda i: (np.tile(integers(sound("train", i)), 3 if i % 3 else 2), RATE), recordings=True)
    found = audit(params, root)
    assert found.fit and not findings(found)


def test_the_statistics_are_those_of_the_clips_themselves(healthy, params):
    found = audit(params, healthy)
    values = {(row.split, row.measure, row.key): row.value for row in found.rows}
    rms = [np.sqrt(np.mean(sound("eval", i) ** 2)) for i in range(12)]
    assert values["eval", "rms (dB of full scale)", "median"] == pytest.approx(20 * np.log10(np.median(rms)), abs=0.3)
    bands = [row.value for row in found.rows if row.split == "eval" and row.measure == "log-mel band mean (dB)"]
    assert len(bands) == 64 and values["eval", "log-mel", "mean (dB)"] == pytest.approx(np.mean(bands))
    # Pink noise falls by 3 dB an octave, and 1 to 2 kHz has tones.
    spectrum = [row.value for row in found.rows if row.split == "eval" and row.measure == "spectrum (dB/Hz)"]
    assert np.mean(spectrum[20:24]) - np.mean(spectrum[40:48]) == pytest.approx(3, abs=1)


def damaged(change, rate=RATE):
    """Files of the training split, by what becomes of its sounds and by the rate in the header."""
    return lambda i: (change(sound("train", i)), rate)


def twice(rate):
    return damaged(lambda x: integers(soxr.resample(soxr.resample(x, RATE, rate), rate, RATE)))


def header(rate):
    return damaged(integers, rate)


wrapped = damaged(lambda x: np.rint(x * 3 * 2**15).astype(np.int64).astype(np.int16))
saturated = damaged(lambda x: np.clip(x * 2**15, -1, 1))
narrow = damaged(lambda x: np.rint(x * 2**7).astype(np.int16))  # 8 bits in 16
overdriven = damaged(lambda x: integers(x * 8))


def half_as(damage):
    return lambda i: (damage if i % 3 == 0 else header(RATE))(i)


APART = {("all", "training minus evaluation mean (dB)"): "warning"}  # true as well: only one of the two is damaged
LEVEL = {("train", "median"): "warning", ("train", "mean (dB)"): "warning"} | APART
UNEVEN = {("train", "standard deviation (dB)"): "warning"}


@pytest.mark.parametrize(
    ("files", "found_", "told"),
    [
        (wrapped, {("train", "wrapped"): "not fit"} | APART, "int16 overflow"),
        (lambda i: wrapped(i) if i < 3 else header(RATE)(i), {("train", "wrapped"): "warning"}, "int16 overflow"),
        (narrow, {("train", "tiny"): "not fit"} | LEVEL, "without scaling"),
        (saturated, {("train", "saturated"): "not fit"} | LEVEL | UNEVEN, "taken for float"),
        (overdriven, {("train", "clipped"): "warning"} | APART, "without a limit"),
        (damaged(lambda x: integers(x / 2 + 0.3)), {("train", "offset"): "not fit"}, "unsigned"),
        (twice(8000), {("train", "share"): "not fit"} | APART | UNEVEN, "down to 8000 Hz once and up again"),
        (twice(16000), {("train", "share"): "not fit"} | APART, "down to 16000 Hz once and up again"),
        (half_as(twice(8000)), {("train", "share"): "warning"}, "8000 Hz"),
        (header(48000), {("train", "short"): "warning", ("train", "commonest ratio"): "not fit"},
         "44100 Hz is taken for 48000"),
        (header(37800), {("train", "odd rate"): "warning", ("train", "commonest ratio"): "not fit"}, "44100 Hz is taken"),
        (damaged(lambda x: integers(soxr.resample(x, RATE, 16000)), 16000), {("train", "low rate"): "warning"} | APART,
         "low-rate copy"),
        (lambda i: (integers(sound("train", i))[: RATE * (2 if i % 2 else 3)], RATE),
         {("train", "short"): "warning", ("train", "commonest ratio"): "warning"}, "another length"),
    ],
)  # fmt: skip
def test_each_damage_is_told_by_its_own_name_and_no_other(with_train, params, files, found_, told):
    found = audit(params, with_train(files))
    assert findings(found) == found_
    assert any(told in row.verdict.why for row in found.rows)
    assert found.fit == ("not fit" not in found_.values())
    assert str(found.verdict).startswith("fit for training, with " if found.fit else "not fit for training: train: ")


def test_floats_that_became_integers_are_lost_as_silent_and_told(with_train, params):
    # The first clip, the only one with its class, is kept.
    cast = lambda i: (sound("train", i).astype(np.int16) if i % 4 == 1 else integers(sound("train", i)), RATE)
    found = audit(params, with_train(cast))
    assert findings(found) == {("train", "silent"): "warning"}
    assert "float samples were written as integers without scaling" in why(found, "silent")


def test_losses_are_counted_by_reason_and_passing_ones_say_how_to_try_again(with_train, params):
    again = "may be got by another download"
    reasons = {
        1: (Kind.PRIVATE, "gone: private video"), 2: (Kind.PRIVATE, "gone: private video; sign in"),
        3: (Kind.BOT_CHECK, "passing: bot check"), 14: (Kind.NO_FILE, "no file"),
    }  # fmt: skip
    found = audit(params, with_train(reasons=reasons, notes=dict.fromkeys((5, 6, 7), "labels differ")))
    values = {(row.split, row.measure, row.key): row.value for row in found.rows}
    for kind, count in (("gone: private video", 2), ("passing: bot check", 1), ("no file", 1)):
        assert values["train", "lost", kind] == count
    assert values["train", "clips", "got"] == 20 and values["train", "clips", "share lost"] == pytest.approx(4 / 24)
    assert findings(found) == {("train", again): "warning", ("train", "labels differ"): "warning"}
    command = why(found, again).split("`")[1]
    assert command == "snakemake packs --cores all --config dataset=mini -R data/mini/audio/train/000.csv"


def test_most_of_a_split_lost_and_a_class_without_a_clip(with_train, params):
    found = audit(params, with_train(reasons={i: (Kind.REMOVED, "gone: removed") for i in range(24) if i % 12 < 8}))
    assert findings(found) == {("train", "share lost"): "not fit", ("all", "lost all"): "warning"}
    assert "Ü d" in why(found, "lost all")


def test_the_same_audio_under_two_names_within_a_split(with_train, params):
    found = audit(params, with_train(lambda i: header(RATE)(12 if i in (5, 20) else i)))
    assert findings(found) == {("train", "share of clips"): "not fit"}
    (row,) = [row for row in found.rows if row.measure == "same audio"]
    assert (row.key, row.value) == ("train_005_50000", "train_012_120000, train_020_200000")


def test_training_on_evaluation_clips_is_told_by_audio_and_by_video(healthy, tmp_path, params):
    root = tmp_path
    lists(root, lambda split, i: ("eval_004", 990) if (split, i) == ("train", 7) else name(split, i))
    pack(root, "train", lambda i: (integers(sound("eval", 2) if i == 3 else sound("train", i)), RATE))
    pack(root, "eval")
    found = audit(params, root)
    shared = {(row.measure, row.verdict.grade): row.verdict.why for row in found.rows if row.verdict.grade == "not fit"}
    assert set(shared) == {("shared by video", "not fit"), ("shared by audio", "not fit")}
    assert "eval_004_40000" in shared["shared by video", "not fit"]
    assert "eval_002_20000" in shared["shared by audio", "not fit"]
    # And so is a network that was selected by clips that it trains on, or is evaluated by.
    from glat.audit.contents import overlap

    for train, evaluate, of in (
        (["train"], [], "train, eval"),
        ([], ["train"], "eval, train"),
        ([], [], "train, eval"),
    ):
        rows = [row for row in overlap(list(found.splits.values()), train, evaluate, ["eval"]) if row.split == "all"]
        grade = "not fit" if train or evaluate else ""
        assert {(row.key, row.verdict.grade) for row in rows} == {(of, grade)}


def test_published_counts_stand_beside_audiosets_own_splits(healthy, params):
    split = audit(params, healthy).splits["eval"]
    from glat.audit import contents

    split.asked = 20371
    values = {row.key: row.value for row in contents.losses(split)}
    assert values["asked for"] == 20371 and values["got by PANNs"] == 18887
    split.asked = 12


def without_statistics(_, pack):
    with h5py.File(pack, "a") as file:
        del file["jumps"]


def of_other_samples(_, pack):
    with h5py.File(pack, "a") as file:
        file["waveform"][...] //= 2


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root, _: (root / "data/mini/audio/train/001.csv").unlink(),
         "audio/train/001.csv: no such file; run the download"),
        (lambda root, _: lists(root, lambda split, i: (f"{split}x{i}", i)),
         "train/000.h5: made from another list .* pack again"),
        (lambda _, pack: pack.write_bytes(pack.read_bytes()[:5000]),
         "001.h5: truncated; delete it and run `snakemake packs` again"),
        (of_other_samples, r"train/001.h5: clip \S+ is no longer what was packed"),
        (without_statistics, "train/001.h5: damaged pack"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_one_sentence(with_train, params, damage, told):
    root = with_train()
    damage(root, root / "data/mini/packs/train/001.h5")
    with pytest.raises(GlatError, match=told):
        audit(params, root)


def run(*arguments):
    settings = [item for key, value in SETTINGS.items() for item in ("--set", f"{key}={value}")]
    return CliRunner().invoke(cli.app, [*settings, *arguments])


def test_the_command_writes_a_table_and_a_page_and_strict_fails(with_train, monkeypatch):
    root = with_train(wrapped)
    shutil.copy(ROOT / "params.yaml", root)
    monkeypatch.chdir(root)
    done = run("audit", "--threads", "1")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("mini: not fit for training\n  not fit, train: 100% of clips are wrapped")
    table = pd.read_csv("results/mini/audit.csv", keep_default_na=False)
    assert list(table.columns) == ["split", "measure", "key", "value", "expected", "verdict"]
    assert table["value"][0].startswith("not fit for training: train: 100% of clips are wrapped")
    before = (root / "results/mini/audit.csv").read_bytes()
    page = (root / "results/mini/audit.html").read_text()
    assert "int16 overflow" in page and page.count("<img") == 2
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    strict = run("audit", "--threads", "1", "--strict")
    assert isinstance(strict.exception, GlatError) and "mini is not fit for training" in str(strict.exception)
    assert (root / "results/mini/audit.csv").read_bytes() == before


def test_the_page_escapes_what_it_shows(with_train, params, monkeypatch):
    lost = (Kind.GONE, "gone: <script>alert(1)</script>")
    root = with_train(reasons=dict.fromkeys(range(2), lost), notes={5: "<script>"})
    monkeypatch.chdir(root)
    report.write(params, root / "results")
    assert "<script>" not in (root / "results/audit.html").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_fits_a_phone(with_train, params, monkeypatch):
    root = with_train(half_as(wrapped), reasons=dict.fromkeys(range(4), (Kind.BOT_CHECK, "passing: bot check")))
    monkeypatch.chdir(root)
    report.write(params, root)
    page = (root / "audit.html").read_text()
    assert "<code>snakemake packs" in page
    address = (root / "audit.html").as_uri()
    with Browser(root / "browser") as browser:
        browser.open(address)
        browser.resize(390, 900)
        images, broken, scroll, client, _ = browser.run(MEASURES)
        assert images == 2 and broken == 0 and scroll <= client == 390
        assert browser.requests == [address] and browser.faults == []
