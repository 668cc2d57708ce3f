"""Soundscapes: isolated recordings mixed into clips whose events are known. Here they are tones, of one pitch a class."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from data_fixtures import written
from source_fixtures import step

from glat.config.params import load
from glat.data.audio.clips import AudioError, Cut, Samples
from glat.data.lists import audioset, metadata
from glat.data.packs.read import Packs
from glat.data.sources import ListedSource, Shard, mixer
from glat.data.sources.files import Files
from glat.data.sources.registry import SOURCES, identity, modules, open_source
from glat.data.sources.soundscapes import Soundscapes, plan, render
from glat.data.sources.soundscapes.hearing import listen, read_piece
from glat.data.sources.soundscapes.recordings import Places
from glat.data.sources.synthetic.waves import RATE
from glat.lib.errors import GlatError
from glat.lib.layout import CLASS_LIST, segment_list, strong_list

ROOT = Path(__file__).parents[1]
ESC10 = ROOT.parent / "shared/esc10"
OWN_RATE = 16000  # of the recordings
PITCH = {"Low": 500, "Middle": 1500, "High": 4500, "Rain": None}  # Hz; None: noise
SPLITS = {"train": 12, "eval": 6}
FROM = {"train": ["fold1", "fold2"], "eval": ["fold3"]}


class Tones(ListedSource):
    """Recordings in <folder>/<fold>/, whose lists lie there, too. packed: they come into the store by fetching."""

    folder: str
    packed: bool = False

    @property
    def fetches(self) -> bool:
        return self.packed

    def fetch_all(self, store, limits=None, splits=()):
        shutil.copytree(self.folder, store / "unpacked", dirs_exist_ok=True)
        return {"splits": list(splits)}

    def root(self, store) -> Path:
        return store / "unpacked" if self.packed else Path(self.folder)

    def write_lists(self, folder, splits, store=Path()):
        for name in [CLASS_LIST, *map(segment_list, splits)]:
            shutil.copyfile(self.root(store) / name, folder / name)

    def fetch(self, shard):
        place = self.root(shard.store).absolute() / shard.split
        rows = [(row.clip, str(place / row.written), "", "", "") for row in shard.segments.itertuples()]
        return pd.DataFrame(rows, columns=["clip", "file", "part", "kind", "reason"])


def tone(name: str, seconds: float, seed: int, rate: int = OWN_RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if PITCH[name] is None:
        return rng.standard_normal(round(seconds * rate)).astype("f4") * 0.1
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (PITCH[name] + seed) * t + seed)).astype("f4")


def padded(name: str, seed: int, silence: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    """A tone between two silences."""
    none = np.zeros(round(silence * OWN_RATE), "f4")
    return np.concatenate([none, tone(name, seconds, seed), none])


def write_class_list(folder: Path, names=tuple(PITCH)) -> None:
    rows = [(i, f"/m/{name.lower()}", name) for i, name in enumerate(names)]
    pd.DataFrame(rows, columns=["index", "mid", "display_name"]).to_csv(folder / CLASS_LIST, index=False)


def write_fold(folder: Path, fold: str, recordings: dict[str, tuple[str, np.ndarray]]) -> None:
    """name: (labels, samples)."""
    (folder / fold).mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (labels, samples) in recordings.items():
        soundfile.write(folder / fold / name, samples, OWN_RATE)
        rows.append((name, 0, len(samples) / OWN_RATE, labels))
    table = pd.DataFrame(rows, columns=["YTID", "start_seconds", "end_seconds", "positive_labels"])
    table.to_csv(folder / segment_list(fold), index=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three folds with two recordings of each class, named as ESC-50's are: fold, source, take."""
    place = tmp_path / "tones"
    for fold in (1, 2, 3):
        found = {}
        for i, name in enumerate(PITCH):
            for take in "AB":
                seed = 100 * fold + 10 * i + (take == "B")
                found[f"{fold}-{1000 * fold + i}-{take}.wav"] = f"/m/{name.lower()}", padded(name, seed)
        write_fold(place, f"fold{fold}", found)
    write_class_list(place)
    return place


def make(folder: Path, **changes) -> Soundscapes:
    settings = {
        "recordings": Tones(folder=str(folder)),
        "from": FROM,
        "seed": 3,
        "clip_seconds": 4.0,
        "short_clips": 0.0,
    }
    return Soundscapes(**settings | {"backgrounds": ["Rain"]} | changes)


def lists(source: Soundscapes, root: Path, splits=SPLITS) -> pd.DataFrame:
    """Write the lists into <root>/lists, check them as `glat metadata` does, and read the class list."""
    (root / "lists").mkdir(parents=True, exist_ok=True)
    source.write_lists(root / "lists", splits, root / "store")
    classes = audioset.read_class_list(root / "lists" / CLASS_LIST)
    metadata.check(root / "lists", "tones", len(classes), splits)
    return classes


def segments(root: Path, split: str = "train") -> pd.DataFrame:
    return audioset.read_segments(root / "lists" / segment_list(split))


def fetch(source: Soundscapes, root: Path, rows: pd.DataFrame, first=0, split="train", workers=1, to="audio"):
    return source.fetch(Shard(rows, root / to, split, first, workers, None, None, root / "store"))


