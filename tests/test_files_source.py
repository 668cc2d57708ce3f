"""The source `files`: audio found in the layouts that people have it in, and nothing else taken for it."""

import os
import socket
import stat
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from data_fixtures import CLASSES, encode, tone
from source_fixtures import IDS, RATE, SECONDS, all_steps, ledger, make_project, segments, sound, step

from glat.data.audio.clips import prepare
from glat.data.audio.formats import SUFFIXES
from glat.data.lists import audioset
from glat.data.packs.read import Packs
from glat.data.resample import resample_shard
from glat.data.sources import Shard
from glat.data.sources.files import Files
from glat.lib.errors import GlatError

A, B, C, D, E, F = IDS


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def fetch(rows, root, split="eval", whole=None, **settings) -> pd.DataFrame:
    return Files(audio=str(root), **settings).fetch(Shard(rows, root, split, whole=whole))


def found(root, rows=None, split="eval", **settings) -> list[str]:
    """Per segment: the file below `root`, with its part behind it, or the reason."""
    table = fetch(segments() if rows is None else rows, root, split, **settings)
    place = lambda row: os.path.relpath(row.file, root) + (f" {row.part}" if row.part else "")
    return [row.reason or place(row) for row in table.itertuples()]


def test_usual_names_in_any_folder(tmp_path):
    names = [
        f"{A}.wav", f"eval/Y{B}.FLAC", f"a/b c/{C}_30_32.mp3", f"ü/{D}_30000.m4a", f"{E}_30.000_32.000.opus",
        f"Y{F}_30000_32000.webm",
    ]  # fmt: skip
    touch(tmp_path, *names, f"{A}.txt", f".hidden/{A}_30.wav", f"{A}.wav.part", "readme.md", f"x{B}.wav")
    assert found(tmp_path, full_videos=False) == names
    assert found(tmp_path)[:3] == [f"{A}.wav auto:30+2", f"eval/Y{B}.FLAC auto:30+2", names[2]]
    assert found(tmp_path, full_videos=True)[0] == f"{A}.wav 30+2"


def test_a_name_of_another_time_is_another_clip(tmp_path):
    touch(tmp_path, f"{A}_40_42.wav", f"{B}_30_31.wav", f"{C}_30_40.wav", f"{D}_3.wav")
    assert found(tmp_path) == [
        f"no file: {A}_40_42 is of another time", f"no file: {B}_30_31 is of another time", f"{C}_30_40.wav",
        f"no file: {D}_3 is of another time", "no file", "no file",
    ]  # fmt: skip


def test_times_that_are_not_whole_seconds(tmp_path):
    rows = segments(IDS[:4], start=7.75)
    touch(tmp_path, f"{A}_7_9.wav", f"{B}_8.wav", f"{C}_7750.wav", f"{D}_7.75_9.75.wav")
    assert found(tmp_path, rows) == [f"{A}_7_9.wav", f"{B}_8.wav", f"{C}_7750.wav", f"{D}_7.75_9.75.wav"]


def test_of_two_files_the_better_one_by_a_fixed_order(tmp_path):
    touch(tmp_path, f"{A}.flac", f"{A}_30.mp3", f"{B}.mp3", f"{B}.WAV", f"train/{C}.wav", f"eval/{C}.mp3")
    touch(tmp_path, f"{D}.flac", f"x/{D}.mp3", f"b/{E}.wav", f"a/{E}.wav")
    (tmp_path / f"{D}.flac").write_bytes(b"")
    (tmp_path / f"{F}.wav").write_bytes(b"")  # the only one: for `resample` to name the reason
    wanted = [f"{A}_30.mp3", f"{B}.WAV", f"eval/{C}.mp3", f"x/{D}.mp3", f"a/{E}.wav", f"{F}.wav"]
    assert found(tmp_path, full_videos=False) == wanted


