"""A folder of recordings and a table of labels, from the look at them to packs."""

import csv
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT
from data_fixtures import tone
from source_fixtures import step
from typer.testing import CliRunner

from glat import cli
from glat.config import experiments
from glat.config.params import load
from glat.data.lists import audioset
from glat.data.lists.folders import Folder, clip_id, path_of
from glat.data.lists.splits import draw, propose, recordings
from glat.data.lists.table import Columns, read_table
from glat.data.packs.read import Packs
from glat.data.sources.table import RecordingTable
from glat.lib.errors import GlatError

NAMES = ["dog bark", "siren", "glass, breaking", "Ünruh"]
FILES = ["a/one.wav", "a/two words.wav", "b/one.wav", "b/três.flac", "-five.wav", "six.ogg", "c/7.wav", "c/8, nine.wav"]
LABELS = [["dog bark"], ["siren"], ["glass, breaking", "siren"], ["Ünruh"], ["dog bark"], ["siren"],
          ["glass, breaking"], ["Ünruh", "dog bark"]]  # fmt: skip
SPLITS = ["train", "train", "train", "train", "test", "test", "test", "test"]
ROWS = [(file, ";".join(labels), split) for file, labels, split in zip(FILES, LABELS, SPLITS, strict=True)]


@pytest.fixture
def sounds(project) -> Path:
    """A working folder with params.yaml, and eight recordings of several rates, lengths and formats in `own`."""
    for number, name in enumerate(FILES):
        path = project / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = (44100, 16000, 48000)[number % 3]
        seconds = (1.5, 2.0, 5.0)[number % 3]
        soundfile.write(path, tone(seconds, rate, 1 + number % 2, number).T, rate)
    (project / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    table(project / "labels.csv", ROWS)
    return project


def table(path: Path, rows, header=("file", "labels", "split"), **how) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **how)
        writer.writerows([header, *rows] if header else rows)
    return path


def shown_by(*arguments) -> str:
    """What a command that succeeds prints."""
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exception is None, result.exception
    return re.sub(" +", " ", result.stdout)


def refusal(*arguments) -> str:
    found = step(*arguments)
    assert found, arguments
    return found


