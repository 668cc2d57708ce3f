"""`glat demo`: what a person sees and hears in a real browser, and what somebody who means no good gets."""

import http.client
import json
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from browser import CHROMIUM, Browser
from conftest import ROOT, TINY
from data_fixtures import encode, tone
from typer.testing import CliRunner

from glat import cli
from glat.config.params import load
from glat.config.runs import resolve
from glat.config.settings import Served
from glat.data.audio.clips import Limits
from glat.lib.errors import GlatError
from glat.training import checkpoints
from glat.use import hearing, tagging
from glat.use.access import is_local, limits_of_others
from glat.use.demo import Demo, serve
from glat.use.recording import Course, Listener

HOSTILE = "<img src=x onerror=document.title=1>"
REAL = ROOT.parent / "shared/audio/R9_ZSCveAHg_7s.mp3"  # 7 s of speech and a telephone
LIMITS = Limits(3_000_000, 30.0, 60.0, ("audio.limits.bytes", "audio.limits.seconds", "audio.limits.time"))


def listener(folder: Path, glat: dict | None) -> Listener:
    run = resolve(load(ROOT / "params.yaml", TINY), "cnn10", 0, glat)
    torch.manual_seed(0)
    classes = [{"mid": f"/m/{i}", "display_name": f"Class {i} {HOSTILE}"} for i in range(run.classes)]
    checkpoints.save(checkpoints.build(run, classes).eval(), run, classes, 1, folder / "checkpoint.pt")
    return Listener(tagging.load(folder, "cpu"), folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A running demo of two networks; its address is that of `demo.port`."""
    folder = tmp_path_factory.mktemp("demo")
    listeners = [listener(folder / "a", {"n": 2, "selection": "random"}), listener(folder / "b", None)]
    (folder / "sounds").mkdir()
    demo = Demo(listeners, folder / "sounds", LIMITS)
    listening = socket.create_server(("127.0.0.1", 0))
    demo.port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(demo.app("127.0.0.1"), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield demo
    server.should_exit = True
    thread.join()
    listening.close()


def ask(demo, method="GET", path="/", body=None, **headers):
    """Status, headers and text of an answer. A body that is an iterator is sent without its length."""
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def hear(demo, content, name="a.wav", **headers):
    """The last line of what is answered to a sound."""
    status, _, text = ask(demo, "POST", f"/hear?name={name}", content, **headers)
    return status, json.loads(text.splitlines()[-1])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_person_drops_a_long_sound_sees_both_networks_and_hears_windows_and_then_records_one(demo, tmp_path):
    sound = encode(tmp_path / f"{HOSTILE}.flac", tone(24.0, channels=1))
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{demo.port}/")
        browser.choose("#file", sound)
        browser.wait("document.querySelectorAll('.clips .clip').length === 2 && busy === false")
        assert browser.run("what.textContent") == f"{HOSTILE}.flac: 24.0 s"
        title = "document.querySelector('.clips h3').textContent"
        assert browser.run(title).endswith(f"{HOSTILE}.flac, 0 to 10 s")
        assert browser.run("document.querySelectorAll('.courses .clip').length") == 2
        # A class has one colour in the drawings of all of the sound and of a clip.
        rows = "[...document.querySelectorAll('{} .clip:first-child tbody tr')]"
        cells = "row => [row.innerText.split('\\t')[0], row.querySelector('i').style.background]"
        course, shown = (dict(browser.run(f"{rows}.map({cells})".format(at))) for at in (".courses", ".clips"))
        both, colours = course.keys() & shown.keys(), course | shown
        assert len(both) > 2 and all(course[one] == shown[one] for one in both)
        assert len(set(colours.values())) == min(8, len(colours)), colours
        # A click on the course plays from there, and shows the clip that holds the place.
        browser.click(".courses .time", 0.9, 0.3)
        browser.wait(f"{title}.endsWith('20 to 24 s')")
        assert 21 < browser.wait("document.querySelector('.courses audio').currentTime") <= 24.1
        # A window is played from its start to its end; what played before stops.
        browser.click(".clips .lane")
        start = browser.run("Number(document.querySelector('.clips .lane.on').dataset.start)")
        audio = "document.querySelector('.clips audio')"
        assert start - 0.01 < browser.wait(f"{audio}.paused === false && {audio}.currentTime") < start + 2
        assert browser.run("document.querySelector('.courses audio').paused")
        browser.run(f"{audio}.currentTime = {start + 2.9}")
        browser.wait(f"{audio}.paused")
        assert start + 3 <= browser.run(f"{audio}.currentTime") < start + 3.5
        for width in (390, 1300):
            browser.resize(width, 900)
            assert browser.run("document.documentElement.scrollWidth") <= width
        # The browser's microphone, which beeps.
        browser.click("#record")
        browser.wait("what.textContent === 'Recording: 2 s'")
        browser.click("#record")
        browser.wait("what.textContent.startsWith('recording: ') && busy === false")
        assert 0.3 < float(browser.run("what.textContent").split()[1]) < 10
        assert browser.run("document.querySelectorAll('.courses').length") == 0  # a single clip shows it all
        # What is too large is refused in a sentence, before it is sent.
        large = tmp_path / "large.wav"
        large.write_bytes(bytes(3_000_001))
        browser.choose("#file", large)
        told = "large.wav: larger than the 3 MB that one sound may have (audio.limits.bytes)"
        assert browser.run("[what.textContent, what.className]") == [told, "error"]
        assert browser.run("document.title") == "glat demo" and browser.faults == []
        assert all(address.startswith(f"http://127.0.0.1:{demo.port}/") for address in browser.requests)
        assert len([address for address in browser.requests if "/hear?" in address]) == 2


@pytest.mark.skipif(not REAL.exists(), reason="no real recordings beside the project")
def test_a_real_recording_is_tagged_as_the_command_tags_it(demo):
    status, found = hear(demo, REAL.read_bytes(), REAL.name)
    assert status == 200 and found["seconds"] == pytest.approx(7, abs=0.1)
    of = demo.sounds[found["key"]]
    for one, course in zip(demo.listeners, of.courses, strict=True):
        pieces = hearing.stream(REAL, one.rate)
        [(_, _, streams, _)] = hearing.clips(one.tagger.network, pieces, one.seconds, REAL.stem, one.tagger.seed)
        np.testing.assert_allclose(course.scores, streams.fused, atol=1e-5)
        if streams.windows is not None:
            np.testing.assert_allclose(course.windows, streams.windows, atol=1e-6)


@pytest.mark.skipif(
    CHROMIUM is None or not REAL.exists(), reason="no Chromium, or no real recordings beside the project"
)
def test_a_person_drops_a_real_recording_and_hears_where_the_network_listened(demo, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{demo.port}/")
        browser.choose("#file", REAL)
        browser.wait("document.querySelectorAll('.clips .clip').length === 2 && busy === false")
        assert browser.run("what.textContent").startswith(f"{REAL.name}: 7.")
        assert browser.run("document.querySelector('.clips tbody tr td:last-child').textContent > 0")
        browser.click(".clips .lane")
        audio = "document.querySelector('.clips audio')"
        assert 7 <= browser.wait(f"{audio}.paused === false && {audio}.duration") <= 10.1
        assert browser.faults == []


def test_a_recording_of_many_clips_is_heard_clip_by_clip(demo):
    one, rng = demo.listeners[0], np.random.default_rng(0)
    samples = rng.uniform(-0.1, 0.1, 25 * one.rate + 7).astype(np.float32)
    *progress, course = one.course(samples, "a.wav")
    assert isinstance(course, Course) and progress[-1] == pytest.approx(25, abs=0.01)
    expected = list(hearing.clips(one.tagger.network, samples, one.seconds, "a", one.tagger.seed))
    np.testing.assert_allclose(
        course.scores, np.concatenate([streams.fused for _, _, streams, _ in expected]), atol=1e-5
    )
    starts = np.concatenate([start + streams.windows.numpy() for start, _, streams, _ in expected])
    np.testing.assert_allclose(course.windows, starts, atol=1e-5)
    assert len(course.bins) % 3 == 0 and (course.bins.max(0) >= course.bins.min(0)).all()
    shown = one.show_course(course, 25.0, "sound/a", "a.wav", {})
    assert max(span.end for span in shown.spans["Where each class scores highest"]) <= 25  # not in the padding


def test_what_comes_from_elsewhere_is_refused(demo):
    here = f"127.0.0.1:{demo.port}"
    assert ask(demo)[0] == ask(demo, Origin=f"http://{here}")[0] == ask(demo, Host=f"localhost:{demo.port}")[0] == 200
    for headers in (
        {"Host": "evil.example"}, {"Host": f"127.0.0.1.evil.example:{demo.port}"}, {"Host": ""},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"https://{here}"},
    ):  # fmt: skip
        status, found, text = ask(demo, "POST", "/hear", b"x", **headers)
        assert (status, text) == (403, "asked for from elsewhere: refused")
        assert not any(name.lower().startswith("access-control") for name in found)
    _, found, page = ask(demo)
    assert "default-src 'none'" in page and "frame-ancestors 'none'" in found["content-security-policy"]
    assert ask(demo, path="/docs")[0] == ask(demo, path="/sound/..%2f..%2fetc%2fpasswd")[0] == 404
    status, _, text = ask(demo, path="/clip/unknown?at=0")
    assert (status, json.loads(text)["error"]) == (404, "this sound is no longer kept; send it again")


def test_what_is_no_sound_or_too_much_is_refused_in_a_sentence_and_leaves_nothing(demo, tmp_path):
    long = encode(tmp_path / "long.mp3", np.zeros((1, 31 * 44100), np.float32)).read_bytes()
    chunk = bytes(10_000)
    before = set(demo.folder.iterdir())
    for content, status, told in (
        (b"", 413, "empty: drop a file of sound, or record one"),
        (b"not a sound at all", 200, "a.wav: undecodable: "),
        (long, 200, "a.wav: too long: over 30 s to decode, the limit (audio.limits.seconds)"),
        (bytes(3_000_001), 413, "larger than the 3 MB that one sound may have (audio.limits.bytes)"),
        # Without its length, it is counted while it is read.
        ((chunk for _ in range(400)), 413, "larger than the 3 MB that one sound may have (audio.limits.bytes)"),
    ):
        try:
            found = hear(demo, content)
        except BrokenPipeError:  # it was refused before all of it was sent
            continue
        assert found[0] == status and found[1]["error"].startswith(told) and "\n" not in found[1]["error"]
    assert set(demo.folder.iterdir()) == before and not demo.busy.locked()


def test_one_sound_at_a_time_and_who_goes_away_leaves_the_way_free(demo, tmp_path):
    sound = encode(tmp_path / "a.flac", tone(3.0, channels=1)).read_bytes()
    with socket.create_connection(("127.0.0.1", demo.port)) as slow:
        head = f"POST /hear?name=slow HTTP/1.1\r\nHost: 127.0.0.1:{demo.port}\r\nContent-Length: 1000\r\n\r\n"
        slow.sendall(head.encode() + b"begin")
        while not demo.busy.locked():
            time.sleep(0.01)
        assert hear(demo, sound) == (409, {"error": "another sound is being heard; send this one when it is done"})
    deadline = time.monotonic() + 30
    while demo.busy.locked() and time.monotonic() < deadline:
        time.sleep(0.01)
    keys = [hear(demo, sound)[1]["key"] for _ in range(3)]
    assert [ask(demo, path=f"/clip/{key}")[0] for key in keys] == [404, 200, 200]  # the last few are kept
    assert len(list(demo.folder.iterdir())) == 2


def test_limits_are_narrower_for_others_and_a_port_that_is_taken_is_named():
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [True] * 3 + [
        False
    ] * 2
    assert limits_of_others(Served(max_bytes=5, max_seconds=6.0)) == Limits(
        5, 6.0, 30.0, ("tracking.served.max_bytes", "tracking.served.max_seconds", "tracking.served.timeout")
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GlatError, match=f"127.0.0.1, port {port}: cannot be listened on: Address already in use"):
            serve([], "127.0.0.1", port, LIMITS)
    with pytest.raises(GlatError, match=r"\.\.x, port 1: cannot be listened on: "):
        serve([], "..x", 1, LIMITS)
    told = CliRunner().invoke(cli.app, ["demo", "a", "b", "c"])
    assert str(told.exception) == "3 runs; give one, or two to see them side by side"
