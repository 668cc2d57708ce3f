"""Packs in every codec hold the same samples, whatever order the audio was read in."""

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from data_fixtures import CLASSES, corpus, tone

from glat.data.audio.clips import AudioError, Samples, prepare, statistics
from glat.data.kinds import Kind
from glat.data.packs.read import PackedClips, Packs, as_is
from glat.data.packs.write import pack_shard
from glat.data.resample import resample_shard
from glat.lib.errors import GlatError

RATE, SECONDS = 16000, 2.0


def packed(folder, segments, listing, codec, name=None, **options):
    place = folder / (name or codec)
    resample_shard(segments, listing, folder / "audio", place, RATE, SECONDS, codec=codec, **options)
    pack_shard(place, segments, CLASSES, place.with_suffix(".h5"), place.with_suffix(".csv"), RATE, {})
    return place.with_suffix(".h5")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codecs")
    segments, listing = corpus(folder / "audio")
    return folder, segments, listing, {codec: packed(folder, segments, listing, codec) for codec in ("pcm16", "flac")}


def test_flac_gives_back_every_sample_and_is_smaller(shard):
    folder, _, _, paths = shard
    plain, flac = Packs(paths["pcm16"]), Packs(paths["flac"])
    assert len(flac) == 4 and flac.samples == 32000
    np.testing.assert_array_equal(flac.read_int16([3, 0, 2, 1]), plain.read_int16([3, 0, 2, 1]))
    for name in ("clip", "target", "blake2b", "peak", "rms", "source_seconds"):
        with h5py.File(paths["pcm16"]) as a, h5py.File(paths["flac"]) as b:
            np.testing.assert_array_equal(a[name][:], b[name][:])
    assert paths["flac"].stat().st_size < 0.9 * paths["pcm16"].stat().st_size
    flac, pcm = ((folder / name).stat().st_size for name in ("flac/waveform.flac", "pcm16/waveform.i16"))
    assert flac < 0.9 * pcm, "the folder between the two steps is not smaller"


def test_the_loader_s_workers_decode(shard):
    packs = Packs(shard[3]["flac"])
    how = {"batch_sampler": [[0, 3], [2, 1]], "collate_fn": as_is, "num_workers": 1}
    first, second = torch.utils.data.DataLoader(PackedClips(packs), **how)
    np.testing.assert_array_equal(second["waveform"].numpy(), packs.read_int16([2, 1]))
    assert first["index"].tolist() == [0, 3]


def test_the_order_of_reading_changes_no_byte(shard):
    folder, segments, listing, paths = shard
    shuffled = listing.sample(frac=1, random_state=1)
    assert shuffled["clip"].tolist() != listing["clip"].tolist()
    for codec, wanted in paths.items():
        again = packed(folder, segments, shuffled, codec, f"{codec}-shuffled", workers=2 if codec == "flac" else 1)
        assert again.read_bytes() == wanted.read_bytes()
        assert again.with_suffix(".csv").read_bytes() == wanted.with_suffix(".csv").read_bytes()


def test_a_damaged_stream_is_told_with_its_clip(shard, tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(shard[3]["flac"].read_bytes())
    with h5py.File(damaged, "a") as file:
        begin, end = file["flac_end"][0], file["flac_end"][1]
        file["flac"][begin:end] = 0
    packs = Packs(damaged)
    assert packs.read([0]).any()
    with pytest.raises(GlatError, match=r"damaged\.h5: clip -id2_20000 cannot be read"):
        packs.read([1])
    cut = tmp_path / "cut.h5"
    cut.write_bytes(shard[3]["flac"].read_bytes())
    with h5py.File(cut, "a") as file:
        file["flac_end"][0] -= 100
    with pytest.raises(GlatError, match="cannot be read"):
        Packs(cut).read([0])


def test_statistics_equal_a_plain_count():
    rng = np.random.default_rng(0)
    samples = np.clip(rng.normal(2000, 14000, 20000), -32768, 32767).astype(np.int16)
    found = statistics(samples)
    values = [int(sample) for sample in samples]
    assert found.peak == max(map(abs, values)) / 32768
    assert found.mean == pytest.approx(sum(values) / 20000 / 32768, rel=1e-4)
    assert found.rms == pytest.approx((sum(v * v for v in values) / 20000) ** 0.5 / 32768, rel=1e-4)
    assert found.clipped == sum(v in (-32768, 32767) for v in values) / 20000 > 0
    # A wave that integers cannot hold, wrapped: every passage over full scale leaves a jump.
    loud = 1.5 * 32767 * np.sin(2 * np.pi * 440 * np.arange(20000) / 32000)
    assert statistics(loud.astype(np.int64).astype(np.int16)).jumps > 0.01
    assert statistics((loud / 2).astype(np.int16)).jumps == 0


def test_what_a_source_may_give_in_place_of_a_file(tmp_path):
    audio = tone(2, 16000, 1)
    soundfile.write(tmp_path / "a.flac", audio.T, 16000)
    wanted = prepare(tmp_path / "a.flac", RATE, SECONDS)[0]
    np.testing.assert_array_equal(prepare((tmp_path / "a.flac").read_bytes(), RATE, SECONDS)[0], wanted)
    np.testing.assert_array_equal(prepare(Samples(wanted, RATE), RATE, SECONDS)[0], wanted)
    other = prepare(Samples(wanted, RATE), 8000, SECONDS)[0]
    assert len(other) == 16000 and other.any()
    with pytest.raises(AudioError, match="zeros"):
        prepare(AudioError(Kind.ZEROS, "all of it"), RATE, SECONDS)
    with pytest.raises(AudioError, match="constant: every sample is 0.25 of full scale"):
        prepare(Samples(np.full(32000, 2**13, np.int16), RATE), RATE, SECONDS)


def test_a_source_that_reads_says_what_is_lost(shard, tmp_path):
    _, segments, listing, _ = shard
    there = listing.assign(file="box", part=[str(i) for i in range(len(listing))], kind="", reason="")

    def read(rows, folder, seconds):
        assert rows["clip"].tolist() == segments["clip"].tolist() and folder.name == "audio"
        for part in rows["part"]:
            sound = Samples((tone(2, RATE, 1, int(part))[0] * 2**14).astype("i2"), RATE)
            yield AudioError(Kind.ZEROS, "all of it") if part == "2" else sound

    place = tmp_path / "out"
    assert resample_shard(segments, there, tmp_path / "audio", place, RATE, SECONDS, read=read) == (5, 1)
    assert pd.read_csv(place / "ledger.csv").values.tolist() == [["-id2_20000", "zeros", "zeros: all of it", "box", 2]]
    assert pd.read_csv(place / "clips.csv")["part"].tolist() == [0, 1, 3, 4, 5]