FORMS = {
    "several": ("file,labels\nx.wav,a;b\ny.wav,\n", [("a", "b"), ()], ";"),
    "bars": ("filename\ttags\nx.wav\ta | b\ny.wav\tb\n", [("a", "b"), ("b",)], "|"),
    "commas": ('fname,labels\nx.wav,"a, b"\ny.wav,b\nz.wav,a\n', [("a", "b"), ("b",), ("a",)], ","),
    "a comma in a name": ('file,label\nx.wav,"glass, breaking"\ny.wav,b\n', [("glass, breaking",), ("b",)], ""),
    "a row for each label": ("path,class\nx.wav,b\ny.wav,b\nx.wav,a\n", [("a", "b"), ("b",)], ""),
    "one-hot": ("file,a,b,c\nx.wav,1,0,1\ny.wav,0,0,0\n", [("a", "c"), ()], None),
    "a list of Python's": ("file,labels\nx.wav,\"['a', 'b, c']\"\ny.wav,[]\n", [("a", "b, c"), ()], ""),
    "no header": ("x.wav,a\ny.wav,b\n", [("a",), ("b",)], ""),
    "semicolons between fields": ("file;category\nx.wav;a\ny.wav;b\n", [("a",), ("b",)], ""),
    "several usual names": ("id,filename,category,label\n1,x.wav,z,a\n2,y.wav,z,b\n", [("a",), ("b",)], ""),
    "classes with numbers for names": ("file,1,2\nx.wav,1,0\ny.wav,1,1\n", [("1",), ("1", "2")], None),
    "a byte order mark and quotes": ('\ufeff"file","labels"\n"x.wav","a;""b"""\n', [('"b"', "a")], ";"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_usual_forms_of_labels(form, tmp_path):
    text, labels, separator = FORMS[form]
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    found = read_table(tmp_path / "t.csv")
    assert found.rows["labels"].tolist() == labels and found.columns.separator == separator
    assert found.rows["file"].tolist() == ["x.wav", "y.wav", "z.wav"][: len(labels)]


def test_one_value_for_all_is_no_recording(tmp_path):
    rows = read_table(
        table(tmp_path / "t.csv", [("x", "a", "web"), ("y", "b", "web")], ("file", "label", "source"))
    ).rows
    assert rows["group"].tolist() == ["", ""]


def test_other_columns_by_their_names(tmp_path):
    text = "sound file,what,Set,field day,from,to\nx.wav,a,Test set,d1,0,2.5\nx.wav,b,Test set,d1,2.5,4\n"
    (tmp_path / "t.csv").write_text(text)
    columns = Columns(file="sound file", label="what", split="set", group="field day", start="from", end="to")
    rows = read_table(tmp_path / "t.csv", columns).rows
    assert rows[["split", "group", "start", "end"]].values.tolist() == [
        ["Test_set", "d1", 0.0, 2.5], ["Test_set", "d1", 2.5, 4.0]
    ]  # fmt: skip
    assert read_table(table(tmp_path / "f.csv", [("x", "a", 2)], ("file", "label", "fold"))).rows["split"][0] == "fold2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,length\nx.wav,3\n", "none of its columns, 'file', 'length', holds labels, by its name or as 0 and 1"),
        ("sound,label\nx.wav,a\n", "lacks file; expected file"),
        (
            "file,label,split\nx.wav,a,train\nx.wav,b,test\n",
            "line 3: 'x.wav' has the split 'test', but 'train' in line 2",
        ),
        (
            "file,label,split\nx.wav,a,\n",
            "line 2: expected a split in column 'split', with letters from a to z or digits",
        ),
        (
            "file,label,split\nx,a,train 1\ny,a,train#1\n",
            "line 3: splits 'train 1' and 'train#1' would both be called train_1",
        ),
        ("file,label\n,a\n", "line 2: expected a file in column 'file'"),
        ("file,label,start,end\nx.wav,a,2,1\n", "line 2: expected 0 <= start < end in seconds, found '2,1'"),
        ("file,label\n", "holds no row"),
        ('file,label\nx.wav,"a\n', "line 2: a quote is not closed"),
        ("x.wav,a,train\ny.wav,b,test\n", "line 1: 3 columns without names; give them a header"),
        ("file,label,label\nx.wav,a,b\n", "has two columns 'label'; rename or remove one of them"),
        ("file,a,b,a\nx.wav,1,0,0\n", "has two columns 'a'"),
        (
            "file,a,b\nx.wav,1,0\ny.wav,1,2\n" + 9 * "z.wav,0,1\n",
            "line 3: expected 0 or 1 in column 'b', as in most rows",
        ),
        (
            "file,label,start\nx,a,0\nx,b,1\n",
            "column 'start' says when clips start, and none when they end; line 3: 'x' has",
        ),
    ],
)
def test_a_wrong_table_is_told_by_its_line(text, told, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(GlatError) as error:
        read_table(tmp_path / "t.csv")
    assert told in str(error.value) and str(tmp_path / "t.csv") in str(error.value)
    (tmp_path / "hot.csv").write_text("file,a,b\nx.wav,1,2\n")
    with pytest.raises(GlatError, match=r"hot.csv: line 2: expected 0 or 1 in column 'b', found '2'"):
        read_table(tmp_path / "hot.csv", Columns(label=["a", "b"]))
    with pytest.raises(GlatError, match=r"has no column 'c'; its columns are 'file', 'a', 'b'"):
        read_table(tmp_path / "hot.csv", Columns(split="c"))


def test_half_a_time_is_none_unless_it_was_asked_for(tmp_path):
    path = table(tmp_path / "t.csv", [("x", 3, "a"), ("y", 4, "b")], ("file", "offset", "label"))
    found = read_table(path)
    assert found.rows["end"].isna().all() and found.unread == ["offset"]
    with pytest.raises(
        GlatError, match=r"column 'offset' says when clips end, and none when they start; name that column"
    ):
        read_table(path, Columns(end="offset"))
    path = table(tmp_path / "u.csv", [("x", 3, 4, "a")], ("file", "start", "end", "label"))
    assert read_table(path).rows["start"].tolist() == [3.0]
    assert read_table(path, Columns(start="", end="")).rows["start"].isna().all()


def test_a_name_that_unicode_writes_in_two_ways_is_one(sounds):
    of = {"nfc": "caf\u00e9", "nfd": "cafe\u0301"}
    for form in of:
        (sounds / "own" / form).mkdir()
        shutil.copy(sounds / "own/a/one.wav", sounds / "own" / form / f"{of[form]}.wav")
    folder = Folder("own")
    for form in of.values():
        assert [folder.find(f"{place}/{form}.wav") for place in of] == [f"{place}/{of[place]}.wav" for place in of]
    rows = [(f"{place}/{name}.wav", name) for place in of for name in [of["nfd" if place == "nfc" else "nfc"]]]
    found = read_table(table(sounds / "t.csv", rows, ("file", "label")))
    assert set(found.rows["labels"]) == {("caf\u00e9",)}


def test_no_class_gets_the_id_that_is_the_name_of_another(sounds):
    names = ["1", "-1", "speech", "?speech", "dog-bark", "dog_bark", "(car)", "car"]
    rows = [(file, name, split) for file, name, split in zip(FILES, names, SPLITS, strict=True)]
    table(sounds / "labels.csv", rows)
    source = RecordingTable(audio="own", labels="labels.csv")
    classes = source.class_list(source.table())
    name_of = dict(zip(classes["mid"], classes["display_name"], strict=True))
    assert len(name_of) == 8 and {
        name: name_of[mid] for name, mid in source.names(classes).items() if name in names
    } == {name: name for name in names}


def test_files_are_found_by_what_a_table_writes(sounds):
    folder = Folder("own")
    found = {
        "a/one.wav": "a/one.wav", "own/a/one.wav": "a/one.wav", "two words.wav": "a/two words.wav", "a\\one": "a/one.wav",
        "b/três.wav": "b/três.flac", "7": "c/7.wav", "-five.wav": "-five.wav", "/data/own/six.mp3": "six.ogg",
        "a/one.flac": "a/one.wav", "z/7.wav": None, "../own/six.ogg": None, "nothing.wav": None, "": None,
    }  # fmt: skip
    assert {text: folder.find(text) for text in found} == found
    with pytest.raises(GlatError, match=r"'one.wav' may be a/one.wav or b/one.wav"):
        folder.find("one.wav")
    names = [folder.name(path) for path in folder.files]
    assert len(set(names)) == len(names) and "a%2Fone" in names and "two words" in names and "8%2C nine" in names
    for text in ("a, b", 'q"uote', " edge ", "50%", "#1", "ü/x", "\t"):
        assert path_of(clip_id(text)) == text and not set(clip_id(text)) & set(',"/#\t')


def test_clips_of_one_file_or_one_group_are_of_one_recording():
    files, groups = ["x", "x", "y", "z", "w", "v"], ["A", "B", "B", "", "C", ""]
    assert recordings(files, groups) == [0, 0, 0, 1, 2, 3] and recordings([], []) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_large_recording_is_trained_on_and_two_recordings_of_a_class_are_apart(seed):
    found = propose([("a",)] * 102, [0] * 100 + [1, 2], 0.2, seed)
    assert found[:100] == ["train"] * 100 and "eval" in found[100:]
    # The rare class is dealt first, and leaves both recordings of A where they are not wanted.
    clips = [("A", "B"), ("A",), ("A",), ("A", "B"), ("A",), ("A",), ("B",), ("B",)]
    of = propose(clips, [0, 0, 0, 1, 1, 1, 2, 3], 0.2, seed)
    for name in "AB":
        assert {split for split, clip in zip(of, clips, strict=True) if name in clip} == {"train", "eval"}


def test_proposed_splits_keep_recordings_whole_and_have_every_class():
    rng = np.random.default_rng(0)
    groups = [i // 3 for i in range(300)]
    labels = [tuple({f"c{min(int(rng.exponential(2)), 7)}", f"c{rng.integers(3)}"}) for _ in range(300)]
    labels[:3] = [("rare",), (), ()]
    labels[297:] = [("rare",), (), ()]
    found = propose(labels, groups, 0.2, seed=1)
    assert found == propose(labels, groups, 0.2, seed=1) != propose(labels, groups, 0.2, seed=2)
    assert pd.DataFrame({"g": groups, "s": found}).groupby("g")["s"].nunique().eq(1).all()
    assert 0.15 < found.count("eval") / 300 < 0.25
    of = {
        name: [split for split, clip in zip(found, labels, strict=True) if name in clip] for name in {*sum(labels, ())}
    }
    assert all(set(splits) == {"train", "eval"} for splits in of.values())
    three = draw(labels, groups, 0.2, 0.1, seed=1)
    assert draw(labels, groups, 0.2, 0.0, seed=1) == found
    assert [split if split == "eval" else "train" for split in three] == found
    assert 0.07 < three.count("val") / 300 < 0.13
    assert pd.DataFrame({"g": groups, "s": three}).groupby("g")["s"].nunique().eq(1).all()
    rare = {split for split, clip in zip(three, labels, strict=True) if "rare" in clip}
    assert rare == {"train", "eval"}  # of two recordings, none is left to validate on


def test_a_validation_split_is_drawn_where_it_is_asked_for(sounds):
    plain = table(sounds / "plain.csv", [row[:2] for row in ROWS], ("file", "labels"))
    new = ("dataset", "new", "drawn", "--audio", "own", "--labels", plain)
    assert "source.splits.validation" in refusal(*new, "--validation", "-0.1")
    assert "evaluate + validation is 1.1: leave some clips to train on" in refusal(*new, "--validation", "0.9")
    split = table(sounds / "split.csv", ROWS, ("file", "labels", "split"))
    told = refusal(*new[:-1], split, "--validation", "0.2")
    assert "split.csv has splits of its own, in column 'split'" in told and "drawn" not in load("params.yaml").datasets
    assert step(*new, "--validation", "0.2") is None
    entry = load("params.yaml", {"dataset": "drawn"})
    assert (entry.corpus.train, entry.corpus.validation, entry.corpus.evaluate) == (["train"], ["val"], ["eval"])
    assert entry.training_of("drawn").select == "best" and not experiments.faults(entry, "table1")


def test_from_a_folder_to_packs(sounds, monkeypatch):
    shown = shown_by("dataset", "new", "mine", "--audio", "own", "--labels", "labels.csv")
    assert "8, 0.3 minutes in all" in shown and "4: dog bark 3" in shown and "16 kHz" in shown
    assert "separated by ';'; 1 to 2 a clip" in shown and "--config dataset=mine" in shown
    assert "Its packs take 0.00256 GB (32000 Hz, pcm16), and a shard of them twice" in shown  # eight clips of 5 s
    text = (sounds / "params.yaml").read_text()
    assert text.startswith((ROOT / "params.yaml").read_text().rstrip("\n"))  # nothing else of it changed
    params = load("params.yaml", {"dataset": "mine"})
    entry = params.corpus
    assert entry.splits == {"train": 4, "test": 4} and (entry.train, entry.evaluate) == (["train"], ["test"])
    assert entry.classes == 4 and params.glat.n == 4 and params.audio.clip_seconds == 5.0 and params.glat.tau == 1.5
    assert params.training_of("mine").steps == 400 and params.backbones == ["cnn10"]
    change = ["--set", "dataset=mine", "--set", "audio.clip_seconds=2.0", "--set", "glat.tau=1.0"]
    assert step(*change, "metadata") is None
    for split in ("train", "test"):
        for command in ("download", "resample", "pack"):
            with monkeypatch.context() as small:
                if command == "resample":  # no more is free than its recordings will take as clips of 2 s
                    small.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 32000 * 2 * 4))
                    told = refusal(*change, command, split, "0")
                    assert re.search(
                        rf"{split}/000: needs 0.\d+ GB and .*the longest of its recordings is .*/own/", told
                    )
            assert step(*change, command, split, "0") is None
    packs = Packs(["data/mine/packs/train/000.h5", "data/mine/packs/test/000.h5"])
    assert sorted(packs.classes["display_name"]) == sorted(NAMES)
    mid = dict(zip(packs.classes["mid"], packs.classes["display_name"], strict=True))
    found = {
        clip.removesuffix("_0"): sorted(mid[packs.classes["mid"][c]] for c in np.flatnonzero(labels))
        for clip, labels in zip(packs.clips, packs.labels.dense(), strict=True)
    }
    folder = Folder("own")
    assert found == {folder.name(file): sorted(labels) for file, labels in zip(FILES, LABELS, strict=True)}
    # What is longer than a clip is there, and nothing of it is lost.
    seconds = {folder.name(file): (2.0, 2.0, 5.0)[i % 3] for i, file in enumerate(FILES)}  # 1.5 s is padded
    lengths = dict(zip(packs.clips, packs.length / packs.sample_rate, strict=True))
    assert {clip.removesuffix("_0"): length for clip, length in lengths.items()} == pytest.approx(seconds, abs=1e-3)


