import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_fixtures import CLASSES
from hypothesis import given, settings, strategies as st

from glat.data.lists import audioset, listings
from glat.lib.errors import GlatError

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


DIALECTS = [PLAIN, GOOGLE, PLAIN.replace("\n", "\r\n"), PLAIN.rstrip("\n"), "\ufeff" + PLAIN, "\ufeff" + GOOGLE]


@pytest.mark.parametrize("text", DIALECTS)
def test_both_dialects(tmp_path, text):
    segments = audioset.read_segments(write(tmp_path / "s.csv", text), CLASSES)
    assert segments["clip"].tolist() == ["-a-b_c_30000", "xyz_500"]
    assert segments["youtube_id"].tolist() == ["-a-b_c", "xyz"]
    assert segments["start"].tolist() == [30, 0.5] and segments["end"].tolist() == [40, 9]
    assert segments["labels"].tolist() == [("/m/0a", "/m/0c"), ("/m/0b",)]
    target = audioset.targets(segments, CLASSES)
    assert target.dtype == bool
    np.testing.assert_array_equal(target, [[1, 0, 1, 0], [0, 1, 0, 0]])


HEADER = PLAIN.splitlines(keepends=True)[0]
ROWS = [("-a-b_c", 30.0, 40.0, ("/m/0a", "/m/0c")), ("xyz", 0.5, 9.0, ("/m/0b",))]


def rows_of(segments):
    return list(segments[["youtube_id", "start", "end", "labels"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ", "),
        PLAIN.replace(",", " , "),
        PLAIN.replace(',"', ',\t"'),
        PLAIN.replace(',"', ' ,\t "').replace("-a-b_c", '\t"-a-b_c"'),
        PLAIN.replace("-a-b_c", '"-a-b_c"').replace("xyz", '"xyz"').replace("0.500", '"0.5"'),
        PLAIN.replace('"', ""),  # labels that no quote holds together
        PLAIN.replace("/m/0a,/m/0c", "/m/0a , /m/0c") + "\n \n,,,\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("/m/0a,/m/0c", "/m/0a;/m/0c"),
        PLAIN.replace("/m/0a,/m/0c", "/m/0a | /m/0c"),
        PLAIN.replace("/m/0a,/m/0c", "['/m/0a', '/m/0c']"),
        PLAIN.replace("/m/0a,/m/0c", "A,C").replace("/m/0b", "B"),
        PLAIN.replace("xyz", "xyz.wav").replace("-a-b_c", "some folder/-a-b_c.MP3"),
        PLAIN.replace("xyz", "clips\\xyz.flac"),
        PLAIN.replace(HEADER, "Filename,Start,End,Labels\n"),
        PLAIN.replace(HEADER, "fname,onset,offset,tags\n"),
        PLAIN[len(HEADER) :],
        ',YTID,start_seconds,end_seconds,positive_labels\n0,-a-b_c,30.0,40.0,"/m/0a,/m/0c"\n1,xyz,0.5,9.0,/m/0b\n',
        'positive_labels,end,start,note,YTID\n"/m/0a,/m/0c",40,30,"a\nnote",-a-b_c\n/m/0b,9,.5,,xyz\n',
        "YTID;start;end;labels\n-a-b_c;30;40;/m/0a,/m/0c\nxyz;5e-1;9;/m/0b\n",
        "YTID\tstart\tend\tlabels\n-a-b_c\t30\t40\tA, C\nxyz\t0.5\t9\tB\n",
        "# YTID, start_seconds, end_seconds, positive_labels\n# num_segs=2\n\n" + PLAIN,
    ],
)
def test_what_has_one_meaning_is_read(tmp_path, text):
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert rows_of(audioset.read_segments(tmp_path / "s.csv", CLASSES)) == ROWS


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text("aZ0_-#'ü .", min_size=1, max_size=9).filter(lambda name: name == name.strip()),
            st.integers(0, 10**7),
            st.sets(st.sampled_from(range(5)), max_size=3),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[:2],
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    index=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    sep=st.sampled_from(",;\t"),
    header=st.booleans(),
)
def test_what_pandas_writes_is_read(tmp_path_factory, rows, quoting, index, end, sep, header):
    listed = pd.DataFrame({"mid": ["/m/0a", "dog bark", "b, c", "d;e", "ü'f"], "display_name": list("ABCDE")})
    labels = [";".join(listed["display_name"][sorted(of)]) for _, _, of in rows]
    names, starts = [name for name, _, _ in rows], [start / 1000 for _, start, _ in rows]
    table = pd.DataFrame({"file": names, "start": starts, "end": [start + 10 for start in starts], "labels": labels})
    path = tmp_path_factory.getbasetemp() / "pandas.csv"
    index = index and header
    table.to_csv(path, index=index, quoting=quoting, lineterminator=end, sep=sep, header=header)
    read = audioset.read_segments(path, listed)
    assert read["clip"].tolist() == [f"{name}_{start}" for name, start, _ in rows]
    assert read["labels"].tolist() == [tuple(listed["mid"][sorted(of)]) for _, _, of in rows]


