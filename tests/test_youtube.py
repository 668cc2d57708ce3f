"""The whole path from a segment list to files: real yt-dlp and ffmpeg, real HTTP, on loopback."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
from data_fixtures import encode
from http_fixtures import Handler, served

from glat.data.audio.clips import decode, prepare
from glat.data.kinds import Fate, Kind
from glat.data.resample import resample_shard
from glat.data.sources import Shard, read_files, youtube
from glat.data.sources.registry import identity, open_source
from glat.data.sources.youtube import YouTube
from glat.data.sources.youtube.archive import Archive
from glat.data.sources.youtube.clip import Clip, Got
from glat.data.sources.youtube.errors import Failure, classify
from glat.lib.errors import GlatError

RATE, SECONDS = 48000, 26
QUICK = {"retries": 0, "socket_timeout": 5}


def talking_clock() -> np.ndarray:
    """(1, samples): at each full second s a tone of 0.1 s and 300 + 50 s hertz."""
    t = np.arange(RATE // 10) / RATE
    audio = np.zeros((1, SECONDS * RATE), "f4")
    for second in range(SECONDS):
        audio[0, second * RATE : second * RATE + len(t)] = 0.5 * np.sin(2 * np.pi * (300 + 50 * second) * t)
    return audio


def begins_at(path: Path) -> float:
    """Second of the talking clock at which a file begins, by its first whole tone behind 0.2 s."""
    decoded = decode(path)
    audio = decoded.samples[0]
    envelope = np.abs(audio[: len(audio) // 48 * 48]).reshape(-1, 48).max(axis=1)
    onset = int(np.flatnonzero((envelope[201:] > 0.1) & (envelope[200:-1] <= 0.1))[0]) + 201
    tone = audio[onset * 48 + 480 : onset * 48 + 3840]
    hertz = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 2**17)).argmax() * decoded.rate / 2**17
    return round((hertz - 300) / 50) - onset * 48 / decoded.rate


class Videos(Handler):
    """Serves `<behaviour><number>.<suffix>`; also a proxy, asked for whole addresses."""

    def do_GET(self):
        server, name = self.server, self.path.rpartition("/")[2]
        behaviour = re.match(r"-?[a-z]*", name)[0].strip("-")
        server.asked[name] += 1
        server.seen.append((self.path, dict(self.headers)))
        if server.blind:
            return self.answer(404, b"", "text/plain")
        shy = behaviour == "shy" and server.asked[name] < int(name[3])
        if shy or behaviour in ("missing", "busy", "forbidden", "down"):
            status = {"missing": 404, "forbidden": 403, "down": 503}.get(behaviour, 429)
            return self.answer(status, b"", "text/plain")
        if behaviour == "page":
            return self.answer(200, b"<!DOCTYPE html><html><body>Sorry</body></html>", "text/html")
        if behaviour in ("card", "cardhalf"):  # a page that tells its video and the video's duration, as YouTube's do
            video = f"http://{self.headers['Host']}/{behaviour.removeprefix('card') or 'ok'}9.webm"
            card = {"@context": "https://schema.org", "@type": "VideoObject", "name": "Clock", "contentUrl": video}
            text = json.dumps(card | {"duration": f"PT{SECONDS}S"})
            page = f'<!DOCTYPE html><html><script type="application/ld+json">{text}</script></html>'
            return self.answer(200, page.encode(), "text/html")
        if behaviour == "lie":
            return self.answer(200, b"<!DOCTYPE html><html><body>Sorry</body></html>", "audio/mp4")
        suffix = name.partition(".")[2] or "webm"
        data = server.media["silent.mp4" if behaviour == "mute" else f"clock.{suffix}"]
        if behaviour == "half":
            data = data[: len(data) // 2]
        span = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin, end = (int(span[1]), min(len(data), int(span[2] or len(data)) + 1)) if span else (0, len(data))
        status = 206 if span else 200
        extra = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"} if span else {}
        kind = f"audio/{suffix}" if "." in name else "application/octet-stream"
        return self.answer(status, data[begin:end], kind, extra, behaviour)

    def answer(self, status, body, kind, extra=(), behaviour=""):
        headers = {"Content-Type": kind, "Content-Length": len(body), "Accept-Ranges": "bytes"}
        self.head(status, headers | dict(extra))
        step, pause = {"drip": (50, 0.1), "slow": (40_000, 0.1)}.get(behaviour, (len(body) or 1, 0))
        if behaviour == "broken":
            body = body[:9000]
            self.close_connection = True
        try:
            for i in range(0, len(body), step):
                self.wfile.write(body[i : i + step])
                time.sleep(pause)
        except OSError:
            self.close_connection = True


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> dict[str, bytes]:
    """The talking clock as webm (Opus, one cluster in ten seconds, as YouTube has it), m4a and mp4 with a picture."""
    folder = tmp_path_factory.mktemp("media")
    encode(folder / "short.webm", talking_clock(), RATE)
    encode(folder / "clock.m4a", talking_clock(), RATE)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
    picture = f"-f lavfi -i testsrc=s=64x64:r=5:d={SECONDS}"
    for command in (
        "-i short.webm -c copy -cluster_time_limit 10000 -cluster_size_limit 9999999 clock.webm",
        f"{picture} -i clock.m4a -c:v mpeg4 -g 40 -c:a copy clock.mp4",
        f"{picture} -c:v mpeg4 silent.mp4",
    ):
        subprocess.run([*ffmpeg, *command.split()], cwd=folder, check=True, timeout=300)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(media):
    """A server; `asked` counts requests by file, `seen` has their paths and headers."""
    with served(Videos) as server:
        server.media, server.asked, server.seen, server.blind = media, Counter(), [], False
        server.pattern = f"{server.address}/{{id}}.webm"
        yield server


@pytest.fixture
def folder(tmp_path) -> Path:
    """Spaces, letters that are not ASCII, and what yt-dlp's templates and shells take for theirs."""
    folder = tmp_path / "Ton & Bild 100%(id)s $HOME é" / "000"
    folder.mkdir(parents=True)
    return folder