def test_what_is_wrong_is_told_before_anything_is_written(sounds):
    new = ("dataset", "new", "mine", "--audio", "own", "--labels")
    before = (sounds / "params.yaml").read_bytes()
    one = table(sounds / "one.csv", [(file, "dog", split) for file, split in zip(FILES, SPLITS, strict=True)])
    assert "all clips have the one label 'dog'" in refusal(*new, one)
    more = table(
        sounds / "more.csv",
        [(*row[:2], split) for row, split in zip(ROWS, ["train", "train_2b", "test"] * 3, strict=False)],
    )
    assert "more.csv: column 'split' has train, train_2b, test, and 'train_2b' does not say" in refusal(*new, more)
    late = [(file, labels, 0, 1) for file, labels, _ in ROWS[1:]]
    table(sounds / "late.csv", [("a/one.wav", "siren", 30, 34), *late], ("file", "label", "start", "end"))
    assert "late.csv: line 2: 'a/one.wav' begins at 30 s, but the file has 1.5 s, 1 such clips of 8; times" in refusal(
        *new, "late.csv"
    )
    long = [("c/7.wav", "siren", 0, 1), ("7", "dog bark", 1, 2), ("c/7", "dog bark", 2, 3)]
    table(sounds / "long.csv", long, ("file", "label", "start", "end"))
    assert "long.csv: its 3 clips are of 1 recordings, 'c/7.wav' the first: too few to draw splits" in refusal(
        *new, "long.csv"
    )
    odd = table(sounds / "odd.csv", [(file, labels, "A" if i % 2 else "B") for i, (file, labels, _) in enumerate(ROWS)])
    assert "column 'split' has B, A, and none of them says" in refusal(*new, odd)
    assert "--train, --evaluate: A cannot be for both" in refusal(*new, odd, "--train", "A", "--evaluate", "A")
    assert "has no split 'C'; it has B, A" in refusal(*new, odd, "--train", "C")
    none = table(sounds / "none.csv", [("x.wav", "a", "train"), ("y.wav", "b", "test")])
    assert "none.csv: none of its 2 files is in own, 'x.wav' the first" in refusal(*new, none)
    several = table(sounds / "several.csv", [*ROWS, ("one.wav", "siren", "test")])
    assert "several.csv: line 10: file 'one.wav' may be a/one.wav or b/one.wav" in refusal(*new, several)
    shared = [(file, labels, split, f"day{i % 4}") for i, (file, labels, split) in enumerate(ROWS)]
    table(sounds / "shared.csv", shared, ("file", "labels", "split", "recording"))
    told = refusal(*new, "shared.csv")
    assert step(*new, "shared.csv", "--allow-shared") is None
    (sounds / "params.yaml").write_bytes(before)
    assert "shared.csv: lines 2 and 6: recording 'day0' is in both train and test, 4 such in all" in told
    speakers = [("a/one.wav", "siren", "A", "train", 0, 1), ("a/one.wav", "dog bark", "B", "test", 1, 1.5)]
    table(sounds / "speakers.csv", speakers, ("file", "label", "speaker", "split", "start", "end"))
    assert "speakers.csv: lines 2 and 3: recording 'a/one.wav' is in both train and test" in refusal(
        *new, "speakers.csv"
    )
    pieces = [("7", "siren", 0, 1, "train"), ("six", "siren", 0, 1, "train"), ("six", "siren", 0, 2, "test")]
    table(sounds / "pieces.csv", pieces, ("file", "label", "start", "end", "split"))
    assert "pieces.csv: lines 3 and 4: 'six' and 'six' are the same file (six.ogg), from the same time on" in refusal(
        *new, "pieces.csv"
    )
    table(sounds / "events.csv", [("six.ogg", 2, 1, "siren")], ("file", "start", "end", "label"))
    assert "events.csv: line 2: expected 0 <= start < end" in refusal(*new, "labels.csv", "--strong", "events.csv")
    assert "no such folder of audio files" in refusal(
        "dataset", "new", "x", "--audio", "nowhere", "--labels", "labels.csv"
    )
    assert "cannot be read as a table of labels" in refusal(*new, "nowhere.csv")
    assert "cannot be a dataset's name" in refusal("dataset", "new", "a b", "--audio", "own", "--labels", "labels.csv")
    assert "has a dataset 'mini' already" in refusal(
        "dataset", "new", "mini", "--audio", "own", "--labels", "labels.csv"
    )
    assert (sounds / "params.yaml").read_bytes() == before


