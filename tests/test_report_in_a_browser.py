"""The report in a real browser, as wide as a phone and as wide as a desk."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT, TINY
from made_runs import Corpus, make_all

from glat.config.params import load
from glat.results.registry import RESULTS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
QUIET += "--disable-component-update --disable-sync --virtual-time-budget=4000"
PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length
  const page = document.documentElement
  const fetched = performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length
  parent.postMessage([document.images.length, broken, page.scrollWidth, page.clientWidth, fetched].join(" "), "*")
})</script></body>"""
# A window of Chromium has a least width, a frame has not.
FRAME = """<body><script>addEventListener("message", (event) => { document.body.dataset.probe = event.data })</script>
<iframe src="report.html" width="{width}" height="900" style="border: 0"></iframe></body>"""


def probed(page: str) -> str:
    """The page with the probe in it, and with the one script that its policy would forbid let in."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.count(policy) == 1
    return page.replace(policy, f"{policy}; script-src 'unsafe-inline'").replace("</body>", PROBE)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load(ROOT / "params.yaml", TINY | {"fig2.n": [1, 5], "fig2.tau": [3, 10]})
        make_all(params, Corpus())
        for name, result in RESULTS.items():
            if name == "report":
                (folder / "results/mini/clips").mkdir()
            result.write(params)
    page = (folder / "results/mini/report.html").read_text()
    (folder / "report.html").write_text(probed(page))
    return folder


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1400])
def test_every_picture_shows_nothing_is_fetched_and_the_page_does_not_scroll_sideways(report, tmp_path, width):
    (report / "frame.html").write_text(FRAME.replace("{width}", str(width)))
    call = [CHROMIUM, *QUIET.split(), f"--user-data-dir={tmp_path}", "--window-size=1600,1000", "--dump-dom"]
    call += [f"file://{report}/frame.html"]
    dom = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300).stdout
    images, broken, scroll, client, fetched = map(int, re.search(r'data-probe="([\d ]+)"', dom)[1].split())
    assert images >= 8 and broken == 0 and fetched == 0
    assert client >= width - 20 and scroll <= client