def segments(*names: str, start: float = 10.5, seconds: float = 10.0) -> pd.DataFrame:
    rows = [(f"{name}_{start * 1000:.0f}", name, start, start + seconds, ("/m/0a",)) for name in names]
    return pd.DataFrame(rows, columns=["clip", "youtube_id", "start", "end", "labels"])


def fetch(rows: pd.DataFrame, folder: Path, address: str, alone: bool = True, **settings) -> dict[str, tuple[str, str]]:
    """File and reason of each id. alone: whether no other fetch may be at work in the folder already."""
    listing = YouTube(address=address, **QUICK | settings).fetch(Shard(rows, folder, "eval"))
    assert list(listing.columns) == ["clip", "file", "part", "kind", "reason"]
    assert listing["clip"].tolist() == rows["clip"].tolist()
    assert not alone or not (folder / ".fetching").exists()
    return dict(zip(rows["youtube_id"], zip(listing["file"], listing["reason"], strict=True), strict=True))


@pytest.mark.parametrize("suffix", ["webm", "m4a", "mp4"])
@pytest.mark.parametrize("start", [0, 10.5, 13.04])
def test_a_cut_lands_where_it_should(server, folder, suffix, start):
    address = server.pattern.replace("webm", suffix)
    (file, reason), *_ = fetch(segments("-ok", start=start), folder, address).values()
    assert reason == "" and file == f"-ok_{start * 1000:.0f}.{suffix}"
    assert begins_at(folder / file) == pytest.approx(start, abs=0.05)
    decoded = decode(folder / file)
    assert decoded.samples.shape[1] / decoded.rate == pytest.approx(10, abs=0.1)
    assert (folder / file).stat().st_size < 0.6 * len(server.media[f"clock.{suffix}"])


def test_a_server_that_does_not_say_what_it_has(server, folder):
    found = fetch(segments("ok1"), folder, server.pattern.removesuffix(".webm"))
    assert found["ok1"] == ("ok1_10500.mka", "")
    assert begins_at(folder / "ok1_10500.mka") == pytest.approx(10.5, abs=0.05)