def test_settings_of_any_layout_keep_it(sounds):
    """Another depth, the line ends of Windows, and a link to a file that lies elsewhere."""
    text = re.sub("(?m)^( +)", r"\1\1", (ROOT / "params.yaml").read_text()).replace("\n", "\r\n")
    (sounds / "there").mkdir()
    (sounds / "there/settings.yaml").write_bytes(text.encode())
    (sounds / "params.yaml").unlink()
    (sounds / "params.yaml").symlink_to("there/settings.yaml")
    assert step("dataset", "new", "mine", "--audio", "own", "--labels", "labels.csv") is None
    found = (sounds / "there/settings.yaml").read_bytes().decode()
    assert (
        (sounds / "params.yaml").is_symlink()
        and found.startswith(text.rstrip())
        and "\n" not in found.replace("\r\n", "")
    )
    assert load("params.yaml", {"dataset": "mine"}).corpus.classes == 4
    (sounds / "params.yaml").write_text(re.sub("\r\nseeds: .*", "\r\nseeds: none", text))
    assert re.match(
        r"with the new entry, .*params.yaml.*: seeds",
        refusal("dataset", "new", "other", "--audio", "own", "--labels", "labels.csv"),
    )


def test_a_table_that_changed_after_its_lists_is_told(sounds):
    header = ("file", "labels", "start", "end", "split")
    rows = [(file, labels, 0.5, 1, split) for file, labels, split in ROWS]
    table(sounds / "labels.csv", rows, header)
    assert step("dataset", "new", "mine", "--audio", "own", "--labels", "labels.csv") is None
    assert step("--set", "dataset=mine", "metadata") is None
    table(sounds / "labels.csv", [(*row[:2], 0.7, *row[3:]) for row in rows], header)
    told = refusal("--set", "dataset=mine", "download", "train", "0")
    assert "labels.csv: has no file 'a/one', from 0.5 s on, any more; run `glat metadata`" in told


