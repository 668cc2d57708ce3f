"""The synthetic corpus: its labels, its class balance, its audio, and that all three repeat."""

import av
import numpy as np
import pandas as pd
import pytest

from glat.data.sources import Shard, synthetic
from glat.data.sources.registry import open_source
from glat.data.sources.synthetic import Synthetic
from glat.data.sources.synthetic.backgrounds import BACKGROUNDS
from glat.data.sources.synthetic.sounds import SOUNDS
from glat.data.sources.synthetic.waves import RATE, log_uniform
from glat.lib.errors import GlatError

SEED = 7
CHOSEN = Synthetic(seed=SEED)


def fetch(rows, folder, first=0, workers=1, **settings):
    shard = Shard(rows, folder, "train", first, workers)
    return Synthetic(seed=SEED, **settings).fetch(shard)


def read_segments(path):
    table = pd.read_csv(path).set_axis(["youtube_id", "start", "end", "labels"], axis=1)
    start_ms = (table["start"] * 1000).round().astype(int).astype(str)
    return table.assign(labels=table["labels"].str.split(","), clip=table["youtube_id"] + "_" + start_ms)


def decode(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metadata")
    CHOSEN.write_lists(folder, {"train": 600, "eval": 300})
    return folder


@pytest.fixture(scope="module")
def train(metadata):
    return read_segments(metadata / "train_segments.csv")


def test_metadata_repeats_and_follows_the_seed(metadata, tmp_path):
    CHOSEN.write_lists(tmp_path / "again", {"train": 600, "eval": 300})
    Synthetic(seed=SEED + 1).write_lists(tmp_path / "other", {"train": 600, "eval": 300})
    assert contents(tmp_path / "again") == contents(metadata)
    assert contents(tmp_path / "other")["train_segments.csv"] != contents(metadata)["train_segments.csv"]


def test_files_are_in_the_formats_of_audioset(metadata):
    classes = (metadata / "class_labels_indices.csv").read_text().splitlines()
    assert classes[:2] == ["index,mid,display_name", '0,/m/07pggtn,"Chirp, tweet"']
    table = pd.read_csv(metadata / "class_labels_indices.csv")
    assert table["index"].tolist() == list(range(16)) and table["mid"].is_unique
    lines = (metadata / "train_segments.csv").read_text().splitlines()
    assert lines[0] == "YTID,start_seconds,end_seconds,positive_labels"
    pattern = r'[\w-]{11},\d+\.000,\d+\.\d00,"/[\w/]+(,/[\w/]+)*"'
    assert pd.Series(lines[1:]).str.fullmatch(pattern).all()
    ids = pd.concat([read_segments(metadata / f"{split}_segments.csv")["youtube_id"] for split in ("train", "eval")])
    assert ids.is_unique and ids.str.startswith("-").any()


@pytest.mark.parametrize("split", ["train", "eval"])
def test_weak_labels_are_the_union_of_the_strong_ones(metadata, split):
    segments = read_segments(metadata / f"{split}_segments.csv").set_index("clip")
    strong = pd.read_csv(metadata / f"{split}_strong.tsv", sep="\t")
    assert list(strong.columns) == ["segment_id", "start_time_seconds", "end_time_seconds", "label"]
    union = strong.groupby("segment_id")["label"].agg(set)
    assert union.to_dict() == segments["labels"].map(set).to_dict()
    assert strong.groupby("segment_id").size().between(1, 4).all()
    length = (segments["end"] - segments["start"]).reindex(strong["segment_id"]).to_numpy()
    assert (strong["start_time_seconds"] >= 0).all() and (strong["end_time_seconds"] <= length).all()
    assert (strong["end_time_seconds"] > strong["start_time_seconds"]).all()


@pytest.mark.parametrize("split", ["train", "eval"])
def test_class_frequencies_are_uneven_and_no_class_is_missing(metadata, split):
    segments = read_segments(metadata / f"{split}_segments.csv")
    positives = segments["labels"].explode().value_counts()
    assert len(positives) == 16
    assert positives.min() >= max(5, 0.01 * len(segments))
    assert 12 <= positives.max() / positives.min() <= 50


def test_classes_are_those_chosen_as_frequent_as_asked_for(tmp_path):
    names = ["Siren", "Rain", "Knock"]  # of ranks 4, 3 and 5
    chosen = Synthetic(seed=SEED, classes=names, skew=3.0, events=[1, 1])
    chosen.write_lists(tmp_path, {"train": 400})
    assert pd.read_csv(tmp_path / "class_labels_indices.csv")["display_name"].tolist() == ["Rain", "Knock", "Siren"]
    held = read_segments(tmp_path / "train_segments.csv")["labels"].explode().value_counts()
    mids = {sound.name: sound.mid for sound in SOUNDS}
    shares = np.array([held[mids[name]] for name in ("Rain", "Siren", "Knock")]) / 400
    np.testing.assert_allclose(shares, np.array([1, 1 / 8, 1 / 27]) / (1 + 1 / 8 + 1 / 27), atol=0.05)
    even = synthetic.draw_labels("train", 4000, Synthetic(seed=SEED, skew=0.0))
    counts = np.unique([mid for clip in even for mid in clip], return_counts=True)[1]
    assert counts.max() < 1.2 * counts.min()


def test_events_that_are_missing_are_labelled_and_nowhere_else(tmp_path):
    some, none = Synthetic(seed=SEED, missing=0.2), Synthetic(seed=SEED, missing=1.0)
    some.write_lists(tmp_path, {"train": 1000})
    labels = synthetic.draw_labels("train", 1000, some)
    assert labels == synthetic.draw_labels("train", 1000, CHOSEN), "the weak labels are the same"
    drawn = [[synthetic.draw_events("train", i, labels[i], 10.0, one) for i in range(1000)] for one in (CHOSEN, some)]
    assert all(set(there) <= set(all_) for all_, there in zip(*drawn, strict=True))
    share = 1 - sum(map(len, drawn[1])) / sum(map(len, drawn[0]))
    assert share == pytest.approx(0.2, abs=0.03)
    strong = pd.read_csv(tmp_path / "train_strong.tsv", sep="\t")
    assert len(strong) == sum(
        len(synthetic.draw_events("train", i, row.labels, row.end - row.start, some))
        for i, row in enumerate(read_segments(tmp_path / "train_segments.csv").itertuples())
    )
    # With all of them missing, the sound is the background alone.
    alone = synthetic.render("train", 3, labels[3], 10.0, none)
    rng = synthetic.generator(SEED, "train", 3, "mixture")
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, 10 * RATE)
    np.testing.assert_allclose(alone / np.abs(alone).max(), background / np.abs(background).max(), atol=1e-5)


