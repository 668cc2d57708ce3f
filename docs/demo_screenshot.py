"""The picture docs/demo.png: `glat demo` as a person sees it who has dropped a sound.

Needs one or two trained runs, a sound, Chromium, and Playwright, which the project does not install:

    uv run --locked --with playwright docs/demo_screenshot.py SOUND RUN [RUN] [--chromium /usr/bin/chromium]

It starts `glat demo` on a free port of this machine, and stops it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).with_name("demo.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sound", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    given = parser.parse_args()
    call = [shutil.which("glat"), "demo", *given.runs, "--port", "0"]
    server = subprocess.Popen(call, stderr=subprocess.PIPE, text=True)
    try:
        address = next(line for line in server.stderr if "http://" in line).split()[2]
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=given.chromium, args=["--no-sandbox", "--mute-audio"])
            page = browser.new_page(viewport={"width": 1000, "height": 1340})
            page.goto(address)
            page.locator("#file").set_input_files(given.sound)
            page.locator(".clips .clip").first.wait_for(timeout=600_000)
            courses = page.locator(".courses .time")
            if courses.count():  # a long sound: from a place in its second clip
                box = courses.first.bounding_box()
                courses.first.click(position={"x": box["width"] / 4, "y": 20})
                page.wait_for_timeout(3000)
            page.screenshot(path=OUT)
            browser.close()
        Image.open(OUT).quantize(128).save(OUT, optimize=True)
        print(OUT)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
