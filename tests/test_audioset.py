import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_fixtures import CLASSES

from glat.data import audioset
from glat.errors import GlatError

SHARED = Path(__file__).parents[2] / "shared" / "audioset"
PLAIN = 'YTID,start_seconds,end_seconds,positive_labels\n-a-b_c,30.000,40.000,"/m/0a,/m/0c"\nxyz,0.500,9.000,"/m/0b"\n'
GOOGLE = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n"
    "# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=3\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
    '-a-b_c, 30.000, 40.000, "/m/0a,/m/0c"\nxyz, 0.500, 9.000, "/m/0b"\n'
)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", [PLAIN, GOOGLE, PLAIN.replace("\n", "\r\n"), PLAIN.rstrip("\n"), "\ufeff" + PLAIN, "\ufeff" + GOOGLE]
)
def test_both_dialects(tmp_path, text):
    segments = audioset.read_segments(write(tmp_path / "s.csv", text), CLASSES)
    assert segments["clip"].tolist() == ["-a-b_c_30000", "xyz_500"]
    assert segments["youtube_id"].tolist() == ["-a-b_c", "xyz"]
    assert segments["start"].tolist() == [30, 0.5] and segments["end"].tolist() == [40, 9]
    assert segments["labels"].tolist() == [("/m/0a", "/m/0c"), ("/m/0b",)]
    target = audioset.targets(segments, CLASSES)
    assert target.dtype == bool
    np.testing.assert_array_equal(target, [[1, 0, 1, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize("cut", range(5, 22))
def test_cut_in_mid_line(tmp_path, cut):
    path = write(tmp_path / "cut.csv", PLAIN[:-cut])
    with pytest.raises(GlatError, match=r"cut\.csv: line 3: .*cut or damaged"):
        audioset.read_segments(path, CLASSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("/m/0b", "/m/0zz"), r"line 3: label '/m/0zz' is not in the class list"),
        (PLAIN + 'xyz,0.500,9.000,"/m/0a"\n', r"line 4: clip xyz_500 occurs twice"),
        (PLAIN.replace("9.000", "0.500"), r"line 3: start 0.5 s is not before end 0.5 s"),
        (PLAIN.replace('"/m/0b"', '"/m/0b,"'), r"line 3: .*empty label"),
        (PLAIN.replace("0.500", "half"), r"line 3: .*cut or damaged"),
        (PLAIN.split("\n")[0] + "\n", r"holds no segment"),
        ("<html>\n", r"line 1: .*cut or damaged"),
        (GOOGLE.replace("num_segs=2", "num_segs=3"), r"num_segs=3 and 2 are there"),
    ],
)
def test_bad_segments(tmp_path, text, message):
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(GlatError, match=r"bad\.csv: .*" + message if "line" in message else message) as error:
        audioset.read_segments(path, CLASSES)
    assert "bad.csv" in str(error.value) and "\n" not in str(error.value)


def test_missing_files(tmp_path):
    for read in (audioset.read_segments, audioset.read_class_list, audioset.read_strong):
        with pytest.raises(GlatError, match=r"none\.csv"):
            read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,mid,name\n0,/m/0a,A\n", "line 1"),
        ("index,mid,display_name\n0,/m/0a,A\n2,/m/0b,B\n", "line 3: index is '2', expected 1"),
        ("index,mid,display_name\n0,/m/0a,A\n1,/m/0a,B\n", "line 3: mid '/m/0a' occurs twice"),
        ("index,mid,display_name\n0,/m/0a,A\n1,/m/0b\n", "line 3: .*empty"),
        ("index,mid,display_name\n", "no class"),
        ("", "cannot be read"),
    ],
)
def test_bad_class_list(tmp_path, text, message):
    with pytest.raises(GlatError, match=message):
        audioset.read_class_list(write(tmp_path / "classes.csv", text))