def test_a_shard_with_all_that_happens(server, folder, capfd):
    names = ["-ok1", "missing2", "shy2", "busy4", "half5", "page6", "broken7", "mute8", "lie9", "forbidden10", "down11"]
    rows = segments(*names)
    reasons = {
        "-ok1": "", "shy2": "passing: HTTP 429, too many requests", "missing2": "gone: HTTP 404, not found",
        "busy4": "passing: HTTP 429, too many requests", "half5": "passing: broken transfer",
        "page6": "passing: a web page in place of the audio", "broken7": "passing: broken transfer",
        "mute8": "gone: no audio", "lie9": "passing: a web page in place of the audio",
        "forbidden10": "passing: HTTP 403, forbidden", "down11": "passing: HTTP 503, server error",
    }  # fmt: skip
    found = fetch(rows, folder, server.pattern)
    assert {name: reason.partition(";")[0] for name, (_, reason) in found.items()} == reasons
    assert "11 of 11: 1 got, 2 gone, 8 passing" in (told := capfd.readouterr()).err and told.out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["-ok1_10500.webm", ".lock", "archive.jsonl"]

    before = server.asked.copy()
    found = fetch(rows, folder, server.pattern)  # only what may come is asked for again: and shy2 comes
    assert {name: reason.partition(";")[0] for name, (_, reason) in found.items()} == reasons | {"shy2": ""}
    again = {name.removesuffix(".webm") for name, count in (server.asked - before).items()}
    assert again == set(names) - {"-ok1", "missing2", "mute8"}

    count = sum(server.asked.values())
    found = fetch(rows, folder, server.pattern, skip_download=True)
    assert sum(server.asked.values()) == count and found["busy4"][1] == reasons["busy4"] and found["shy2"][0]
    listing = YouTube(address=server.pattern, skip_download=True).fetch(Shard(rows, folder, "eval"))
    assert resample_shard(rows, listing, folder, folder.parent / "resampled") == (2, 9)
    ledger = pd.read_csv(folder.parent / "resampled/ledger.csv")
    assert ledger["reason"].tolist() == [reason for _, reason in found.values() if reason]


def test_a_video_that_ends_early(server, folder):
    for suffix in ("webm", "m4a", "mp4"):
        address = server.pattern.replace("webm", suffix)
        late = fetch(segments(f"ok{suffix}", start=30), folder, address)
        assert late[f"ok{suffix}"] == ("", "gone: too short; the video ends before the clip starts at 30 s")
        file, reason = fetch(segments(f"ok{suffix}", start=20), folder, address)[f"ok{suffix}"]
        samples, _, seconds, _ = prepare(folder / file)
        assert reason == "" and seconds == pytest.approx(SECONDS - 20, abs=0.1) and len(samples) == 320_000


def test_a_page_that_tells_the_duration(server, folder):
    late = fetch(segments("card1", start=30), folder, server.pattern)["card1"][1]
    assert late == "gone: too short; the video ends at 26 s, the clip starts at 30 s" and server.asked["ok9.webm"] <= 1
    file, reason = fetch(segments("card1", start=20), folder, server.pattern)["card1"]
    assert reason == "" and prepare(folder / file)[2] == pytest.approx(SECONDS - 20, abs=0.1)
    found = fetch(segments("card1", "cardhalf2"), folder, server.pattern)
    assert begins_at(folder / found["card1"][0]) == pytest.approx(10.5, abs=0.05)
    assert re.fullmatch(r"passing: broken transfer; \d\.\d\d of 10\.00 s came", found["cardhalf2"][1])


def test_a_failure_that_passes_is_asked_again_in_the_same_run(server, folder, monkeypatch):
    monkeypatch.setattr("glat.data.sources.youtube.crew.PAUSE", 0.2)
    begun = time.monotonic()
    assert fetch(segments("shy3"), folder, server.pattern, retries=2)["shy3"] == ("shy3_10500.webm", "")
    assert time.monotonic() - begun > 0.2 + 0.4


