"""Whole or absent: one writer, two writers, and one that was killed."""

import os
import platform
import subprocess
import sys

import pytest

from glat.lib.files import whole


def test_an_output_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError), whole(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())
    with whole(tmp_path / "a.csv") as part:
        part.write_text("all")
        assert not (tmp_path / "a.csv").exists() and part.suffix == ".csv"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_two_writers_do_not_meet(tmp_path):
    code = f"""
import sys
from glat.lib.files import whole
with whole({str(tmp_path / "a.csv")!r}) as part:
    part.write_text("theirs")
    print("ready", flush=True)
    sys.stdin.readline()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "ready\n"
    with whole(tmp_path / "a.csv") as part:
        part.write_text("ours, which is longer")
    assert (tmp_path / "a.csv").read_text() == "ours, which is longer"
    other.communicate("go\n")
    assert other.returncode == 0 and (tmp_path / "a.csv").read_text() == "theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_process_left_is_removed_and_a_living_one_s_is_not(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f".a.part-{platform.node()}-{pid}.csv" for pid in (gone.pid, os.getppid())]
    for name in names:
        (tmp_path / name).write_text("half")
    with whole(tmp_path / "a.csv") as part:
        part.write_text("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.csv", names[1]])