def test_what_the_names_of_splits_say(sounds):
    def entry(*splits: str) -> dict:
        rows = [(file, labels, splits[i % len(splits)]) for i, (file, labels, _) in enumerate(ROWS)]
        name = f"d{'_'.join(splits)}"
        assert step("dataset", "new", name, "--audio", "own", "--labels", table(sounds / f"{name}.csv", rows)) is None
        return load("params.yaml", {"dataset": name})

    folds = entry("fold2", "fold1").corpus
    assert folds.folds == ["fold1", "fold2"] and not folds.train and not folds.evaluate
    three = entry("train", "dev", "test")
    assert (three.corpus.train, three.corpus.validation, three.corpus.evaluate) == (["train"], ["dev"], ["test"])
    chosen = three.training_of("dtrain_dev_test")
    assert chosen.select == "best" and chosen.validation.every == 20 and not experiments.faults(three, "table1")
    two = entry("dev", "eval").corpus
    assert (two.train, two.validation, two.evaluate) == (["dev"], [], ["eval"])
    validated = entry("train", "val").corpus
    assert (validated.train, validated.validation, validated.evaluate) == (["train"], [], ["val"])


def test_recordings_that_are_shorter_than_usual_are_kept(sounds):
    for number, name in enumerate(FILES):
        soundfile.write(sounds / "own" / name, tone(0.3 if number % 2 else 0.7, 16000, 1, number).T, 16000)
    (sounds / "own/c/7.wav").rename(sounds / "own/c/7.mp3.wav")
    table(sounds / "labels.csv", [(file.replace("7.wav", "7.mp3.wav"), *rest) for file, *rest in ROWS])
    assert step("dataset", "new", "short", "--audio", "own", "--labels", "labels.csv") is None
    params = load("params.yaml", {"dataset": "short"})
    assert params.audio.min_seconds == 0.3 and params.audio.clip_seconds == 1.0
    change = ["--set", "dataset=short"]
    assert step(*change, "metadata") is None
    for command in ("download", "resample", "pack"):
        assert step(*change, command, "test", "0") is None
    assert Packs("data/short/packs/test/000.h5").clips.tolist() == ["-five_0", "six_0", "7%2Emp3_0", "8%2C nine_0"]
    assert step(*change, "--set", "audio.min_seconds=0.9", "resample", "test", "0").endswith("that source.audio names")