def test_a_storm_stops_early_and_keeps_what_came(server, folder, monkeypatch):
    outcomes, ask = [], youtube.ask

    def noting(*arguments, **settings):
        with closing(ask(*arguments, **settings)) as crew:
            for clip, outcome in crew:
                outcomes.append(outcome)
                yield clip, outcome

    monkeypatch.setattr(youtube, "ask", noting)
    rows = segments(*[f"ok{i}" for i in range(3)], *[f"busy{i}" for i in range(200)])
    sentence = r"HTTP 429, too many requests: \d+.* got and kept: 3, not asked for: 1\d\d\."
    with pytest.raises(GlatError, match=sentence) as told:
        fetch(rows, folder, server.pattern, sleep_interval=0, parallel=1)
    assert "source.cookies" in str(told.value) and "source.sleep_interval, now 0 s" in str(told.value)
    # Stopped by the twentieth without a clip, and at once: what was asked for besides was under way.
    came = [isinstance(outcome, Got) for outcome in outcomes]
    assert came == [True] * 3 + [False] * 20
    assert len([name for name in server.asked if name.startswith("busy")]) <= 20 + 2
    ok = server.asked.copy()
    found = fetch(rows[:3], folder, server.pattern)
    assert server.asked == ok and all(file for file, _ in found.values())
    # The dataset's other shards, which would meet the same, ask for nothing; with other settings they do.
    other = folder.parent / "001"
    other.mkdir()
    with pytest.raises(GlatError, match=r"001: not asked for, as 0 minutes ago .*000: stopped: .*source\.cookies"):
        fetch(segments("ok7"), other, server.pattern, sleep_interval=0, parallel=1)
    assert server.asked == ok
    assert fetch(segments("ok7"), other, server.pattern, sleep_interval=0, parallel=2)["ok7"][0]


def test_clips_are_gone_only_where_one_came(server, folder):
    """An address at which nothing is found, or a connection that is refused, does not make the corpus vanish."""
    server.blind, rows = True, segments(*[f"ok{i}" for i in range(60)])
    told = r"\(HTTP 404, not found: 20\); clips got and kept: 0, .* None is taken for gone"
    with pytest.raises(GlatError, match=told):
        fetch(rows, folder, server.pattern)
    few = fetch(rows[:3], folder.parent / "001", server.pattern, parallel=3)
    assert {reason for _, reason in few.values()} == {"gone: HTTP 404, not found"}
    server.blind, names = False, ["missing1", "missing2", "ok3", "missing4"]
    assert not (folder / "archive.jsonl").exists()
    found = fetch(segments(*names), folder, server.pattern, parallel=1)
    gone = "gone: HTTP 404, not found"
    assert [reason for _, reason in found.values()] == [gone, gone, "", gone]
    told = [json.loads(line) for line in (folder / "archive.jsonl").read_text().splitlines()]
    kinds = [Kind.NOT_FOUND, Kind.NOT_FOUND, "got", Kind.NOT_FOUND]
    assert [(row["clip"][:-6], row["kind"]) for row in told] == list(zip(names, kinds, strict=True))


def test_no_password_is_told(server, folder, capfd):
    with pytest.raises(GlatError) as told:
        fetch(segments("ok1"), folder, "http://video.invalid/{id}.webm", proxy="http://me:secret@127.0.0.1:9")
    assert "check the proxy 127.0.0.1:9, then" in str(told.value)
    kept = (path for path in folder.parent.rglob("*") if path.is_file())
    assert not any("secret" in text for text in (str(told.value), *capfd.readouterr(), *(p.read_text() for p in kept)))


def test_an_archive_that_a_killed_run_left(folder):
    clips = [Clip(f"{letter}_0", letter, 0, 10) for letter in "ab"]
    for clip, reason in zip(clips, ["a\u2028line", "é"], strict=True):
        Archive(folder, "A", []).add(clip, Failure(Kind.GONE, reason))
    archive = folder / "archive.jsonl"
    archive.write_bytes(archive.read_bytes().partition("é".encode()[1:])[0])  # in the middle of the letter
    assert [str(Archive(folder, "A", []).gone(clip)) for clip in clips] == ["gone: a\\u2028line", "None"]
    Archive(folder, "A", []).add(clips[1], Failure(Kind.PRIVATE, "private"))
    gone = Archive(folder, "A", []).gone(clips[1])
    assert (gone.kind, str(gone)) == (Kind.PRIVATE, "gone: private")


