import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from data_fixtures import CLASSES, corpus, tone

from benchmarks.reading import SAMPLES, write_pack
from glat.data.audio.clips import prepare
from glat.data.lists.audioset import targets
from glat.data.packs.read import PackedClips, Packs, as_is
from glat.data.packs.write import pack_shard
from glat.data.resample import SUFFIX, resample_shard
from glat.lib.errors import GlatError

RATE, SECONDS = 16000, 2.0
PROVENANCE = {"dataset": "test", "split": "train", "shard": 0, "seed": 7}
PATHS = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """(folder, segments, listing) of a resampled and packed shard: folder / audio, resampled, pack.h5, ledger.csv."""
    folder = tmp_path_factory.mktemp("shard")
    segments, listing = corpus(folder / "audio")
    assert resample_shard(segments, listing, folder / "audio", folder / "resampled", RATE, SECONDS) == (4, 2)
    pack(folder, segments, folder / "pack.h5")
    return folder, segments, listing


def pack(folder, segments, out, rate=RATE):
    return pack_shard(folder / "resampled", segments, CLASSES, out, out.with_suffix(".csv"), rate, PROVENANCE)


def test_pack_holds_the_clips(shard):
    folder, segments, _ = shard
    kept = segments.drop([1, 3]).reset_index(drop=True)
    with h5py.File(folder / "pack.h5") as file:
        assert file["waveform"].shape == (4, 32000) and file["waveform"].chunks == (1, 32000)
        assert file["clip"].asstr()[:].tolist() == kept["clip"].tolist()
        assert file["class_name"].asstr()[:].tolist() == CLASSES["display_name"].tolist()
        assert file["source_rate"][:].tolist() == [22050] * 4 and file["end"][:].tolist() == kept["end"].tolist()
        np.testing.assert_array_equal(file["target"][:], targets(kept, CLASSES))
        attributes = dict(file.attrs)
        for row, clip in zip(file["waveform"][:], kept["clip"], strict=True):
            np.testing.assert_array_equal(row, prepare(folder / "audio" / f"{clip}.ogg", RATE, SECONDS)[0])
    assert (attributes["clips_asked"], attributes["clips_lost"], attributes["split"]) == (6, 2, "train")
    assert '"segments_sha256"' in attributes["provenance"] and '"seed": 7' in attributes["provenance"]


def test_ledger_gives_reasons(shard):
    folder, segments, _ = shard
    ledger = pd.read_csv(folder / "pack.csv")
    assert ledger["clip"].tolist() == segments["clip"][[1, 3]].tolist()
    assert ledger["reason"].tolist() == ["removed by its owner", "undecodable: a web page, not audio"]
    assert ledger["kind"].tolist() == ["gone: removed", "undecodable"]


def test_same_bytes_for_any_number_of_workers_at_any_time(shard, tmp_path):
    folder, segments, listing = shard
    resample_shard(segments, listing, folder / "audio", tmp_path / "resampled", RATE, SECONDS, workers=2)
    for name in ("waveform.i16", "clips.csv", "ledger.csv", "audio.json"):
        assert (tmp_path / "resampled" / name).read_bytes() == (folder / "resampled" / name).read_bytes(), name
    time.sleep(1.1)  # HDF5 time stamps have a resolution of one second
    pack(tmp_path, segments, tmp_path / "pack.h5")
    assert (tmp_path / "pack.h5").read_bytes() == (folder / "pack.h5").read_bytes()