def test_several_segments_of_one_video(tmp_path):
    rows = pd.concat([segments([A, B, C]), segments([A, C], start=50.0)], ignore_index=True)
    touch(tmp_path, f"{A}_30.wav", f"{A}_50.wav", f"{B}.wav", f"{C}.wav")
    others = [f"{A}_30.wav", f"{B}.wav auto:30+2", f"{A}_50.wav"]
    whole = [f"{C}.wav many:52:30+2", f"{C}.wav many:52:50+2"]
    assert found(tmp_path, rows) == [*others[:2], whole[0], others[2], whole[1]]
    whole = [f"{C}.wav 30+2", f"{C}.wav 50+2"]
    others[1] = f"{B}.wav 30+2"
    assert found(tmp_path, rows, full_videos=True) == [*others[:2], whole[0], others[2], whole[1]]
    ambiguous = (
        f"ambiguous: the list has several segments of {C}, and the name {C} has no start time; if it is all of the "
        "recording, set source.full_videos to auto"
    )
    assert found(tmp_path, rows, full_videos=False) == [others[0], f"{B}.wav", ambiguous, others[2], ambiguous]
    # The other segment may be in another shard.
    more = pd.concat([rows, segments([B], start=50.0)], ignore_index=True)
    assert found(tmp_path, rows[:3], whole=more)[1] == f"{B}.wav many:52:30+2"


def listed(folder: Path, *ids: str, apart: bool = False) -> pd.DataFrame:
    """The segments of these ids, as a list's CSV gives them; apart: each of another time."""
    folder.mkdir()
    rows = [f"{text},{i * apart},{i * apart + 2},{CLASSES['mid'][0]}" for i, text in enumerate(ids)]
    (folder / "s.csv").write_text("\n".join(["YTID,start_seconds,end_seconds,positive_labels", *rows]) + "\n")
    return audioset.read_segments(folder / "s.csv", CLASSES)


def test_ids_with_a_suffix_or_a_folder(tmp_path):
    tree, other = tmp_path / "tree", "is in another folder than dog, which the list names"
    ids = ["a.wav", "dog/b.flac", "c/d", "e.mp3", "f.wav", "/data/audio/dog/g.wav", "dog\\h.wav", "./i.wav"]
    names = ["x/a.wav", "y/dog/b.flac", "c/d.mp3", "e.mp3", "f.ogg", "dog/g.wav", "dog/h.wav", "i.wav"]
    touch(tree, *names, "cat/b.flac", "z/d.wav", "e.wav", "cat/g.wav", "g.wav", "cat/h.wav")
    rows = listed(tmp_path / "lists", *ids)
    assert found(tree, rows, full_videos=False) == names
    touch(tree, "n/a_0.wav")
    assert found(tree, rows[:1], full_videos=False) == ["n/a_0.wav"]
    (tree / "y/dog/b.flac").unlink()
    assert found(tree, rows[:2], full_videos=False)[1] == f"no file: b {other}"
    with pytest.raises(GlatError, match="by the names .* in the folders that the list names; a file there is"):
        found(tree, rows[1:2], full_videos=False)


def test_ids_that_differ_by_folder_or_suffix_get_their_own_file_or_none(tmp_path):
    tree, ids = tmp_path / "tree", ["dog/a.wav", "cat/a.wav", "e.wav", "e.mp3", "b", "dog/b.wav", "w.wav"]
    rows = listed(tmp_path / "lists", *ids, apart=True)
    names = [*ids[:4], "b.wav", "dog/b.wav", "w.wav"]
    touch(tree, *names)
    for settings in ({"full_videos": False}, {"full_videos": False, "pattern": "{id}"}):
        assert found(tree, rows, **settings) == names
        for row in range(len(ids)):  # in a shard of its own
            assert found(tree, rows[row : row + 1], whole=rows, **settings) == [names[row]]
    for name in ("cat/a.wav", "e.mp3"):
        (tree / name).unlink()
    got = found(tree, rows, full_videos=False)
    assert got[1] == "no file: a is in another folder than cat, which the list names" and got[3] == "no file"
    # A file in no folder, or of a third suffix, may be either.
    for name in ("dog/a.wav", "e.wav"):
        (tree / name).unlink()
    touch(tree, "a.wav", "e.ogg")
    assert [reason.partition(":")[0] for reason in found(tree, rows, full_videos=False)[:4]] == ["ambiguous"] * 4


def test_ids_that_would_name_one_clip_are_refused(tmp_path):
    with pytest.raises(GlatError, match="line 3: clip a_0 occurs twice, first in line 2: 'dog/a.wav' and 'cat/a.wav'"):
        listed(tmp_path / "lists", "dog/a.wav", "cat/a.wav")


def test_a_path_in_a_list_leads_to_its_own_sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = segments(["dog/a.wav", "w.wav"], start=0.0)
    make_project(tmp_path, {"kind": "files", "audio": "audio"}, rows)
    for i, name in enumerate(("dog/a", "cat/a", "w")):
        (tmp_path / f"audio/{name}").parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"audio/{name}.wav", sound(i), RATE)
    packs = Packs(all_steps(tmp_path, 1))
    assert packs.clips.tolist() == ["a_0", "w_0"]
    np.testing.assert_allclose(packs.read([0])[0], sound(0), atol=1e-4)