def test_no_network(folder, server):
    server.shutdown()
    server.server_close()
    begun = time.monotonic()
    told = r"no connection to 127\.0\.0\.1: check the network .* got and kept: 0, not asked for: \d\d"
    with pytest.raises(GlatError, match=told):
        fetch(segments(*[f"ok{i}" for i in range(90)]), folder, server.pattern)
    with pytest.raises(GlatError, match="no connection"):
        fetch(segments("ok1"), folder, server.pattern)
    assert time.monotonic() - begun < 10
    with pytest.raises(GlatError, match=r"no connection to .*check the proxy 127\.0\.0\.1:9"):
        fetch(segments("ok1"), folder, "http://video.invalid/{id}.webm", proxy="http://127.0.0.1:9")
    with pytest.raises(GlatError, match=r"no connection to nowhere\.invalid"):
        fetch(segments("ok1"), folder, "http://nowhere.invalid/{id}.webm")


def test_what_fails_a_few_times_among_clips_that_come_is_no_storm():
    got, busy, off = Got("a", "", 1), Failure(Kind.BOT_CHECK), Failure(Kind.OFFLINE)
    gone = Failure(Kind.REMOVED)
    assert not youtube.useless([*[busy] * 19, got], 9, 1) and not youtube.useless([gone] * 20, 9, 1)
    assert not youtube.useless([*[busy] * 17, *[gone] * 3], 9, 5) and youtube.useless([*[busy] * 18, gone, gone], 9, 5)
    assert youtube.useless([gone, *[off] * 5], 9, 5) and not youtube.useless([gone, *[off] * 4], 9, 5)
    # From the beginning on nothing came: it may be the address or the connection, whatever is said.
    assert youtube.useless([gone] * 20, 9, 0) and not youtube.useless([gone] * 19, 9, 0)
    # Behind the last clip, those that failed in passing are left to the next run, if there is anything to go on with.
    assert not youtube.useless([busy] * 20, 0, 1) and youtube.useless([busy], 0, 0) and youtube.useless([off], 0, 7)


def test_a_transfer_that_drips_is_given_up(server, folder, monkeypatch):
    monkeypatch.setattr("glat.data.sources.youtube.crew.PATIENCE", 3)
    begun = time.monotonic()
    found = fetch(segments("drip1", "ok2"), folder, server.pattern, socket_timeout=1)
    assert found == {"drip1": ("", "passing: time-out"), "ok2": ("ok2_10500.webm", "")}
    assert 2.5 < time.monotonic() - begun < 8


PROGRAM = """
import sys
import pandas as pd
from pathlib import Path
from glat.data.sources import Shard, youtube
rows = pd.read_pickle(sys.argv[1])
source = youtube.YouTube(address=sys.argv[3], parallel=2, retries=0)
source.fetch(Shard(rows, Path(sys.argv[2]), "eval"))
"""


def program(tmp_path: Path, rows: pd.DataFrame, folder: Path, address: str) -> subprocess.Popen:
    rows.to_pickle(tmp_path / "rows.pickle")
    command = [sys.executable, "-c", PROGRAM, tmp_path / "rows.pickle", folder, address]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_and_run_again_and_two_at_once(server, folder, tmp_path, capfd):
    rows = segments(*[f"ok{i}" for i in range(3)], *[f"slow{i}" for i in range(4)])
    with program(tmp_path, rows, folder, server.pattern) as killed:
        while server.asked["slow1.webm"] < 2:
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    assert {path.stem for path in folder.glob("*.webm")} == set(rows["clip"][:3])
    for _ in range(2):  # as a run killed between the two leaves it: the file is there, and half a line
        archive = (folder / "archive.jsonl").read_text().splitlines()
        (folder / "archive.jsonl").write_text("\n".join([*archive[:-1], archive[-1][:30]]))
    asked = server.asked.copy()
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(fetch, rows, folder, server.pattern, alone=False) for _ in range(2)]
    results = [one.result() for one in both]
    assert results[0] == results[1] and all(file for file, _ in results[0].values())
    assert not any(name.startswith("ok") for name in server.asked - asked)
    assert all(json.loads(line) for line in (folder / "archive.jsonl").read_text().splitlines()[-4:])
    assert [begins_at(folder / file) for file, _ in results[0].values()] == pytest.approx([10.5] * 7, abs=0.05)
    assert sum(f'"clip": "slow{i}' in (folder / "archive.jsonl").read_text() for i in range(4)) == 4
    assert "another download fills this folder" in capfd.readouterr().err