def test_strong_labels(tmp_path):
    header = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    table = audioset.read_strong(write(tmp_path / "s.tsv", header + "a_0\t0.5\t1.25\t/m/0a\n"))
    assert table.to_dict("records") == [{"clip": "a_0", "start": 0.5, "end": 1.25, "label": "/m/0a"}]
    for row in ("a_0\t0.5\t0.5\t/m/0a\n", "a_0\t0.5\n", "a_0\tx\t1\t/m/0a\n"):
        with pytest.raises(GlatError, match="line 2"):
            audioset.read_strong(write(tmp_path / "s.tsv", header + row))


def test_shards_part_the_list(tmp_path):
    rows = "".join(f'v{i},0,10,"/m/0a"\n' for i in range(7))
    segments = audioset.read_segments(write(tmp_path / "s.csv", rows))
    parts = [audioset.shard_rows(segments, shard, 3) for shard in range(audioset.shard_count(7, 3))]
    assert [len(part) for part in parts] == [3, 3, 1]
    assert [clip for part in parts for clip in part["clip"]] == segments["clip"].tolist()
    with pytest.raises(GlatError, match="shard 3 does not exist"):
        audioset.shard_rows(segments, 3, 3)


def test_hash_tells_lists_apart(tmp_path):
    segments = audioset.read_segments(write(tmp_path / "s.csv", PLAIN))
    same = audioset.read_segments(write(tmp_path / "g.csv", GOOGLE))
    assert audioset.segments_hash(segments) == audioset.segments_hash(same)
    assert audioset.segments_hash(segments) != audioset.segments_hash(segments.iloc[:1])


def test_two_million_rows_scale(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("".join(f'v{i:010d},30.000,40.000,"/m/0a,/m/0c"\n' for i in range(200_000)))
    began = time.perf_counter()
    assert audioset.targets(audioset.read_segments(path, CLASSES), CLASSES).sum() == 400_000
    assert time.perf_counter() - began < 5.0  # a tenth of the full list in a tenth of a minute


@pytest.mark.skipif(not SHARED.exists(), reason="AudioSet's own lists are not here")
def test_the_real_lists():
    classes = audioset.read_class_list(SHARED / "class_labels_indices.csv")
    assert len(classes) == 527
    for name, rows in (("balanced_train", 22160), ("eval", 20371)):
        segments = audioset.read_segments(SHARED / f"{name}_segments.csv", classes)
        assert len(segments) == rows
        assert (audioset.targets(segments, classes).sum(axis=0) > 0).sum() >= 525


@pytest.mark.parametrize("head", ["", PLAIN.splitlines(keepends=True)[0], "# a\n# num_segs=7\n"])
def test_rows_of_a_list_are_those_of_the_whole(tmp_path, head):
    lines = [f'{name},{i}.000,{i + 10}.000,"/m/0{"abcd"[i % 4]}"\n' for i, name in enumerate("tuvwxyz")]
    path = write(tmp_path / "s.csv", head + "".join(lines[:3]) + "\n# a note\n" + "".join(lines[3:]) + "\n")
    whole = audioset.read_segments(path, CLASSES)
    for shard in range(3):
        rows = audioset.read_segments(path, CLASSES, audioset.shard_range(7, shard, 3))
        pd.testing.assert_frame_equal(rows, audioset.shard_rows(whole, shard, 3))
    path.write_text(path.read_text().replace(lines[1], "what is not asked for is only counted\n"))
    assert audioset.read_segments(path, CLASSES, range(3, 6))["youtube_id"].tolist() == ["w", "x", "y"]
    with pytest.raises(GlatError, match="cut or damaged"):
        audioset.read_segments(path, CLASSES, range(3))


def test_a_byte_order_mark_is_no_part_of_a_header(tmp_path):
    listed = 'index,mid,display_name\n0,/m/0a,"A, b"\n'
    assert audioset.read_class_list(write(tmp_path / "c.csv", "\ufeff" + listed))["mid"].tolist() == ["/m/0a"]
    strong = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\na_0\t0.5\t1.25\t/m/0a\n"
    assert audioset.read_strong(write(tmp_path / "s.tsv", "\ufeff" + strong))["clip"].tolist() == ["a_0"]
