"""ESC-50: its lists, the copy that somebody has, and the whole way from the archive on a server to packs."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from archive_fixtures import OnShelf, Shelf, corpus_project, wav, zipped
from conftest import ROOT
from data_fixtures import tone
from http_fixtures import served
from source_fixtures import step

from glat.config import experiments
from glat.config.params import load
from glat.data.lists import audioset, metadata
from glat.data.packs.read import Packs
from glat.data.sources import Shard
from glat.data.sources.esc50 import CATEGORIES, NAMES, label
from glat.data.sources.registry import makes_lists, open_source
from glat.lib import fetching
from glat.lib.errors import GlatError

SHARED = ROOT.parent / "shared"
HEADER = "filename,fold,target,category,esc10,src_file,take"
CHOSEN = ["dog", "insects", "rain", "clapping"]  # two of ESC-10, two without a class of AudioSet
TEN = ("dog", "rain")
FOLDS = ["fold1", "fold2", "fold3", "fold4", "fold5"]


def row(fold: int, category: str, suffix: str = ".wav", source: int = 100) -> str:
    target = NAMES.index(category)
    name = f"{fold}-{source}-A-{target}{suffix}"
    return f"{name},{fold},{target},{category},{category in TEN},{source},A"


ROWS = [row(fold, category) for fold in range(1, 6) for category in CHOSEN]


def corpus(rows=ROWS) -> dict[str, bytes]:
    """An archive as GitHub makes it: tones of 2 s, in the order of the rows."""
    files = {f"ESC-50-master/audio/{line.split(',')[0]}": wav(i, 2.0) for i, line in enumerate(rows)}
    return files | {
        "ESC-50-master/meta/esc50.csv": "\n".join([HEADER, *rows, ""]).encode(),
        "ESC-50-master/LICENSE": b"CC",
    }


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def project(root: Path, source: dict, classes: int = 4, splits: dict | None = None) -> None:
    splits = splits or dict.fromkeys(FOLDS, 4)
    corpus_project(root, {"kind": "esc50"} | source, classes, splits, 3, "fold1", "fold2")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "PAUSES", ())
    return tmp_path


def test_categories_are_audiosets_where_they_mean_the_same_sound():
    assert len(CATEGORIES) == 50 and len({label(name) for name in NAMES}) == 50
    assert [name for name in NAMES if CATEGORIES[name] is None] == [
        "insects", "clapping", "drinking_sipping", "mouse_click", "can_opening", "washing_machine",
    ]  # fmt: skip
    assert label("dog") == ("/m/0bt9lr", "Dog") and label("can_opening") == ("esc50/can_opening", "Can opening")
    known = SHARED / "audioset/class_labels_indices.csv"
    if not known.exists():
        pytest.skip(f"not there: {known}")
    theirs = {*pd.read_csv(known)[["mid", "display_name"]].itertuples(index=False, name=None)}
    assert {label(name) for name in NAMES if CATEGORIES[name]} <= theirs


def test_from_an_address_to_packs(here):
    """Through every step; GitHub tells neither a size nor a checksum."""
    with served(OnShelf, Shelf) as shelf:
        shelf.heads = False
        shelf.files = {"archive/master.zip": zipped(corpus())}
        project(here, {"file": shelf.place("archive/master.zip")})
        assert step("fetch") is None and shelf.fetched() == ["archive/master.zip"]
        assert step("fetch") is None and shelf.fetched() == []
    assert not (here / "data/tiny/source/archives").exists()
    assert step("metadata") is None
    classes = audioset.read_class_list(here / "data/tiny/metadata/class_labels_indices.csv")
    assert classes["mid"].tolist() == ["/m/0bt9lr", "esc50/insects", "/m/06mb1", "esc50/clapping"]
    assert classes["display_name"].tolist() == ["Dog", "Insects", "Rain", "Clapping"]
    rows = audioset.read_segments(here / "data/tiny/metadata/fold3_segments.csv", classes)
    assert rows["clip"].tolist() == [f"3-100-A-{target}_0" for target in (0, 7, 10, 22)]
    assert rows["labels"].tolist() == [(mid,) for mid in classes["mid"]] and set(rows["end"]) == {5.0}
    for shard in (0, 1):
        for name in ("download", "resample", "pack"):
            assert step(name, "fold3", shard) is None
    packs = Packs([here / f"data/tiny/packs/fold3/00{shard}.h5" for shard in (0, 1)])
    assert packs.clips.tolist() == rows["clip"].tolist()
    assert abs(packs.read([3])[0] - tone(2.0, 16000, 1, seed=11)[0]).max() < 1e-3


def test_a_copy_that_is_there_already_in_any_format(here):
    copy = unpacked(here / "my copy", corpus())
    for path in copy.rglob("*.wav"):
        audio, rate = soundfile.read(path)
        soundfile.write(path.with_suffix(".ogg"), audio, rate)
        path.unlink()
    (copy / "ESC-50-master/audio/3-100-A-0.flac").write_bytes(b"the better suffix")
    for folder in ("my copy", "my copy/ESC-50-master"):
        project(here, {"folder": folder})
        assert step("fetch") is None and not (here / "data").exists()
        assert step("metadata") is None and step("download", "fold3", 0) is None
        listing = pd.read_csv(here / "data/tiny/audio/fold3/000.csv", keep_default_na=False)
        audio = copy / "ESC-50-master/audio"
        names = ["3-100-A-0.flac", "3-100-A-7.ogg", "3-100-A-10.ogg"]
        assert listing["file"].tolist() == [str(audio / name) for name in names] and set(listing["part"]) == {""}
        shutil.rmtree(here / "data")


def test_recordings_are_kept_whole():
    source = open_source({"kind": "esc50", "folder": "x"}, "x")
    assert source.recordings and not source.fetches and makes_lists("esc50")
    assert open_source({"kind": "esc50"}, "x").fetches


def test_the_subset_esc10(here):
    unpacked(here / "copy", corpus())
    project(here, {"folder": "copy", "subset": "esc10"}, classes=2, splits=dict.fromkeys(FOLDS[:2], 2))
    assert step("metadata") is None
    folder = here / "data/tiny/metadata"
    assert sorted(path.name for path in folder.iterdir()) == [
        "class_labels_indices.csv", "fold1_segments.csv", "fold2_segments.csv",
    ]  # fmt: skip
    assert (folder / "fold1_segments.csv").read_text() == (
        "YTID,start_seconds,end_seconds,positive_labels\n1-100-A-0,0,5,/m/0bt9lr\n1-100-A-10,0,5,/m/06mb1\n"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("3-1-A-0,3,0,dog,True,1,A", "line 3: expected filename, the name of an audio file, found '3-1-A-0'"),
        (
            "../3-1-A-0.wav,3,0,dog,True,1,A",
            "line 3: expected filename, the name of an audio file, found '../3-1-A-0.wav'",
        ),
        ("x.wav,6,0,dog,True,1,A", "line 3: expected fold, a number from 1 to 5, found '6'"),
        ("x.wav,3,0,god,True,1,A", "line 3: expected category, one of ESC-50's 50, found 'god'"),
        ("x.wav,3,1,dog,True,1,A", "line 3: expected target 0, which dog has, found '1'"),
        ("x.wav,3,0,dog,yes,1,A", "line 3: expected esc10, True or False, found 'yes'"),
        (
            "x.wav,3,0",
            "line 3: expected 7 fields, filename,fold,target,category,esc10,src_file,take, found 'x.wav,3,0'",
        ),
        (ROWS[0], "line 3: 1-100-A-0.wav is in the list twice, first in line 2"),
    ],
)
def test_a_row_that_is_none_is_told_by_its_line(here, line, told):
    copy = unpacked(here / "copy", corpus())
    (copy / "ESC-50-master/meta/esc50.csv").write_text("\n".join([HEADER, ROWS[0], line, *ROWS[1:], ""]))
    project(here, {"folder": "copy"})
    assert step("metadata") == f"copy/ESC-50-master/meta/esc50.csv: {told}"
    assert not (here / "data/tiny/metadata").exists()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (
            "filename,fold,target,class,esc10,src_file,take",
            "line 1: the header 'filename,fold,target,class,esc10,src_file",
        ),
        (
            "",
            "copy/ESC-50-master/meta/esc50.csv: holds no row; expected ESC-50's list: filename,fold,target,category,esc10",
        ),
    ],
)
def test_a_list_without_its_columns(here, header, told):
    copy = unpacked(here / "copy", corpus())
    (copy / "ESC-50-master/meta/esc50.csv").write_text("\n".join([header, *ROWS]) if header else "")
    project(here, {"folder": "copy"})
    assert told in step("metadata")


def test_a_recording_that_is_not_there(here, caplog):
    copy = unpacked(here / "copy", corpus())
    (copy / "ESC-50-master/audio/1-100-A-7.wav").unlink()
    project(here, {"folder": "copy"})
    assert step("metadata") is None
    assert caplog.messages[0] == (
        "copy/ESC-50-master/meta/esc50.csv: line 3: 1-100-A-7 is not in copy/ESC-50-master/audio; of 20 clips, 1 will be lost, "
        "as they have no file"
    )
    for name in ("download", "resample", "pack"):
        assert step(name, "fold1", 0) is None
    assert (
        "1-100-A-7_0,no file,no file: 1-100-A-7 is not in"
        in (here / "data/tiny/packs/fold1/000.ledger.csv").read_text()
    )
    for path in (copy / "ESC-50-master/audio").glob("1-*"):
        path.unlink()
    told = step("download", "fold1", 0)
    assert told.startswith(
        "copy/ESC-50-master/audio: none of its 16 audio files is of the 3 clips asked for (fold1, from 1-100-A-0"
    )


@pytest.mark.parametrize(
    ("splits", "classes", "told"),
    [
        (
            {"fold1": 4, "train": 4, "fold2": 4},
            4,
            "datasets.*.splits: 'train' is not a split of esc50, which has fold1, fold2,",
        ),
        ({"fold1": 400, "fold2": 4}, 4, "datasets.tiny.splits.fold1: 400, but the list fold1_segments.csv has 4"),
        ({"fold1": 4, "fold2": 4}, 50, "datasets.tiny.classes: 50, but the list class_labels_indices.csv has 4"),
    ],
)
def test_settings_that_do_not_fit_the_list(here, splits, classes, told):
    unpacked(here / "copy", corpus())
    project(here, {"folder": "copy"}, classes, splits)
    assert told in step("metadata")


def test_a_fold_without_a_row(here):
    unpacked(here / "copy", corpus(ROWS[:16]))
    project(here, {"folder": "copy"})
    assert step("metadata").startswith(
        "copy/ESC-50-master/meta/esc50.csv: no row of fold5; set datasets.*.source.folder"
    )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            {"folder": "nowhere"},
            "nowhere: holds no meta/esc50.csv; set datasets.*.source.folder to the folder that the corpus",
        ),
        (
            {},
            "data/tiny/source/files: holds no meta/esc50.csv; run `glat fetch` first; if that has been done, remove data/",
        ),
        ({"subset": "esc5"}, "datasets.tiny.source.subset: 'esc5' is not allowed: input should be 'esc10'"),
        ({"file": ""}, "datasets.tiny.source.file: '' does not name a file"),
        ({"sha256": "1"}, "datasets.tiny.source.sha256: '1' is not allowed"),
    ],
)
def test_what_is_not_there_is_told_with_the_remedy(here, source, told):
    project(here, source)
    assert step("metadata").startswith(told)


def test_an_archive_that_is_none_of_esc50(here):
    (here / "x.zip").write_bytes(zipped({"a.wav": b"1"}))
    project(here, {"file": "x.zip"})
    assert step("fetch") is None
    assert step("metadata").startswith("data/tiny/source/files: holds no meta/esc50.csv; run `glat fetch` first;")


@pytest.mark.parametrize(("name", "classes", "clips"), [("esc50", 50, 400), ("esc10", 10, 80)])
def test_the_presets(name, classes, clips):
    params = load(ROOT / "params.yaml", {"dataset": name})
    entry, source = params.corpus, open_source(params.corpus.source, name)
    assert entry.classes == classes and entry.splits == dict.fromkeys(FOLDS, clips) and entry.folds == list(FOLDS)
    assert params.audio.clip_seconds == 5.0 and params.glat.tau == 1.5
    assert [archive.name for archive in source.archives()] == ["master"]
    run = experiments.table1(params)[0].runs[1]
    assert run.fold == "fold2" and entry.training_splits(run.fold) == ["fold1", "fold3", "fold4", "fold5"]


@pytest.mark.skipif(not (SHARED / "esc10/meta").is_dir(), reason=f"not there: {SHARED / 'esc10'}")
def test_the_real_esc10(tmp_path):
    source = open_source({"kind": "esc50", "folder": str(SHARED / "esc10"), "subset": "esc10"}, "x")
    splits = dict.fromkeys(FOLDS, 80)
    source.write_lists(tmp_path, splits)
    metadata.check(tmp_path, "x", 10, splits)
    classes = audioset.read_class_list(tmp_path / "class_labels_indices.csv")
    rows = audioset.read_segments(tmp_path / "fold4_segments.csv", classes)
    table = source.fetch(Shard(rows, tmp_path, "fold4"))
    assert (table["reason"] == "").all() and all(name.endswith(".ogg") for name in table["file"])
    assert classes["mid"].str.startswith("/").all()


def test_a_list_names_no_file_outside(here):
    """A name with a path in it is refused with its line before anything is looked for."""
    copy = unpacked(here / "copy", corpus())
    (copy / "ESC-50-master/meta/esc50.csv").write_text(f"{HEADER}\na\\b.wav,1,0,dog,True,1,A\n")
    with pytest.raises(GlatError, match="line 2: expected filename, the name of an audio file"):
        open_source({"kind": "esc50", "folder": str(copy)}, "x").write_lists(here, {"fold1": 1})