def plans(root: Path, split: str = "train") -> list[dict]:
    return list(map(json.loads, Places(root / "store").plan(split).read_text().splitlines()))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def samples(root: Path, name: str) -> np.ndarray:
    found, rate = soundfile.read(root / "audio" / f"{name}.flac")
    assert rate == RATE and found.ndim == 1
    return found


def decibels(ratio: float) -> float:
    return 10 * np.log10(ratio)


def refusal(source: Soundscapes, root: Path, splits=SPLITS) -> str:
    with pytest.raises(GlatError) as caught:
        lists(source, root, splits)
    return str(caught.value)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    for root, seed in (("a", 3), ("b", 3), ("c", 4)):
        source = make(folder, seed=seed)
        lists(source, tmp_path / root)
        fetch(source, tmp_path / root, segments(tmp_path / root)[:3])
    a, b, c = (tmp_path / root for root in "abc")
    assert contents(a / "lists") == contents(b / "lists")
    assert contents(a / "store/plans") == contents(b / "store/plans")
    assert contents(a / "audio") == contents(b / "audio") and len(contents(a / "audio")) == 3
    assert contents(a / "lists")["train_segments.csv"] != contents(c / "lists")["train_segments.csv"]


def test_a_clip_depends_on_no_shard_no_order_and_no_process(folder, tmp_path):
    source = make(folder)
    lists(source, tmp_path)
    rows = segments(tmp_path)
    report = fetch(source, tmp_path, rows[:6])
    assert report.columns.tolist() == ["clip", "file", "kind", "reason"]
    assert report["file"].tolist() == [f"train-{i:05d}_0.flac" for i in range(6)] and (report["reason"] == "").all()
    fetch(source, tmp_path, rows[4:6], 4, workers=2, to="other")
    fetch(source, tmp_path, rows[3:4], 3, to="other")
    fetch(source, tmp_path, rows[:3], to="other")
    assert contents(tmp_path / "other") == contents(tmp_path / "audio")


def test_what_is_there_is_kept_and_what_would_differ_is_made_again(folder, tmp_path, monkeypatch):
    source = make(folder)
    lists(source, tmp_path)
    rows = segments(tmp_path)[:3]
    fetch(source, tmp_path, rows)
    before, first = contents(tmp_path / "audio"), tmp_path / "audio/train-00000_0.flac"
    made = first.stat().st_mtime_ns
    (tmp_path / "audio/train-00001_0.flac").unlink()
    (tmp_path / "audio/train-00002_0.flac").write_bytes(b"no sound")
    fetch(source, tmp_path, rows)
    assert contents(tmp_path / "audio") == before and first.stat().st_mtime_ns == made
    # Where the recordings lie is no part of what was made of them.
    moved = Tones(folder=str(shutil.move(folder, tmp_path / "elsewhere")))
    source = make(folder, recordings=moved)
    lists(source, tmp_path)
    fetch(source, tmp_path, rows)
    assert first.stat().st_mtime_ns == made
    fetch(make(folder, recordings=moved, snr_db=(0, 0)), tmp_path, rows[:1])
    assert first.read_bytes() != before[first.name]
    made = first.stat().st_mtime_ns
    monkeypatch.setattr(render, "_recipe", lambda: "other code")
    fetch(make(folder, recordings=moved, snr_db=(0, 0)), tmp_path, rows[:1])
    assert first.stat().st_mtime_ns > made


@pytest.mark.parametrize("snr", [-5, 0, 15])
@pytest.mark.parametrize("backgrounds", ["noise", ["Rain"]])
def test_events_have_the_level_that_is_asked_for(folder, tmp_path, snr, backgrounds):
    source = make(folder, snr_db=(snr, snr), events=(1, 1), backgrounds=backgrounds, classes=["Low", "Middle", "High"])
    lists(source, tmp_path)
    fetch(source, tmp_path, segments(tmp_path)[:6])
    for index, clip in enumerate(plans(tmp_path)[:6]):
        (event,) = clip["events"]
        audio, begin, end = samples(tmp_path, clip["clip"]), *(round(event[key] * RATE) for key in ("start", "end"))
        assert -18.1 < 20 * np.log10(np.abs(audio).max()) < -2.9
        # The same clip without its event has the same background, at another level.
        without = plan.Clip.model_validate(clip | {"events": []})
        alone = render.render(without, (3, "train", index), (snr, snr), source.material, tmp_path / "store/audio")
        outside = np.r_[0:begin, end : len(audio)]
        heard = audio / (audio[outside] @ alone[outside]) * (alone[outside] @ alone[outside]) - alone
        assert np.abs(heard[outside]).max() < 0.01 * np.abs(heard).max()
        assert decibels(np.mean(heard[begin:end] ** 2) / np.mean(alone**2)) == pytest.approx(snr, abs=0.05)


