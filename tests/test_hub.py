"""The client of the Hugging Face Hub, against one on loopback: what is fetched, resumed, checked and refused."""

import errno
import json
import os
import shutil
import time

import numpy as np
import pytest
from hub_fixtures import COMMIT, LATER, hub  # noqa: F401

from glat.lib import hub as client
from glat.lib.addresses import LIMITS, Limits
from glat.lib.errors import GlatError
from glat.lib.hub import Repository

NAME = "some/audio"
BIG = np.random.default_rng(0).bytes(3_000_000)
FILES = {
    "data/a/00.parquet": BIG,
    "data/a/01.parquet": b"one" * 1000,
    "data/b c/ü.tar": b"two" * 99,
    "README.md": b"# hi\n",
}
A = "data/a/00.parquet"


@pytest.fixture
def server(hub):  # noqa: F811
    hub.repositories[NAME] = {COMMIT: dict(FILES)}
    hub.plain.add("README.md")
    return hub


def fetch(store, names=tuple(FILES), limits=LIMITS, revision=COMMIT):
    commit, listed = Repository(NAME, revision).list_files()
    Repository(NAME, commit).fetch([file for file in listed if file.path in names], store, limits)


def content(store) -> dict[str, bytes]:
    """What lies there but for the notes that files were checked."""
    files = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".checksum"]
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def ranges(server, path=A):
    return [asked for method, of, asked in server.asked if of == path]


def test_files_come_whole_and_only_those_that_are_asked_for(server, tmp_path, capsys):
    fetch(tmp_path)
    assert content(tmp_path) == FILES
    told = capsys.readouterr().err
    assert f"{NAME} at {COMMIT}: 0 of 4 files are there; 0.003 GB to come and " in told
    assert "some/audio: 4 of 4 files fetched" in told
    fetch(tmp_path / "x", [A])
    assert content(tmp_path / "x") == {A: BIG}


def test_what_is_there_and_whole_is_kept(server, tmp_path, capsys):
    fetch(tmp_path)
    server.asked.clear()
    fetch(tmp_path)
    assert not server.asked and "4 of 4 files are there" in capsys.readouterr().err
    # A copy from elsewhere is checked, one that changed or that is shorter is fetched again.
    (tmp_path / A).write_bytes(BIG)
    (tmp_path / "data/a/.00.parquet.checksum").unlink()
    (tmp_path / "data/a/01.parquet").write_bytes(b"x" * 3000)
    (tmp_path / "README.md").write_bytes(b"#")
    fetch(tmp_path)
    assert {path for _, path, _ in server.asked} == {"data/a/01.parquet", "README.md"}
    assert content(tmp_path) == FILES


def test_another_revision_brings_what_differs(server, tmp_path):
    fetch(tmp_path)
    server.repositories[NAME][LATER] = {**FILES, "data/a/01.parquet": b"new" * 1000}
    server.asked.clear()
    fetch(tmp_path, revision=LATER)
    assert {path for _, path, _ in server.asked} == {"data/a/01.parquet"}
    assert content(tmp_path)["data/a/01.parquet"] == b"new" * 1000


def test_a_branch_is_a_commit(server, tmp_path):
    assert Repository(NAME, "main").list_files()[0] == COMMIT
    server.refs["main/2"] = LATER
    server.repositories[NAME][LATER] = {}
    assert Repository(NAME, "main/2").list_files() == (LATER, [])


def test_a_line_that_breaks_is_gone_on_with(server, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the library's, of a second
    large = BIG * 8  # the library writes ten megabytes at a time
    server.repositories[NAME][COMMIT][A] = large
    server.cuts[A] = [12_000_000, 11_000_000, 100]
    fetch(tmp_path, [A])
    assert content(tmp_path) == {A: large}
    whole = 10 * 2**20
    assert ranges(server) == [None, *[f"bytes={at}-" for at in (whole, 2 * whole, 2 * whole)]]


def test_an_interrupted_fetch_is_gone_on_with_by_the_next_one(server, tmp_path):
    part = next(file for file in Repository(NAME, COMMIT).list_files()[1] if file.path == A).part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:1_234_567])
    fetch(tmp_path)
    assert ranges(server) == ["bytes=1234567-"] and content(tmp_path) == FILES
    (tmp_path / A).unlink()
    part.write_bytes(BIG)  # all of it came, and was not checked
    server.asked.clear()
    fetch(tmp_path)
    assert not server.asked and content(tmp_path) == FILES