def test_a_clip_without_a_label_is_a_negative(tmp_path):
    text = HEADER + 'a,0,3,""\nb,0,3,\nc,0,3,A\nd,0,3,[]\n'
    segments = audioset.read_segments(write(tmp_path / "s.csv", text), CLASSES)
    assert segments["labels"].tolist() == [(), (), ("/m/0a",), ()]
    np.testing.assert_array_equal(audioset.targets(segments, CLASSES).sum(axis=1), [0, 0, 1, 0])
    assert audioset.labels(segments.iloc[:2], CLASSES).indptr.tolist() == [0, 0, 0]


def test_a_name_that_begins_with_a_number_sign_is_a_clip_and_is_told(tmp_path):
    for head in (HEADER, "", "# a comment, with, commas, in it\n"):
        path, told = write(tmp_path / "s.csv", f"{head}#1,0,3,A\na,0,3,B\n"), []
        assert audioset.read_segments(path, CLASSES, tell=told.append)["youtube_id"].tolist() == ["#1", "a"]
        line = f"line {2 if head else 1}"
        assert told == [f"{path}: {line} begins with # and is read as a clip; remove it if it is a comment"]


def test_columns_that_are_not_read_are_told(tmp_path):
    told = []
    text = "id,start,end,labels,split,index,\na,0,3,A,train,0,x\n"
    audioset.read_segments(write(tmp_path / "s.csv", text), CLASSES, tell=told.append, named="my list")
    assert told == ["my list: 'split' of its columns not read"]


@pytest.mark.parametrize("cut", [*range(2, 6), *range(7, len(PLAIN.splitlines()[2]))])
def test_cut_in_mid_line(tmp_path, cut):
    path = write(tmp_path / "cut.csv", PLAIN[:-cut])
    with pytest.raises(GlatError, match=r"cut\.csv: line 3[:,] .*the file (may be|is) cut"):
        audioset.read_segments(path, CLASSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("/m/0b", "/m/0zz"), "line 3: label '/m/0zz' is not in the class list"),
        (PLAIN.replace("/m/0b", "A;/m/0zz"), "line 3: label '/m/0zz' is not in the class list"),
        (PLAIN + 'xyz,0.500,9.000,"/m/0a"\n', "line 4: clip xyz_500 occurs twice, first in line 3; remove one"),
        (PLAIN + "x/xyz.wav,0.5,9,A\n", "line 4: clip xyz_500 occurs twice, first in line 3: 'x/xyz.wav' differ"),
        (PLAIN.replace("9.000", "0.500"), "line 3: expected 0 <= start_seconds < end_seconds in seconds, found '0.500,"),
        (PLAIN.replace("0.500", "-1"), "line 3: expected 0 <= start_seconds < end_seconds"),
        (PLAIN.replace("9.000", "inf"), "line 3: expected 0 <= start_seconds < end_seconds"),
        (PLAIN.replace('"/m/0b"', '"/m/0b,"'), "line 3: '/m/0b,' has an empty label"),
        (PLAIN.replace('"/m/0b"', "/m/0b,,/m/0a"), "line 3: '/m/0b, , /m/0a' has an empty label"),
        (PLAIN.replace("0.500", "half"), "line 3: expected start_seconds in seconds, found 'half'"),
        (PLAIN.replace("0.500", "0:30"), "line 3: expected start_seconds in seconds, found '0:30'"),
        (PLAIN.replace("xyz", ""), "line 3: expected YTID, a name without comma and quote, found ',0.500,9.000"),
        (PLAIN.replace("xyz", '"x,y"'), "line 3: expected YTID, a name without comma and quote, found 'x,y'"),
        (PLAIN.replace('c"\n', "c\n"), "line 2: a quote is not closed"),
        (PLAIN.replace("xyz", "x" * 140_000), "line 3: a field has more than 131072 characters: this is not a segment list"),
        ("x" * 140_000, "line 1: a field has more than 131072 characters"),
        (PLAIN.replace('"/m/0b"', "[" * 120_000), r"line 3: label '\[{80}\.\.\.' is not in the class list"),
        (PLAIN.replace('"/m/0b"', f"({'-' * 20_000}1)"), "line 3: label '.{80}\\.\\.\\.' is not in the class list"),
        (PLAIN.replace('"/m/0b"', f"{'/m/0z' * 1000}"), "line 3: label '.{80}\\.\\.\\.' is not in the class list"),
        (PLAIN.replace("xyz", "# a note\nxyz"), "line 3: expected 4 fields, .*; only lines above the first row may be"),
        (HEADER, "holds no segment"),
        ("", "holds no row; expected a segment list: YTID,start_seconds"),
        ("<html>\n<body>\n", "line 1: expected 4 fields, .*, found '<html>': a web page"),
        (GOOGLE.replace("num_segs=2", "num_segs=3"), "promises num_segs=3, and 2 are there"),
        ("file,labels\na.wav,A\n",
         "line 1: the header 'file,labels' lacks start_seconds and end_seconds; expected YTID,.*: add them; for a file"),
        ("a,from,to,what\na,0,1,A\n", "line 1: expected start_seconds in seconds, found 'a,from,to,what'; a header names"),
        ("file,id,start,end,labels\na,b,0,1,A\n", "line 1: the header .* has 'file' and 'id' for YTID"),
    ],
)  # fmt: skip
def test_bad_segments(tmp_path, text, message):
    path = write(tmp_path / "bad.csv", text)
    for named in (None, "https://example.org/bad.csv"):
        with pytest.raises(GlatError, match=message) as error:
            audioset.read_segments(path, CLASSES, named=named)
        assert str(error.value).startswith(f"{named or path}: ") and "\n" not in str(error.value)


