"""Fetching over real HTTP on loopback: cut off, resumed, changed under the download, throttled, and refused."""

import errno
import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import unquote

import numpy as np
import pytest
from http_fixtures import Handler, Server, served

from glat.config.settings import Fetch
from glat.lib import fetching
from glat.lib.addresses import address_hash, file_name
from glat.lib.errors import GlatError
from glat.lib.fetching import check_file, fetch_file

CONTENT = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(len(CONTENT))


class Unreliable(Server):
    """Serves `content` with ranges, as `cuts`, `statuses` and `headers` tell it to misbehave."""

    def __init__(self, *given):
        super().__init__(*given)
        self.content, self.tag, self.kind = CONTENT, '"one"', "application/octet-stream"
        self.ranges = self.heeds = True  # heeds: If-Range
        self.gate = threading.Event()  # answers wait until it is set
        self.gate.set()
        self.cuts: list[int] = []  # of each answer to come, how many bytes until the line breaks
        self.statuses: list[tuple[int, dict]] = []  # errors that come before
        self.asked: list[tuple[str | None, str | None]] = []  # Range and If-Range of each request

    @property
    def address(self) -> str:
        return f"{super().address}/weights%3D1.pth?download=1"


class File(Handler):
    def do_GET(self):
        server: Unreliable = self.server
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.asked.append((asked, condition))
        server.gate.wait(300)
        if server.statuses:
            status, headers = server.statuses.pop(0)
            return self.answer(status, b"", headers)
        start = int(asked.split("=")[1][:-1]) if asked and server.ranges else 0
        if condition and condition != server.tag and server.heeds:
            start = 0
        size = len(server.content)
        if start >= size:
            return self.answer(416, b"", {"Content-Range": f"bytes */{size}"})
        headers = {"Content-Type": server.kind} | ({"ETag": server.tag} if server.tag else {})
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return self.answer(206 if start else 200, server.content[start:], headers)

    def answer(self, status, body, headers):
        self.head(status, headers | {"Content-Length": len(body)})
        if self.server.cuts and body:
            body = body[: self.server.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0, 0, 0))
    with served(File, Unreliable) as server:
        yield server


def interrupted(server, path, monkeypatch, at=1_000_000):
    """A fetch that ends after `at` bytes, without another try."""
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "PAUSES", ())
        server.cuts = [at]
        with pytest.raises(GlatError, match="cannot be fetched"):
            fetch_file(server.address, path)
    assert not path.exists()
    server.asked.clear()


def kept(at):
    """The range that is asked for after a line that broke at a byte: whole blocks are kept."""
    return f"bytes={at // fetching.BLOCK * fetching.BLOCK}-"


def left(path):
    """Files beside it; the lock's is empty and stays."""
    return sorted(file.name for file in path.parent.iterdir() if file.name not in (path.name, f".{path.name}.lock"))


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server, tmp_path):
    path = tmp_path / "deep/weights.pth"
    sha256, md5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    fetch_file(server.address, path, sha256, md5.upper())
    assert path.read_bytes() == CONTENT and not left(path) and server.asked == [(None, None)]
    check_file(path, sha256, md5)
    assert file_name(server.address) == "weights=1.pth"