@pytest.mark.parametrize("count", [1, 6, 40, 101])
def test_small_splits_share_what_clips_there_are(count):
    labels = synthetic.draw_labels("tiny", count, CHOSEN)
    positives = pd.Series([mid for clip in labels for mid in clip]).value_counts()
    assert len(labels) == count and all(1 <= len(clip) <= 4 for clip in labels)
    assert len(positives) == min(16, positives.sum())
    if count > 100:
        assert positives.min() >= 5


def test_durations(metadata, train):
    strong = pd.read_csv(metadata / "train_strong.tsv", sep="\t")
    duration = (strong["end_time_seconds"] - strong["start_time_seconds"]).groupby(strong["label"]).median()
    assert duration.max() / duration.min() >= 100
    length = train["end"] - train["start"]
    assert length.between(3, 10).all()
    assert 0.03 < (length < 10).mean() < 0.15


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda sound: sound.name)
def test_sounds_start_and_end_where_they_should(sound):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        samples = int(log_uniform(rng, *sound.seconds) * RATE)
        audio = sound.make(rng, samples)
        assert audio.shape == (samples,) and audio.dtype == np.float32 and np.isfinite(audio).all()
        size = np.abs(audio) / np.abs(audio).max()
        assert np.argmax(size > 0.05) <= 0.03 * RATE
        # Decays and the gaps of rhythms leave the last part quieter, but not empty.
        assert np.flatnonzero(size > 0.01)[-1] >= 0.5 * samples
        assert not np.array_equal(audio, sound.make(np.random.default_rng(seed + 100), samples))