def test_strong_labels_are_where_the_energy_is(folder, tmp_path):
    source = make(folder, snr_db=(20, 20), events=(1, 3))
    classes = lists(source, tmp_path)
    assert classes["display_name"].tolist() == ["Low", "Middle", "High"], "no background is a class"
    rows = segments(tmp_path)
    fetch(source, tmp_path, rows)
    strong = audioset.read_strong(tmp_path / "lists" / strong_list("train"), classes)
    pitch = {f"/m/{name.lower()}": hertz for name, hertz in PITCH.items()}
    assert strong.groupby("clip")["label"].agg(set).to_dict() == rows.set_index("clip")["labels"].map(set).to_dict()
    alone = [(*of, events) for of, events in strong.groupby(["clip", "label"]) if len(events) == 1]
    assert len(alone) > 10
    for clip, label, events in alone:
        audio = samples(tmp_path, clip)
        t = np.arange(len(audio)) / RATE
        # Heard at the pitch of the class, within 400 Hz of it, in each hundredth of a second.
        beat = (audio * np.exp(-2j * np.pi * (pitch[label] + 150) * t))[: len(audio) // 441 * 441].reshape(-1, 441)
        level = np.abs(beat.reshape(-1, 9, 49).mean(axis=2)).mean(axis=1)
        heard = level > 0.4 * level.max()
        expected = np.zeros(len(heard), bool)
        for event in events.itertuples():
            assert event.end - event.start == pytest.approx(1.0, abs=0.05), "the silences are no part of it"
            expected[round(event.start * 100) : round(event.end * 100)] = True
        assert np.count_nonzero(heard != expected) <= 6, (clip, label)


def test_each_split_has_recordings_of_its_own(folder, tmp_path):
    lists(make(folder), tmp_path, {"train": 60, "eval": 40})
    for split, folds in FROM.items():
        pieces = [event["piece"] for clip in plans(tmp_path, split) for event in clip["events"]]
        pieces += [clip["background"] for clip in plans(tmp_path, split)]
        assert {piece["fold"] for piece in pieces} == set(folds)
        assert {piece["recording"].partition("-")[0] for piece in pieces} == {fold[-1] for fold in folds}
    table = pd.read_csv(Places(tmp_path / "store").table, keep_default_na=False)
    assert len(table) == 24 and (table["reason"] == "").all() and set(table["role"]) == {"event", "background"}


def test_pieces_of_one_recording_in_two_splits_are_refused(folder, tmp_path):
    write_fold(folder, "fold3", {f"3-1000-{name}.wav": (f"/m/{name.lower()}", padded(name, 9)) for name in PITCH})
    lists(make(folder), tmp_path)  # nothing tells
    assert refusal(make(folder, group=r"^\d-(\d+)"), tmp_path) == (
        "datasets.*.source.from: 1-1000-A_0 (fold1, which serves train) and 3-1000-Low_0 (fold3, which serves eval) are of one "
        "recording, '1000'; give all of its parts to one split"
    )
    write_fold(folder, "fold3", {"1-1000-A.wav": ("/m/low", padded("Low", 8))})
    assert "1-1000-A_0 (fold1, which serves train) and 1-1000-A_0 (fold3" in refusal(make(folder), tmp_path)
    assert "group: '^x(.)' finds nothing in '1-1000-A.wav' (fold1)" in refusal(make(folder, group="^x(.)"), tmp_path)


def test_the_same_sound_under_another_name_is_left_out_of_the_second_split(folder, tmp_path, capsys):
    shutil.copy(folder / "fold1/1-1000-A.wav", folder / "fold3/3-3000-B.wav")
    lists(make(folder), tmp_path)
    said = "the same sound as 1-1000-A_0 (fold1), which serves train"
    assert (
        f"1 of 24 recordings are left out, 3-3000-B_0 (fold3) the first: {said}; all of them: "
        in capsys.readouterr().err
    )
    table = pd.read_csv(Places(tmp_path / "store").table).set_index("recording")
    assert table.loc["3-3000-B_0", "reason"] == said
    used = [event["piece"]["recording"] for clip in plans(tmp_path, "eval") for event in clip["events"]]
    assert "3-3000-A_0" in used and "3-3000-B_0" not in used


def test_recordings_that_cannot_be_used_are_named_and_left_out(folder, tmp_path, capsys):
    soundfile.write(folder / "fold1/1-1000-A.wav", np.full(OWN_RATE, 0.25, "f4"), OWN_RATE)  # an offset and no sound
    (folder / "fold1/1-1001-A.wav").write_text("<!DOCTYPE html>")
    (folder / "fold1/1-1002-A.wav").unlink()
    (folder / "fold1/1-1003-A.wav").write_bytes((folder / "fold1/1-1003-B.wav").read_bytes()[:9000])
    soundfile.write(folder / "fold2/2-2000-A.wav", np.full(OWN_RATE, np.nan, "f4"), OWN_RATE, "FLOAT")
    lists(make(folder), tmp_path)
    assert "5 of 24 recordings are left out, 1-1000-A_0 (fold1) the first: silent" in capsys.readouterr().err
    table = pd.read_csv(Places(tmp_path / "store").table, keep_default_na=False).set_index("recording")["reason"]
    kinds = [reason.partition(":")[0] for reason in table if reason]
    assert kinds == ["silent", "undecodable", "missing", "truncated", "not finite"]
    used = {event["piece"]["recording"] for clip in plans(tmp_path) for event in clip["events"]}
    assert used.isdisjoint(table.index[table != ""]) and len(used) > 3


def test_a_class_without_a_usable_recording_is_refused(folder, tmp_path):
    for take in "AB":
        soundfile.write(folder / f"fold3/3-3001-{take}.wav", np.zeros(OWN_RATE), OWN_RATE)
    assert refusal(make(folder), tmp_path) == (
        "datasets.*.source.from.eval: fold3: no recording of 'Middle' can be used (2 left out: 3-3001-A_0, silent: its "
        "loudest moment is under -80 dB of full scale); name more of the recordings' splits, or leave it out of source.classes"
    )
    lists(make(folder, classes=["High", "Low"]), tmp_path)
    write_fold(folder, "fold3", {"3-1-A.wav": ("/m/low", padded("Low", 7))})
    message = refusal(make(folder), tmp_path)
    assert "no recording of 'Middle' and 'High' can be used; name more" in message
    message = refusal(make(folder, classes=["Low"]), tmp_path)
    assert "from.eval: fold3: no recording can be used that is of a background and of no class of events" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": ["Low", "Owl"]},
            "source.classes: 'Owl' is not a class of the recordings; they have 'Low', 'Middle', ",
        ),
        ({"backgrounds": ["Wind"]}, "source.backgrounds: 'Wind' is not a class of the recordings; they have 'Low'"),
        ({"classes": ["Low", "Rain"]}, "source: 'Rain' is in classes and in backgrounds; leave it in one of them"),
        (
            {"backgrounds": list(PITCH)},
            "source.backgrounds: names every class of the recordings; leave some for events",
        ),
        (
            {"from": {"train": ["fold1"]}},
            "source.from: has no eval; say which of the recordings' splits serve this split",
        ),
        (
            {"from": FROM | {"test": ["fold4"]}},
            "source.from: test is not one of datasets.*.splits, which are train, eval",
        ),
        ({"metadata": "lists"}, "source.metadata: the recordings' source writes their lists itself; remove it"),
    ],
)
def test_choices_that_do_not_fit_the_recordings_are_refused(folder, tmp_path, changes, message):
    assert refusal(make(folder, **changes), tmp_path).startswith("datasets.*." + message)


