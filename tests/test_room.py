"""How much disk recordings take is told by their headers, before any is decoded."""

import logging
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from data_fixtures import adts, encode, tone

from glat.data import room
from glat.data.audio.pieces import UNLIMITED
from glat.lib.errors import GlatError

RATE, SECONDS = 16000, 10.0
ADTS = "guessed.aac"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("room")
    soundfile.write(tmp_path / "hour.flac", np.zeros(3600 * 1000, np.int16), 1000)
    soundfile.write(tmp_path / "short.wav", tone(2.0, RATE).T, RATE)
    soundfile.write(tmp_path / "half.ogg", tone(30.0, RATE).T, RATE)
    encode(tmp_path / "film.m4a", tone(20.0))
    (tmp_path / ADTS).write_bytes(adts(tmp_path / "film.m4a"))
    (tmp_path / "none.wav").write_bytes(b"no sound")
    return tmp_path


def lists(*rows: tuple[str, str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The listing and the segments of clips: file, part, seconds in the list."""
    names = [f"c{number}" for number in range(len(rows))]
    listing = pd.DataFrame([(file, part, "", "") for file, part, _ in rows], columns=["file", "part", "kind", "reason"])
    segments = pd.DataFrame({"clip": names, "start": 0.0, "end": [seconds for *_, seconds in rows]})
    return listing.assign(clip=names), segments


def test_a_length_is_what_the_header_declares_and_none_where_it_declares_none(folder):
    found = {path.name: room.declared_seconds(path, UNLIMITED) for path in folder.iterdir() if path.is_file()}
    lengths = {"hour.flac": 3600, "short.wav": 2, "half.ogg": 30, "film.m4a": 20, ADTS: None, "none.wav": None}
    assert found == {name: seconds and pytest.approx(seconds, abs=0.1) for name, seconds in lengths.items()}
    assert room.declared_seconds(folder / "absent.wav", UNLIMITED) is None


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
def test_a_shard_takes_what_its_recordings_and_cuts_last(folder, codec):
    # A list may give a recording a length that it does not have; of a cut it says how long that is.
    given = lists(("hour.flac", "", 30.0), ("short.wav", "", 30.0), ("hour.flac", "5+60", 60.0))
    found = room.of_listing(*given, folder, RATE, SECONDS, codec, UNLIMITED)
    assert found.bytes == (3600 + 10 + 60) * RATE * {"pcm16": 2, "flac": 1.2}[codec]
    assert (found.clips, found.unknown, found.longest) == (3, 0, (3600.0, "hour.flac"))
    listing, segments = lists(("hour.flac", "", 30.0), (ADTS, "", 30.0), ("", "", 10.0))
    listing.loc[2, "kind"] = "no file"
    found = room.of_listing(listing, segments, folder, RATE, SECONDS, codec, UNLIMITED)
    assert (found.clips, found.unknown) == (2, 1) and "at least, as 1 of 2 do not tell their length" in str(found)
    # What is going to be lost as too long takes nothing.
    short = room.of_listing(*given, folder, RATE, SECONDS, codec, UNLIMITED._replace(seconds=600))
    assert short.bytes == (10 + 10 + 60) * RATE * {"pcm16": 2, "flac": 1.2}[codec] and short.unknown == 0


def test_a_disk_that_cannot_hold_it_is_told_of_before_any_recording_is_decoded(folder, caplog, monkeypatch):
    found = room.of_listing(*lists(("hour.flac", "", 1.0), (ADTS, "", 1.0)), folder, RATE, SECONDS, "pcm16", UNLIMITED)
    with caplog.at_level(logging.INFO, "glat"):
        room.need(found, folder / "out" / "000")
    told = (
        r"out/000: 0.116 GB at least, as 1 of 2 do not tell their length to write, and as much for the pack; .* GB free"
    )
    assert re.search(told, caplog.text)
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000_000))
    told = r"out/000: needs 0.116 GB at least, .* has 0.1 GB free \(the longest .*hour.flac, 3,600 s\)"
    with pytest.raises(GlatError, match=told):
        room.need(found, folder / "out" / "000")
    assert str(room.of_lengths([], [], RATE, SECONDS, "flac")) == "0 GB"
