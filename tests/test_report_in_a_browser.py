"""The report in a real browser, as wide as a phone and as wide as a desk: it is seen, and its clips are heard."""

import numpy as np
import pandas as pd
import pytest
import torch
from browser import CHROMIUM, Browser
from conftest import ROOT, TINY
from data_fixtures import tone
from made_runs import Corpus, make_all

from glat.config.params import load
from glat.config.runs import resolve
from glat.results import clip as pages
from glat.results.registry import RESULTS
from glat.training import checkpoints
from glat.use import listening, one_clip

HOSTILE = '"><img src=x onerror="document.title = 1"><script>document.title = 2</script>'
MEASURES = """[[...document.images].length,
  [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length,
  document.documentElement.scrollWidth, document.documentElement.clientWidth, document.title]"""


def clip():
    """One with windows and a true event, whose names mean no good."""
    run = resolve(load(ROOT / "params.yaml", TINY), "cnn10", 0, {"n": 2})
    torch.manual_seed(0)
    waveform = tone(10.0, 32000, 1)[0]
    heard = one_clip.hear(checkpoints.build(run).eval(), waveform)
    names, truth = (
        [f"Class {i} {HOSTILE}" for i in range(16)],
        pd.DataFrame({"label": [3], "start": [2.0], "end": [3.5]}),
    )
    return listening.clip(heard, waveform, 32000, names, title=f"CNN10 † (a): {HOSTILE}", truth=truth, weak=[3])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load(ROOT / "params.yaml", TINY | {"fig2.n": [1, 5], "fig2.tau": [3, 10]})
        make_all(params, Corpus())
        for name, result in RESULTS.items():
            if name == "ladder":
                continue  # there is none
            if name == "report":
                pages.write(clip(), folder / "results/mini/clips/1_a.json")
            result.write(params)
    return folder / "results/mini/report.html"


def test_a_clip_is_read_as_it_was_written(tmp_path):
    shown = clip()
    pages.write(shown, tmp_path / "a.json")
    assert pages.read(tmp_path / "a.json") == shown
    [event] = shown.spans["True events"]
    assert len(shown.windows) == 2 and event[:3] == (2.0, 3.5, f"Class 3 {HOSTILE}")
    assert [row.label for row in shown.rows if row.weak] == [f"Class 3 {HOSTILE}"]
    assert clip() == shown  # the same bytes for the same samples, sound and picture


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_report_shows_every_picture_plays_its_clips_and_fetches_nothing(report, tmp_path):
    with Browser(tmp_path) as browser:
        browser.open(report.as_uri())
        for width in (390, 1400):
            browser.resize(width, 900)
            images, broken, scroll, client, title = browser.run(MEASURES)
            assert images >= 9 and broken == 0 and scroll <= client == width and title == "GL-AT on mini"
        # The axis of time is that of the picture: the bars of windows begin where their buttons do.
        left, width, start = browser.run("""(() => {
          const lane = document.querySelector(".lane"), time = document.querySelector(".time").getBoundingClientRect()
          const box = lane.getBoundingClientRect()
          return [(box.left - time.left) / time.width, box.width / time.width, Number(lane.dataset.start)]
        })()""")
        assert left == pytest.approx(start / 10, abs=2e-3) and width == pytest.approx(0.3, abs=2e-3)
        browser.wait("document.querySelector('audio').readyState === 4")
        assert browser.run("document.querySelector('audio').duration") == pytest.approx(10, abs=0.05)
        # The true event plays from its start to its end, and the playhead runs along.
        browser.click(".chips button", number=2)
        browser.wait("document.querySelector('audio').paused === false")
        assert browser.run("document.querySelector('.chips .on').dataset.start") == "2.0"
        browser.wait("document.querySelector('audio').paused")
        now, head = browser.run(
            "[document.querySelector('audio').currentTime, document.querySelector('.playhead').style.left]"
        )
        assert 3.5 <= now < 4 and float(head[:-1]) == pytest.approx(10 * now, abs=1)
        browser.click(".time", 0.8, 0.1)
        assert browser.wait("document.querySelector('audio').currentTime") == pytest.approx(8, abs=0.5)
        assert browser.requests == [report.as_uri()] and browser.faults == []


def test_what_is_heard_in_the_page_is_what_the_network_heard():
    """Opus of 32 kbit/s, decoded: as long, not shifted, and the same up to what Opus leaves out."""
    import base64

    from glat.use.hearing import listen

    waveform = tone(3.0, 32000, 1)[0] * 0.5
    heard = listen(base64.b64decode(listening.opus_url(waveform, 32000).partition("base64,")[2]), 32000)
    assert len(heard) == len(waveform)
    error = heard - waveform
    assert np.dot(error, error) < 0.05 * np.dot(waveform, waveform)
