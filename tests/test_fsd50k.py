"""FSD50K: its lists, the copy that somebody has, and the whole way from split archives on a server to packs."""

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from archive_fixtures import OnShelf, Shelf, corpus_project, named, split, wav, zipped
from conftest import ROOT
from data_fixtures import tone
from http_fixtures import served
from source_fixtures import step

from glat.config.params import load
from glat.config.runs import resolve
from glat.data.archives import group
from glat.data.lists import audioset
from glat.data.packs.read import Packs
from glat.data.sources.fsd50k import display_name
from glat.data.sources.registry import makes_lists, open_source
from glat.lib import fetching

VOCABULARY = ["0,Bass_guitar,/m/018vs", "1,Chirp_and_tweet,/m/07pggtn", "2,Crash_cymbal,/m/0bm0k", "3,Guitar,/m/0342h"]
DEV = [
    '11,"Bass_guitar,Guitar","/m/018vs,/m/0342h",train',
    "12,Guitar,/m/0342h,val",
    '13,"Chirp_and_tweet",/m/07pggtn,train',
    '14,"Crash_cymbal,Chirp_and_tweet","/m/0bm0k,/m/07pggtn",train',
]
EVAL = ['21,"Guitar,Bass_guitar","/m/0342h,/m/018vs"', "22,Crash_cymbal,/m/0bm0k"]
HEADER = "fname,labels,mids"
SPLITS = {"train": 3, "val": 1, "eval": 2}
TRUTH = "FSD50K.ground_truth"


def lines(*text: str) -> bytes:
    return "\n".join([*text, ""]).encode()


def truth(vocabulary=VOCABULARY, dev=DEV, evaluation=EVAL) -> dict[str, bytes]:
    return {
        f"{TRUTH}/vocabulary.csv": lines(*vocabulary), f"{TRUTH}/dev.csv": lines(f"{HEADER},split", *dev),
        f"{TRUTH}/eval.csv": lines(HEADER, *evaluation),
    }  # fmt: skip


def audio(which: str) -> dict[str, bytes]:
    """Tones of 0.6 to 2 s."""
    ids = [row.partition(",")[0] for row in (DEV if which == "dev" else EVAL)]
    return {f"FSD50K.{which}_audio/{i}.wav": wav(int(i), 2.0 if int(i) % 2 else 0.6) for i in ids}


def archives() -> dict[str, bytes]:
    """As Zenodo has them: split ones of the audio, and one of the lists."""
    dev, evaluation = split(zipped(audio("dev")), 60_000), split(zipped(audio("eval")), 50_000)
    assert len(dev) == 3 and len(evaluation) == 2
    files = {f"{TRUTH}.zip": zipped(truth())}
    return files | named("FSD50K.dev_audio", dev) | named("FSD50K.eval_audio", evaluation)