@pytest.mark.parametrize("background", BACKGROUNDS, ids=lambda background: background.__name__)
def test_backgrounds_are_stereo_and_last_the_clip(background):
    audio = background(np.random.default_rng(0), 3 * RATE)
    assert audio.shape == (2, 3 * RATE) and audio.dtype == np.float32
    power = np.mean(audio**2, axis=0).reshape(30, -1).mean(axis=1)
    assert power.min() > 0.02 * power.mean()
    assert not np.allclose(audio[0], audio[1])


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda sound: sound.name)
def test_events_are_louder_than_their_surroundings(sound):
    settings = Synthetic(seed=SEED, snr_db=(15, 15), events=(1, 1))
    clips = 0
    for index in range(5):
        audio = synthetic.render("loud", index, [sound.mid], 10.0, settings)
        (event,) = synthetic.draw_events("loud", index, [sound.mid], 10.0, settings)
        assert audio.shape == (2, 10 * RATE) and 10 ** (-18.1 / 20) < np.abs(audio).max() < 10 ** (-2.9 / 20)
        inside = np.zeros(audio.shape[1], bool)
        inside[round(event.start * RATE) : round(event.end * RATE)] = True
        if inside.mean() < 0.9:
            clips += 1
            assert np.mean(audio[:, inside] ** 2) > 10 * np.mean(audio[:, ~inside] ** 2)
    assert clips > 0


@pytest.fixture(scope="module")
def fetched(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    return folder, fetch(train[:6], folder, 0)


def test_every_segment_has_its_file(train, fetched):
    folder, report = fetched
    assert list(report.columns) == ["clip", "file", "reason"]
    assert report["clip"].tolist() == train["clip"][:6].tolist() and (report["reason"] == "").all()
    assert sorted(report["file"]) == sorted(contents(folder))
    with av.open(str(folder / report["file"][0])) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 44_100, 2)
    length = decode(folder / report["file"][0]).shape[1] / RATE
    assert length == pytest.approx(train["end"][0] - train["start"][0], abs=0.03)


def test_audio_does_not_depend_on_order_shards_or_workers(train, fetched, tmp_path):
    fetch(train[4:6], tmp_path, 4, workers=2)
    fetch(train[:4], tmp_path, 0)
    assert contents(tmp_path) == contents(fetched[0])


def test_finished_files_are_kept_and_others_are_made(train, tmp_path):
    fetch(train[:3], tmp_path, 0)
    before = contents(tmp_path)
    first, second, third = (tmp_path / f"{clip}.m4a" for clip in train["clip"][:3])
    kept = first.stat().st_mtime_ns
    second.unlink()
    third.write_bytes(b"not audio")
    fetch(train[:3], tmp_path, 0)
    assert first.stat().st_mtime_ns == kept and contents(tmp_path) == before
    fetch(train[:1], tmp_path, 0, snr_db=[-15, 15], events=[1, 4])
    assert first.stat().st_mtime_ns == kept
    fetch(train[:1], tmp_path, 0, snr_db=(0, 0))
    assert first.read_bytes() != before[first.name]


def test_decoded_audio_is_aligned_with_the_strong_labels(tmp_path):
    (mid,) = (sound.mid for sound in SOUNDS if sound.name == "Clicking")
    settings = Synthetic(seed=SEED, snr_db=(40, 40), events=(1, 1))
    for index in range(3):
        path = tmp_path / f"{index}.m4a"
        audio = synthetic.render("align", index, [mid], 10.0, settings)
        synthetic.encode(path, audio, "")
        (event,) = synthetic.draw_events("align", index, [mid], 10.0, settings)
        decoded = np.abs(decode(path)).max(axis=0)
        onset = np.argmax(decoded > 0.3 * decoded.max()) / RATE
        assert onset == pytest.approx(event.start, abs=0.005)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("snr_db", (5, -5)),
        ("snr_db", 5),
        ("events", (0, 4)),
        ("events", (1.5, 4)),
        ("short_clips", 2),
        ("skew", -1),
        ("missing", 1.5),
        ("classes", ["Sirene"]),
        ("classes", []),
    ],
)
def test_impossible_settings_are_named(tmp_path, setting, value):
    with pytest.raises(GlatError, match=setting):
        open_source({"kind": "synthetic", "seed": SEED, setting: value}, "mini")


def test_a_class_without_a_synthesiser_is_named(train, tmp_path):
    segments = train[:1].assign(labels=[["/m/09x0r"]])
    with pytest.raises(GlatError, match=r"/m/09x0r"):
        fetch(segments, tmp_path, 0)


def test_a_file_made_by_other_code_is_made_again(train, tmp_path, monkeypatch):
    segments = train.head(1)
    listing = fetch(segments, tmp_path, 0)
    path = tmp_path / listing["file"][0]
    before = path.stat().st_mtime_ns
    fetch(segments, tmp_path, 0)
    assert path.stat().st_mtime_ns == before
    monkeypatch.setattr(synthetic, "_recipe", lambda: "another")
    fetch(segments, tmp_path, 0)
    assert path.stat().st_mtime_ns > before