def test_what_others_put_into_the_folder_is_not_taken_for_done(server, folder, media):
    page, whole = b"<!DOCTYPE html><html></html>", media["clock.webm"]
    for name, data in {"ok1": page, "ok2": whole[:9000], "ok3": whole, "missing4": page}.items():
        (folder / f"{name}_10500.webm").write_bytes(data)
    good = fetch(segments("ok5"), folder, server.pattern)["ok5"][0]
    shutil.copy(folder / good, folder / "missing6_10500.webm")
    found = fetch(segments("ok1", "ok2", "ok3", "missing4", "ok5", "missing6"), folder, server.pattern)
    assert [bool(file) for file, _ in found.values()] == [True, True, True, False, True, True]
    assert begins_at(folder / found["ok3"][0]) == pytest.approx(10.5, abs=0.05)
    (folder / good).write_bytes((folder / good).read_bytes()[:5000])  # and what was got is damaged since
    assert fetch(segments("ok5"), folder, server.pattern)["ok5"] == (good, "")
    assert begins_at(folder / good) == pytest.approx(10.5, abs=0.05)


def test_a_whole_video_where_it_can_not_be_cut(server, folder, monkeypatch):
    from yt_dlp.downloader.external import FFmpegFD

    monkeypatch.setattr(FFmpegFD, "SUPPORTED_PROTOCOLS", ())
    listing = YouTube(address=server.pattern, **QUICK).fetch(Shard(segments("ok1", "mute2"), folder, "eval"))
    assert listing["part"].tolist() == ["10.5+10", ""] and listing["reason"].tolist() == ["", "gone: no audio"]
    cut = next(read_files(listing[:1], folder))
    samples = prepare(cut)[0]
    assert cut.start == 10.5 and np.abs(samples[16_000:19_000]).max() > 9000
    assert np.abs(samples[5000:15_000]).max() < 100
    assert fetch(segments("ok1", start=40), folder, server.pattern)["ok1"][1].startswith("gone: too short; ")


def test_disk_full(server, folder, monkeypatch):
    usage, rows = shutil.disk_usage(folder), segments(*[f"ok{i}" for i in range(30)])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=22_000_000))
    with pytest.raises(GlatError, match=r"000: too little room: 30 clips to get need about 0\.006 GB and 0\.022 GB"):
        fetch(rows, folder, server.pattern)
    assert not server.asked
    room = iter([30e6] * 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(room, 1e6)))
    with pytest.raises(GlatError, match=r"26 clips .* what was got is kept"):
        fetch(rows, folder, server.pattern, parallel=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1e9))
    asked = server.asked.copy()
    fetch(rows[:4], folder, server.pattern)
    assert not [name for name in server.asked - asked if name in ("ok0.webm", "ok1.webm", "ok2.webm")]
    assert classify("unable to open for writing: [Errno 28] No space left on device").kind == Kind.DISK_FULL


COOKIES = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tsession\tsecret\n"


def test_cookies(server, folder, tmp_path):
    path = tmp_path / "cookies.txt"
    path.write_text(COOKIES)
    assert fetch(segments("ok1"), folder, server.pattern, cookies=str(path))["ok1"][0]
    assert server.seen[0][1]["Cookie"].rstrip(";") == "session=secret"
    assert path.read_text() == COOKIES
    for text, message in (
        ("", "is empty"),
        ('[{"name": 1}]', "Netscape"),
        ("# Netscape HTTP Cookie File\n", "no cookie"),
    ):
        path.write_text(text)
        with pytest.raises(GlatError, match=rf"source\.cookies: .*cookies\.txt.* {message}"):
            fetch(segments("ok2"), folder, server.pattern, cookies=str(path))
    with pytest.raises(GlatError, match=r"source\.cookies: nowhere\.txt cannot be read"):
        fetch(segments("ok2"), folder, server.pattern, cookies="nowhere.txt")


