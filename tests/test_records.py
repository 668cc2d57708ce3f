"""Records of what outputs were made from: kept, carried to another folder, and held against what is there."""

import os
import shutil
from pathlib import Path

import pytest
from snakemake.persistence import RECORD_FORMAT_VERSION

from glat.lib.errors import GlatError
from glat.lib.records import LONG_AGO, Notes, adopt, checksum, modified, read, write

RECORD = Path("records/mini/train.json")


def made(rule, output, *inputs):
    """Notes as Snakemake keeps them; inputs of 1 kB and more have no checksum here."""
    small = [name for name in inputs if Path(name).is_file() and Path(name).stat().st_size < 1000]
    facts = {"rule": rule, "input": sorted(inputs), "params": ["1"], "code": "glat", "software_stack_hash": "0"}
    facts |= {"input_checksums": {name: checksum(name) for name in small}}
    Notes().take(output, facts | {"record_format_version": RECORD_FORMAT_VERSION})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """code -> (a list that is not there later) -> pack -> checkpoint, and their record."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("code.py").write_text("first")
    Path("list.csv").write_text("clips")
    Path("pack.h5").write_bytes(os.urandom(5000))
    Path("checkpoint.pt").write_bytes(os.urandom(5000))
    made("resample", "list.csv", "code.py")
    made("pack", "pack.h5", "list.csv")
    made("train", "checkpoint.pt", "pack.h5", "code.py")
    write(RECORD, ["list.csv", "pack.h5", "checkpoint.pt"])
    return tmp_path


@pytest.fixture
def elsewhere(project, monkeypatch):
    """The same files without Snakemake's notes and without the list; the pack has come after the checkpoint."""
    ignored = shutil.ignore_patterns(".snakemake", "list.csv")
    there = shutil.copytree(project / "here", project / "there", ignore=ignored)
    monkeypatch.chdir(there)
    os.utime("checkpoint.pt", (1000, 1000))
    os.utime("pack.h5", (2000, 2000))
    return there


def test_where_the_files_were_made_nothing_is_adopted(project):
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}
    assert adopt(RECORD.parent) == []
    assert before == {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}


def test_without_records_there_is_nothing_to_adopt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert adopt(RECORD.parent) == []
    assert not list(tmp_path.iterdir())


def test_elsewhere_the_notes_come_with_the_files_and_no_output_is_older_than_its_inputs(elsewhere):
    assert adopt(RECORD.parent) == ["checkpoint.pt", "pack.h5"]
    assert modified("checkpoint.pt") == modified("pack.h5") == 2000 < modified(RECORD)
    for name, rule in (("checkpoint.pt", "train"), ("pack.h5", "pack"), ("list.csv", "resample")):
        assert Notes().of(name).rule == rule and Notes().of(name).params == ["1"]
    assert adopt(RECORD.parent) == []


def test_a_copy_of_the_record_is_the_same_bytes(elsewhere):
    before = RECORD.read_bytes()
    adopt(RECORD.parent)
    write(RECORD, ["list.csv", "pack.h5", "checkpoint.pt"])
    again = RECORD.read_bytes()
    Path("list.csv").write_text("clips")
    write(RECORD, ["list.csv", "pack.h5", "checkpoint.pt"])
    assert RECORD.read_bytes() == before and again != before  # the list had no fingerprint


@pytest.mark.parametrize(
    ("change", "outdated"), [("code.py", ["checkpoint.pt", "pack.h5"]), ("pack.h5", ["checkpoint.pt"]), (None, [])]
)
def test_what_was_made_from_other_inputs_is_older_than_they_are(elsewhere, change, outdated):
    if change:
        Path(change).write_bytes(b"second" * 1000 if change == "pack.h5" else b"second")
        os.utime(change, (500, 500))  # as after a checkout: older than what it feeds
    adopt(RECORD.parent)
    assert [name for name in ("checkpoint.pt", "pack.h5") if modified(name) == LONG_AGO] == outdated


def test_another_file_in_an_output_s_place_is_not_taken_for_it(elsewhere):
    Path("checkpoint.pt").write_bytes(os.urandom(5000))
    assert adopt(RECORD.parent) == ["pack.h5"]
    assert Notes().of("checkpoint.pt") is None


def test_notes_on_a_file_that_was_replaced_give_way_to_those_on_the_one_that_is_there(project):
    older = Path("checkpoint.pt").read_bytes(), RECORD.read_bytes()
    Path("code.py").write_text("second")
    Path("checkpoint.pt").write_bytes(os.urandom(5000))
    made("train", "checkpoint.pt", "pack.h5", "code.py")
    Path("checkpoint.pt").write_bytes(older[0])  # as `git checkout` and `dvc checkout` do
    os.utime("checkpoint.pt", (3e9, 3e9))
    RECORD.write_bytes(older[1])
    assert adopt(RECORD.parent) == ["checkpoint.pt"]
    assert modified("checkpoint.pt") == LONG_AGO  # it was made from the first code
    Path("code.py").write_text("first")
    assert Notes().of("checkpoint.pt").input_checksums["code.py"] == checksum("code.py")


def test_a_damaged_record_is_refused_in_one_sentence(elsewhere):
    RECORD.write_text("[]")
    with pytest.raises(GlatError, match=r"records/mini/train.json: damaged; `dvc checkout records/mini/train.json`"):
        adopt(RECORD.parent)


def test_a_record_of_another_form_of_notes_is_left_alone(elsewhere):
    RECORD.write_text(RECORD.read_text().replace(f'_version": {RECORD_FORMAT_VERSION}', '_version": 99'))
    assert adopt(RECORD.parent) == []


def test_what_is_older_than_its_input_is_not_recorded(project):
    """A training that outlived a killed Snakemake may have read the packs before these."""
    os.utime("pack.h5", (modified("checkpoint.pt") + 1,) * 2)
    write(RECORD, ["list.csv", "pack.h5", "checkpoint.pt"])
    assert read(RECORD).keys() == {"list.csv", "pack.h5"}


def test_another_snakemake_costs_the_records_alone(elsewhere, monkeypatch, capsys):
    monkeypatch.setattr("glat.lib.records.version", lambda _: "10.0.0")
    assert adopt(RECORD.parent) == []
    write(RECORD, ["pack.h5"])
    assert RECORD.read_text() == "{}"
    assert "tested with Snakemake 9.27.*, not 10.0.0" in capsys.readouterr().err