def test_damaged_and_absent_files_are_losses_with_their_reason(sounds):
    (sounds / "own/c/7.wav").write_bytes(b"RIFF, and no sound")
    soundfile.write(sounds / "own/six.ogg", tone(0.2, 16000, 1).T, 16000)
    (sounds / "own/stray.wav").write_bytes((sounds / "own/a/one.wav").read_bytes())
    table(sounds / "labels.csv", [*ROWS, ("gone/nine.wav", "siren", "test")])
    shown = shown_by("dataset", "new", "mine", "--audio", "own", "--labels", "labels.csv")
    assert (
        "rows without their file 1: line 10: gone/nine.wav" in shown
        and "files in no row, not used 1: stray.wav" in shown
    )
    assert "files without sound 1: c/7.wav (undecodable" in shown
    change = ["--set", "dataset=mine", "--set", "audio.min_seconds=0.5"]
    assert step(*change, "metadata") is None
    for command in ("download", "resample", "pack"):
        assert step(*change, command, "test", "0") is None
    lost = pd.read_csv("data/mine/packs/test/000.ledger.csv").set_index("clip")
    assert lost["kind"].to_dict() == {"7_0": "undecodable", "six_0": "too short", "gone%2Fnine%2Ewav_0": "no file"}
    assert lost.loc["gone%2Fnine%2Ewav_0", "reason"] == "gone/nine.wav of line 10 of labels.csv is not in own"
    assert Packs("data/mine/packs/test/000.h5").clips.tolist() == ["-five_0", "8%2C nine_0"]