def test_every_suffix_that_is_tagged_is_found(tmp_path):
    rows = segments([f"{suffix[1:]:x>11}" for suffix in SUFFIXES])
    names = [f"{i}{suffix}" for i, suffix in zip(rows["youtube_id"], SUFFIXES, strict=True)]
    touch(tmp_path, *names)
    assert found(tmp_path, rows, full_videos=False) == names


def test_a_start_that_fits_two_segments_is_not_guessed(tmp_path):
    rows = pd.concat([segments([A], start=10.0), segments([A], start=10000.0)], ignore_index=True)
    touch(tmp_path, f"{A}_10000.wav")
    assert all(f"the name {A}_10000 fits several" in reason for reason in found(tmp_path, rows))
    touch(tmp_path, f"{A}_10000_12000.wav")
    assert found(tmp_path, rows)[0] == f"{A}_10000_12000.wav"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{split}/{id}_{start_ms}_{end_ms}", f"eval/{A}_30000_32000.wav"),
        ("{id}-from-{start}", f"any/where/{A}-from-30.flac"),
        ("{id}/{id}.{start}.mp3", f"{A}/{A}.30.0.MP3"),
        ("*/audio_{id}", f"Speech/audio_{A}.wav"),
        ("**/{split}/?/{id}*", f"x/y/eval/-/{A}.video.webm"),
        ("{start}s {id} [yt]", f"30s {A} [yt].opus"),
    ],
)
def test_patterns(tmp_path, pattern, name):
    touch(tmp_path, name, f"eval/deeper/{A}_30000_32000.wav", f"{A}.ogg", f"other/{A}_30000_32000.wav")
    assert found(tmp_path, segments([A]), pattern=pattern, full_videos=False) == [name]


def test_a_splits_folder_by_another_name(tmp_path):
    touch(tmp_path, f"test/{A}.wav", f"eval/{A}.wav")
    for settings in ({"pattern": "{split}/{id}"}, {}):
        settings |= {"split_folders": {"eval": "test"}, "full_videos": False}
        assert found(tmp_path, segments([A]), **settings) == [f"test/{A}.wav"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("pattern={video}/{id}", "source.pattern: {video} in '{video}/{id}' is no token; there are {id}, {start}"),
        ("pattern='{split}/{start}'", "source.pattern: '{split}/{start}' has no {id}"),
        ("pattern='{id}_{end}'", "source.pattern: '{id}_{end}': give the times in one unit, and {end} only with {start}"),
        ("pattern='{id'", "source.pattern: { in '{id' is no token"),
        ("pattern='/data/{id}'", "begins with /"),
        ("full_videos=maybe", "source.full_videos: 'maybe' is not allowed: input should be 'auto', True or False"),
        ("split_folders=test", "source.split_folders: 'test' is not `split: name of its folder`"),
        ("audio=''", "source.audio: '' is not the path of a folder"),
        ("audio=nowhere", "nowhere: no such folder of audio files; set datasets.*.source.audio"),
        ("audio=lists", "lists: holds no audio file (.flac, .wav,"),
        ("pattern='{id}_x'", f"audio: none of its 1 audio files is of the 4 segments asked for (eval, from {A}_30000 on) by"),
        ("patern=x", "unknown key patern; source files has audio, full_videos, pattern, split_folders"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_a_sentence(tmp_path, monkeypatch, setting, told):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, {"kind": "files", "audio": "audio"})
    touch(tmp_path, f"audio/{A}.wav")
    assert step("metadata") is None
    key, _, value = setting.partition("=")
    value = value if value.startswith("'") else f"'{value}'"
    assert told in step("--set", f"datasets.tiny.source.{key}={value}", "download", "eval", 0)


def test_a_folder_that_cannot_be_read_costs_its_own_clips(tmp_path, monkeypatch):
    touch(tmp_path, f"a/{A}.wav", f"shut/{B}.wav")
    scandir = os.scandir

    def refuse(path):
        if "shut" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    told = "no file; not looked into: shut/ (Permission denied)"
    assert found(tmp_path, segments([A, B]), full_videos=False) == [f"a/{A}.wav", told]
    with pytest.raises(GlatError, match="shut: cannot be read .Permission denied.; make it readable"):
        found(tmp_path / "shut")


def test_one_bad_entry_costs_one_clip(tmp_path, monkeypatch):
    """A pipe, a socket, a loop of links, a folder, a link to nowhere: none is waited for, none stops the others."""
    monkeypatch.chdir(tmp_path)
    rows = make_project(tmp_path, {"kind": "files", "audio": "audio"}, segments([*IDS, "ggggggggggg"]))
    audio = tmp_path / "audio"
    audio.mkdir()
    soundfile.write(audio / f"{A}.wav", sound(0), RATE)
    os.mkfifo(audio / f"{B}.wav")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"audio/{C}.wav")
        (audio / f"{D}.wav").symlink_to(f"{D}.wav")
        (audio / "loop").symlink_to("loop")
        (audio / f"{E}.wav").mkdir()
        (audio / f"{F}.wav").symlink_to("gone.wav")
        soundfile.write(audio / "ggggggggggg_30.wav", sound(6), RATE)
        os.mkfifo(audio / "ggggggggggg_30_32.wav")  # the better name, but no file
        packs = Packs(all_steps(tmp_path))
    assert packs.clips.tolist() == rows["clip"][[0, 6]].tolist()
    lost = ledger(tmp_path)
    assert [lost[clip] for clip in rows["clip"][1:6]] == [
        "unreadable: a pipe, not a file", "unreadable: a socket, not a file",
        "unreadable: Too many levels of symbolic links", "unreadable: a folder, not a file", "missing: no such file",
    ]  # fmt: skip


