"""The lists of a dataset, from a folder or from a server, checked before anything else runs."""

import os
import subprocess
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from http_fixtures import served

from glat.config.dataset import Dataset
from glat.config.params import load
from glat.data.lists import metadata
from glat.lib.addresses import address_hash
from glat.lib.errors import GlatError

CLASSES = 'index,mid,display_name\n0,/m/0a,"Speech, loud"\n1,/m/0b,Ü\n'
GOOGLE = (
    "# Segments csv created Sun Mar  5 10:54:25 2017\n# num_ytids=2, num_segs=2, num_unique_labels=2\n"
    '# YTID, start_seconds, end_seconds, positive_labels\n-a, 30.000, 40.000, "/m/0a,/m/0b"\n_b, 0.000, 7.500, "/m/0a"\n'
)
PLAIN = 'YTID,start_seconds,end_seconds,positive_labels\n-c,30.0,40.0,"/m/0b"\n'
STRONG = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n-c_30000\t0.5\t1.25\t/m/0b\n"
LISTS = {
    "class_labels_indices.csv": CLASSES,
    "train_segments.csv": GOOGLE,
    "eval_segments.csv": PLAIN,
    "eval_strong.tsv": STRONG,
}
SPLITS = {"train": 2, "eval": 1}


@pytest.fixture
def folder(tmp_path):
    lists = tmp_path / "the lists ü"
    lists.mkdir()
    for name, text in LISTS.items():
        (lists / name).write_text(text)
    return lists


@pytest.fixture
def server(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            time.sleep(0.2)  # so that two that fetch at once meet
            super().do_GET()

    with served(partial(Quiet, directory=folder)) as http:
        yield http.address


def dataset(places):
    return Dataset(
        source={"kind": "files", "audio": "x"}, classes=2, shard_size=10, splits=SPLITS, train=["train"],
        evaluate=["eval"], metadata=places,
    )  # fmt: skip


def test_from_a_folder_and_from_a_server_come_the_same_lists(folder, server, tmp_path):
    for at, places in enumerate((str(folder), {name: f"{server}/{name}" for name in LISTS})):
        out = tmp_path / str(at)
        out.mkdir()
        metadata.collect(dataset(places).lists(), out, "mine", 2, SPLITS)
        assert {path.name: path.read_text() for path in out.iterdir()} == LISTS


def collect(places, out, classes=2, splits=SPLITS):
    """Into a new folder, as the step does it."""
    out.mkdir(exist_ok=True)
    metadata.collect(places, out, "mine", classes, splits)


def test_nothing_is_fetched_twice(folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr("glat.lib.fetching.PAUSES", ())
    out, places = tmp_path / "out", {name: f"{server}/{name}" for name in LISTS}
    (folder / "eval_strong.tsv").rename(folder / "later.tsv")
    with pytest.raises(GlatError, match="HTTP 404"):
        collect(places, out)
    for name in ("class_labels_indices.csv", "train_segments.csv"):
        (folder / name).unlink()  # fetched again, it would be missed
    (folder / "other.csv").write_text(GOOGLE.replace("-a", "-z"))
    with pytest.raises(GlatError, match="HTTP 404"):
        collect(places | {"train_segments.csv": f"{server}/other.csv"}, out)
    (folder / "later.tsv").rename(folder / "eval_strong.tsv")
    collect(places | {"train_segments.csv": f"{server}/other.csv"}, out)
    assert (out / "train_segments.csv").read_text().count("-z") == 1
    assert {path.name for path in out.iterdir()} == set(LISTS)
    # Only what the settings still name is kept, and it serves again, whatever else changed.
    assert sorted(path.name for path in (tmp_path / ".lists").glob("*/*.*sv")) == sorted(LISTS)
    for name in LISTS:
        (folder / name).unlink(missing_ok=True)
    collect(places | {"train_segments.csv": f"{server}/other.csv"}, out)
    with pytest.raises(GlatError, match=r"datasets.mine.classes: 3, but .*labels_indices.csv has 2 \(fetched to "):
        collect(places | {"train_segments.csv": f"{server}/other.csv"}, out, classes=3)


def test_once_a_list_is_wrong_no_other_is_fetched(folder, server, tmp_path):
    places = {name: f"{server}/{name}" for name in LISTS} | {"eval_segments.csv": str(folder / "eval_segments.csv")}
    with pytest.raises(GlatError) as refused:
        collect(places, tmp_path / "out", classes=3)
    address = f"{server}/class_labels_indices.csv"
    assert str(refused.value).startswith(f"datasets.mine.classes: 3, but the list {address} has 2 (")
    assert [path.parent.name for path in (tmp_path / ".lists").glob("*/*.*sv")] == [address_hash(address)]


def test_a_list_that_came_damaged_is_fetched_anew(folder, server, tmp_path):
    places = {name: f"{server}/{name}" for name in LISTS}
    (folder / "train_segments.csv").write_text(GOOGLE[:-12])
    with pytest.raises(GlatError, match=f"^{server}/train_segments.csv: line 5: .* cut"):
        collect(places, tmp_path / "out")
    (folder / "train_segments.csv").write_text(GOOGLE)
    collect(places, tmp_path / "out")
    assert (tmp_path / "out/train_segments.csv").read_text() == GOOGLE


def test_all_that_is_wrong_is_told_at_once_by_the_place_that_the_user_gave(folder, tmp_path):
    (folder / "train_segments.csv").write_text(GOOGLE.replace("num_segs=2", "num_segs=3"))
    with pytest.raises(GlatError) as refused:
        collect(dataset(str(folder)).lists(), tmp_path / "out", classes=5, splits={"train": 2, "eval": 7})
    assert str(refused.value).splitlines() == [
        f"datasets.mine.classes: 5, but the list {folder}/class_labels_indices.csv has 2",
        f"{folder}/train_segments.csv: its header promises num_segs=3, and 2 are there: the file is cut or edited",
        f"datasets.mine.splits.eval: 7, but the list {folder}/eval_segments.csv has 1",
    ]


def test_two_at_once(folder, server, tmp_path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"dataset": "mine", "glat": {"n": 1}}
    params["datasets"] = {"mine": dataset({name: f"{server}/{name}" for name in LISTS}).model_dump(exclude_unset=True)}
    params["fig2"] |= {"n": [1], "tau": [1.0]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "glat.cli", "metadata"]
    how = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **how) for _ in range(2)]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0] * 2, told
    assert {path.name: path.read_text() for path in (tmp_path / "data/mine/metadata").iterdir()} == LISTS