def test_a_server_that_ignores_ranges_sends_all_of_it(server, tmp_path):
    server.ranges = False
    part = next(file for file in Repository(NAME, COMMIT).list_files()[1] if file.path == A).part(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 5000)
    fetch(tmp_path)
    assert content(tmp_path) == FILES


def test_a_damaged_file_is_fetched_once_more_and_alone(server, tmp_path):
    wrong = BIG[:-1] + b"x"
    server.wrong[A] = [wrong]
    fetch(tmp_path)
    assert content(tmp_path) == FILES and len(ranges(server)) == 2
    (tmp_path / A).unlink()
    server.wrong[A] = [wrong, wrong]
    server.asked.clear()
    told = rf"^some/audio: {A} came damaged twice, with another checksum than [0-9a-f]{{64}}; run again .* {tmp_path}"
    with pytest.raises(GlatError, match=told):
        fetch(tmp_path)
    assert A not in content(tmp_path) and {path for _, path, _ in server.asked} == {A}
    # A part that is damaged too.
    (tmp_path / "README.md").unlink()
    server.wrong["README.md"] = [b"# ho\n"] * 2
    with pytest.raises(GlatError, match=r"README.md came damaged twice, with another checksum than [0-9a-f]{40};"):
        fetch(tmp_path, ["README.md"])


def test_a_part_that_is_damaged_begins_anew(server, tmp_path):
    part = next(file for file in Repository(NAME, COMMIT).list_files()[1] if file.path == A).part(tmp_path)
    part.parent.mkdir(parents=True)
    for begun in (b"x" * 1_000_000, b"x" * 4_000_000):
        part.write_bytes(begun)
        fetch(tmp_path, [A])
        assert content(tmp_path) == {A: BIG}
        (tmp_path / A).unlink()


def test_parts_of_other_content_go_when_the_file_is_there(server, tmp_path):
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/.00.parquet.0123456789abcdef.part").write_bytes(b"x")
    fetch(tmp_path)
    assert content(tmp_path) == FILES


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.answers[A] = [(503, {}), (500, {}), (502, {})]
    fetch(tmp_path)
    assert content(tmp_path) == FILES
    server.answers["README.md"] = [(503, {})] * 9
    (tmp_path / "README.md").unlink()
    with pytest.raises(
        GlatError, match=r"^some/audio: HTTP 503 from http://127\.0\.0\.1:\d+; what came is kept: run again"
    ):
        fetch(tmp_path)