def test_settings_are_checked_before_anything_is_read():
    given = {"kind": "soundscapes", "recordings": {"kind": "files", "audio": "x"}, "from": FROM, "seed": 1}
    source = open_source(given, "s")
    assert isinstance(source.material, Files) and source.origin == FROM and not source.fetches and not source.recordings
    place = "datasets.s.source."
    for changes, message in [
        (
            {"from": {"train": ["a", "b"], "eval": ["b"]}},
            "from: 'b' serves both train and eval; a recording has one split",
        ),
        ({"from": {"train": []}}, "from.train: [] is not allowed"),
        ({"from": {}}, "from: {} is not allowed"),
        ({"from": {"train": ["../a"]}}, "from.train[0]: '../a' cannot be a name"),
        ({"recordings": {"kind": "esc"}}, "recordings.kind: 'esc' is not known; allowed are synthetic, "),
        ({"recordings": {"kind": "files"}}, "recordings.audio: missing; source files needs it"),
        ({"recordings": {"kind": "files", "audoi": "x"}}, "recordings: unknown key audoi; source files has audio, "),
        (
            {"recordings": "esc50"},
            "recordings: give the settings of the recordings' own source, with its kind, as {kind: ",
        ),
        ({"recordings": {"folder": "x"}}, "recordings: give the settings of the recordings' own source, with its kind"),
        ({"group": "("}, "group: '(' is no regular expression"),
        ({"group": "a"}, "group: 'a' has 0 pairs of parentheses; put one around the group"),
        ({"event_seconds": 0.1}, "event_seconds: 0.1 is not allowed"),
        ({"backgrounds": []}, "backgrounds"),
        ({"events": [0, 2]}, "events: [0, 2]: give [fewest, most] per clip, from 1 to 64"),
        ({"snr_db": [3, 1]}, "snr_db: [3, 1]: give [lowest, highest]"),
    ]:
        with pytest.raises(GlatError) as caught:
            open_source(given | changes, "s")
        assert str(caught.value).startswith(place + message), caught.value
    with pytest.raises(GlatError, match=r"datasets\.s\.source\.from: missing; source soundscapes needs it"):
        open_source({"kind": "soundscapes", "recordings": {"kind": "files", "audio": "x"}, "seed": 1}, "s")
    with pytest.raises(
        GlatError, match=r"unknown key origin; source soundscapes has backgrounds, .*from, group, .*recordings"
    ):
        open_source(given | {"origin": FROM}, "s")


def test_a_source_inside_a_source_counts_as_one():
    inner = {"kind": "youtube", "cookies": "my.txt", "bitrate": 96}
    given = {"kind": "soundscapes", "recordings": inner, "from": FROM, "seed": 1}
    assert identity(given) == given | {"recordings": identity(inner)} and "cookies" not in identity(inner)
    assert modules(given) == ["glat.data.sources.soundscapes", "glat.data.sources.youtube"]