def test_listing_must_fit(shard, tmp_path):
    folder, segments, listing = shard
    resample_shard(segments, listing.iloc[1:], folder / "audio", tmp_path / "out", RATE, SECONDS)
    assert pd.read_csv(tmp_path / "out" / "ledger.csv").loc[0, ["kind", "reason"]].tolist() == ["not listed"] * 2
    with pytest.raises(GlatError, match="-id5_50000 is not in this shard's segments"):
        resample_shard(segments.iloc[:5], listing, folder / "audio", tmp_path / "b", RATE, SECONDS)
    with pytest.raises(GlatError, match="has clip, file, reason"):
        resample_shard(segments, listing[["clip"]], folder / "audio", tmp_path / "b", RATE, SECONDS)
    with pytest.raises(GlatError, match="clip -id1_10000 is lost as '', not a kind of loss; run `glat download`"):
        resample_shard(segments, listing.drop(columns="kind"), folder / "audio", tmp_path / "b", RATE, SECONDS)
    odd = listing.assign(kind=listing["kind"].replace("gone: removed", "away"))
    with pytest.raises(GlatError, match="clip -id1_10000 is lost as 'away', not a kind of loss"):
        resample_shard(segments, odd, folder / "audio", tmp_path / "b", RATE, SECONDS)


def test_all_lost_names_the_reason(shard, tmp_path):
    _, segments, listing = shard
    with pytest.raises(GlatError, match="all 6 clips .* 5 of them as 'missing'"):
        resample_shard(segments, listing, tmp_path / "elsewhere", tmp_path / "out", RATE, SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_resampled_folder_must_fit(shard, tmp_path):
    folder, segments, _ = shard
    with pytest.raises(GlatError, match="resampled to 16000 Hz, but the pack's rate is 32000 Hz"):
        pack(folder, segments, tmp_path / "p.h5", 32000)
    with pytest.raises(GlatError, match="not those of the segment list"):
        pack(folder, segments.iloc[:3], tmp_path / "p.h5")
    with pytest.raises(GlatError, match="not a complete resampled shard"):
        pack(tmp_path, segments, tmp_path / "p.h5")
    assert list(tmp_path.iterdir()) == []


def test_reading(shard):
    folder, segments, _ = shard
    packs = Packs(folder / "pack.h5")
    with h5py.File(folder / "pack.h5") as file:
        stored = file["waveform"][:]
    wave = packs.read([3, 0, 3])
    assert wave.dtype == np.float32 and wave.min() >= -1 and wave.max() < 1
    np.testing.assert_array_equal(wave, stored[[3, 0, 3]] / np.float32(32768))
    np.testing.assert_array_equal(packs.read_int16([1]), stored[[1]])
    np.testing.assert_array_equal(packs.labels.dense(), targets(segments.drop([1, 3]), CLASSES))
    assert packs.classes.equals(CLASSES) and packs.sample_rate == RATE and len(packs) == 4
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(packs)).read([2]), packs.read([2]))
    for index in (4, -1):
        with pytest.raises(IndexError):
            packs.read([index])


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_loader_workers(shard, start_method):
    packs = Packs([shard[0] / "pack.h5"])
    whole = packs.read_int16(range(4))
    loader = torch.utils.data.DataLoader(
        PackedClips(packs, only=np.array([2, 0, 3])), batch_sampler=[[0, 2], [1]], collate_fn=as_is, num_workers=1,
        multiprocessing_context=start_method,
    )  # fmt: skip
    first, second = loader
    assert first["index"].tolist() == [2, 3] and second["index"].tolist() == [0]
    np.testing.assert_array_equal(first["waveform"].numpy(), whole[[2, 3]])
    np.testing.assert_array_equal(first["target"].numpy(), packs.labels.dense()[[2, 3]])
    assert first["target"].dtype == torch.float32
    assert PackedClips(packs)[1]["waveform"].shape == (32000,)