def test_links_are_followed_and_loops_end(tmp_path):
    touch(tmp_path / "far", f"{A}.wav")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(tmp_path / "far")
    (tmp_path / "tree/loop").symlink_to(tmp_path / "tree")
    (tmp_path / f"tree/{B}.wav").symlink_to(tmp_path / "gone.wav")
    assert found(tmp_path / "tree", full_videos=False)[:2] == [f"link/{A}.wav", f"{B}.wav"]


def test_a_name_that_is_not_utf8_is_a_line_in_the_ledger(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff/" + A.encode() + b".wav"
    try:
        os.mkdir(os.path.dirname(name))
    except OSError:
        pytest.skip("this file system takes no such names")
    Path(os.fsdecode(name)).write_bytes(b"x")
    assert found(tmp_path, segments([A])) == ["unreadable: the name of its file is not UTF-8; rename it"]
    os.rename(name, os.path.dirname(name) + b"/" + A.encode() + b"_40\xff.wav")
    table = fetch(segments([A]), tmp_path, pattern="{id}_{start}*")
    table.to_csv(tmp_path / "listing.csv")
    assert table["reason"].tolist() == [f"no file: '{A}_40\\udcff' is of another time"]


def test_from_a_read_only_tree_to_packs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = make_project(tmp_path, {"kind": "files", "audio": "my audio ü"}, segments([*IDS, "ggggggggggg"]))
    audio = tmp_path / "my audio ü"
    (audio / "eval").mkdir(parents=True)
    soundfile.write(audio / f"{A}.wav", sound(0), RATE)
    full = np.concatenate([tone(30, 22050, 1)[0], sound(1, 5, 22050)])
    soundfile.write(audio / f"eval/Y{B}.flac", full, 22050)  # a whole video
    (audio / f"{C}.m4a").write_text("<!DOCTYPE html><html>Sorry</html>")
    whole = encode(audio / f"{D}_30000.wav", sound(3)[None], RATE)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    encode(audio / f"{E}.m4a", tone(12, 44100, 1))  # a video that is shorter than the segment's start
    (audio / f"{F}.mp3").write_bytes(b"")
    encode(audio / "Yggggggggggg_30.opus", tone(2, 48000, 1))
    before = {path: path.stat().st_mtime_ns for path in [audio, *audio.rglob("*")]}
    for path in before:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        packs = Packs(all_steps(tmp_path))
    finally:
        for path in before:
            path.chmod(0o700)
    assert {path: path.stat().st_mtime_ns for path in [audio, *audio.rglob("*")]} == before
    assert packs.clips.tolist() == rows["clip"][[0, 1, 6]].tolist()
    got = packs.read([0, 1])
    np.testing.assert_allclose(got[0], sound(0), atol=1e-4)
    soundfile.write(tmp_path / "piece.flac", full[30 * 22050 : 32 * 22050], 22050)
    wanted = pd.DataFrame({"clip": [rows["clip"][1]], "file": [str(tmp_path / "piece.flac")], "reason": [""]})
    resample_shard(rows[1:2], wanted, tmp_path, tmp_path / "piece", RATE, SECONDS)
    piece = np.fromfile(tmp_path / "piece/waveform.i16", "<i2")
    np.testing.assert_array_equal(got[1] * 32768, piece)
    lost = ledger(tmp_path)
    assert lost.keys() == set(rows["clip"][2:6])
    assert lost[rows["clip"][2]] == "undecodable: a web page, not audio"
    assert lost[rows["clip"][3]].startswith("truncated: ")
    assert lost[rows["clip"][4]] == "too short: 12.00 s, the clip starts at 30 s"
    assert lost[rows["clip"][5]] == "empty file"


def test_two_segments_of_one_video_in_two_shards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = pd.concat([segments(IDS[:4]), segments([A, B, D], start=50.0)], ignore_index=True)
    make_project(tmp_path, {"kind": "files", "audio": "audio"}, rows)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / f"audio/{A}.flac", np.concatenate([sound(i, 10) for i in range(6)]), RATE)
    for i, name in enumerate((C, f"{B}_50", D)):  # of D, nobody knows which of its two segments it is
        soundfile.write(tmp_path / f"audio/{name}.wav", sound(i), RATE)
    packs = Packs(all_steps(tmp_path))
    assert packs.clips.tolist() == [f"{A}_30000", f"{C}_30000", f"{A}_50000", f"{B}_50000"]
    np.testing.assert_allclose(packs.read([0])[0], sound(3, 10)[:32000], atol=1e-4)
    np.testing.assert_allclose(packs.read([2])[0], sound(5, 10)[:32000], atol=1e-4)
    lost = ledger(tmp_path)
    assert lost[f"{B}_30000"] == f"no file: {B}_50 is of another time"
    told = "ambiguous: the list has several segments of this recording, up to 52 s, and a file of 2.00 s may be any of "
    assert lost[f"{D}_30000"] == lost[f"{D}_50000"] == f"{told}them; name it <id>_<start>"