def test_proxy_and_pace(server, folder):
    proxy, begun = server.address, time.monotonic()
    rows = segments("ok1", "ok2", "ok3")
    found = fetch(rows, folder, "http://video.invalid/{id}.webm", proxy=proxy, sleep_interval=0.6)
    assert all(file for file, _ in found.values()) and time.monotonic() - begun > 1.2
    assert {path.partition("/ok")[0] for path, _ in server.seen} == {"http://video.invalid", "http://video.invalid:80"}


def test_two_jobs_share_a_pace(server, tmp_path):
    folders = [tmp_path / "audio" / split / "000" for split in ("train", "eval")]
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for folder in folders:
            folder.mkdir(parents=True)
            pool.submit(fetch, segments("ok1", "ok2"), folder, server.pattern, sleep_interval=0.7)
    assert time.monotonic() - begun > 3 * 0.7
    (tmp_path / "audio/.pace").write_text(str(time.time() + 1e6))  # the clock was wrong
    fetch(segments("ok3"), folders[0], server.pattern, sleep_interval=0.1)
    assert time.monotonic() - begun < 20


def test_what_an_account_or_a_proxy_may_cure_is_asked_for_again(folder):
    clip = Clip("a_0", "a", 0, 10)
    for message, cure in (("Sign in to confirm your age", "cookies"), ("not available in your country", "proxy")):
        Archive(folder, "A", []).add(clip, classify(message))
        assert Archive(folder, "A", []).gone(clip).kind == classify(message).kind
        assert Archive(folder, "A", [cure]).gone(clip) is None and Archive(folder, "B", []).gone(clip) is None
        Archive(folder, "A", [cure]).add(clip, classify(message))
        assert Archive(folder, "A", [cure]).gone(clip)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "https://www.youtube.com/watch"}, r"source\.address: .*\{id\}"),
        ({"address": "watch?v={id}"}, r"source\.address: .*http"),
        ({"parallel": 0}, r"source\.parallel: 0 is not allowed"),
        ({"sleep_interval": "slow"}, r"source\.sleep_interval: 'slow' is not allowed"),
        ({"retries": -1}, r"source\.retries: -1"),
    ],
)
def test_wrong_settings(folder, settings, message):
    with pytest.raises(GlatError, match=r"datasets\.audioset\." + message):
        open_source({"kind": "youtube", **settings}, "audioset")
    with pytest.raises(GlatError, match="unknown key speed; source youtube has address, cookies, parallel, "):
        open_source({"kind": "youtube", "speed": 1}, "audioset")
    with pytest.raises(GlatError, match="is not the name of a file"):
        YouTube().fetch(Shard(segments("../a"), folder, "eval"))


def test_how_it_is_got_is_not_what_it_is():
    secret = {"kind": "youtube", "proxy": "http://me:secret@host", "cookies": "c.txt", "sleep_interval": 3}
    assert identity(secret | {"address": "https://a/{id}"}) == {"kind": "youtube", "address": "https://a/{id}"}
    assert set(YouTube.ways) == set(YouTube.model_fields) - {"address"}


def test_the_pace_is_that_of_the_site():
    assert YouTube().interval() == 12 and YouTube(cookies="c.txt").interval() == 2
    assert YouTube(address="http://127.0.0.1/{id}").interval() == 0
    assert YouTube(sleep_interval=0).interval() == 0


Y = "ERROR: [youtube] -ab_cdefghi: "