def test_weak_labels_are_those_of_the_events_and_some_events_are_missing(folder, tmp_path):
    lists(make(folder, missing=0.4), tmp_path / "some", {"train": 200, "eval": 10})
    lists(make(folder), tmp_path / "all", {"train": 200, "eval": 10})
    some, everything = plans(tmp_path / "some"), plans(tmp_path / "all")
    assert [clip["labels"] for clip in some] == [clip["labels"] for clip in everything]
    assert all(one in two["events"] for first, two in zip(some, everything, strict=True) for one in first["events"])
    share = 1 - sum(len(clip["events"]) for clip in some) / sum(len(clip["events"]) for clip in everything)
    assert share == pytest.approx(0.4, abs=0.06)
    for clip in everything:
        assert clip["labels"] == sorted({mid for event in clip["events"] for mid in event["labels"]})
        assert 1 <= len(clip["events"]) <= 4
        assert all(0 <= event["start"] < event["end"] <= clip["seconds"] for event in clip["events"])


def test_a_recording_of_several_classes_is_an_event_of_all_that_are_used(folder, tmp_path):
    both = {f"3-9-{take}.wav": ("/m/low,/m/high,/m/rain", padded("Low", i)) for i, take in enumerate("AB")}
    both |= {"3-8-A.wav": ("/m/middle", padded("Middle", 5))}
    write_fold(folder, "fold3", both)
    lists(make(folder, backgrounds="noise", classes=["High", "Low", "Middle"]), tmp_path)
    events = [event for clip in plans(tmp_path, "eval") for event in clip["events"]]
    assert {tuple(event["labels"]) for event in events} == {("/m/low", "/m/high"), ("/m/middle",)}
    message = refusal(make(folder, backgrounds=["Rain"]), tmp_path)
    assert "(2 left out: 3-9-A_0, of a class of events and of one of backgrounds)" in message


def test_ranks_follow_the_order_in_which_classes_are_named(folder, tmp_path):
    lists(make(folder, classes=["High", "/m/low"], skew=3.0, events=(1, 1)), tmp_path, {"train": 300, "eval": 5})
    held = pd.Series([clip["labels"][0] for clip in plans(tmp_path)]).value_counts()
    assert held["/m/high"] / 300 == pytest.approx(8 / 9, abs=0.05)
    assert audioset.read_class_list(tmp_path / "lists" / CLASS_LIST)["display_name"].tolist() == ["Low", "High"]


def test_lengths_of_clips_and_events(folder, tmp_path):
    write_fold(folder, "fold1", {f"1-{i}-A.wav": (f"/m/{n.lower()}", tone(n, 6.0, i)) for i, n in enumerate(PITCH)})
    source = make(folder, short_clips=0.5, event_seconds=1.5, clip_seconds=5.0)
    lists(source, tmp_path, {"train": 100, "eval": 5})
    clips = plans(tmp_path)
    lengths = np.array([clip["seconds"] for clip in clips])
    assert lengths.min() >= 1.5 and lengths.max() == 5.0 and 0.3 < (lengths < 5).mean() < 0.7
    long = [event for clip in clips for event in clip["events"] if event["piece"]["fold"] == "fold1"]
    assert {round(event["piece"]["seconds"], 3) for event in long} == {1.5}
    begins = [event["piece"]["begin"] for event in long]
    assert min(begins) < 1 and max(begins) > 3.5 and max(begins) <= 4.5
    rows = segments(tmp_path)
    fetch(source, tmp_path, rows[:4])
    for row in rows[:4].itertuples():
        assert len(samples(tmp_path, row.clip)) == round((row.end - row.start) * RATE)


def test_a_recording_that_is_gone_costs_its_clips_and_no_others(folder, tmp_path):
    source = make(folder, events=(1, 1))
    lists(source, tmp_path)
    gone = plans(tmp_path)[0]["events"][0]["piece"]
    (folder / gone["fold"] / f"{gone['recording'].removesuffix('_0')}.wav").unlink()
    report = fetch(source, tmp_path, segments(tmp_path)).set_index("clip")
    lost = {clip["clip"] for clip in plans(tmp_path) if clip["events"][0]["piece"]["recording"] == gone["recording"]}
    assert set(report.index[report["file"] == ""]) == lost and len(lost) < SPLITS["train"]
    row = report.loc["train-00000_0"]
    assert row["kind"] == "missing"
    gone_from = f"recording {gone['recording']} ({gone['fold']})"
    assert row["reason"] == f"missing: {gone_from}: no such file; if it was moved, run `glat metadata` again"
    assert {path.stem for path in (tmp_path / "audio").iterdir()} == set(report.index) - lost