def test_a_broken_line_is_gone_on_with_within_one_call_as_long_as_more_comes(server, tmp_path):
    server.cuts = [400_000] * 7  # more breaks than tries: each brought something
    fetch_file(server.address, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert len(server.asked) == 8 and server.asked[1] == (kept(400_000), '"one"')


def test_a_line_that_brings_nothing_ends_after_the_tries(server, tmp_path):
    server.cuts = [500_000, 0, 0, 0, 0, 0]
    with pytest.raises(GlatError, match=r"/weights%3D1\.pth\?download=1: cannot be fetched \(.*; check the network"):
        fetch_file(server.address, tmp_path / "f")
    assert len(server.asked) == 4 and not (tmp_path / "f").exists()


def test_a_killed_fetch_goes_on_in_the_next_call(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    fetch_file(server.address, path)
    assert path.read_bytes() == CONTENT and server.asked == [(kept(1_000_000), '"one"')] and not left(path)


def test_a_file_replaced_meanwhile_is_not_mixed_with_the_old_one(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    server.content, server.tag = OTHER, '"two"'
    fetch_file(server.address, path)
    assert path.read_bytes() == OTHER and server.asked == [(kept(1_000_000), '"one"')] and not left(path)


def test_a_server_that_gives_the_rest_of_a_later_file_is_found_out(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    server.content, server.tag, server.heeds = OTHER, '"two"', False
    fetch_file(server.address, path)
    assert path.read_bytes() == OTHER and server.asked == [(kept(1_000_000), '"one"'), (None, None)] and not left(path)


def test_a_file_of_a_server_that_tells_no_version_is_begun_anew_unless_a_checksum_tells(server, tmp_path, monkeypatch):
    path, sha256 = tmp_path / "f", hashlib.sha256(CONTENT).hexdigest()
    for tag in (None, 'W/"weak"'):
        server.content, server.tag = CONTENT, tag
        interrupted(server, path, monkeypatch)
        server.content = OTHER
        fetch_file(server.address, path)
        assert path.read_bytes() == OTHER and server.asked == [(None, None)] and not left(path)
        path.unlink()
    server.content = CONTENT
    interrupted(server, path, monkeypatch)
    fetch_file(server.address, path, sha256)
    assert path.read_bytes() == CONTENT and server.asked == [(kept(1_000_000), None)]


def test_of_two_at_once_one_fetches_and_the_other_takes_what_it_got(server, tmp_path, capfd):
    path, wrong = tmp_path / "f", tmp_path / "g"
    wrong.write_bytes(b"another")
    for place in (path, wrong):
        server.gate.clear()
        with ThreadPoolExecutor() as pool:
            for _ in range(2):
                pool.submit(fetch_file, server.address, place, hashlib.sha256(CONTENT).hexdigest())
            waiting = ""
            while "another process fetches this file" not in waiting:
                waiting += capfd.readouterr().err
            server.gate.set()
        assert place.read_bytes() == CONTENT and not [name for name in left(place) if "download" in name]
    assert len(server.asked) == 2


def test_a_part_that_another_address_left_or_that_has_no_note_is_not_gone_on_with(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    server.content = OTHER
    fetch_file(server.address.replace("download=1", "download=2"), path)
    assert path.read_bytes() == OTHER and server.asked == [(None, None)]
    (tmp_path / ".g.download").write_bytes(b"of an unknown file")
    fetch_file(server.address, tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == OTHER


def test_a_part_that_is_complete_already_is_kept(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    (tmp_path / ".f.download").write_bytes(CONTENT)
    fetch_file(server.address, path)
    assert path.read_bytes() == CONTENT and server.asked == [("bytes=3000000-", '"one"')]


def test_a_part_longer_than_the_file_is_begun_anew(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    (tmp_path / ".f.download").write_bytes(CONTENT + b"more")
    fetch_file(server.address, path)
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_gives_the_whole_again(server, tmp_path, monkeypatch):
    path = tmp_path / "f"
    interrupted(server, path, monkeypatch)
    server.ranges = False
    fetch_file(server.address, path)
    assert path.read_bytes() == CONTENT


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fetching.time, "sleep", waited.append)
    server.statuses = [(503, {"Retry-After": "7"}), (429, {"Retry-After": "9999"}), (500, {})]
    fetch_file(server.address, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT and waited == [7, 120]


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 4)])
def test_an_http_error_is_told_with_the_address(server, tmp_path, status, requests):
    server.statuses = [(status, {})] * 5
    with pytest.raises(GlatError, match=rf"^{server.address[:20]}.*: HTTP {status} "):
        fetch_file(server.address, tmp_path / "f")
    assert len(server.asked) == requests and not left(tmp_path / "f")


def test_another_checksum_or_a_web_page_leaves_nothing(server, tmp_path):
    for kind, wanted in (("SHA-256", {"sha256": "0" * 64}), ("MD5", {"md5": "0" * 32})):
        with pytest.raises(GlatError, match=rf"download=1: its {kind} is [0-9a-f]+, expected 0+; the file is damaged"):
            fetch_file(server.address, tmp_path / "f", **wanted)
        assert not (tmp_path / "f").exists() and not left(tmp_path / "f")
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(GlatError, match="a web page, not the file"):
        fetch_file(server.address, tmp_path / "f")
    assert not (tmp_path / "f").exists() and not left(tmp_path / "f")


def test_a_full_disk_keeps_what_came(server, tmp_path, monkeypatch):
    path, real = tmp_path / "f", open

    class Full:
        """A file on a disk that is full after the first block."""

        def __init__(self, *arguments):
            self.file, self.blocks = real(*arguments), 0

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, block):
            self.blocks += 1
            if self.blocks > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(block)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "open", Full, raising=False)
        told = r"/f: the disk is full \([\d.]+ GB free and 0\.00293 GB to come\); make room and run again"
        with pytest.raises(GlatError, match=told):
            fetch_file(server.address, path)
    server.asked.clear()
    fetch_file(server.address, path)
    assert path.read_bytes() == CONTENT and server.asked[0][0] == f"bytes={fetching.BLOCK}-"


class Hostile(Handler):
    """Answers as no honest server does, by the path that is asked for."""

    def do_GET(self):
        with suppress(OSError):  # the client went away, as it should
            getattr(self, self.path.split("/")[1].split("?")[0])()
        self.close_connection = True

    def head(self, status=200, length=None, **headers):
        length = {} if length is None else {"Content-Length": length}
        super().head(status, {"Connection": "close", **length, **headers})

    def endless(self):
        self.head()
        while True:
            self.wfile.write(bytes(1 << 16))

    def drip(self):
        self.head(length=1000)
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def drip_of_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def packed(self):
        self.head(length=20, **{"Content-Encoding": "gzip"})
        self.wfile.write(bytes(20))

    def leads(self):
        self.head(302, 0, Location=unquote(self.path.partition("?to=")[2]))

    def round(self):
        self.head(302, 0, Location="/round")

    def here(self):
        self.head(length=5)
        self.wfile.write(b"found")

    def status(self):
        self.head(int(self.path[-3:]), 5 if self.path[-3:] == "300" else 0)
        self.wfile.write(b"x" * 5)

    def nothing(self):
        self.head()

    def refuses(self):
        self.send_response(403, "No\x1b[31m for you")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def talks(self):
        self.send_response(403, "No! " * 1000)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def hostile():
    with served(Hostile) as server:
        yield server.address


def test_a_file_larger_than_allowed_is_refused_by_what_it_says_and_by_what_comes(server, hostile, tmp_path):
    small = Fetch(max_gigabytes=0.001)
    with pytest.raises(GlatError, match=r"3000000 bytes, more than the 0\.001 GB .* raise fetch\.max_gigabytes"):
        fetch_file(server.address, tmp_path / "f", limits=small)
    with pytest.raises(GlatError, match=r"/endless: more than 1000000 bytes came, more than the 0\.001 GB"):
        fetch_file(f"{hostile}/endless", tmp_path / "f", limits=small)
    assert not (tmp_path / "f").exists() and not left(tmp_path / "f")


@pytest.mark.parametrize("way", ["drip", "drip_of_headers"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up_when_the_time_is_over(hostile, tmp_path, way):
    begun = time.monotonic()
    with pytest.raises(GlatError, match=r"not there after 0\.0001 h, \d+ bytes came; they are kept, so run again"):
        fetch_file(f"{hostile}/{way}", tmp_path / "f", limits=Fetch(max_hours=0.0001))
    assert time.monotonic() - begun < 20 and not (tmp_path / "f").exists()


def test_an_answer_without_the_file_is_no_file(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", ())
    for way, told in (
        *((f"status/{code}", f"HTTP {code} .*, which brings no file; give the") for code in (201, 204, 300, 304)),
        ("status/200", "an empty file"),
        ("nothing", r"cannot be fetched \(nothing came\); .* in params.yaml \(datasets.x.metadata\)"),
    ):
        with pytest.raises(GlatError, match=told):
            fetch_file(f"{hostile}/{way}", tmp_path / "f", setting="datasets.x.metadata")
        assert not (tmp_path / "f").exists()


def test_what_was_not_asked_for_is_not_unpacked(hostile, tmp_path):
    with pytest.raises(GlatError, match="/packed: sent as gzip although the file itself was asked for"):
        fetch_file(f"{hostile}/packed", tmp_path / "f")
    assert not (tmp_path / "f").exists() and not left(tmp_path / "f")


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/f", "gopher://127.0.0.1/_x", "http://[bad"])
def test_a_redirection_is_followed_on_the_web_alone(hostile, tmp_path, monkeypatch, place):
    fetch_file(f"{hostile}/leads?to=/here", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"found"
    with pytest.raises(GlatError, match=rf"/leads\?to=.*: leads to {re.escape(place)}, which is not fetched"):
        fetch_file(f"{hostile}/leads?to={place}", tmp_path / "g")
    monkeypatch.setattr(fetching, "PAUSES", ())
    with pytest.raises(GlatError, match="/round: cannot be fetched .*redirects"):
        fetch_file(f"{hostile}/round", tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_what_a_server_says_is_cut(hostile, tmp_path):
    for way in ("talks", f"leads?to=x:{'y' * 5000}"):
        with pytest.raises(GlatError, match="HTTP 403 No!|which is not fetched") as told:
            fetch_file(f"{hostile}/{way}", tmp_path / "g")
        assert len(str(told.value).replace("y" * 5000, "")) < 600  # the address itself is the user's


def test_no_redirection_leads_from_an_encrypted_connection_to_an_open_one():
    answer = fetching.requests.Response()
    answer.url, answer.status_code, answer.headers["Location"] = "https://host/f", 302, "http://host/f"
    with pytest.raises(GlatError, match="leads to http://host/f, which is not fetched"):
        fetching._Session().get_redirect_target(answer)
    answer.url = "http://host/f"
    answer.headers["Location"] = "https://host/f"
    assert fetching._Session().get_redirect_target(answer) == "https://host/f"


def test_neither_an_error_nor_a_file_holds_a_password_or_what_steers_a_terminal(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", ())
    for password in ("s3cr3t", "p@s3cr3t", "s3cr3t%2F"):
        address = hostile.replace("//", f"//me:{password}@") + "/refuses?token=s3cr3t&part=1"
        with pytest.raises(GlatError) as told:
            fetch_file(address, tmp_path / "f")
        assert str(told.value) == rf"{hostile}/refuses?token=***&part=1: HTTP 403 No\x1b[31m for you"
        slow = Fetch(max_hours=0.0001)
        with pytest.raises(GlatError) as told:
            fetch_file(address.replace("refuses", "drip"), tmp_path / "f", limits=slow)
        with pytest.raises(GlatError) as refused:
            fetch_file(f"http://me:{password}@127.0.0.1:1/f?key=s3cr3t", tmp_path / "g")
        kept = [path.read_bytes() for path in tmp_path.iterdir()]
        assert len(kept) > 3 and b"s3cr3t" not in b"".join(kept)  # the part, and the note of where it is from
        assert "s3cr3t" not in f"{told.value} {refused.value}"
        assert address_hash(address) == address_hash(address.replace(password, "other"))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://h/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"), ("http://h/a/..", ""), ("http://h/%2e%2e", ""),
        ("http://h/a%00.pth", "a_.pth"), ("http://h/a%0Ab.pth", "a_b.pth"), ("http://h//", ""), ("http://h", ""),
        ("http://[bad/x.pth", ""), ("http://h/%2Fetc%2Fpasswd", "_etc_passwd"), ("http://h/.bashrc", "bashrc"),
        ("http://h/-rf%20x;y", "rf_x_y"), ("http://h/NUL.pth", "_NUL.pth"), ("http://h/%FF%E4", ""),
        ("http://h/%7Bsplit%7D*.pth", "_split__.pth"),
        (f"http://h/{'a' * 300}.pth", f"{'a' * 146}.pth"), ("http://h/a%5Cb.pth?x=/c", "a_b.pth"),
        ("https://zenodo.org/record/3987831/files/Cnn10_mAP%3D0.380.pth?download=1", "Cnn10_mAP=0.380.pth"),
    ],
)  # fmt: skip
def test_the_name_of_a_fetched_file_is_one_name_whatever_its_address(address, name):
    assert file_name(address) == name