def edited(shard, tmp_path, name, **attributes):
    path = tmp_path / f"{name}.h5"
    path.write_bytes((shard[0] / "pack.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file["clip"][:] = [f"{name}{i}".encode() for i in range(4)]
        for key, value in attributes.items():
            if key == "class_mid":
                file[key][0] = value
            else:
                file.attrs[key] = value
    return path


def test_shards_as_one(shard, tmp_path):
    packs = Packs([shard[0] / "pack.h5", edited(shard, tmp_path, "b")])
    assert len(packs) == 8 and packs.clips[5] == "b1" and packs.labels.dense().shape == (8, 4)
    wave = packs.read(range(8))
    np.testing.assert_array_equal(wave[:4], wave[4:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "pack version 3, this glat reads version 2"),
        ({"format": "other"}, "not a pack"),
        ({"complete": False}, "not finished"),
        ({"sample_rate": 8000, "clip_seconds": 4.0}, "sample_rate is 8000"),
        ({"sample_rate": 8000}, r"waveform is int16 \(4, 32000\), expected"),
        ({"class_mid": "/m/0z"}, "class list differs"),
    ],
)
def test_shards_that_do_not_fit(shard, tmp_path, change, message):
    with pytest.raises(GlatError, match=r"odd\.h5: .*" + message):
        Packs([shard[0] / "pack.h5", edited(shard, tmp_path, "odd", **change)])


def test_damaged_packs(shard, tmp_path):
    path = tmp_path / "cut.h5"
    for content, message in (
        ((shard[0] / "pack.h5").read_bytes()[:-1000], "truncated"),
        (b"<html>", "not a readable HDF5 file"),
        (b"", "not a readable HDF5 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(GlatError, match=r"cut\.h5: " + message):
            Packs(path)
    with pytest.raises(GlatError, match="no such pack"):
        Packs(tmp_path / "none.h5")
    with pytest.raises(GlatError, match="packed twice"):
        Packs([shard[0] / "pack.h5", shard[0] / "pack.h5"])


SLOW_STEP = """
import sys, time
from pathlib import Path
import pandas as pd
from data_fixtures import CLASSES
from glat.data import resample
from glat.data.packs import write as pack

def slowly(items, title):
    for done, item in enumerate(items):
        if done == 3:
            print("under way", flush=True)
            time.sleep(60)
        yield item

pack.progress = resample.progress = slowly
if __name__ == "__main__":
    folder, step = Path(sys.argv[1]), sys.argv[2]
    segments, listing = pd.read_pickle(folder / "segments.pkl")
    if step == "resample":
        resample.resample_shard(segments, listing, folder / "audio", folder / "out", 16000, 2.0, workers=2)
    else:
        pack.pack_shard(folder / "resampled", segments, CLASSES, folder / "out.h5", folder / "out.csv", 16000, {})
"""


@pytest.mark.parametrize("step", ["resample", "pack"])
def test_killed_step_leaves_nothing(shard, tmp_path, step):
    folder, segments, listing = shard
    for name in ("audio", "resampled"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "slow.py").write_text(SLOW_STEP)
    pd.to_pickle((segments, listing), tmp_path / "segments.pkl")
    command = [sys.executable, str(tmp_path / "slow.py"), str(tmp_path), step]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": PATHS})
    assert process.stdout.readline() == b"under way\n"
    process.send_signal(signal.SIGKILL)
    # Workers hold the other end of this pipe: it closes only when they are gone too.
    assert process.stdout.read() == b"" and process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.h5").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".out.part")]
    if step == "resample":
        resample_shard(segments, listing, tmp_path / "audio", tmp_path / "out", RATE, SECONDS)
        assert (tmp_path / "out" / "waveform.i16").read_bytes() == (folder / "resampled/waveform.i16").read_bytes()
    else:
        pack(tmp_path, segments, tmp_path / "out.h5")
        assert len(Packs(tmp_path / "out.h5")) == 4
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_progress_is_plain_in_a_log(shard, tmp_path, capsys):
    folder, segments, listing = shard
    resample_shard(segments, listing, folder / "audio", tmp_path / "out", RATE, SECONDS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and lines[-1] == "resample out: 6 of 6"


def test_full_disk_is_told_before_the_work(shard, tmp_path, monkeypatch):
    folder, segments, listing = shard
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(GlatError, match="needs .* GB"):
        resample_shard(segments, listing, folder / "audio", tmp_path / "out", RATE, SECONDS)


def test_absolute_paths_in_a_listing(shard, tmp_path):
    _, segments, _ = shard
    soundfile.write(tmp_path / "ü x.wav", tone(2, 16000, 1)[0], 16000)
    listing = pd.DataFrame({"clip": segments["clip"], "file": str(tmp_path / "ü x.wav"), "reason": ""})
    assert resample_shard(segments, listing, "/nowhere", tmp_path / "out", RATE, SECONDS) == (6, 0)


def test_a_file_that_the_decoder_chokes_on_is_a_line_in_the_ledger(shard, tmp_path, monkeypatch):
    folder, segments, listing = shard

    def choke(source, *_):
        if Path(source).stem.startswith("-id2"):
            raise AttributeError("'NoneType' object has no attribute 'thread_count'")
        return prepare(source, *_)

    monkeypatch.setattr("glat.data.resample.prepare", choke)
    kept, lost = resample_shard(segments, listing, folder / "audio", tmp_path / "out", RATE, SECONDS)
    assert (kept, lost) == (3, 3)
    ledger = pd.read_csv(tmp_path / "out/ledger.csv").set_index("clip")
    assert ledger.loc["-id2_20000", "reason"].startswith("undecodable: AttributeError")


def test_other_audio_has_another_hash(shard, tmp_path):
    folder, segments, _ = shard
    copy = tmp_path / "resampled"
    shutil.copytree(folder / "resampled", copy)
    raw = np.memmap(copy / "waveform.i16", "<i2", "r+")
    raw[5] += 1
    raw.flush()
    hashes = []
    for resampled in (folder / "resampled", copy):
        pack_shard(resampled, segments, CLASSES, tmp_path / "a.h5", tmp_path / "a.csv", RATE, {})
        with h5py.File(tmp_path / "a.h5") as file:
            hashes.append(json.loads(file.attrs["provenance"])["waveforms_blake2b"])
    assert hashes[0] != hashes[1]


MEMORY = """
import re, sys
from pathlib import Path
import pandas as pd
from data_fixtures import CLASSES
from glat.data.packs.write import pack_shard
folder = Path(sys.argv[1])
def peak():  # of this process alone; getrusage begins with that of the process which started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak()
pack_shard(folder, pd.read_pickle(folder / "rows"), CLASSES, folder / "p.h5", folder / "p.csv", 16000, {})
print(peak() - before)
"""


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
def test_memory_does_not_grow_with_the_shard(shard, tmp_path, codec):
    """50 MB and 200 MB: what was read and written is no longer in the process's memory."""
    source, grown = shard[0] / "resampled", []
    for count in (100, 400):
        folder = tmp_path / str(count)
        folder.mkdir()
        clips = pd.read_csv(source / "clips.csv", keep_default_na=False).iloc[[0] * count].reset_index(drop=True)
        clips["clip"], clips["bytes"] = [f"c{i}_0" for i in range(count)], 500_000
        clips.to_csv(folder / "clips.csv", index=False)
        pd.read_csv(source / "ledger.csv").iloc[:0].to_csv(folder / "ledger.csv", index=False)
        made = json.loads((source / "audio.json").read_text()) | {"codec": codec, "clip_seconds": 500_000 / 32_000}
        (folder / "audio.json").write_text(json.dumps(made))
        with open(folder / f"waveform{SUFFIX[codec]}", "wb") as file:
            file.truncate(500_000 * count)
        rows = pd.DataFrame({"clip": clips["clip"], "start": 0.0, "end": 2.0, "labels": [("/m/0a",)] * count})
        rows.to_pickle(folder / "rows")
        call = [sys.executable, "-c", MEMORY, folder]
        done = subprocess.run(call, env=os.environ | {"PYTHONPATH": PATHS}, check=True, capture_output=True, text=True)
        grown.append(float(done.stdout))
    assert grown[1] - grown[0] < 20, grown


def test_the_pack_that_benchmarks_read_is_one(tmp_path):
    write_pack(tmp_path, clips=3, count=2)
    packs, raw = Packs(tmp_path / "pack.h5"), np.fromfile(tmp_path / "waveform.i16", np.int16).reshape(3, SAMPLES)
    np.testing.assert_array_equal(packs.read(np.arange(3)), raw * np.float32(2**-15))
    assert packs.labels.dense(np.arange(3)).tolist() == [[True, False], [False, True], [True, False]]