def unpacked(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    for name, content in (files or truth() | audio("dev") | audio("eval")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def project(root: Path, source: dict, classes: int = 4, splits: dict | None = None) -> None:
    splits = splits or SPLITS
    corpus_project(root, {"kind": "fsd50k"} | source, classes, splits, 2, next(iter(splits)), list(splits)[-1])


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetching, "PAUSES", ())
    return tmp_path


def test_from_split_archives_to_packs(here):
    with served(OnShelf, Shelf) as shelf:
        shelf.files = archives()
        parts = [
            {"file": shelf.place(name), "md5": hashlib.md5(body).hexdigest()} for name, body in shelf.files.items()
        ]
        project(here, {"parts": parts})
        shelf.corrupt = {"FSD50K.dev_audio.z02": 1}
        assert step("fetch") is None
        assert shelf.fetched() == [
            "FSD50K.ground_truth.zip", "FSD50K.dev_audio.z01", "FSD50K.dev_audio.z02", "FSD50K.dev_audio.z02",
            "FSD50K.dev_audio.zip", "FSD50K.eval_audio.z01", "FSD50K.eval_audio.zip",
        ]  # fmt: skip
        assert step("fetch") is None and shelf.fetched() == []
    assert step("metadata") is None
    classes = audioset.read_class_list(here / "data/tiny/metadata/class_labels_indices.csv")
    assert classes["mid"].tolist() == ["/m/018vs", "/m/07pggtn", "/m/0bm0k", "/m/0342h"]
    assert classes["display_name"].tolist() == ["Bass guitar", "Chirp, tweet", "Crash cymbal", "Guitar"]
    rows = audioset.read_segments(here / "data/tiny/metadata/train_segments.csv", classes)
    assert rows["clip"].tolist() == ["11_0", "13_0", "14_0"] and set(rows["end"]) == {30.0}
    assert rows["labels"].tolist() == [("/m/018vs", "/m/0342h"), ("/m/07pggtn",), ("/m/0bm0k", "/m/07pggtn")]
    for which, shards in (("train", 2), ("val", 1), ("eval", 1)):
        for shard in range(shards):
            for name in ("download", "resample", "pack"):
                assert step(name, which, shard) is None
        packs = Packs([here / f"data/tiny/packs/{which}/{shard:03d}.h5" for shard in range(shards)])
        assert len(packs.clips) == SPLITS[which]
    assert packs.clips.tolist() == ["21_0", "22_0"]
    assert abs(packs.read([0])[0] - tone(2.0, 16000, 1, seed=21)[0]).max() < 1e-3


def test_a_copy_that_is_there_already(here):
    unpacked(here / "mine/FSD50K")
    for folder in ("mine", "mine/FSD50K"):
        project(here, {"folder": folder})
        assert step("fetch") is None and step("metadata") is None and step("download", "val", 0) is None
        listing = pd.read_csv(here / "data/tiny/audio/val/000.csv", keep_default_na=False)
        assert listing["file"].tolist() == [str(here / "mine/FSD50K/FSD50K.dev_audio/12.wav")]
        assert not (here / "data/tiny/source").exists()
        shutil.rmtree(here / "data")


def test_a_split_alone_needs_no_other_list(here):
    unpacked(here / "mine")
    shutil.rmtree(here / "mine/FSD50K.dev_audio")
    project(here, {"folder": "mine"}, splits={"eval": 2})
    assert step("metadata") is None and step("download", "eval", 0) is None


def test_the_archives_of_zenodo():
    source = open_source({"kind": "fsd50k"}, "x")
    found = source.archives()
    assert [(one.name, len(one.parts)) for one in found] == [
        ("FSD50K.ground_truth", 1), ("FSD50K.eval_audio", 2), ("FSD50K.dev_audio", 6),
    ]  # fmt: skip
    assert all(part.md5 and part.file.startswith("https://zenodo.org/record/4060432/files/") for part in source.parts)
    assert found[2].parts[-1].file.endswith("/FSD50K.dev_audio.zip?download=1") and group(source.parts) == found
    assert source.recordings and source.fetches and makes_lists("fsd50k")
    assert not open_source({"kind": "fsd50k", "folder": "x"}, "x").fetches


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Accelerating_and_revving_and_vroom", "Accelerating, revving, vroom"), ("Hi-hat", "Hi-hat"),
        ("Dishes_and_pots_and_pans", "Dishes, pots, and pans"), ("Sink_(filling_or_washing)", "Sink (filling or washing)"),
        ("Boat_and_Water_vehicle", "Boat, Water vehicle"), ("Human_group_actions", "Human group actions"),
    ],
)  # fmt: skip
def test_names_as_audioset_writes_them(label, name):
    assert display_name(label) == name


@pytest.mark.parametrize(
    ("which", "line", "told"),
    [
        ("dev", "15,Guitar,/m/0342h,test", "dev.csv: line 3: expected split, train or val, found 'test'"),
        ("dev", "15,Guitar,/m/0342h,eval", "dev.csv: line 3: expected split, train or val, found 'eval'"),
        ("dev", "15,Banjo,/m/018j2,val", "dev.csv: line 3: expected labels of vocabulary.csv, found 'Banjo'"),
        (
            "dev",
            "15,Guitar,/m/018j2,val",
            "dev.csv: line 3: expected the mids of its labels, /m/0342h, found '/m/018j2'",
        ),
        (
            "dev",
            '15,"Guitar,Bass_guitar",/m/0342h,val',
            "dev.csv: line 3: expected the mids of its labels, /m/0342h,/m/018vs",
        ),
        ("dev", "15,,,val", "dev.csv: line 3: expected labels of vocabulary.csv, found ''"),
        ("dev", ",Guitar,/m/0342h,val", "dev.csv: line 3: expected fname, the name of a recording, found ''"),
        ("dev", "../15,Guitar,/m/0342h,val", "dev.csv: line 3: expected fname, the name of a recording, found '../15'"),
        ("dev", "11,Guitar,/m/0342h,val", "dev.csv: line 3: 11 is in the list twice, first in line 2"),
        ("dev", "15,Guitar", "dev.csv: line 3: expected 4 fields, fname,labels,mids,split, found '15,Guitar'"),
        ("dev", '15,"Guitar,/m/0342h,val', "dev.csv: line 3: a quote is not closed"),
        ("eval", "23,Banjo,/m/018j2", "eval.csv: line 3: expected labels of vocabulary.csv, found 'Banjo'"),
        ("eval", "21,Guitar,/m/0342h", "eval.csv: line 3: 21 is in the list twice, first in line 2"),
        ("vocabulary", "2,Horn,/m/0319l", "vocabulary.csv: line 2: expected index 1, found '2'"),
        ("vocabulary", "1,Bass_guitar,/m/0319l", "vocabulary.csv: line 2: Bass_guitar occurs twice, first in line 1"),
        ("vocabulary", "1,Horn,/m/018vs", "vocabulary.csv: line 2: /m/018vs occurs twice, first in line 1"),
        ("vocabulary", "1,Horn,", "vocabulary.csv: line 2: expected a label and a mid, found '1,Horn,'"),
    ],
)
def test_a_row_that_is_none_is_told_by_its_line(here, which, line, told):
    """Put behind the first row."""
    rows = {"dev": DEV, "eval": EVAL, "vocabulary": VOCABULARY}[which]
    changed = {"evaluation" if which == "eval" else which: [rows[0], line, *rows[1:]]}
    unpacked(here / "mine", truth(**changed) | audio("dev") | audio("eval"))
    project(here, {"folder": "mine"})
    assert step("metadata").startswith(f"mine/{TRUTH}/{told}")
    assert not (here / "data/tiny/metadata").exists()