@pytest.mark.parametrize(
    ("message", "fate", "reason"),
    [
        (Y + "Private video. Sign in if you've been granted access to this video", Fate.GONE, "private video"),
        (Y + "Video unavailable. This video is private", Fate.GONE, "private video"),
        (Y + "Video unavailable", Fate.GONE, "unavailable"),
        (Y + "This video is not available", Fate.PASSING, "refused to this connection"),
        (Y + "Video unavailable. This video is not available", Fate.PASSING, "refused to this connection"),
        (Y + "This video isn’t available anymore", Fate.GONE, "unavailable"),
        (Y + "This video is unavailable", Fate.GONE, "unavailable"),
        ('Invalid proxy url "http://me:pass@word@host:x": Port', Fate.PASSING,
         'other; Invalid proxy url "http://host:x": Port'),
        (Y + "Video unavailable. This video is no longer available because the YouTube account associated with this "
         "video has been terminated.", Fate.GONE, "account closed"),
        (Y + "This video is no longer available because the uploader has closed their YouTube account.", Fate.GONE,
         "account closed"),
        (Y + "Video unavailable. This video is no longer available due to a copyright claim by Sony", Fate.GONE,
         "copyright claim"),
        (Y + "This video has been removed by the uploader", Fate.GONE, "removed"),
        (Y + "This video has been removed for violating YouTube's Terms of Service", Fate.GONE, "removed"),
        (Y + "Video unavailable. The uploader has not made this video available in your country", Fate.GONE,
         "not available in this region"),
        (Y + "Video unavailable. This video contains content from UMG, who has blocked it in your country on copyright "
         "grounds", Fate.GONE, "not available in this region"),
        (Y + "This video is not available from your location due to geo restriction", Fate.GONE,
         "not available in this region"),
        (Y + "Sign in to confirm your age. This video may be inappropriate for some users. Use --cookies", Fate.GONE,
         "age-restricted"),
        (Y + "Join this channel to get access to members-only content like this video", Fate.GONE, "members only or paid"),
        (Y + "This video is available to this channel's members on level: Fan", Fate.GONE, "members only or paid"),
        (Y + "This video requires payment to watch", Fate.GONE, "members only or paid"),
        (Y + "This live stream recording is not available.", Fate.GONE, "live stream without recording"),
        ("ERROR: [youtube:truncated_id] abc: Incomplete YouTube ID abc. URL looks truncated.", Fate.GONE,
         "no video has this id"),
        (Y + "This live event will begin in 3 hours.", Fate.PASSING, "not yet public"),
        (Y + "Premieres in 20 minutes", Fate.PASSING, "not yet public"),
        (Y + "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies", Fate.PASSING, "bot check"),
        (Y + "Sign in to confirm you're not a bot. HTTP Error 429", Fate.PASSING, "bot check"),
        (Y + "Video unavailable. This content isn’t available, try again later. The current session has been rate-limited "
         "by YouTube for up to an hour.", Fate.PASSING, "rate limit of YouTube"),
        (Y + "Video unavailable. This content isn't available.", Fate.PASSING, "refused to this connection"),
        (Y + "The following content is not available on this app. Watch on the latest version of YouTube.", Fate.PASSING,
         "refused to this player"),
        (Y + "Requested format is not available. Use --list-formats for a list", Fate.PASSING, "no format offered"),
        (Y + "Unable to download API page: HTTP Error 404: Not Found (caused by <HTTPError 404: Not Found>)", Fate.PASSING,
         "HTTP 404, not found"),
        ("ERROR: [generic] Unable to download webpage: HTTP Error 410: Gone", Fate.GONE, "HTTP 410, gone for good"),
        (Y + "Unable to download webpage: HTTP Error 429: Too Many Requests", Fate.PASSING, "HTTP 429, too many requests"),
        ("ERROR: unable to download video data: HTTP Error 403: Forbidden", Fate.PASSING, "HTTP 403, forbidden"),
        (Y + "Unable to download API page: HTTP Error 502: Bad Gateway", Fate.PASSING, "HTTP 502, server error"),
        (Y + "Unable to download API page: <urllib3 0x7f>: Failed to resolve 'www.youtube.com' ([Errno -3] Temporary "
         "failure in name resolution)", Fate.PASSING, "no connection"),
        (Y + "Unable to download webpage: [Errno 101] Network is unreachable", Fate.PASSING, "no connection"),
        (Y + "Unable to download webpage: The read operation timed out", Fate.PASSING, "time-out"),
        (Y + "Unable to download API page: [Errno 104] Connection reset by peer", Fate.PASSING, "broken transfer"),
        ("ERROR: 1234 bytes read, 567 more expected", Fate.PASSING, "broken transfer"),
        ("ERROR: ffmpeg exited with code 8", Fate.PASSING, "broken transfer"),
        (Y + "Something that nobody has seen yet; please report this issue on  https://github.com", Fate.PASSING,
         "other; Something that nobody has seen yet"),
    ],
)  # fmt: skip
def test_messages(message, fate, reason):
    failure = classify(message)
    assert (failure.kind.fate, failure.reason) == (fate, reason)
    assert reason.startswith(("HTTP", failure.kind.cause))
