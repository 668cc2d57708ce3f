"""The source `huggingface`: copies of AudioSet from a Hub on loopback, from the command's first step to packs."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hub_fixtures import COMMIT, LATER, hub  # noqa: F401
from source_fixtures import all_steps, ledger, make_project, segments, sound, step, write_list
from test_parquet_source import table
from test_webdataset_source import samples

from glat.data.audio.clips import to_int16
from glat.data.packs.read import Packs
from glat.data.sources.huggingface import COPIES, HuggingFace
from glat.data.sources.registry import identity, open_source
from glat.lib.errors import GlatError

ROWS = segments()
PARQUET, TARS = COPIES
GLAT = [sys.executable, "-m", "glat.cli"]


def environment(hub) -> dict[str, str]:  # noqa: F811
    """As a user sets it, who asks another Hub."""
    return os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": "nowhere"}


def parquet(rows: pd.DataFrame = ROWS, made=None) -> bytes:
    file = io.BytesIO()
    pq.write_table(table(rows) if made is None else made, file, row_group_size=2)
    return file.getvalue()


def tar(rows: pd.DataFrame = ROWS) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, content in samples(rows).items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            made.addfile(header, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def copies(hub):  # noqa: F811
    """Both copies, of which clips 1 and 4 are missing; the other splits' files are no files of audio."""
    there = ROWS.iloc[[5, 3, 0, 2]]
    hub.repositories[PARQUET] = {
        COPIES[PARQUET].revision: {
            "README.md": b"# AudioSet", "data/eval/00.parquet": parquet(there.iloc[:2]),
            "data/eval/01.parquet": parquet(there.iloc[2:]), "data/bal_train/00.parquet": b"x",
            "data/unbal_train/000.parquet": b"x",
        }
    }  # fmt: skip
    hub.repositories[TARS] = {
        COPIES[TARS].revision: {
            ".gitattributes": b"", "20k/test/shard-00000.tar": tar(there.iloc[:2]),
            "20k/test/shard-00001.tar": tar(there.iloc[2:]), "20k/train/shard-00000.tar": b"x",
            "2m/train/shard-00000.tar": b"x", "2m/test/shard-00000.tar": b"x",
        }
    }  # fmt: skip
    return hub


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a project whose source has these settings."""
    monkeypatch.chdir(tmp_path)
    return lambda split="eval", **settings: make_project(tmp_path, {"kind": "huggingface", **settings}, split=split)


def stored(root: Path) -> set[str]:
    store = root / "data/tiny/source"
    files = (path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    return {name for name in files if not name.startswith("tars/") and not Path(name).name.startswith(".")}


def record(root: Path) -> dict:
    return json.loads((root / "data/tiny/source.json").read_text())


@pytest.mark.parametrize("copy", COPIES)
def test_from_the_hub_to_packs(copies, project, tmp_path, caplog, copy):
    project(repository=copy)
    assert step("fetch") is None
    files = [name for name in copies.files(copy, COPIES[copy].revision) if "/eval/" in name or "20k/test" in name]
    assert stored(tmp_path) == {*files, "fetched.json"}
    found = record(tmp_path)
    assert found["commit"] == found["revision"] == COPIES[copy].revision and list(found["files"]) == ["eval"]
    assert list(found["files"]["eval"]) == files and "may change" not in caplog.text
    packs = Packs(all_steps(tmp_path))
    assert packs.clips.tolist() == ROWS["clip"][[0, 2, 3, 5]].tolist()
    for got, i in zip(packs.read_int16(range(4)), (0, 2, 3, 5), strict=True):
        assert np.abs(got.astype(int) - to_int16(sound(i), len(got))).max() <= 1
    assert ledger(tmp_path) == dict.fromkeys(ROWS["clip"][[1, 4]], "no row")
    copies.asked.clear()
    assert step("fetch") is None and not copies.asked and record(tmp_path) == found


@pytest.mark.parametrize(
    ("copy", "split", "files"),
    [
        (PARQUET, "balanced_train", {"data/bal_train/00.parquet"}),
        (PARQUET, "unbalanced_train", {"data/unbal_train/000.parquet"}),
        (TARS, "balanced_train", {"20k/train/shard-00000.tar"}),
        (TARS, "unbalanced_train", {"2m/train/shard-00000.tar"}),
    ],
)
def test_only_the_splits_that_the_dataset_has_are_fetched(copies, project, tmp_path, copy, split, files):
    project(split, repository=copy)
    assert step("fetch") is None
    assert stored(tmp_path) == {*files, "fetched.json"}


def test_a_dataset_that_gets_one_more_split(copies, project, tmp_path):
    project()
    assert step("fetch") is None
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["datasets"]["tiny"]["splits"]["balanced_train"] = 6
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    write_list(tmp_path / "lists/balanced_train_segments.csv", segments(start=70.0))
    copies.asked.clear()
    assert step("fetch") is None
    assert {path for _, path, _ in copies.asked} == {"data/bal_train/00.parquet"} <= stored(tmp_path)
    assert list(record(tmp_path)["files"]) == ["balanced_train", "eval"]


def test_another_repository_with_files_of_its_own(copies, project, tmp_path):
    copies.repositories["my/copy"] = {COMMIT: {"clips/test-0.parquet": parquet(), "clips/train-0.parquet": b"x"}}
    project(repository="my/copy", revision=COMMIT, splits={"eval": "clips/test-*.parquet"})
    assert step("fetch") is None
    assert len(Packs(all_steps(tmp_path)).clips) == 6
    # One of a known copy, where a split is to be other files.
    source = HuggingFace(repository=TARS, splits={"eval": ["2m/test/*.tar"]})
    found = source.fetch_all(tmp_path / "x", splits=["eval", "balanced_train"])["files"]
    assert list(found["eval"]) == ["2m/test/shard-00000.tar"] and list(found["balanced_train"]) == [
        "20k/train/shard-00000.tar"
    ]


def test_a_branch_is_taken_on_purpose_and_told(copies, project, tmp_path, caplog):
    copies.repositories[PARQUET][COMMIT] = copies.files(PARQUET, COPIES[PARQUET].revision)
    copies.repositories[PARQUET][LATER] = {
        **copies.files(PARQUET, COMMIT),
        "data/eval/01.parquet": parquet(ROWS.iloc[[1]]),
    }
    project(revision="main")
    assert step("fetch") is None
    told = (
        f"agkphysics/AudioSet: 'main' may change, and is now commit {COMMIT}; to keep to it, write `revision: {COMMIT}`"
    )
    assert told in caplog.messages and record(tmp_path)["commit"] == COMMIT
    copies.refs["main"] = LATER
    assert step("fetch") is None and record(tmp_path)["commit"] == LATER
    assert Packs(all_steps(tmp_path)).clips.tolist() == ROWS["clip"][[1, 3, 5]].tolist()


def test_a_token_is_of_the_environment_and_in_no_file(copies, project, tmp_path):
    copies.gated.add(PARQUET)
    project()
    told = step("fetch")
    assert (
        told.startswith("agkphysics/AudioSet: is gated; accept its terms at http")
        and "`hf auth login`, or set HF_TOKEN" in told
    )
    assert not (tmp_path / "data/tiny/source.json").exists()
    done = subprocess.run(
        [*GLAT, "--verbose", "fetch"],
        env=environment(copies) | {"HF_TOKEN": copies.token},
        capture_output=True,
        check=True,
    )
    assert step("metadata") is None and step("dataset") is None and step("download", "eval", 0) is None
    written = [done.stdout, done.stderr, *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())]
    assert not any(secret in content for content in written for secret in (copies.token.encode(), b"signed_for_you"))
    assert b"X-Amz-Signature=***" in done.stderr  # as the library logs it
    given = {"kind": "huggingface", "token": "hf_x"}
    with pytest.raises(GlatError, match="unknown key token; source huggingface has repository, revision, splits"):
        open_source(given, "tiny")
    assert identity(given)["token"] == "***"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"repository": "AudioSet"}, "repository: 'AudioSet' is not <owner>/<name> of a dataset on the Hub"),
        ({"repository": "a/../b"}, "repository: 'a/../b' is not <owner>/<name>"),
        ({"repository": "my/copy"}, "revision: missing; my/copy is not one of agkphysics/AudioSet, .*: write the commit"),
        ({"revision": "0c609e8"}, "revision: '0c609e8' is not a whole commit; write all of its 40 digits"),
        ({"revision": "A" * 40}, "revision: '.*' is not a whole commit; write all of its 40 digits, 0 to 9 and a to f"),
        ({"revision": "../x"}, "revision: '../x' is neither a commit of 40 digits nor a name that a branch could have"),
        ({"revision": "a b"}, "revision: 'a b' is neither"),
        ({"revision": 7}, "revision: "),
        ({"splits": "data"}, "splits: "),
        ({"splits": {"eval": 3}}, "splits"),
        ({"splits": {"eval": "data/*.zip"}}, "splits: each needs a pattern, and all must end alike, .*; found .parquet, .zip"),
        ({"splits": {"eval": "20k/test/*.tar"}}, "found .parquet, .tar"),
        ({"splits": {"eval": []}}, "splits: each needs a pattern"),
        ({"repository": "my/copy", "revision": COMMIT}, "splits: each needs a pattern, .*; found no pattern"),
    ],
)  # fmt: skip
def test_wrong_settings_are_told(settings, told):
    with pytest.raises(GlatError, match=f"datasets.tiny.source.*{told}") as error:
        open_source({"kind": "huggingface", **settings}, "tiny")
    assert "\n" not in str(error.value)


def test_splits_and_files_that_are_not_there(copies, project, tmp_path):
    project("valid")
    assert step("fetch") == (
        "datasets.*.source.splits.valid: missing; write which files of agkphysics/AudioSet belong to this split (known are "
        "those of balanced_train, unbalanced_train, eval)"
    )
    told = step("--set", "datasets.tiny.source.splits={valid: data/valid/*.parquet}", "fetch")
    assert told == (
        f"agkphysics/AudioSet at {COPIES[PARQUET].revision}: none of its 5 files (one is README.md) fits "
        "data/valid/*.parquet; set datasets.*.source.splits.valid"
    )
    assert step("--set", f"datasets.tiny.source.revision={LATER}", "fetch").startswith(
        f"agkphysics/AudioSet: has no revision '{LATER}'; set datasets.*.source.revision to a commit of it"
    )
    assert not copies.asked and not (tmp_path / "data/tiny/source.json").exists()


def test_a_dead_hub_and_a_full_disk(copies, project, tmp_path, monkeypatch):
    project()
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        told = step("fetch")
        assert told.startswith("data/tiny/source: too small for agkphysics/AudioSet: ")
        assert told.endswith(" GB to come and 1e-06 GB free; make room, or leave splits of the dataset out")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert step("fetch").startswith("agkphysics/AudioSet: http://127.0.0.1:9 cannot be reached (")
    assert stored(tmp_path) == set()


def test_steps_in_another_order_say_what_to_do(copies, project, tmp_path):
    project()
    assert step("metadata") is None
    assert step("download", "eval", 0).endswith("source/fetched.json: no such file; run `glat fetch`")
    assert step("fetch") is None
    for setting in (f"revision={COMMIT}", "repository=confit/audioset-16khz-wds"):
        told = step("--set", f"datasets.tiny.source.{setting}", "download", "eval", 0)
        assert told.endswith(
            "fetched.json: of another repository or revision, or without split 'eval'; run `glat fetch`"
        )
    (tmp_path / "data/tiny/source/data/eval/01.parquet").unlink()
    assert step("download", "eval", 0).endswith("source/data/eval/01.parquet: not there any more; run `glat fetch`")
    (tmp_path / "data/tiny/source/fetched.json").write_text("{")
    assert "fetched.json: " in step("download", "eval", 0)
    assert step("fetch") is None and step("download", "eval", 0) is None


def test_files_that_are_not_what_they_should_be(copies, project, tmp_path):
    project()
    assert step("metadata") is None
    revision = copies.repositories[PARQUET][COPIES[PARQUET].revision]
    for content, told in (
        (b"<html>", "00.parquet: not a whole Parquet file ("),
        (
            parquet(made=table().select(["video_id", "labels"])),
            "has the columns video_id, labels; needed are video_id and audio",
        ),
        (parquet()[:-1], "00.parquet: not a whole Parquet file ("),
    ):
        revision["data/eval/00.parquet"] = content
        assert step("fetch") is None
        assert told in step("download", "eval", 0)
    revision["data/eval/00.parquet"] = revision["data/eval/01.parquet"] = parquet(ROWS.iloc[:2])
    assert step("fetch") is None
    told = step("download", "eval", 1)  # whose clips are not among them
    assert "none of the 4 rows there is of the 2 segments asked for" in told
    assert told.endswith("set datasets.*.source.splits to the files of this split")


def test_a_command_that_is_killed_is_gone_on_with(copies, project, tmp_path):
    """As a user runs it, with HF_ENDPOINT in the environment."""
    project()
    files = copies.repositories[PARQUET][COPIES[PARQUET].revision]
    del files["data/eval/00.parquet"]
    big = np.random.default_rng(0).bytes(25 * 2**20)
    files["data/eval/01.parquet"] = big
    copies.slow_after = 24 * 2**20
    copies.slow.set()
    process = subprocess.Popen([*GLAT, "fetch"], env=environment(copies), stderr=subprocess.PIPE, text=True)
    part = tmp_path / "data/tiny/source/data/eval"
    end = time.monotonic() + 60
    while not any(path.stat().st_size == 20 * 2**20 for path in part.glob("*.part")):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert stored(tmp_path) == set()
    copies.slow.clear()
    copies.asked.clear()
    done = subprocess.run([*GLAT, "fetch"], env=environment(copies), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [asked for _, _, asked in copies.asked] == [f"bytes={20 * 2**20}-"]
    assert (tmp_path / "data/tiny/source/data/eval/01.parquet").read_bytes() == big
    assert "0 of 1 files are there; 0.00524 GB to come and" in done.stderr
    assert "1 of 1 files fetched" in done.stderr