def test_a_list_without_its_columns(here):
    mine = unpacked(here / "mine")
    (mine / f"{TRUTH}/dev.csv").write_bytes(lines(HEADER, EVAL[0]))
    project(here, {"folder": "mine"})
    assert step("metadata").startswith(
        f"mine/{TRUTH}/dev.csv: line 1: the header 'fname,labels,mids' lacks split; expected"
    )


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"train": 3, "test": 1}, "datasets.*.splits: 'test' is not a split of fsd50k, which has train, val, eval"),
        ({"train": 36796, "eval": 2}, "datasets.tiny.splits.train: 36796, but the list train_segments.csv has 3"),
    ],
)
def test_splits_that_do_not_fit(here, splits, told):
    unpacked(here / "mine")
    project(here, {"folder": "mine"}, splits=splits)
    assert step("metadata") == told


def test_a_split_without_a_row(here):
    unpacked(here / "mine", truth(dev=[DEV[0]]) | audio("dev") | audio("eval"))
    project(here, {"folder": "mine"})
    assert step("metadata").startswith(f"mine/{TRUTH}/dev.csv: no row of val; set datasets.*.source.folder")


def test_a_recording_in_both_sets(here):
    unpacked(here / "mine", truth(evaluation=[*EVAL, "12,Guitar,/m/0342h"]) | audio("dev") | audio("eval"))
    project(here, {"folder": "mine"}, splits=SPLITS | {"eval": 3})
    assert step("metadata") == f"mine/{TRUTH}/eval.csv: line 4: 12 is in mine/{TRUTH}/dev.csv too, line 3"


def test_a_recording_that_is_not_there(here, caplog):
    mine = unpacked(here / "mine")
    (mine / "FSD50K.dev_audio/13.wav").unlink()
    project(here, {"folder": "mine"})
    assert step("metadata") is None
    assert caplog.messages[0] == (
        f"mine/{TRUTH}/dev.csv: line 4: 13 is not in mine/FSD50K.dev_audio; of 3 clips, 1 will be lost, as they have no file"
    )
    for name in ("download", "resample", "pack"):
        assert step(name, "train", 0) is None
    ledger = (here / "data/tiny/packs/train/000.ledger.csv").read_text()
    assert "13_0,no file,no file: 13 is not in mine/FSD50K.dev_audio" in ledger


@pytest.mark.parametrize("lost", ["FSD50K.dev_audio", f"{TRUTH}/eval.csv", f"{TRUTH}/vocabulary.csv"])
def test_a_copy_that_lacks_something(here, lost):
    mine = unpacked(here / "mine")
    shutil.rmtree(mine / lost) if (mine / lost).is_dir() else (mine / lost).unlink()
    project(here, {"folder": "mine"})
    told = f"mine: holds no {lost}; set datasets.*.source.folder to the folder that the corpus is unpacked to"
    assert step("metadata") == told


def test_a_part_that_is_not_named(here):
    parts = [{"file": f"FSD50K.dev_audio.{end}"} for end in ("z01", "z03", "zip")]
    project(here, {"parts": parts})
    told = "datasets.tiny.source.parts: FSD50K.dev_audio.z02 is missing; a split zip needs all of its parts, up to"
    assert told in step("fetch")


def test_the_preset():
    entry = load(ROOT / "params.yaml", {"dataset": "fsd50k"}).corpus
    assert entry.classes == 200 and entry.splits == {"train": 36796, "val": 4170, "eval": 10231}
    assert entry.train == ["train"] and entry.evaluate == ["eval"] and open_source(entry.source, "fsd50k").fetches
    run = resolve(load(ROOT / "params.yaml", {"dataset": "fsd50k"}), "cnn10", 0)
    assert run.training.select == "best" and run.validation_packs == ["data/fsd50k/packs/val/000.h5"]