def test_lists_and_plans_that_do_not_belong_together_are_refused(folder, tmp_path):
    source = make(folder)
    lists(source, tmp_path)
    rows, path = segments(tmp_path), Places(tmp_path / "store").plan("train")
    with pytest.raises(
        GlatError, match=r"train.jsonl: line 1 is not the list's clip train-00003_0; run `glat metadata` again"
    ):
        fetch(source, tmp_path, rows[3:])
    other = rows.assign(labels=[("/m/low", "/m/middle", "/m/high", "/m/owl")] * len(rows))
    with pytest.raises(GlatError, match=r"train.jsonl: line 1 is not the list's clip train-00000_0"):
        fetch(source, tmp_path, other)
    path.write_text(path.read_text()[:300])
    with pytest.raises(GlatError, match=r"train.jsonl: damaged, or of other lists; run `glat metadata` again"):
        fetch(source, tmp_path, rows)
    path.unlink()
    with pytest.raises(GlatError, match=r"train.jsonl: no such file; run `glat metadata`, which draws the soundscapes"):
        fetch(source, tmp_path, rows)
    assert not (tmp_path / "audio").exists()


def test_nothing_half_written_is_left_where_lists_are_refused(folder, tmp_path):
    lists(make(folder), tmp_path)
    before = contents(tmp_path / "store/plans")
    refusal(make(folder, classes=["Owl"]), tmp_path)
    assert contents(tmp_path / "store/plans") == before
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"lists", "plans"}


def test_names_of_any_kind(tmp_path):
    names = ['Dög, "bark"', "a;b|c", "<b>&$(x)", "鳥 '"]
    place = tmp_path / "hostile"
    for fold in (1, 2):
        found = {}
        for i, _ in enumerate(names):
            found[f"{fold} ü'$(touch x)&;{i}.wav"] = f"id {i}|ü;x", padded("High", 50 * fold + i)
        write_fold(place, f"fold{fold}", found)
    rows = [(i, f"id {i}|ü;x", name) for i, name in enumerate(names)]
    pd.DataFrame(rows, columns=["index", "mid", "display_name"]).to_csv(place / CLASS_LIST, index=False)
    source = make(place, backgrounds="noise", **{"from": {"train": ["fold1"], "eval": ["fold2"]}})
    classes = lists(source, tmp_path)
    assert classes["display_name"].tolist() == names and classes["mid"].tolist() == [row[1] for row in rows]
    table = audioset.read_segments(tmp_path / "lists" / segment_list("train"), classes)
    report = source.fetch(Shard(table[:2], tmp_path / "audio", "train", 0, 1, classes, table, tmp_path / "store"))
    assert (report["file"] != "").all()
    strong = audioset.read_strong(tmp_path / "lists" / strong_list("train"), classes)
    assert set(strong["label"]) <= set(classes["mid"])
    pd.DataFrame(rows, columns=["index", "mid", "display_name"]).replace("id 0|ü;x", "a,b").to_csv(
        place / CLASS_LIST, index=False
    )
    for fold in (1, 2):
        path = place / segment_list(f"fold{fold}")
        path.write_text(path.read_text().replace("id 0|ü;x", '"a,b"'))
    assert "the id 'a,b' cannot stand in a list of ids with commas between them; give the class another id" in refusal(
        source, tmp_path
    )


def test_what_sounds_in_a_recording():
    def spans(samples, rate=OWN_RATE):
        found = listen(Samples(np.asarray(samples, "f4"), rate))
        assert found.seconds == pytest.approx(len(samples) / rate, abs=1e-3)
        assert sum(span.energy for span in found.spans) == pytest.approx(1)
        return [(round(span.start, 2), round(span.end, 2)) for span in found.spans], found

    none = np.zeros(OWN_RATE)
    loud, quiet = tone("Low", 0.5, 1), 0.1 * tone("High", 1.0, 2)
    places, found = spans(np.concatenate([none, loud, none, quiet, none]))
    assert places == [(1.0, 1.5), (2.5, 3.5)]
    assert found.spans[0].energy == pytest.approx(100 / 102, abs=0.01)
    # A pause of a fifth of a second is part of a sound; what is 40 dB below the loudest is not.
    places, _ = spans(np.concatenate([loud, none[:3200], loud, 0.01 * tone("High", 1.0, 2)]))
    assert places == [(0.0, 1.2)]
    assert spans(np.concatenate([none, loud]) + 0.2)[0] == [(1.0, 1.5)], "an offset is no sound"
    assert spans(tone("High", 0.013, 1))[0] == [(0.0, 0.01)], "shorter than a frame"
    # The decoder's blocks end anywhere, here within a frame.
    path = written(np.concatenate([none, loud] * 20), OWN_RATE)
    found = listen(path)
    assert len(found.spans) == 20 and found.spans[19].start == pytest.approx(29.5, abs=0.03)
    for fault in (none, np.full(100, 0.3), np.zeros(5)):
        with pytest.raises(AudioError, match="silent"):
            listen(Samples(np.asarray(fault, "f4"), OWN_RATE))