@pytest.mark.parametrize("name", ["r.wav", "r.mp3"])
def test_segments_that_fill_their_recording(tmp_path, monkeypatch, name):
    """Two segments of 2 s of a recording of 4 s; and one of 4.5 s, which is longer than a clip and kept whole."""
    monkeypatch.chdir(tmp_path)
    rows = pd.concat([segments(["r", "s"], start=0.0), segments(["r"], start=2.0)], ignore_index=True)
    rows.loc[1, "end"] = 4.5
    make_project(tmp_path, {"kind": "files", "audio": "audio"}, rows)
    (tmp_path / "audio").mkdir()
    encode(tmp_path / "audio" / name, tone(4, RATE, 1), RATE, {"write_xing": "0"} if name == "r.mp3" else None)
    soundfile.write(tmp_path / "audio/s.wav", sound(1, 4.5), RATE)
    packs = Packs(all_steps(tmp_path, 1))
    assert packs.clips.tolist() == ["r_0", "s_0", "r_2000"]
    whole = prepare(tmp_path / "audio" / name, RATE, 4.0).samples / 2**15
    np.testing.assert_allclose(packs.read([0, 2]).reshape(-1), whole, atol=1e-4)
    assert packs.longer and packs.length.tolist() == [2 * RATE, 4.5 * RATE, 2 * RATE]
    clip, offset = packs.parts(np.arange(3))
    assert clip.tolist() == [0, 1, 1, 1, 2] and offset.tolist() == [0, 0, 2 * RATE, 2.5 * RATE, 0]
    parts = packs.read(clip[1:4], offset[1:4])
    heard = np.concatenate([parts[0], parts[1], parts[2][round(1.5 * RATE) :]])
    np.testing.assert_allclose(heard, sound(1, 4.5), atol=1e-4)
    assert ledger(tmp_path) == {}


def test_a_big_tree_is_indexed_fast(tmp_path, monkeypatch):
    """At this speed, two million files take well under a minute a shard, disk apart."""
    rows = segments([f"{i:011d}" for i in range(2000)])
    names = ((f"{i // 1000}/", f"Y{i:011d}.wav") for i in range(200_000))
    monkeypatch.setattr("glat.data.sources.files.walk", lambda root, unreadable: names)
    began = time.process_time()
    table = fetch(rows, tmp_path, full_videos=False)
    assert (table["reason"] == "").all() and table["file"].iloc[1999].endswith("1/Y00000001999.wav")
    assert time.process_time() - began < 5