def test_a_text_with_two_meanings_is_refused(tmp_path):
    classes = pd.DataFrame({"mid": ["1", "2", "3"], "display_name": ["a", "b", "a,b"]})
    with pytest.raises(GlatError, match="line 1: 'a,b' may be '1' and '2' or '3'; write mids"):
        audioset.read_segments(write(tmp_path / "s.csv", 'x,0,1,"a,b"\n'), classes)


def test_no_text_in_utf_8_is_a_sentence(tmp_path):
    (tmp_path / "s.csv").write_bytes(PLAIN.replace("xyz", "ü").encode("latin-1"))
    for read in (audioset.read_segments, audioset.read_class_list, audioset.read_strong):
        with pytest.raises(GlatError, match=r"s\.csv: cannot be read as .*; save it as text in UTF-8"):
            read(tmp_path / "s.csv")


def test_missing_files(tmp_path):
    for read in (audioset.read_segments, audioset.read_class_list, audioset.read_strong):
        with pytest.raises(GlatError, match=r"none\.csv"):
            read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,mid,what\n0,/m/0a,A\n", "line 1: the header 'index,mid,what' lacks display_name"),
        ("0,/m/0a,A\n2,/m/0b,B\n", "line 2: expected index 1, .*, found '2'"),
        ("index,mid,display_name\n0,/m/0a,A\n2,/m/0b,B\n", "line 3: expected index 1, .*, found '2'"),
        ("index,mid,display_name\n0,/m/0a,A\n1,/m/0a,B\n", "line 3: mid '/m/0a' occurs twice, first in line 2"),
        ("index,mid,display_name\n0,/m/0a,A\n1,/m/0b\n", "line 3: expected 3 fields, .*the file may be cut"),
        ("index,mid,display_name\n0,/m/0a,A\n1,/m/0b,\n", "line 3: expected a display_name, found '1,/m/0b,'"),
        ("index,mid,display_name\n", "holds no class"),
        ("", "holds no row; expected a class list"),
    ],
)
def test_bad_class_list(tmp_path, text, message):
    with pytest.raises(GlatError, match=message):
        audioset.read_class_list(write(tmp_path / "classes.csv", text))


@pytest.mark.parametrize(
    "text",
    [
        'index,mid,display_name\n0,dog,Dog\n1,glass,"Glass, ""breaking"""\n',
        ',index,mid,display_name\n0,0,dog,Dog\n1,1,glass,"Glass, ""breaking"""\n',
        'name,mid\nDog,dog\n"Glass, ""breaking""",glass\n',
        'index;mid;display_name\r\n0; dog ;Dog\r\n"1";"glass";"Glass, ""breaking"""',
        '0,dog,Dog\n1,glass,"Glass, ""breaking"""\n',
    ],
)
def test_a_class_list_is_any_csv(tmp_path, text):
    (tmp_path / "c.csv").write_bytes(text.encode())
    read = audioset.read_class_list(tmp_path / "c.csv")
    assert read["index"].tolist() == [0, 1] and read["mid"].tolist() == ["dog", "glass"] and read.shape == (2, 3)
    assert read["display_name"].tolist() == ["Dog", 'Glass, "breaking"']