def test_a_piece_is_the_same_however_its_recording_is_given(tmp_path):
    audio = np.concatenate([tone("Low", 2.0, 1), tone("High", 2.0, 2)])
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, OWN_RATE, "FLOAT")
    pieces = [
        read_piece(source, 1.75, 0.5, RATE)
        for source in (path, path.read_bytes(), Samples(audio, OWN_RATE), Cut(path, 0.0, 4.0))
    ]
    pieces.append(read_piece(Cut(path, 1.5, 2.0), 0.25, 0.5, RATE))
    assert all(len(piece) == RATE // 2 and np.array_equal(piece, pieces[0]) for piece in pieces)
    middle = (
        np.abs(np.fft.rfft(pieces[0][: RATE // 4])).argmax() * 4,
        np.abs(np.fft.rfft(pieces[0][RATE // 4 :])).argmax() * 4,
    )
    assert middle == (pytest.approx(501, abs=4), pytest.approx(4502, abs=4))
    assert len(read_piece(path, 3.9, 0.5, RATE)) == RATE // 2, "padded where the recording ends"
    with pytest.raises(AudioError, match="too short"):
        read_piece(path, 4.5, 0.5, RATE)
    with pytest.raises(AudioError, match="missing"):
        read_piece(tmp_path / "b.wav", 0.0, 0.5, RATE)
    soundfile.write(path, np.zeros(4 * OWN_RATE), OWN_RATE)
    with pytest.raises(AudioError, match="silent: nothing sounds in it from 1 s on any more"):
        read_piece(path, 1.0, 0.5, RATE)


def test_a_background_that_is_too_short_goes_on_without_a_seam():
    sound = np.random.default_rng(0).standard_normal(RATE).astype("f4")
    looped = render.loop(sound, 5 * RATE, np.random.default_rng(1))
    assert looped.shape == (5 * RATE,) and looped.dtype == np.float32
    power = np.mean(looped.reshape(-1, 441) ** 2, axis=1)
    assert power.min() > 0.6 and power.max() < 1.5
    assert np.array_equal(render.loop(sound, 100, np.random.default_rng(1)), sound[:100])
    assert len(render.loop(sound[:1], 7, np.random.default_rng(1))) == 7


@pytest.mark.parametrize("channels", [1, 2])
def test_the_mixer_keeps_the_ratio_in_mono_and_in_stereo(channels):
    rng = np.random.default_rng(0)
    background = rng.standard_normal((channels, RATE)).astype("f4") * 3
    sound = rng.standard_normal(RATE // 2).astype("f4")
    alone = mixer.mix(np.random.default_rng(1), background, [], (6, 6))
    mixed = mixer.mix(np.random.default_rng(1), background, [(1000, sound)], (6, 6))
    alone, mixed = alone / alone[0, 0], mixed / mixed[0, 0]
    event = (mixed - alone)[:, 1000 : 1000 + len(sound)]
    assert decibels(np.mean(event**2) / np.mean(alone**2)) == pytest.approx(6, abs=1e-3)
    assert np.allclose(mixed[:, :1000], alone[:, :1000], rtol=1e-4)


def project(root: Path, source: dict, classes: int, **changes) -> None:
    settings = yaml.safe_load((ROOT / "params.yaml").read_text())
    mini = settings["datasets"]["mini"]
    entry = mini | {"source": source, "classes": classes, "splits": SPLITS, "shard_size": 8, **changes}
    settings |= {"dataset": "tones", "datasets": {"tones": entry}}
    settings["audio"] |= {"clip_seconds": 4.0}
    settings["glat"] |= {"n": 2, "tau": 1.0}
    settings["fig2"] |= {"n": [1, 2], "tau": [1]}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))


def test_from_what_is_fetched_to_packs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SOURCES, "tones", f"{__name__}:Tones")
    source = {
        "kind": "soundscapes",
        "recordings": {"kind": "tones", "folder": str(folder), "packed": True},
        "from": FROM,
    }
    project(tmp_path, source | {"seed": 3, "clip_seconds": 4.0, "backgrounds": ["Rain"]}, 3)
    assert load().corpus.source["from"] == FROM
    assert step("fetch") is None
    assert json.loads((tmp_path / "data/tones/source.json").read_text()) == {"splits": ["fold3", "fold1", "fold2"]}
    shutil.rmtree(folder)
    assert step("metadata") is None
    for split, shard in (("train", 0), ("train", 1), ("eval", 0)):
        for name in ("download", "resample", "pack"):
            assert step(name, split, shard) is None
    packs = [tmp_path / f"data/tones/packs/train/{shard:03d}.h5" for shard in (0, 1)]
    assert len(Packs(packs)) == SPLITS["train"]


def test_recordings_whose_source_has_no_lists_of_its_own(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = {"kind": "soundscapes", "recordings": {"kind": "files", "audio": "tones"}, "from": FROM, "seed": 3}
    source |= {"clip_seconds": 4.0, "backgrounds": ["Rain"]}
    project(tmp_path, source, 3)
    assert step("metadata") == "datasets.*.source.metadata: missing; name the folder with the recordings' lists"
    project(tmp_path, source | {"metadata": "lists of mine"}, 3)
    assert "lists of mine/class_labels_indices.csv: cannot be read as a class list" in step("metadata")
    project(tmp_path, source | {"metadata": "tones"}, 4)
    assert step("metadata").endswith("datasets.tones.classes: 4, but the list class_labels_indices.csv has 3")
    project(tmp_path, source | {"metadata": "tones"}, 3)
    assert step("metadata") is None and step("download", "train", 1) is None
    assert len(list((tmp_path / "data/tones/audio/train/001").glob("*.flac"))) == 4
    project(tmp_path, source | {"metadata": "tones", "from": {"train": ["fold1"], "eval": ["fold4"]}}, 3)
    assert "tones/fold4_segments.csv: cannot be read as a segment list (No such file" in step("metadata")
    shutil.rmtree(tmp_path / "tones/fold3")
    (tmp_path / "tones/fold1/1-1000-A.wav").rename(tmp_path / "tones/fold1/x.wav")
    project(tmp_path, source | {"metadata": "tones"}, 3)
    assert "the recordings of fold3: tones: none of its 16 audio files is of the 8 segments asked for" in step(
        "metadata"
    )


def test_pieces_of_long_recordings(folder, tmp_path):
    """Segments of one file, as a list cuts them out of it."""
    for fold in (1, 2, 3):
        place, rows = folder / f"long{fold}", []
        place.mkdir()
        audio = np.concatenate([padded(name, 10 * fold + i) for i, name in enumerate(PITCH)])
        soundfile.write(place / f"yard{fold}.wav", audio, OWN_RATE)
        rows = [(f"yard{fold}", 2 * i, 2 * i + 2, f"/m/{name.lower()}") for i, name in enumerate(PITCH)]
        table = pd.DataFrame(rows, columns=["YTID", "start_seconds", "end_seconds", "positive_labels"])
        table.to_csv(folder / segment_list(f"long{fold}"), index=False)
    origin = {"train": ["long1", "long2"], "eval": ["long3"]}
    source = make(
        folder,
        recordings=Files(audio=str(folder)),
        metadata=str(folder),
        snr_db=(30, 30),
        events=(1, 1),
        **{"from": origin},
    )
    lists(source, tmp_path)
    fetch(source, tmp_path, segments(tmp_path)[:5])
    for clip in plans(tmp_path)[:5]:
        (event,) = clip["events"]
        assert event["piece"]["begin"] == pytest.approx(0.5, abs=0.03)
        found = samples(tmp_path, clip["clip"])[round(event["start"] * RATE) :][: RATE // 2]
        hertz = PITCH[event["labels"][0].removeprefix("/m/").capitalize()]
        assert np.abs(np.fft.rfft(found)).argmax() * 2 == pytest.approx(hertz, abs=50)
    origin = {"train": ["long1"], "eval": ["long1b"]}
    shutil.copy(folder / segment_list("long1"), folder / segment_list("long1b"))
    message = refusal(
        make(folder, recordings=Files(audio=str(folder)), metadata=str(folder), **{"from": origin}), tmp_path
    )
    assert "are of one recording, 'yard1'; give all of its parts to one split" in message


class Esc10(Tones):
    """ESC-10 as its archive has it, in its five folds."""

    def write_lists(self, folder, splits, store=Path()):
        table = pd.read_csv(Path(self.folder) / "meta/esc50.csv")
        names = sorted(table["category"].unique())
        rows = [(i, f"/m/{name}", name) for i, name in enumerate(names)]
        pd.DataFrame(rows, columns=["index", "mid", "display_name"]).to_csv(folder / CLASS_LIST, index=False)
        for split in splits:
            own = table[table["fold"] == int(split[-1])]
            rows = [
                (name, 0, 5, f"/m/{category}") for name, category in zip(own["filename"], own["category"], strict=True)
            ]
            columns = ["YTID", "start_seconds", "end_seconds", "positive_labels"]
            pd.DataFrame(rows, columns=columns).to_csv(folder / segment_list(split), index=False)

    def fetch(self, shard):
        place = Path(self.folder).absolute() / "audio"
        rows = [(row.clip, str(place / row.written), "", "", "") for row in shard.segments.itertuples()]
        return pd.DataFrame(rows, columns=["clip", "file", "part", "kind", "reason"])


@pytest.mark.skipif(not ESC10.is_dir(), reason="the recordings of ESC-10 are not beside the project")
def test_esc10(tmp_path):
    origin = {"train": [f"fold{i}" for i in range(1, 5)], "eval": ["fold5"]}
    given = {"recordings": Esc10(folder=str(ESC10)), "from": origin, "group": r"^\d-(\d+)-", "seed": 1}
    source = Soundscapes(**given, backgrounds=["rain", "sea_waves"], snr_db=(10, 10), events=(1, 1))
    classes = lists(source, tmp_path, {"train": 24, "eval": 12})
    assert len(classes) == 8
    table = pd.read_csv(Places(tmp_path / "store").table, keep_default_na=False)
    assert len(table) == 400 and (table["reason"] == "").all()
    groups = table["recording"].str.extract(r"^\d-(\d+)-")[0].groupby(table["split"]).agg(set)
    assert not groups["train"] & groups["eval"]
    fetch(source, tmp_path, segments(tmp_path)[:6])
    for clip in plans(tmp_path)[:6]:
        (event,) = clip["events"]
        audio = samples(tmp_path, clip["clip"])
        inside = np.zeros(len(audio), bool)
        inside[round(event["start"] * RATE) : round(event["end"] * RATE)] = True
        assert np.mean(audio[inside] ** 2) > 3 * np.mean(audio[~inside] ** 2)
    assert plan.clip_name("train", 3) == segments(tmp_path)["clip"][3]