def test_strong_labels_may_be_absent_but_a_list_may_not(folder):
    (folder / "eval_strong.tsv").unlink()
    assert "eval_strong.tsv" not in dataset(str(folder)).lists()
    with pytest.raises(ValueError, match=r"eval_segments\.csv is missing"):
        dataset({name: "x" for name in LISTS if name != "eval_segments.csv"}).lists()
    with pytest.raises(ValueError, match=r"test_segments\.csv is not one of this dataset's lists"):
        dataset(dict.fromkeys([*LISTS, "test_segments.csv"], "x")).lists()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("class_labels_indices.csv", CLASSES + "2,/m/0c,C\n", "datasets.mine.classes: 2, but .*class_labels_indices.csv has 3"),
        ("eval_segments.csv", PLAIN + '-d,0,10,"/m/0a"\n', "splits.eval: 1, but .* has 2"),
        ("eval_segments.csv", PLAIN.replace("/m/0b", "/m/0z"), "label '/m/0z' is not in the class list"),
        ("eval_segments.csv", PLAIN.replace("40.0", "30.0"), "line 2: expected 0 <= start_seconds < end_seconds"),
        ("train_segments.csv", GOOGLE.replace("_b, 0.000, 7.500", "-a, 30.000, 40.000"), "-a_30000 occurs twice"),
        ("train_segments.csv", GOOGLE[:-12], "line 5: .* cut"),
        ("train_segments.csv", GOOGLE.replace("-a,", "-c,"), "-c_30000 is in both train and eval"),
        ("eval_strong.tsv", STRONG.replace("1.25", "0.25"), "line 2"),
        ("eval_strong.tsv", STRONG.replace("-c_30000", "-c"),
         "none of its clips is in the list of eval: expected '-c_30000' or another one there, found '-c'"),
        ("eval_strong.tsv", STRONG.partition("-c")[0], r"eval_strong\.tsv: holds no label"),
        ("eval_strong.tsv", STRONG.replace("/m/0b", "Moo"), "none of its labels is a class: expected .*, found 'Moo'"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_one_sentence(folder, name, text, told):
    (folder / name).write_text(text)
    with pytest.raises(GlatError, match=told) as refused:
        metadata.check(folder, "mine", 2, SPLITS)
    assert "\n" not in str(refused.value)


def test_what_is_worth_knowing_is_told(folder, capsys):
    (folder / "train_segments.csv").write_text(GOOGLE.replace("_b, 0.000, 7.500", "-a, 0.000, 7.500"))
    (folder / "eval_strong.tsv").write_text(STRONG + "-c_30000\t0\t1\tÜ\n-c_30000\t0\t1\tMoo\n-x_0\t0\t1\tÜ\n")
    metadata.check(folder, "mine", 2, SPLITS)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("train: 1 videos have several segments, -a the first; ")
    names = "eval_strong.tsv: 2 of 4 labels are display names where ids belong, 'Ü' the first; they are read as these classes"
    assert told[2] == names and [told[1], *told[3:]] == [
        "eval: 1 of 2 classes have no clip, 'Speech, loud' the first",
        "eval: 1 of 1 clips have strong labels",
        "eval: 1 of 4 strong labels are of none of the list's clips and are left out, '-x_0' the first",
        "eval: 1 of 4 strong labels are of none of the classes and are left out, 'Moo' the first",
    ]


def test_a_clip_without_a_label_is_told_and_no_fault(folder, capsys):
    (folder / "train_segments.csv").write_text(GOOGLE.replace('"/m/0a,/m/0b"', '""'))
    metadata.check(folder, "mine", 2, SPLITS)
    assert "train: 1 of 2 clips have no label: negatives of every class\n" in capsys.readouterr().err


def test_a_server_without_the_list_or_with_a_page_in_its_place(folder, server, tmp_path, monkeypatch):
    monkeypatch.setattr("glat.lib.fetching.PAUSES", ())
    places = dataset(str(folder)).lists()
    with pytest.raises(GlatError, match="HTTP 404"):
        collect(places | {"eval_segments.csv": f"{server}/none.csv"}, tmp_path / "out")
    (folder / "login.html").write_text("<html>log in</html>")
    with pytest.raises(GlatError, match="a web page, not the file"):
        collect(places | {"eval_segments.csv": f"{server}/login.html"}, tmp_path / "out")
    assert not (tmp_path / "out/eval_segments.csv").exists()


def test_the_presets_know_where_every_list_is():
    for name in ("audioset_balanced", "audioset"):
        places = load(ROOT / "params.yaml", {"dataset": name}).corpus.lists()
        assert all(place.startswith("https://storage.googleapis.com/us_audioset/") for place in places.values())
        weak = {name: place for name, place in places.items() if "strong" not in name}
        assert {Path(place).name for place in weak.values()} == weak.keys()
        assert {Path(place).name for name, place in places.items() if name not in weak} == {
            f"audioset_{name}" for name in places.keys() - weak.keys()
        }


def test_sizes_are_compared_before_anything_is_fetched_or_replaced(folder, server, tmp_path):
    local, fetched = dataset(str(folder)).lists(), {name: f"{server}/{name}" for name in LISTS}
    out = tmp_path / "out"
    metadata.refuse_sizes(fetched, out, "mine", 5, SPLITS)  # nothing is at hand
    metadata.refuse_sizes(local, out, "mine", 2, SPLITS)
    collect(fetched, out)
    (folder / "train_segments.csv").write_text(GOOGLE + "\n\n")  # lines that hold no row
    metadata.refuse_sizes(local, out, "mine", 2, SPLITS)
    for places in (local, fetched):
        with pytest.raises(GlatError) as refused:
            metadata.refuse_sizes(places, out, "mine", 5, {"train": 2, "eval": 7})
        told = str(refused.value).splitlines()
        assert [line.partition(",")[0] for line in told] == ["datasets.mine.classes: 5", "datasets.mine.splits.eval: 7"]
        assert places["class_labels_indices.csv"] in told[0] and places["eval_segments.csv"] in told[1]