def test_strong_labels(tmp_path):
    header = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    table = audioset.read_strong(write(tmp_path / "s.tsv", header + "a_0\t0.5\t1.25\t/m/0a\n"))
    assert table.to_dict("records") == [{"clip": "a_0", "start": 0.5, "end": 1.25, "label": "/m/0a"}]
    for row in ("a_0\t0.5\t0.5\t/m/0a\n", "a_0\t0.5\n", "a_0\tx\t1\t/m/0a\n"):
        with pytest.raises(GlatError, match="line 2"):
            audioset.read_strong(write(tmp_path / "s.tsv", header + row))


@pytest.mark.parametrize("label", ["/m/0d", "Ü d", '"Ü d"', " Ü d "])
def test_strong_labels_are_mids_or_names(tmp_path, label):
    path = write(tmp_path / "s.tsv", f"filename\tonset\toffset\tevent_label\na_0\t0\t1\t{label}\na_0\t0\t1\tMoo\n")
    assert audioset.read_strong(path, CLASSES)["label"].tolist() == ["/m/0d", "Moo"]


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


@pytest.mark.skipif(not SHARED.exists(), reason="AudioSet's own lists are not here")
def test_the_real_lists():
    classes = audioset.read_class_list(SHARED / "class_labels_indices.csv")
    assert len(classes) == 527
    for name, rows in (("balanced_train", 22160), ("eval", 20371)):
        segments = audioset.read_segments(SHARED / f"{name}_segments.csv", classes)
        assert len(segments) == rows
        assert (audioset.targets(segments, classes).sum(axis=0) > 0).sum() >= 525


@pytest.mark.parametrize("head", ["", PLAIN.splitlines(keepends=True)[0], "# a\n# num_segs=7\n"])
def test_a_listing_hands_on_the_rows_of_its_shard(tmp_path, head):
    lines = [f'{name},{i / 3:.3f},{i + 10}.000,"/m/0{"abcd"[i % 4]}"\n' for i, name in enumerate("tuvwxyz")]
    path = write(tmp_path / "s.csv", head + "".join(lines[:3]) + "\n\n" + "".join(lines[3:]) + "\n")
    whole, listed = audioset.read_segments(path, CLASSES), tmp_path / "listing.csv"
    for shard in range(3):
        rows, wanted = audioset.shard_range(7, shard, 3), audioset.shard_rows(whole, shard, 3)
        found = pd.DataFrame({"clip": wanted["clip"][::-1], "file": "a.wav", "reason": ""})[
            :2
        ]  # in another order, one lacking
        listings.add_segments(found, wanted, rows.start, path).to_csv(listed, index=False)
        _, segments = listings.read(listed, rows, path)
        pd.testing.assert_frame_equal(segments, wanted[["clip", "start", "end", "labels"]])
    with pytest.raises(GlatError, match="listing.csv: made from another list or shard size; run `glat download` again"):
        listings.read(listed, range(3), path)
    path.write_text(path.read_text().replace("/m/0c", "/m/0d"))
    with pytest.raises(GlatError, match="listing.csv: made from another list or shard size"):
        listings.read(listed, range(6, 7), path)
    for content, told in (
        ("clip,file\na,b\n", "columns are clip, file;"),
        ("clip,file,reason\n", "cannot be read as a"),
    ):
        listed.write_text(content)
        with pytest.raises(GlatError, match=f"listing.csv: {told}"):
            listings.read(listed, range(6, 7), path)
    with pytest.raises(GlatError, match="none.csv: no such file; run `glat download`"):
        listings.read(tmp_path / "none.csv", range(6, 7), path)


def test_a_byte_order_mark_is_no_part_of_a_header(tmp_path):
    listed = 'index,mid,display_name\n0,/m/0a,"A, b"\n'
    assert audioset.read_class_list(write(tmp_path / "c.csv", "\ufeff" + listed))["mid"].tolist() == ["/m/0a"]
    strong = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\na_0\t0.5\t1.25\t/m/0a\n"
    assert audioset.read_strong(write(tmp_path / "s.tsv", "\ufeff" + strong))["clip"].tolist() == ["a_0"]