def test_a_rate_limit_is_waited_for_and_told(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    server.answers[A] = [(429, {"Retry-After": 7})]
    fetch(tmp_path)
    assert content(tmp_path) == FILES and 8.0 in waited
    server.answers[A] = [(429, {"Retry-After": 7})] * 9
    (tmp_path / A).unlink()
    with pytest.raises(
        GlatError, match="^some/audio: HTTP 429: the Hub limits requests; wait some minutes, or log in with"
    ):
        fetch(tmp_path)
    server.answers["list"] = [(429, {})]
    with pytest.raises(GlatError, match="HTTP 429"):
        fetch(tmp_path)


def test_a_gated_repository_asks_for_a_login_and_takes_it(server, tmp_path, monkeypatch):
    server.gated.add(NAME)
    with pytest.raises(
        GlatError, match=r"^some/audio: is gated; accept its terms at http.*/datasets/some/audio, then log in"
    ):
        fetch(tmp_path, [A])
    assert not content(tmp_path)
    monkeypatch.setenv("HF_TOKEN", server.token)
    fetch(tmp_path)
    assert content(tmp_path) == FILES
    assert server.authorized and not any(server.authorized)  # the token stays with the Hub


def test_no_such_repository_revision_or_access(server, tmp_path):
    with pytest.raises(
        GlatError, match=r"^no/body: no such dataset at http.*, or a private one; set datasets.*repository"
    ):
        Repository("no/body", COMMIT).list_files()
    with pytest.raises(GlatError, match=f"^some/audio: has no revision '{LATER}'; set datasets.*revision to a commit"):
        Repository(NAME, LATER).list_files()
    for status in (401, 403):
        server.answers["list"] = [(status, {})]
        with pytest.raises(
            GlatError, match=f"^some/audio: HTTP {status}: no access with this token, or without one; log in"
        ):
            Repository(NAME, COMMIT).list_files()


def test_no_network(server, tmp_path, monkeypatch):
    from huggingface_hub import constants

    _, listed = Repository(NAME, COMMIT).list_files()
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    told = r"^some/audio: http://127.0.0.1:9 cannot be reached \(.*refused\); check the network; what came is kept"
    with pytest.raises(GlatError, match=told):
        Repository(NAME, COMMIT).list_files()
    with pytest.raises(GlatError, match=told):
        Repository(NAME, COMMIT).fetch(listed, tmp_path, LIMITS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(GlatError, match="^some/audio: not fetched, since HF_HUB_OFFLINE is set; unset it"):
        Repository(NAME, COMMIT).list_files()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"<html>", "is not a list of files"),
        (b"[]", "is not a list of files"),
        (b"{}", "is not a list of files"),
        (b'{"id": "a", "sha": "main", "siblings": []}', "it is of 'main', which is not"),
        (json.dumps({"id": "a", "sha": LATER, "siblings": []}).encode(), f"it is of '{LATER}', which is not the commit that"),
        (json.dumps({"id": "a", "sha": COMMIT, "siblings": [{"rfilename": "a"}]}).encode(), "a has no size or no checksum"),
        (json.dumps({"id": "a", "sha": COMMIT, "siblings": [{"rfilename": "../a"}]}).encode(), "'../a' is no path of a file"),
        (json.dumps({"id": "a", "sha": COMMIT, "siblings": [{"rfilename": "/a"}]}).encode(), "'/a' is no path of a file"),
        (json.dumps({"id": "a", "sha": COMMIT, "siblings": [{"rfilename": "a\nb"}]}).encode(), r"'a\\nb' is no path"),
        (
            json.dumps({
                "id": "a", "sha": COMMIT,
                "siblings": [{"rfilename": "a", "size": 1, "lfs": {"size": 1, "sha256": "../../x", "pointerSize": 1}}],
            }).encode(),
            "a has no size or no checksum",
        ),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_of_files(server, answer, told):
    server.listed = answer
    with pytest.raises(GlatError, match=f"^some/audio: the .*{told}.*; check HF_ENDPOINT"):
        Repository(NAME, COMMIT).list_files()


def test_the_disk_is_looked_at_before_and_a_full_one_is_told(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_900_000))
        told = (
            rf"^{tmp_path}: too small for some/audio: 0.003 GB to come and 0.0029 GB free; make room, or leave splits"
        )
        with pytest.raises(GlatError, match=told):
            fetch(tmp_path)
    assert not server.asked and not content(tmp_path)

    def full(self, block):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(client._Counted, "write", full)
        with pytest.raises(GlatError, match="^some/audio: the disk is full; make room: what came is kept: run again"):
            fetch(tmp_path)
    fetch(tmp_path)
    assert content(tmp_path) == FILES


def test_a_file_that_is_larger_or_slower_than_allowed(server, tmp_path):
    with pytest.raises(GlatError, match=rf"{A} has 0.003 GB, more than the 0.002 GB .*; raise fetch.max_gigabytes"):
        fetch(tmp_path, limits=Limits(max_gigabytes=0.002))
    assert not server.asked
    server.slow.set()
    begin = time.monotonic()
    with pytest.raises(
        GlatError, match=r"00\.parquet is not there after 0.0002 h; what came is kept: .*fetch.max_hours"
    ):
        fetch(tmp_path, [A], Limits(max_hours=0.0002))
    assert time.monotonic() - begin < 5
    server.slow.clear()


def test_more_than_a_file_has_is_not_written(server, tmp_path):
    server.wrong[A] = [BIG + b"x" * 20_000_000]
    with pytest.raises(GlatError, match=f"^{A}: more came than its 3000000 bytes"):
        fetch(tmp_path, [A])
    assert not any(path.stat().st_size > len(BIG) for path in tmp_path.rglob("*"))


def test_signed_addresses_are_in_no_log(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    server.cuts[A] = [0] * 40
    with pytest.raises(GlatError) as error:
        fetch(tmp_path)
    out = capfd.readouterr()
    assert "signed_for_you" not in out.out + out.err + str(error.value)