def test_pieces_events_classes_and_another_split(sounds, caplog):
    rows = [("a/one.wav", "siren", 0.0, 0.75, "train"), ("a/one.wav", "dog bark", 0.75, 1.5, "train"),
            ("six.ogg", "siren", "", "", "eval")]  # fmt: skip
    table(sounds / "pieces.csv", rows, ("file", "label", "onset", "offset", "split"))
    table(sounds / "events.tsv", [("a/one.wav", 0.5, 1.0, "siren"), ("six.ogg", 1.0, 2.0, "siren")],
          ("file", "start", "end", "label"), delimiter="\t")  # fmt: skip
    table(sounds / "classes.csv", [("/m/03kmc9", "siren"), ("/m/0bt9lr", "dog bark")], ("mid", "display_name"))
    how = {"audio": "own", "labels": "pieces.csv", "strong": "events.tsv", "classes": "classes.csv"}
    source, lists = RecordingTable(**how), sounds / "lists"
    lists.mkdir()
    source.write_lists(lists, {"train": 2, "eval": 1})
    segments = audioset.read_segments(
        lists / "train_segments.csv", audioset.read_class_list(lists / "class_labels_indices.csv")
    )
    assert segments["clip"].tolist() == ["a%2Fone_0", "a%2Fone_750"] and segments["labels"][0] == ("/m/03kmc9",)
    strong = audioset.read_strong(lists / "train_strong.tsv")
    assert strong.values.tolist() == [
        ["a%2Fone_0", 0.5, 0.75, "/m/03kmc9"], ["a%2Fone_750", 0.0, 0.25, "/m/03kmc9"]
    ]  # fmt: skip
    source.write_lists(lists, {"eval": 1})  # as soundscapes ask for some of its splits
    assert "split 'train' of line 2 and others, 2 clips in all, is not asked for (eval)" in caplog.text
    with pytest.raises(GlatError, match="no row is of split 'val'"):
        source.write_lists(lists, {"train": 2, "eval": 1, "val": 0})
    table(sounds / "events.tsv", [("a/one.wav", 0.5, 1.0, "whale")], ("file", "start", "end", "label"), delimiter="\t")
    with pytest.raises(GlatError, match=r"events.tsv: line 2: expected a label of the table of labels, found 'whale'"):
        source.write_lists(lists, {"train": 2, "eval": 1})
    table(sounds / "classes.csv", [("/m/03kmc9", "siren")], ("mid", "display_name"))
    with pytest.raises(GlatError, match=r"pieces.csv: line 3: label 'dog bark' is not in classes.csv"):
        source.write_lists(lists, {"train": 2, "eval": 1})
